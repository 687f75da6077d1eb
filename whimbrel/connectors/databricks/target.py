"""The writing side of a catalog of Databricks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from whimbrel.connectors.databricks.config import OWN_SCHEMA, volume
from whimbrel.connectors.databricks.connection import DatabricksSession, connect
from whimbrel.connectors.databricks.dialect import DIALECT, MAKE_SCHEMA, MAKE_TABLES, MAKE_VOLUME
from whimbrel.connectors.databricks.stage import DatabricksStage
from whimbrel.connectors.sql.per_table import ReadableStage
from whimbrel.connectors.sql.per_table_state import TABLES
from whimbrel.connectors.sql.per_table_target import PerTableTarget
from whimbrel.connectors.sql.session import Session
from whimbrel.model.default import Default
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

_COLUMNS: Final = (
    "SELECT table_schema, table_name, column_name, full_data_type, is_nullable, column_default "
    "FROM information_schema.columns"
)


class DatabricksTarget(PerTableTarget):
    """See ``protocols.Target``."""

    dialect = DIALECT

    def connect(self) -> DatabricksSession:
        return connect(self._endpoint.parameters, self._operation)

    def stage(self) -> ReadableStage:
        return DatabricksStage(volume(self._endpoint.parameters), self._operation)

    def map_schemas(self, tables: Sequence[Table], job: Job, source_type: str) -> Mapping[str, str]:
        return {s: t.lower() for s, t in super().map_schemas(tables, job, source_type).items()}

    def prepare(self, session: Session) -> None:
        there = session.query(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{OWN_SCHEMA}'"  # noqa: S608
        )
        if not set(TABLES) <= {str(row[0]).lower() for row in there}:
            own = () if "staging_volume" in self._endpoint.parameters else (MAKE_VOLUME,)
            for statement in (MAKE_SCHEMA, *own, *MAKE_TABLES):
                session.execute(statement)

    def reflected(self, session: Session, names: Sequence[TableName]) -> Mapping[TableName, Table]:
        if not names:
            return {}
        schemas = ", ".join(DIALECT.literal(s) for s in sorted({n.schema for n in names}))
        columns: dict[TableName, list[Column]] = {}
        for row in session.query(f"{_COLUMNS} WHERE table_schema IN ({schemas}) ORDER BY 1, 2, ordinal_position"):
            columns.setdefault(TableName(row[0], row[1]), []).append(_column(row))
        return {n: Table(n, tuple(columns[n])) for n in names if n in columns}


def _column(row: Sequence[Any]) -> Column:
    _, _, name, type, nullable, default = row
    return Column(
        str(name),
        DIALECT.types.read(str(type).upper()),
        nullable=nullable == "YES",
        default=Default.shown(default, "databricks"),
    )
