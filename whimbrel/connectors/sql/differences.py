"""How existing tables of a target differ from those that a migration would make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa

from whimbrel.model.difference import Difference, Kind
from whimbrel.model.names import TableName
from whimbrel.model.table import ColumnType, Table


def differences(
    wanted: Sequence[Table], there: Mapping[TableName, Table], read: Callable[[str], ColumnType]
) -> Iterator[Difference]:
    """Of the tables that exist. A wider column is no difference. ``read``: what a native type is once it is made."""
    for table in wanted:
        if table.name in there:
            yield from _of_table(table, there[table.name], read)


def _of_table(want: Table, have: Table, read: Callable[[str], ColumnType]) -> Iterator[Difference]:
    columns = {c.name: c for c in have.columns}
    for column in want.loaded_columns:
        actual = columns.pop(column.name, None)
        if actual is None:
            yield Difference(want.name, column.name, Kind.MISSING, "is missing", fatal=True)
        elif not holds(actual.type, read(column.type.native)):
            text = f"is {actual.type.native}, not {column.type.native}"
            yield Difference(want.name, column.name, Kind.TYPE, text)
        elif column.nullable and not actual.nullable:
            yield Difference(want.name, column.name, Kind.NULLABILITY, "does not take NULL")
    for extra in columns.values():
        given = bool(extra.nullable or extra.default or extra.identity or extra.generated)
        yield Difference.extra(want.name, extra.name, given=given)


def holds(actual: ColumnType, wanted: ColumnType) -> bool:
    """Whether a column as it is there takes every value of the one that would be made."""
    if actual.annotation != wanted.annotation:
        return False
    if pa.types.is_integer(wanted.arrow) or pa.types.is_decimal(wanted.arrow):
        return _digits(actual.arrow) is not None and all(
            a >= w for a, w in zip(_digits(actual.arrow) or (), _digits(wanted.arrow) or (), strict=True)
        )
    if actual.arrow != wanted.arrow:
        return False
    return actual.length is None or (wanted.length is not None and actual.length >= wanted.length)


def _digits(arrow: pa.DataType) -> tuple[int, int] | None:
    """Digits before and behind the point; None for what is no number."""
    if pa.types.is_decimal(arrow):
        return arrow.precision - arrow.scale, arrow.scale
    if pa.types.is_integer(arrow):
        return {8: 3, 16: 5, 32: 10, 64: 20 if pa.types.is_unsigned_integer(arrow) else 19}[arrow.bit_width], 0
    return None
