"""Comparing tables inside Snowflake: values in their normal forms, hashed and summed by the server."""

from __future__ import annotations

from typing import Final

from whimbrel.connectors.snowflake.connection import connect
from whimbrel.connectors.snowflake.dialect import DIALECT
from whimbrel.connectors.snowflake.target import SnowflakeTarget
from whimbrel.connectors.sql.comparison import SqlComparisonDialect, TargetComparison
from whimbrel.model.job import Endpoint, Role
from whimbrel.model.normal import HASH_DIGITS, split_form
from whimbrel.model.table import Annotation, Column


class SnowflakeComparisonDialect(SqlComparisonDialect):
    """``native`` is a type as ``SnowflakeTarget.reflected`` has it: ``NUMBER(12,2)``, ``TEXT(40)``."""

    sql = DIALECT

    def value(self, column: str, native: str, form: str) -> str:
        name, digits = split_form(form)
        render = _RENDER.get(name)
        return render(column, _base(native), digits) if render else _text(column, _base(native))

    def operand(self, column: str, native: str, form: str) -> str | None:
        return column if _base(native) in _DIRECT.get(form, ()) else None

    def binary_constant(self, value: bytes) -> str:
        return f"TO_BINARY('{value.hex()}', 'HEX')"

    def measured(self, text: str) -> str:
        return f"CONCAT(OCTET_LENGTH({text}), ':', {text})"

    def digest(self, text: str) -> str:
        return f"SHA2({text}, 256)"

    def number(self, text: str) -> str:
        return f"TO_NUMBER(SUBSTR({self.digest(text)}, 1, {HASH_DIGITS}), '{'X' * HASH_DIGITS}')"

    def quotient(self, number: str, divisor: int) -> str:
        """Division would round in the seventh digit behind the point."""
        return f"(({number} - {number} % {divisor}) / {divisor})"


# --- values in their normal forms -------------------------------------------------------------------------------------

_DIRECT: Final = {
    "integer": ("NUMBER",),
    "decimal": ("NUMBER",),
    "text": ("TEXT",),
    "date": ("DATE",),
    "hex": ("BINARY",),
}


def _base(native: str) -> str:
    base = native.partition("(")[0].upper()
    return "TEXT" if base == "VARCHAR" else base


def _text(column: str, base: str) -> str:
    if base in ("VARIANT", "ARRAY", "OBJECT"):
        return f"TO_JSON({column})"
    return column if base == "TEXT" else f"TO_VARCHAR({column})"


def _integer(column: str, base: str, digits: int) -> str:
    if base == "BOOLEAN":
        return f"CASE WHEN {column} THEN '1' WHEN NOT {column} THEN '0' END"
    return f"TO_VARCHAR({column})"


def _decimal(column: str, base: str, digits: int) -> str:
    text = _integer(column, base, digits)
    return f"IFF(CONTAINS({text}, '.'), {_trimmed(text)}, {text})"


def _trimmed(text: str) -> str:
    return f"RTRIM(RTRIM({text}, '0'), '.')"


def _number(column: str, base: str, digits: int) -> str:
    """The driver hands a FLOAT over as it is, and its exact text is made from that by us."""
    return column


def _rough(column: str, base: str, digits: int) -> str:
    """Snowflake's own text of a FLOAT; that it equals another engine's is not hoped for."""
    return f"TO_VARCHAR({column})"


def _padded(column: str, base: str, digits: int) -> str:
    return f"RTRIM({_text(column, base)}, ' ')"


def _uuid(column: str, base: str, digits: int) -> str:
    return f"LOWER(HEX_ENCODE({column}))" if base == "BINARY" else f"REPLACE(LOWER({column}), '-', '')"


def _bytes(column: str, base: str, digits: int) -> str:
    return f"SHA2({column}, 256)"


def _hex(column: str, base: str, digits: int) -> str:
    return f"LOWER(HEX_ENCODE({column}))"


def _date(column: str, base: str, digits: int) -> str:
    return f"TO_CHAR({column}, 'YYYY-MM-DD')" if base == "DATE" else f"TO_CHAR(TO_DATE({column}), 'YYYY-MM-DD')"


def _time(column: str, base: str, digits: int) -> str:
    """In units of the last digit; durations that are kept as text may have a sign and more hours than a day."""
    unit = 10 ** (6 - digits)
    if base != "TEXT":
        micros = f"TIMEDIFF(MICROSECOND, TO_TIME('00:00:00'), {column})"
        return f"TO_VARCHAR(({micros} - {micros} % {unit}) / {unit}, 'TM9')" if unit > 1 else f"TO_VARCHAR({micros})"
    plain = f"LTRIM({column}, '-')"
    whole = f"TO_NUMBER(SPLIT_PART({plain}, ':', 1)) * 3600 + TO_NUMBER(SPLIT_PART({plain}, ':', 2)) * 60"
    seconds = f"TO_NUMBER(SPLIT_PART({plain}, ':', 3), 12, 6)"
    micros = f"(({whole} + {seconds}) * {10**digits})::NUMBER(38,0)"
    return f"TO_VARCHAR(IFF({column} LIKE '-%', -1, 1) * {micros})"


def _timestamp(column: str, base: str, digits: int) -> str:
    moment = f"CONVERT_TIMEZONE('UTC', {column})" if base in ("TIMESTAMP_TZ", "TIMESTAMP_LTZ") else column
    if base == "DATE":
        return f"CONCAT(TO_CHAR({column}, 'YYYY-MM-DD'), ' 00:00:00')"
    fraction = f".FF{digits}" if digits else ""
    text = f"TO_CHAR({moment}, 'YYYY-MM-DD HH24:MI:SS{fraction}')"
    return _trimmed(text) if digits else text


def _bit(column: str, base: str, digits: int) -> str:
    """Without leading zeros: '' is zero."""
    return f"LTRIM({_integer(column, base, digits) if base != 'TEXT' else column}, '0')"


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


class SnowflakeComparison(TargetComparison):
    """See ``protocols.Comparison``."""

    dialect = SnowflakeComparisonDialect()

    def canonical(self, column: Column) -> str:
        return _canonical(DIALECT.identifier(column.name), column)


def _canonical(name: str, column: Column) -> str:
    """A target column's value as the change plane would carry it."""
    base = _base(column.type.native)
    if column.type.annotation is Annotation.JSON:
        return f"TO_JSON({name})"
    if base == "BOOLEAN":
        return f"CASE WHEN {name} THEN 't' WHEN NOT {name} THEN 'f' END"
    if base == "TIME":
        return f"TO_CHAR({name}, 'HH24:MI:SS.FF6')"
    if base == "TIMESTAMP_TZ":
        return f"CONCAT(TO_CHAR(CONVERT_TIMEZONE('UTC', {name}), 'YYYY-MM-DD HH24:MI:SS.FF6'), '+00')"
    if base == "TIMESTAMP_NTZ":
        return f"TO_CHAR({name}, 'YYYY-MM-DD HH24:MI:SS.FF6')"
    return name if base in ("TEXT", "BINARY", "FLOAT") else f"TO_VARCHAR({name})"


def open_comparison(endpoint: Endpoint, operation: str, role: Role = "target") -> SnowflakeComparison:
    """Connect for comparing. Raises a ConnectionRefused leaf."""
    target = SnowflakeTarget(endpoint, operation)
    return SnowflakeComparison(target, connect(endpoint.parameters, operation, role))
