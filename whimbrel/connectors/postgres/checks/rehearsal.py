"""Makes all that a migration will make in a target, and the change phase's staging tables, and takes it back.

One transaction, in schemas of its own, that is always rolled back: what a function, extension, type or collation that a
definition names lacks, and what the server will not hold, it says itself, before a row is moved.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import psycopg

from whimbrel.connectors.postgres import particulars, usertypes
from whimbrel.connectors.postgres.source import sequences
from whimbrel.connectors.postgres.source.reflection import Connection
from whimbrel.connectors.postgres.source.schema import reflect
from whimbrel.connectors.postgres.target import ddl, finish, merge
from whimbrel.connectors.postgres.target.convert import convert
from whimbrel.connectors.postgres.target.pairs import pair_seen
from whimbrel.connectors.protocols import Rehearsal
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

SECONDS: Final = 20.0
LOCK_SECONDS: Final = 2
LINKED: Final = 300  # tables joined by foreign keys that stand at once, each with its locks
_SCHEMA: Final = "whimbrel_trial_"
_ASIDE: Final = "extension of "  # names the schema of an extension's type, which is never another one for the trial
_NAME = r'("(?:[^"]|"")+"|[A-Za-z_][\w$]*)'
_CALLED: Final = re.compile(rf"{_NAME}\s*\.\s*{_NAME}\s*\(")
_TEXT: Final = re.compile(r"'(?:[^']|'')*'")
_BUSY = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, psycopg.errors.OutOfMemory)


def rehearse(
    connection: Connection,
    tables: Sequence[Table],
    schemas: Mapping[str, str],
    source_type: str,
    there: Sequence[TableName],
    *,
    virtual_columns: bool,
    changes: bool,
) -> Rehearsal:
    """``there``: which of the target's tables exist; those are staged from as they are. ``changes`` will be applied."""
    existing = {t.name: t for t in reflect(connection, there)} if there else {}
    with connection.transaction(force_rollback=True):
        connection.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'".encode())
        connection.execute(f"set local statement_timeout = '{int(SECONDS)}s'".encode())
        connection.execute("set local client_min_messages = warning")
        connection.execute("set local search_path to ''")
        trial = _Trial(connection, tables, schemas, source_type, existing, virtual_columns)
        try:
            trial.run(changes=changes)
        except psycopg.errors.InsufficientPrivilege as e:
            trial.untested = f"the user may not make a schema to try them in ({_said(e)})"
        except _BUSY as e:
            trial.untested = f"not tested: too large ({_said(e)})"
    return Rehearsal(tuple(trial.refused), tuple(trial.doubtful), trial.untested)


class _Trial:
    def __init__(
        self,
        connection: Connection,
        tables: Sequence[Table],
        schemas: Mapping[str, str],
        source_type: str,
        existing: Mapping[TableName, Table],
        virtual_columns: bool,
    ) -> None:
        self._connection = connection
        self._virtual = virtual_columns
        self._sources = tables
        self._real = [existing.get(t.name.renamed(schemas)) for t in tables]
        own = {t.name.schema for t in tables}
        mapped = {**schemas, **{s: f"{_SCHEMA}{n}" for n, s in enumerate(sorted(own))}}
        aside = {f"{_ASIDE}{s}": schemas.get(s, s) for s in own}
        self._tables = convert([_extensions_aside(t, own) for t in tables], {**mapped, **aside}, source_type).tables
        self._deadline = time.monotonic() + SECONDS
        self.refused: list[str] = []
        self.doubtful: list[str] = []
        self.untested = ""

    def run(self, *, changes: bool) -> None:
        self._surroundings()
        linked = self._linked()
        made: set[TableName] = set()
        for number, (source, table, real) in enumerate(zip(self._sources, self._tables, self._real, strict=True)):
            if time.monotonic() > self._deadline:
                left = len(self._tables) - number
                self.untested = f"not tested: too large ({left} of {len(self._tables)} tables, after {SECONDS:.0f} s)"
                return
            with self._connection.transaction(force_rollback=table.name not in linked):
                if self._made(source, table, real):
                    made.add(table.name)
                if changes and (real is not None or table.name in made):
                    self._stage(number, source, real or table)
        self._keys(linked, made)

    def _surroundings(self) -> None:
        """Schemas, types, and sequences that columns take their values from."""
        types = list(dict.fromkeys(t for table in self._tables for t in particulars.of(table).types))
        uses = dict.fromkeys(
            u for table in self._tables for u in particulars.of(table).sequences.values() if not u.identity
        )
        for schema in sorted({t.name.schema for t in self._tables} | {t.schema for t in types}):
            self._connection.execute(ddl.create_schema(schema).encode())
        for t in types:
            self._try(f"type {t.spelling}", usertypes.create(t))
        for use in uses:
            self._try(f"sequence {use.name}", sequences.create(use))

    def _linked(self) -> set[TableName]:
        """The tables that foreign keys join, as long as there are not too many."""
        named = {n for t in self._tables for k in t.foreign_keys for n in (t.name, k.parent)}
        if len(named) <= LINKED:
            return named
        self.untested = f"not tested: too large (foreign keys between {len(named)} tables)"
        return set()

    def _made(self, source: Table, table: Table, real: Table | None) -> bool:
        """The table with its keys, checks and indexes. What an existing table has already is no longer asked of it."""
        statement = ddl.create_table(table, virtual_columns=self._virtual)
        if not self._try(str(source.name), statement, doubt=real is not None):
            return False
        for check in ddl.late_checks(table):
            self._try(f"{source.name}: a check", check)
        for index in table.indexes:
            if not index.constraint and not (real is not None and finish.has_index(index, real)):
                self._try(f"{source.name}: index {index.name}", ddl.create_index(table.name, index))
        return True

    def _stage(self, number: int, source: Table, target: Table) -> None:
        """The staging tables of the change phase, from its own statements."""
        (pair,) = pair_seen(self._connection, [source], [target])
        pair = replace(pair, number=number)
        self._try(f"{source.name}: the table that its changes are staged in", merge.create_stage(pair))
        if pair.key:
            self._try(f"{source.name}: the table that its changes are completed in", merge.create_fill(pair))

    def _keys(self, linked: set[TableName], made: set[TableName]) -> None:
        for source, table, real in zip(self._sources, self._tables, self._real, strict=True):
            there = {k.columns for k in real.foreign_keys} if real else set()
            for key in table.foreign_keys:
                if {table.name, key.parent} <= linked & made and key.columns not in there:
                    self._try(f"{source.name}: foreign key {key.name}", ddl.add_foreign_key(table, key))

    def _try(self, what: str, sql: str, *, doubt: bool = False) -> bool:
        try:
            with self._connection.transaction():
                self._connection.execute(sql.encode())
        except (*_BUSY, psycopg.OperationalError):
            raise
        except psycopg.Error as e:
            why = self._nowhere(sql) if isinstance(e, psycopg.errors.InvalidSchemaName) else ""
            (self.doubtful if doubt else self.refused).append(f"{what}: {self._named(_said(e))}{why}")
            return False
        return True

    def _nowhere(self, sql: str) -> str:
        """The functions that a statement calls in schemas which are not there, where the server names no more than the
        schema."""
        called = {tuple(map(_unquoted, found)) for found in _CALLED.findall(_TEXT.sub("''", sql))}
        asked = "select nspname from pg_namespace where nspname = any(%s)"
        there = {row[0] for row in self._connection.execute(asked, [[schema for schema, _ in called]])}
        missing = sorted(f"{schema}.{name}" for schema, name in called if schema not in there)
        return f" (with the function {', '.join(missing)})" if missing else ""

    def _named(self, message: str) -> str:
        """The server's sentence with the target's schemas in place of the trial's."""
        for table, source in zip(self._tables, self._sources, strict=True):
            message = message.replace(table.name.schema + ".", source.name.schema + ".")
        return message


def _extensions_aside(table: Table, own: set[str]) -> Table:
    """The table with the types of extensions named apart: an extension that is there stays where it is."""
    found = particulars.of(table)
    types = tuple(
        replace(t, schema=f"{_ASIDE}{t.schema}") if t.extension is not None and t.schema in own else t
        for t in found.types
    )
    return replace(table, particulars=replace(found, types=types)) if types else table


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _said(error: psycopg.Error) -> str:
    """What the server said, in one line, with its hint's place left out."""
    return " ".join(_lines(error))


def _lines(error: psycopg.Error) -> Iterator[str]:
    yield (error.diag.message_primary or str(error)).strip()
    if error.diag.message_detail:
        yield f"({error.diag.message_detail})"
