"""One migration's source and target, opened and agreed: tables, names, formats."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from whimbrel.codecs.binaryrows import BINARY
from whimbrel.connectors.protocols import Route, Source, Target, negotiate
from whimbrel.connectors.registry import engine
from whimbrel.connectors.verdicts import keyless, uncompared, unfollowed
from whimbrel.errors import InvalidRequest, TableMissing, TypeRefused
from whimbrel.model.chunk import Format
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Table


@dataclass(frozen=True)
class Pair:
    """``tables`` as the source has them; ``target_tables`` the same ones, in that order, as the target holds them."""

    job: Job
    source: Source
    target: Target
    tables: tuple[Table, ...]
    target_tables: tuple[Table, ...]
    schemas: Mapping[str, str]

    @property
    def both(self) -> Iterator[tuple[Table, Table]]:
        """Source and target definition of each table."""
        return zip(self.tables, self.target_tables, strict=True)

    def target_of(self, name: TableName) -> Table:
        """The target's definition of a source table."""
        return next(t for s, t in self.both if s.name == name)

    def without(self, names: Collection[TableName]) -> Pair:
        """The same pair, less these source tables."""
        left = [(s, t) for s, t in self.both if s.name not in names]
        return replace(self, tables=tuple(s for s, _ in left), target_tables=tuple(t for _, t in left))

    def require_columns(self) -> None:
        """Raise TypeRefused naming tables without a column that could be copied: none at all, or computed ones only."""
        empty = [str(t.name) for t in self.tables if not t.loaded_columns]
        if empty:
            raise TypeRefused(
                f"tables without a column whose values can be copied: {', '.join(empty[:20])}",
                remedy="Leave them out, or give them a column.",
                tables=empty[:100],
            )

    def require_keys(self) -> None:
        """Raise ReplicaIdentityMissing naming tables whose changes might come twice, as they have no key."""
        without_key = [str(t.name) for t in self.tables if not t.key]
        if without_key and engine(self.job.target.type).capabilities.changes_need_key:
            raise keyless(without_key)

    def require_target_tables(self) -> None:
        """Raise TableMissing naming every table that schema/apply has not made yet."""
        self.require_columns()
        names = [t.name for t in self.target_tables]
        missing = sorted(set(names) - set(self.target.existing(names)))
        if missing:
            raise TableMissing(
                f"the target has no table {', '.join(str(n) for n in missing[:20])}",
                remedy="Run schema/extract and schema/apply first, or create the tables on the target.",
                tables=[str(n) for n in missing[:100]],
            )

    def routes(self) -> dict[TableName, Route]:
        """How the rows of each table are staged: binary only where the target's columns are what we would make."""
        reads = engine(self.job.source.type).capabilities.reads
        loads = engine(self.job.target.type).capabilities.loads
        lenient = negotiate(reads, [f for f in loads if f is not Format.COPY_BINARY])
        best = negotiate(reads, loads)
        if best is None or lenient is None:
            raise InvalidRequest(f"{self.job.source.type} and {self.job.target.type} share no format for rows")
        if best == lenient:
            return {source.name: _quicker(best, reads, source, target) for source, target in self.both}
        differing = {d.table for d in self.target.differences(self.target_tables) if d.touches_rows}
        return {
            source.name: lenient if _must_convert(source, target, differing) else best for source, target in self.both
        }


def _quicker(route: Route, reads: tuple[Format, ...], source: Table, target: Table) -> Route:
    """Parquet is made of binary rows where each of the columns can be read from them."""
    if route.staged is not Format.PARQUET:
        return route
    columns = source.loaded_columns, target.loaded_columns
    return next((Route(f, Format.PARQUET) for f in reads if f in BINARY and BINARY[f].decodable(*columns)), route)


def _must_convert(source: Table, target: Table, differing: set[TableName]) -> bool:
    types = zip(source.loaded_columns, target.loaded_columns, strict=True)
    return not source.binary_rows or any(s.type.native != t.type.native for s, t in types) or target.name in differing


def require_followed(job: Job) -> None:
    """Raise ReplicationFailed when changes of the job's source cannot be read."""
    if not engine(job.source.type).capabilities.follows:
        raise unfollowed(job.source.type)


def require_compared(job: Job) -> None:
    """Raise ValidateFailed when rows of one end cannot be compared."""
    for type in (job.source.type, job.target.type):
        if not engine(type).capabilities.compares:
            raise uncompared(type)


@contextmanager
def open_pair(job: Job) -> Iterator[Pair]:
    """Reflect the source's tables and map them; both sides are closed on the way out."""
    source = engine(job.source.type).source(job.source, job.operation)
    target = engine(job.target.type).target(job.target, job.operation)
    try:
        tables = source.reflect(source.resolve(job.tables))
        schemas = target.map_schemas(tables, job, job.source.type)
        yield Pair(job, source, target, tables, target.target_tables(tables, schemas, job.source.type), schemas)
    finally:
        source.close()
        target.close()


@contextmanager
def open_source(job: Job) -> Iterator[Source]:
    """The source alone."""
    source = engine(job.source.type).source(job.source, job.operation)
    try:
        yield source
    finally:
        source.close()


@contextmanager
def open_target(job: Job) -> Iterator[Target]:
    """The target alone."""
    target = engine(job.target.type).target(job.target, job.operation)
    try:
        yield target
    finally:
        target.close()
