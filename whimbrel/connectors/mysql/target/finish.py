"""Before and after the rows: indexes and foreign keys dropped and built again, statistics, AUTO_INCREMENT."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal

import pymysql

from whimbrel.connectors.mysql.connection import Session, execute, mapped, qualified, query, quote_identifier
from whimbrel.connectors.mysql.locks import bound_waits
from whimbrel.connectors.mysql.refusals import number_and_text
from whimbrel.connectors.mysql.target.ddl import foreign_key, index_clause
from whimbrel.connectors.mysql.target.ledger import require
from whimbrel.connectors.mysql.target.ledger_layout import ensure_tables
from whimbrel.connectors.protocols import Claim
from whimbrel.errors import LoaderFailed
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

Kind = Literal["index", "foreign key"]
_NAME = r"`(?P<{}>(?:[^`]|``)+)`"
_INDEX = rf"(?:UNIQUE |FULLTEXT |SPATIAL )?KEY {_NAME.format('index')} "
_KEY = rf"CONSTRAINT {_NAME.format('key')} FOREIGN KEY "
_LINE = re.compile(rf"^  (?:{_INDEX}|{_KEY}).*$")
_NEEDED = 1553  # another table's foreign key needs the index
_OF_TABLE = "target_schema = %s AND target_table = %s"


class MySQLFinisher:
    """See ``protocols.Finisher``. Each call has a session of its own."""

    def __init__(self, session: Callable[[], AbstractContextManager[Session]]) -> None:
        self._session = session

    def prepare(self, tables: Sequence[Table], claim: Claim | None = None) -> None:
        with self._session() as session:
            prepare_load(session, tables, claim)

    def indexes(self, source: Table, target: Table, stop: Callable[[], bool], claim: Claim | None = None) -> None:
        with self._session() as session:
            finish_table(session, target, stop, claim)

    def keys(self, target: Sequence[Table], claim: Claim | None = None) -> None:
        with self._session() as session:
            finish_keys(session, target, claim)

    def sequences(self, source: Sequence[Table], target: Sequence[Table], patience: int | None = None) -> None:
        with self._session() as session:
            if patience is not None:
                bound_waits(session, patience)
            for table in target:
                sync_sequence(session, table)


def prepare_load(session: Session, tables: Sequence[Table], claim: Claim | None = None) -> None:
    """Drop foreign keys and secondary indexes of these tables, which must be empty. Never the key of a row.

    What is dropped is written down first, so that a crash in between loses nothing: finish_* build what is missing.
    """
    with mapped("target"):
        ensure_tables(session)
        require_no_triggers(session, tables)
    for kind in ("foreign key", "index"):
        for table in tables:
            with mapped("target", str(table.name)):
                _drop(session, table, kind, claim)


def require_no_triggers(session: Session, tables: Sequence[Table]) -> None:
    """Raise LoaderFailed naming triggers on these tables: what they did on the source comes as rows of its own, and a
    session cannot silence them."""
    names = {(t.name.schema, t.name.table) for t in tables}
    rows = query(session, "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS")
    found = sorted(f"{schema}.{name}" for schema, name, table in rows if (schema, table) in names)
    if found:
        raise LoaderFailed(
            f"triggers of the target would fire on rows that are moved: {', '.join(found[:20])}",
            remedy="Drop them on the target, and create them again after the switch.",
            triggers=found[:100],
        )


def _drop(session: Session, table: Table, kind: Kind, claim: Claim | None) -> None:
    kept = set() if kind == "foreign key" else _needed_indexes(session, table)
    dropped = [(name, text) for name, text in _definitions(session, table.name, kind) if name not in kept]
    for name, text in dropped:
        require(session, claim)
        execute(
            session,
            "REPLACE INTO whimbrel.dropped VALUES (%s, %s, %s, %s, %s)",
            (table.name.schema, table.name.table, kind, name, text),
        )
    for name, _ in dropped:
        require(session, claim)
        try:
            execute(session, f"ALTER TABLE {qualified(table.name)} DROP {kind.upper()} {quote_identifier(name)}")
        except pymysql.MySQLError as e:
            if number_and_text(e)[0] != _NEEDED:
                raise


def _needed_indexes(session: Session, table: Table) -> set[str]:
    """The indexes that AUTO_INCREMENT and a table without a primary key stand on."""
    rows = query(
        session,
        "SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND SEQ_IN_INDEX = 1",
        (table.name.schema, table.name.table),
    )
    numbered = {c.name for c in table.columns if c.identity}
    needed = {name for name, column in rows if column in numbered}
    if not table.primary_key:
        needed |= {i.name for i in table.indexes if i.unique and i.columns == table.key}
    return needed


def _definitions(session: Session, name: TableName, kind: Kind) -> Iterator[tuple[str, str]]:
    """The table's indexes or foreign keys as SHOW CREATE TABLE has them: (name, text for ALTER TABLE ... ADD)."""
    group = "key" if kind == "foreign key" else "index"
    told, session.use_unicode = session.use_unicode, False  # MariaDB shows a column's default as the bytes that it is
    try:
        text: bytes = query(session, f"SHOW CREATE TABLE {qualified(name)}")[0][1]
    finally:
        session.use_unicode = told
    for line in text.decode("utf-8", "surrogateescape").split("\n"):
        found = _LINE.match(line)
        if found and found[group]:
            yield found[group].replace("``", "`"), line.strip().rstrip(",")


def finish_table(session: Session, target: Table, stop: Callable[[], bool], claim: Claim | None = None) -> None:
    """Build the indexes that are missing, then set AUTO_INCREMENT and the statistics. Idempotent."""
    with mapped("target", str(target.name)):
        ensure_tables(session)
        there = {name for name, _ in _definitions(session, target.name, "index")}
        wanted = {i.name: index_clause(i) for i in target.indexes} | _dropped(session, target.name, "index")
        missing = {name: text for name, text in wanted.items() if name not in there}
        for clauses in _together(missing.values()):
            if stop():
                return
            require(session, claim)
            execute(session, f"ALTER TABLE {qualified(target.name)} {clauses}")
        require(session, claim)
        _forget(session, target.name, "index")
    sync_sequence(session, target)
    with mapped("target", str(target.name)):
        query(session, f"ANALYZE TABLE {qualified(target.name)}")


def _together(definitions: Collection[str]) -> Iterator[str]:
    """What one ALTER TABLE may add: all plain indexes, in one pass over the rows; full texts one by one."""
    plain = [text for text in definitions if not text.startswith("FULLTEXT")]
    if plain:
        yield ", ".join(f"ADD {text}" for text in plain)
    yield from (f"ADD {text}" for text in definitions if text.startswith("FULLTEXT"))


def finish_keys(session: Session, targets: Sequence[Table], claim: Claim | None = None) -> None:
    """Add the foreign keys that are missing, where the parent exists. Idempotent.

    They are not checked against the rows, which come from a source that has checked them: checking would copy tables.
    """
    with mapped("target"):
        ensure_tables(session)
        execute(session, "SET SESSION foreign_key_checks = 0")
    for target in targets:
        with mapped("target", str(target.name)):
            there = {name for name, _ in _definitions(session, target.name, "foreign key")}
            wanted = {k.name: foreign_key(k) for k in target.foreign_keys if _exists(session, k.parent)}
            wanted |= _dropped(session, target.name, "foreign key")
            missing = [text for name, text in wanted.items() if name not in there]
            require(session, claim)
            if missing:
                clauses = ", ".join(f"ADD {text}" for text in missing)
                execute(session, f"ALTER TABLE {qualified(target.name)} {clauses}")
            _forget(session, target.name, "foreign key")


def sync_sequence(session: Session, target: Table) -> None:
    """Let AUTO_INCREMENT go on where the source's stands, and past the greatest value.

    Looked at first: where it stands there already, as after an INSERT, ALTER TABLE would only wait for whoever reads
    the table, and let everybody else wait behind it.
    """
    numbered = next((c for c in target.columns if c.identity), None)
    if numbered is None or numbered.identity is None:
        return
    with mapped("target", str(target.name)):
        greatest = query(session, f"SELECT MAX({quote_identifier(numbered.name)}) FROM {qualified(target.name)}")  # noqa: S608
        wanted = max(numbered.identity.next_value or 1, int(greatest[0][0] or 0) + 1)
        if wanted > _next_number(session, target.name):
            execute(session, f"ALTER TABLE {qualified(target.name)} AUTO_INCREMENT = {wanted}")


def _next_number(session: Session, name: TableName) -> int:
    sql = "SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    found = query(session, sql, (name.schema, name.table))
    return int(found[0][0] or 1) if found else 1


def _dropped(session: Session, name: TableName, kind: Kind) -> dict[str, str]:
    rows = query(
        session,
        "SELECT name, definition FROM whimbrel.dropped WHERE target_schema = %s AND target_table = %s AND kind = %s",
        (name.schema, name.table, kind),
    )
    return {row[0]: row[1] for row in rows}


def _forget(session: Session, name: TableName, kind: Kind) -> None:
    sql = f"DELETE FROM whimbrel.dropped WHERE {_OF_TABLE} AND kind = %s"  # noqa: S608 - a constant
    execute(session, sql, (name.schema, name.table, kind))


def _exists(session: Session, name: TableName) -> bool:
    sql = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    return bool(query(session, sql, (name.schema, name.table)))
