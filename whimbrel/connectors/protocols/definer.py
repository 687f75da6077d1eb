"""A source's tables as a target's: named, rendered, made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from whimbrel.connectors.protocols.checks import Rehearsal
from whimbrel.model.job import Job
from whimbrel.model.table import Table


@dataclass(frozen=True)
class Rendered:
    """DDL for the target, one complete statement a line item, in the order to run.

    ``notes`` lists every declared lossy mapping: 'public.t.c: timetz -> time(6): the zone is dropped'.
    """

    tables: tuple[str, ...]  # create schema/database, create table with primary and unique keys, checks, defaults
    objects: tuple[str, ...]  # secondary indexes, foreign keys, sequences, comments
    drops: tuple[str, ...]
    notes: tuple[str, ...] = ()


class Definer(Protocol):
    def map_schemas(self, tables: Sequence[Table], job: Job, source_type: str) -> Mapping[str, str]:
        """Source schema -> target schema: ``job.schema_rename``, else this engine's rule (docs/schemas.md)."""

    def render(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> Rendered:
        """DDL for these source tables on this target. Raises TypeRefused or IdentifierRefused listing all offenders."""

    def target_tables(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> tuple[Table, ...]:
        """The tables as this engine will hold them: target names, target-native column types, same column order."""

    def execute_script(self, sql: str) -> None:
        """Run a file of statements; all or nothing where DDL is transactional. Raises SchemaFailed."""

    def rehearse(
        self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str, *, changes: bool
    ) -> Rehearsal:
        """Make all that ``render`` and, with ``changes``, the applier would make for these source tables, under names
        of our own, and take it back; bounded in time. No table, row or name of the user's is touched."""
