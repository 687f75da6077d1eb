"""Places where fakesnow differs from Snowflake in a way that would hide a fault of ours, or show one that is none."""

from __future__ import annotations

from typing import Any

import fakesnow.arrow as arrow
import fakesnow.copy_into as copy_into
import fakesnow.rowtype as rowtype
import fakesnow.transforms as transforms
import pyarrow as pa
from fakesnow.cursor import FakeSnowflakeCursor
from sqlglot import exp

from tests.emulators.snowflake import statements

AS_ALWAYS = {  # options of COPY that only say what is so anyway
    "ENFORCE_LENGTH": "TRUE",
    "FORCE": "FALSE",
    "PURGE": "FALSE",
    "TRUNCATECOLUMNS": "FALSE",
    "RETURN_FAILED_ONLY": "FALSE",
}


def apply() -> None:
    FakeSnowflakeCursor.execute = statements.execute
    arrow.timestamp_to_sf_struct = _timestamps_with_nulls
    copy_into._get_table_columns = _columns_as_they_are
    copy_into._describe_table = _described
    copy_into._match_parquet_columns = _matched
    copy_into._params = _options_that_matter(copy_into._params)
    transforms.trim_cast_varchar = _trimmed
    transforms.numeric_agg_implicit_cast = lambda expression: expression  # would add up in binary floating point
    transforms.integer_precision = _integers_alone(transforms.integer_precision)
    rowtype.duckdb_to_sf_type |= {"FLOAT": "real", "SMALLINT": "fixed", "TINYINT": "fixed", "UUID": "text"}


def _trimmed(expression: Any) -> Any:
    """fakesnow's forgets which characters are trimmed, and on which side."""
    if isinstance(expression, exp.Trim) and not isinstance(expression.this, exp.Cast):
        expression.set("this", exp.cast(expression.this, "varchar"))
    return expression


def _timestamps_with_nulls(timestamps: Any) -> Any:
    """fakesnow's has no mask, so NULL came as 1970."""
    if isinstance(timestamps, pa.ChunkedArray):
        timestamps = timestamps.combine_chunks()
    zoned = timestamps.type.tz is not None
    numbers = timestamps.cast(pa.timestamp("us")).cast(pa.int64())
    given = numbers.to_pylist()
    parts = [
        pa.array([None if n is None else n // 1_000_000 for n in given], pa.int64()),
        pa.array([None if n is None else n % 1_000_000 * 1000 for n in given], pa.int32()),
    ]
    fields = [pa.field("epoch", pa.int64()), pa.field("fraction", pa.int32())]
    if zoned:
        parts.append(pa.array([None if n is None else 1440 for n in given], pa.int32()))
        fields.append(pa.field("timezone", pa.int32()))
    return pa.StructArray.from_arrays(parts, fields=fields, mask=timestamps.is_null())


def _described(table: exp.Table, connection: Any, database: str | None, schema: str | None) -> list[tuple[str, str]]:
    parts = (table.catalog or database, table.db or schema, table.name)
    quoted = ".".join('"' + str(part).replace('"', '""') + '"' for part in parts if part)
    return [(row[0], row[1]) for row in connection.execute(f"DESCRIBE {quoted}").fetchall()]


def _columns_as_they_are(*given: Any) -> list[str]:
    """fakesnow's made capitals of them, so quoted names found nothing and were filled with NULL."""
    return [name for name, _ in _described(*given)]


def _matched(in_file: list[str], in_table: list[str], mode: copy_into.MatchByColumnName) -> dict[str, str]:
    if mode == copy_into.MatchByColumnName.NONE:
        return {}
    if mode == copy_into.MatchByColumnName.CASE_SENSITIVE:
        return {name: name for name in in_table if name in in_file}
    anyhow = {name.upper(): name for name in in_file}
    return {name: anyhow[name.upper()] for name in in_table if name.upper() in anyhow}


def _options_that_matter(params: Any) -> Any:
    """fakesnow takes ``PURGE = FALSE`` for PURGE, and knows few options."""

    def read(statement: exp.Copy, *given: Any, **named: Any) -> Any:
        kept = []
        for option in statement.args.get("params") or []:
            usual = AS_ALWAYS.get(option.this.name.upper())
            if usual is None or option.expression is None or option.expression.sql().upper() != usual:
                kept.append(option)
        statement.set("params", kept)
        return params(statement, *given, **named)

    return read


def _integers_alone(integers: Any) -> Any:
    """fakesnow makes BIGINT of NUMBER(38,0), whose 38 digits Snowflake keeps."""

    def precision(node: Any) -> Any:
        if isinstance(node, exp.DataType) and node.this == exp.DataType.Type.DECIMAL and node.expressions:
            return node
        return integers(node)

    return precision
