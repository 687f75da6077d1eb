"""Comparing tables inside Spanner: values in their normal forms, hashed and summed by the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from whimbrel.connectors.spanner.connection import connect
from whimbrel.connectors.spanner.dialect import DIALECT
from whimbrel.connectors.spanner.target import SpannerTarget
from whimbrel.connectors.sql.comparison import TargetComparison
from whimbrel.connectors.sql.googlesql import GoogleSqlComparisonDialect, canonical
from whimbrel.model.job import Endpoint, Role
from whimbrel.model.table import Column

_INT64: Final = 1 << 63


class SpannerComparisonDialect(GoogleSqlComparisonDialect):
    """``native`` is a type as ``SpannerTarget.reflected`` has it: ``STRING(40)``."""

    sql = DIALECT


class SpannerComparison(TargetComparison):
    """See ``protocols.Comparison``."""

    dialect = SpannerComparisonDialect()

    def possible(self, key: Sequence[str], forms: Sequence[str]) -> bool:
        """A constant that no column of its type can hold is refused there."""
        return all(form != "integer" or -_INT64 <= int(text) < _INT64 for text, form in zip(key, forms, strict=True))

    def canonical(self, column: Column) -> str:
        return canonical(DIALECT.identifier(column.name), column)


def open_comparison(endpoint: Endpoint, operation: str, role: Role = "target") -> SpannerComparison:
    """Connect for comparing. Raises a ConnectionRefused leaf."""
    target = SpannerTarget(endpoint, operation)
    return SpannerComparison(target, connect(endpoint.parameters, operation, role))
