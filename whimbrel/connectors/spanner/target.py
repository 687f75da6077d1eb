"""The writing side of a database of Spanner."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Final, Literal

from whimbrel.connectors.protocols import Holder, Ledger, Loader, Rehearsal, Rendered
from whimbrel.connectors.spanner.applier import SpannerApplier
from whimbrel.connectors.spanner.config import DEFAULT_SCHEMA
from whimbrel.connectors.spanner.connection import SpannerSession, connect
from whimbrel.connectors.spanner.dialect import DIALECT, LONGEST_NAME, OWN, no_index_of, placed_name
from whimbrel.connectors.spanner.finisher import SpannerFinisher, drop_index
from whimbrel.connectors.spanner.ledger import SpannerLedger, prepare
from whimbrel.connectors.spanner.loader import SpannerLoader, remove_rows
from whimbrel.connectors.spanner.mutations import Shape, delete_all
from whimbrel.connectors.spanner.reflection import referring, reflect, shape_of
from whimbrel.connectors.sql.definitions import Converted, convert, create_table
from whimbrel.connectors.sql.scripts import statements
from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.sql.stage import Stage
from whimbrel.connectors.sql.target import SqlTarget
from whimbrel.connectors.verdicts import keyless
from whimbrel.errors import ConnectionRefused, IdentifierRefused, InternalError, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

_REHEARSED: Final = 10  # tables that are made and taken back by a check; each definition takes seconds
_PUBLIC: Final = "public"  # PostgreSQL's schema for all, which is no name of one in Spanner
_NAME = r"((?:`[^`]+`|[A-Za-z_][A-Za-z0-9_]*)(?:\.(?:`[^`]+`|[A-Za-z_][A-Za-z0-9_]*))?)"
_DROP_TABLE = re.compile(rf"(?i)\s*DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?{_NAME}\s*\Z")
_ADD_KEY = re.compile(rf"(?i)\s*ALTER\s+TABLE\s+{_NAME}\s+ADD\s+CONSTRAINT\s+{_NAME}\s+FOREIGN\s+KEY\b")


class SpannerTarget(SqlTarget):
    """See ``protocols.Target``."""

    dialect = DIALECT
    progress = TableName(OWN, "progress")

    def connect(self) -> SpannerSession:
        return connect(self._endpoint.parameters, self._operation)

    def stage(self) -> Stage:
        raise InternalError("rows are staged nowhere in Spanner: they come as mutations")

    def prepare(self, session: Session) -> None:
        prepare(_ours(session), self.dialect)

    @property
    def finisher(self) -> SpannerFinisher:  # type: ignore[override]
        return SpannerFinisher(self._prepared, self.dialect)

    # --- definitions --------------------------------------------------------------------------------------------------

    def map_schemas(self, tables: Sequence[Table], job: Job, source_type: str) -> Mapping[str, str]:
        """A schema keeps its name, unless the endpoint names the one for all; ``public`` becomes the one without a
        name."""
        mapped = super().map_schemas(tables, job, source_type)
        named = set(job.schema_rename)
        return {s: DEFAULT_SCHEMA if t == _PUBLIC and s not in named else t for s, t in mapped.items()}

    def render(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> Rendered:
        converted = self._converted(tables, schemas)
        made: list[str] = [s for n in sorted({t.name.schema for t in converted.tables}) if (s := self._schema(n))]
        objects: list[str] = []
        for table in converted.tables:
            made.append(create_table(self.dialect, table))
            for index in table.indexes:
                (made if index.unique else objects).append(self.dialect.create_index(table, index))
        for table in converted.tables:
            objects += [self.dialect.add_foreign_key(table, key) for key in table.foreign_keys]
        drops = tuple(f"DROP TABLE IF EXISTS {self.dialect.qualified(t.name)}" for t in converted.tables)
        return Rendered(tuple(made), tuple(objects), drops, converted.notes)

    def target_tables(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> tuple[Table, ...]:
        return self._converted(tables, schemas).tables

    def _schema(self, name: str) -> str:
        return self.dialect.create_schema(name)

    def _converted(self, tables: Sequence[Table], schemas: Mapping[str, str]) -> Converted:
        """With names for indexes and foreign keys that nothing else in their schema has, and without indexes that
        Spanner does not take."""
        found = convert(self.dialect, tables, schemas)
        long = [str(t.name) for t in found.tables if len(str(t.name)) > LONGEST_NAME]
        if long:
            raise IdentifierRefused(
                f"{', '.join(long[:20])}: schema and table have more than {LONGEST_NAME} characters", names=long[:100]
            )
        taken: dict[str, set[str]] = {}
        for table in found.tables:
            taken.setdefault(table.name.schema, set()).add(table.name.table.lower())
        notes, placed = list(found.notes), []
        for source, table in zip(tables, found.tables, strict=True):
            names = taken[table.name.schema]
            natives = {c.name: c.type.native for c in table.loaded_columns}
            indexes = []
            for index in table.indexes:
                if index.columns == table.key:
                    continue
                if absent := [c for c in (*index.columns, *index.include) if c not in natives]:
                    notes.append(f"{source.name}: index {index.name} left out: {absent[0]} is computed on the source")
                    continue
                if bad := no_index_of(natives[c] for c in index.columns):
                    notes.append(f"{source.name}: index {index.name} left out: Spanner has none over {bad}")
                    continue
                indexes.append(replace(index, name=placed_name(table.name, index.name, names)))
            keys = [
                replace(
                    k,
                    name=placed_name(table.name, k.name, names),
                    on_delete="NO ACTION",  # a cascade would take rows whose own change comes in the same commit
                    on_update="NO ACTION",
                )
                for k in table.foreign_keys
            ]
            placed.append(replace(table, primary_key=table.key, indexes=tuple(indexes), foreign_keys=tuple(keys)))
        return Converted(tuple(placed), tuple(notes))

    def execute_script(self, sql: str) -> None:
        with self._session() as session:
            prepared: list[str] = []
            for statement in statements(sql):
                prepared += self._expanded(_ours(session), statement)
            _ours(session).define(prepared)

    def _expanded(self, session: SpannerSession, statement: str) -> Iterator[str]:
        """A table goes with its indexes and the foreign keys that refer to it; a foreign key that is there stays."""
        if found := _DROP_TABLE.match(statement):
            name = _read_name(found[1])
            if name in reflect(session, self.dialect, [name]):
                yield from self._drops(session, [name])
                return
        if found := _ADD_KEY.match(statement):
            name, key = _read_name(found[1]), found[2].strip("`")
            there = reflect(session, self.dialect, [name]).get(name)
            if there is not None and any(k.name.lower() == key.lower() for k in there.table.foreign_keys):
                return
        yield statement

    def _drops(self, session: SpannerSession, names: Sequence[TableName]) -> list[str]:
        """Statements that drop tables that are there, and what stands in the way."""
        there = reflect(session, self.dialect, names)
        keys = {(table, key.name) for table, found in referring(session, names).items() for key in found}
        keys |= {(name, key.name) for name, found in there.items() for key in found.table.foreign_keys}
        drops = [f"ALTER TABLE {self.dialect.qualified(t)} DROP CONSTRAINT `{key}`" for t, key in sorted(keys)]
        for name, found in there.items():
            drops += [drop_index(self.dialect, name, index.name) for index in found.table.indexes]
        return drops + [f"DROP TABLE {self.dialect.qualified(name)}" for name in there]

    def reflected(self, session: Session, names: Sequence[TableName]) -> Mapping[TableName, Table]:
        return {name: found.table for name, found in reflect(_ours(session), self.dialect, names).items()}

    def stricter(self, source: Sequence[Table], target: Sequence[Table]) -> tuple[str, ...]:
        with self._session() as session:
            there = reflect(_ours(session), self.dialect, [t.name for t in target])
        doubts = []
        for have, want in zip(source, target, strict=True):
            found = there.get(want.name)
            if found is None:
                continue
            names = dict(zip((c.name for c in have.columns), (c.name for c in want.columns), strict=True))
            known = {frozenset(names[c] for c in columns) for columns in have.uniques}
            if set(found.table.primary_key) != set(want.primary_key):
                doubts.append(f"{want.name}: primary key ({', '.join(found.key)})")
            doubts += [
                f"{want.name}: unique index {index.name} ({', '.join(index.columns)})"
                for index in found.table.indexes
                if index.unique and not any(columns <= set(index.columns) for columns in known)
            ]
        return tuple(doubts)

    def rehearse(
        self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str, *, changes: bool
    ) -> Rehearsal:
        """All tables in one request, and one by one only where that is refused: a request takes many seconds."""
        without_key = [str(t.name) for t in tables if not t.key] if changes else []
        refused = [keyless(without_key).message] if without_key else []
        converted = self._converted(tables, schemas).tables[:_REHEARSED]
        with self._session() as session:
            self.prepare(session)
            trials = self._trials(converted)
            if self._refusal(_ours(session), trials, keys=True):
                alone = [self._refusal(_ours(session), [trial], keys=False) for trial in trials]
                refused += [f"{source.name}: {why}" for source, why in zip(tables, alone, strict=False) if why]
                if not any(alone):
                    refused.append(f"foreign keys: {self._refusal(_ours(session), trials, keys=True)}")
        left = len(tables) - _REHEARSED
        return Rehearsal(tuple(refused), (), f"{left} tables not tested: too many" if left > 0 else "")

    def _trials(self, tables: Sequence[Table]) -> list[Table]:
        """The same tables under names of ours, with foreign keys among them."""
        number = uuid.uuid4().hex[:12]
        names = {t.name: TableName(OWN, f"trial_{number}_{n}") for n, t in enumerate(tables)}
        return [
            replace(
                table,
                name=names[table.name],
                indexes=tuple(replace(i, name=f"{names[table.name].table}_i{n}") for n, i in enumerate(table.indexes)),
                foreign_keys=tuple(
                    replace(k, name=f"{names[table.name].table}_k{n}", parent=names[k.parent])
                    for n, k in enumerate(table.foreign_keys)
                    if k.parent in names
                ),
            )
            for table in tables
        ]

    def _refusal(self, session: SpannerSession, tables: Sequence[Table], *, keys: bool) -> str:
        """Why these tables, with indexes and ``keys``, could not be made and taken back; '' when they could."""
        made = [create_table(self.dialect, t) for t in tables]
        made += [self.dialect.create_index(t, i) for t in tables for i in t.indexes]
        made += [self.dialect.add_foreign_key(t, k) for t in tables for k in t.foreign_keys if keys]
        try:
            session.define(made)
        except ConnectionRefused:
            raise
        except WhimbrelError as e:
            if e.retryable:
                raise
            return e.message
        finally:
            with suppress(WhimbrelError):
                session.define(self._drops(session, [t.name for t in tables]))
        return ""

    # --- loading and applying -----------------------------------------------------------------------------------------

    def ledger(self, migration: str) -> Ledger:
        return SpannerLedger(self._prepared(), self.dialect, migration)

    def open_loader(self, job: Job) -> Loader:
        return SpannerLoader(self._prepared(), self.dialect, job.migration, self._shape)

    def open_applier(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Holder:
        return SpannerApplier(self._prepared(), self.dialect, job, source, target, self._shape)

    def _prepared(self) -> SpannerSession:
        return _ours(self._opened())

    def _shape(self, session: SpannerSession, name: TableName) -> Shape:
        return shape_of(session, self.dialect, name)

    # --- undoing ------------------------------------------------------------------------------------------------------

    def reset(self, names: Sequence[TableName], mode: Literal["drop", "truncate"]) -> tuple[int, int]:
        with self._session() as session:
            there = reflect(_ours(session), self.dialect, names)
            if mode == "drop":
                if there:
                    _ours(session).define(self._drops(_ours(session), [*there]))
                return len(there), 0
            waiting, failed = [*there], 0
            while waiting:  # whose rows others refer to, after those
                left = [name for name in waiting if not self._emptied(_ours(session), name)]
                if len(left) == len(waiting):
                    failed = len(left)
                    break
                waiting = left
        return len(there) - failed, failed

    def _emptied(self, session: SpannerSession, name: TableName) -> bool:
        shape = shape_of(session, self.dialect, name)
        try:
            remove_rows(session, shape, name, self.dialect, lambda transaction: None)
            session.transact(lambda transaction: [delete_all(shape.name)])
        except WhimbrelError as e:
            if e.retryable or isinstance(e, ConnectionRefused):
                raise
            return False
        return True

    def at_work(self, job: Job) -> int | None:
        """Nobody is asked: each request has a bound, and a link that has gone silent is found by the driver."""
        return None

    def end_sessions(self, session: Session, job: Job) -> None:
        """What another session has in hand ends by itself: each commit looks for its epoch."""

    def cleanup(self, job: Job) -> None:
        """Nothing is staged."""
        with closing(self._prepared()):
            pass


def _ours(session: Session) -> SpannerSession:
    assert isinstance(session, SpannerSession)
    return session


def _read_name(text: str) -> TableName:
    *schema, table = (part.strip("`") for part in text.split("."))
    return TableName(schema[0] if schema else DEFAULT_SCHEMA, table)
