"""Comparing tables inside BigQuery: values in their normal forms, hashed and summed by the server."""

from __future__ import annotations

from whimbrel.connectors.bigquery.connection import connect
from whimbrel.connectors.bigquery.dialect import DIALECT
from whimbrel.connectors.bigquery.target import BigQueryTarget
from whimbrel.connectors.sql.comparison import TargetComparison
from whimbrel.connectors.sql.googlesql import GoogleSqlComparisonDialect, canonical
from whimbrel.model.job import Endpoint, Role
from whimbrel.model.table import Column


class BigQueryComparisonDialect(GoogleSqlComparisonDialect):
    """``native`` is a type as ``BigQueryTarget.reflected`` has it: ``NUMERIC(12,2)``."""

    sql = DIALECT


class BigQueryComparison(TargetComparison):
    """See ``protocols.Comparison``."""

    dialect = BigQueryComparisonDialect()

    def canonical(self, column: Column) -> str:
        return canonical(DIALECT.identifier(column.name), column)


def open_comparison(endpoint: Endpoint, operation: str, role: Role = "target") -> BigQueryComparison:
    """Connect for comparing. Raises a ConnectionRefused leaf."""
    target = BigQueryTarget(endpoint, operation)
    return BigQueryComparison(target, connect(endpoint.parameters, operation, role))
