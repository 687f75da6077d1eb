"""Comparing tables inside Databricks: values in their normal forms, hashed and summed by the warehouse."""

from __future__ import annotations

from typing import Final

from whimbrel.connectors.databricks.connection import connect
from whimbrel.connectors.databricks.dialect import DIALECT
from whimbrel.connectors.databricks.target import DatabricksTarget
from whimbrel.connectors.sql.comparison import SqlComparisonDialect, TargetComparison
from whimbrel.model.job import Endpoint, Role
from whimbrel.model.normal import HASH_DIGITS, split_form
from whimbrel.model.table import Column

_WHOLE: Final = ("TINYINT", "SMALLINT", "INT", "BIGINT")
_MICROS: Final = "yyyy-MM-dd HH:mm:ss.SSSSSS"


class DatabricksComparisonDialect(SqlComparisonDialect):
    """``native`` is a type as ``DatabricksTarget.reflected`` has it: ``DECIMAL(12,2)``."""

    sql = DIALECT

    def value(self, column: str, native: str, form: str) -> str:
        name, digits = split_form(form)
        render = _RENDER.get(name)
        return render(column, _base(native), digits) if render else _text(column, _base(native))

    def operand(self, column: str, native: str, form: str) -> str | None:
        return column if _base(native) in _DIRECT.get(form, ()) else None

    def binary_constant(self, value: bytes) -> str:
        return f"X'{value.hex()}'"

    def measured(self, text: str) -> str:
        return f"CONCAT(CAST(OCTET_LENGTH({text}) AS STRING), ':', {text})"

    def digest(self, text: str) -> str:
        return f"SHA2({text}, 256)"

    def number(self, text: str) -> str:
        return f"CAST(CONV(SUBSTR({self.digest(text)}, 1, {HASH_DIGITS}), 16, 10) AS DECIMAL(38, 0))"

    def quotient(self, number: str, divisor: int) -> str:
        return f"(CAST({number} AS BIGINT) DIV {divisor})"


# --- values in their normal forms -------------------------------------------------------------------------------------

_DIRECT: Final = {
    "integer": _WHOLE,
    "decimal": ("DECIMAL",),
    "text": ("STRING",),
    "date": ("DATE",),
    "hex": ("BINARY",),
}


def _base(native: str) -> str:
    base = native.partition("(")[0].strip().upper()
    return "STRING" if base in ("VARCHAR", "CHAR") else base


def _text(column: str, base: str) -> str:
    return column if base == "STRING" else f"CAST({column} AS STRING)"


def _integer(column: str, base: str, digits: int) -> str:
    if base == "BOOLEAN":
        return f"CASE WHEN {column} THEN '1' WHEN NOT {column} THEN '0' END"
    return _text(column, base)


def _decimal(column: str, base: str, digits: int) -> str:
    text = _text(column, base)
    return f"CASE WHEN CONTAINS({text}, '.') THEN {_trimmed(text)} ELSE {text} END"


def _trimmed(text: str) -> str:
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))"


def _number(column: str, base: str, digits: int) -> str:
    """The driver hands a binary float over as it is, and its exact text is made from that by us."""
    return column


def _rough(column: str, base: str, digits: int) -> str:
    """Databricks' own text of a binary float; that it equals another engine's is not hoped for."""
    return _text(column, base)


def _padded(column: str, base: str, digits: int) -> str:
    return f"RTRIM({_text(column, base)})"


def _uuid(column: str, base: str, digits: int) -> str:
    return f"LOWER(HEX({column}))" if base == "BINARY" else f"REPLACE(LOWER({column}), '-', '')"


def _bytes(column: str, base: str, digits: int) -> str:
    return f"SHA2({column}, 256)"


def _hex(column: str, base: str, digits: int) -> str:
    return f"LOWER(HEX({column}))"


def _date(column: str, base: str, digits: int) -> str:
    return f"CAST({column if base == 'DATE' else f'CAST({column} AS DATE)'} AS STRING)"


def _time(column: str, base: str, digits: int) -> str:
    """In units of the last digit, of the text that times and durations are kept as; it may have a sign and more hours
    than a day."""
    plain = f"TRIM(LEADING '-' FROM {column})"
    whole = f"CAST(SPLIT_PART({plain}, ':', 1) AS BIGINT) * 3600 + CAST(SPLIT_PART({plain}, ':', 2) AS BIGINT) * 60"
    seconds = f"CAST(SPLIT_PART({plain}, ':', 3) AS DECIMAL(12, 6))"
    micros = f"CAST(({whole} + {seconds}) * {10**digits} AS BIGINT)"
    return f"CAST(CASE WHEN {column} LIKE '-%' THEN -1 ELSE 1 END * {micros} AS STRING)"


def _timestamp(column: str, base: str, digits: int) -> str:
    moment = f"CAST({column} AS TIMESTAMP_NTZ)" if base == "DATE" else column
    text = f"DATE_FORMAT({moment}, '{_MICROS}')"
    return _trimmed(f"SUBSTR({text}, 1, {20 + digits})") if digits else f"SUBSTR({text}, 1, 19)"


def _bit(column: str, base: str, digits: int) -> str:
    """Without leading zeros: '' is zero."""
    return f"TRIM(LEADING '0' FROM {_integer(column, base, digits)})"


_RENDER: Final = {
    "integer": _integer,
    "decimal": _decimal,
    "float64": _rough,
    "float32": _rough,
    "float64-exact": _number,
    "float32-exact": _number,
    "padded": _padded,
    "uuid": _uuid,
    "bytes": _bytes,
    "hex": _hex,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "bit": _bit,
}


# --- running it -------------------------------------------------------------------------------------------------------


class DatabricksComparison(TargetComparison):
    """See ``protocols.Comparison``."""

    dialect = DatabricksComparisonDialect()

    def canonical(self, column: Column) -> str:
        return _canonical(DIALECT.identifier(column.name), column)


def _canonical(name: str, column: Column) -> str:
    """A target column's value as the change plane would carry it."""
    base = _base(column.type.native)
    if base == "BOOLEAN":
        return f"CASE WHEN {name} THEN 't' WHEN NOT {name} THEN 'f' END"
    if base == "TIMESTAMP":
        return f"CONCAT(DATE_FORMAT({name}, '{_MICROS}'), '+00')"
    if base == "TIMESTAMP_NTZ":
        return f"DATE_FORMAT({name}, '{_MICROS}')"
    return name if base in ("STRING", "BINARY", "FLOAT", "DOUBLE") else f"CAST({name} AS STRING)"


def open_comparison(endpoint: Endpoint, operation: str, role: Role = "target") -> DatabricksComparison:
    """Connect for comparing. Raises a ConnectionRefused leaf."""
    target = DatabricksTarget(endpoint, operation)
    return DatabricksComparison(target, connect(endpoint.parameters, operation, role))
