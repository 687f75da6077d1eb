"""Values in their normal forms in GoogleSQL, which several of Google's servers speak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from whimbrel.connectors.sql.comparison import SqlComparisonDialect
from whimbrel.model.normal import HASH_DIGITS, split_form
from whimbrel.model.table import Column

_MICROS: Final = "%E4Y-%m-%d %H:%M:%E6S"
_DAY: Final = "%E4Y-%m-%d"
_WHOLE_SECONDS: Final = 19  # characters of a moment without its fraction


class GoogleSqlComparisonDialect(SqlComparisonDialect):
    """``native`` is a type as the target's ``reflected`` has it: ``NUMERIC(12,2)``. There is none of DATETIME and TIME
    everywhere, so nothing is made by way of them that is of another type."""

    def value(self, column: str, native: str, form: str) -> str:
        name, digits = split_form(form)
        render = _RENDER.get(name)
        return render(column, _base(native), digits) if render else _text(column, _base(native))

    def operand(self, column: str, native: str, form: str) -> str | None:
        return column if _base(native) in _DIRECT.get(form, ()) else None

    def binary_constant(self, value: bytes) -> str:
        return f"FROM_HEX('{value.hex()}')"

    def joined(self, parts: Sequence[str]) -> str:
        between = ", '|', ".join(parts)
        return f"CONCAT({between})"

    def measured(self, text: str) -> str:
        return f"CONCAT(CAST(BYTE_LENGTH({text}) AS STRING), ':', {text})"

    def digest(self, text: str) -> str:
        return f"TO_HEX(SHA256({text}))"

    def number(self, text: str) -> str:
        return f"CAST(CONCAT('0x', SUBSTR({self.digest(text)}, 1, {HASH_DIGITS})) AS INT64)"

    def total(self, number: str) -> str:
        """Of INT64 it would overflow."""
        return f"SUM(CAST({number} AS NUMERIC))"

    def remainder(self, number: str, divisor: int) -> str:
        return f"MOD({number}, {divisor})"

    def quotient(self, number: str, divisor: int) -> str:
        return f"DIV({number}, {divisor})"


# --- values in their normal forms -------------------------------------------------------------------------------------

_DIRECT: Final = {
    "integer": ("INT64",),
    "decimal": ("NUMERIC", "BIGNUMERIC"),
    "text": ("STRING",),
    "date": ("DATE",),
    "hex": ("BYTES",),
}


def _base(native: str) -> str:
    return native.partition("(")[0].upper()


def _text(column: str, base: str) -> str:
    """NULL must stay NULL, where TO_JSON_STRING makes a text of it."""
    if base == "JSON":
        return f"IF({column} IS NULL, NULL, TO_JSON_STRING({column}))"
    return column if base == "STRING" else f"CAST({column} AS STRING)"


def _integer(column: str, base: str, digits: int) -> str:
    if base == "BOOL":
        return f"CASE WHEN {column} THEN '1' WHEN NOT {column} THEN '0' END"
    return _text(column, base)


def _decimal(column: str, base: str, digits: int) -> str:
    text = _text(column, base)
    return f"IF(STRPOS({text}, '.') > 0, {_trimmed(text)}, {text})"


def _trimmed(text: str) -> str:
    return f"RTRIM(RTRIM({text}, '0'), '.')"


def _number(column: str, base: str, digits: int) -> str:
    """A float is handed over as it is, and its exact text is made from that by us."""
    return column


def _rough(column: str, base: str, digits: int) -> str:
    """The server's own text of a float; that it equals another engine's is not hoped for."""
    return f"CAST({column} AS STRING)"


def _padded(column: str, base: str, digits: int) -> str:
    return f"RTRIM({_text(column, base)}, ' ')"


def _uuid(column: str, base: str, digits: int) -> str:
    return f"TO_HEX({column})" if base == "BYTES" else f"REPLACE(LOWER({column}), '-', '')"


def _bytes(column: str, base: str, digits: int) -> str:
    return f"TO_HEX(SHA256({column}))"


def _hex(column: str, base: str, digits: int) -> str:
    return f"TO_HEX({column})"


def _date(column: str, base: str, digits: int) -> str:
    if base == "TIMESTAMP":  # a cast would take another zone than UTC on some
        return f"FORMAT_TIMESTAMP('{_DAY}', {column}, 'UTC')"
    return f"FORMAT_DATE('{_DAY}', {column if base == 'DATE' else f'CAST({column} AS DATE)'})"


def _time(column: str, base: str, digits: int) -> str:
    """In units of the last digit; durations that are kept as text may have a sign and more hours than a day."""
    unit = 10 ** (6 - digits)
    if base != "STRING":
        return f"CAST(DIV(TIME_DIFF({column}, TIME '00:00:00', MICROSECOND), {unit}) AS STRING)"
    part = [f"SPLIT(LTRIM({column}, '-'), ':')[SAFE_OFFSET({n})]" for n in range(3)]
    whole = f"CAST({part[0]} AS INT64) * 3600 + CAST({part[1]} AS INT64) * 60"
    units = f"CAST(({whole} + CAST({part[2]} AS NUMERIC)) * {10**digits} AS INT64)"
    return f"CAST(IF(STARTS_WITH({column}, '-'), -1, 1) * {units} AS STRING)"


def _timestamp(column: str, base: str, digits: int) -> str:
    text = _moment(column, base)
    if not digits:
        return f"SUBSTR({text}, 1, {_WHOLE_SECONDS})"
    return _trimmed(f"SUBSTR({text}, 1, {_WHOLE_SECONDS + 1 + digits})")


def _moment(column: str, base: str) -> str:
    if base == "TIMESTAMP":
        return f"FORMAT_TIMESTAMP('{_MICROS}', {column}, 'UTC')"
    if base == "DATE":
        return f"CONCAT(FORMAT_DATE('{_DAY}', {column}), ' 00:00:00.000000')"
    return f"FORMAT_DATETIME('{_MICROS}', {column})"


def _bit(column: str, base: str, digits: int) -> str:
    """Without leading zeros: '' is zero."""
    return f"LTRIM({_integer(column, base, digits)}, '0')"


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


def canonical(name: str, column: Column) -> str:
    """A target column's value as the change plane would carry it."""
    base = _base(column.type.native)
    if base == "BOOL":
        return f"CASE WHEN {name} THEN 't' WHEN NOT {name} THEN 'f' END"
    if base == "TIME":
        return f"FORMAT_TIME('%H:%M:%E6S', {name})"
    if base == "TIMESTAMP":
        return f"CONCAT({_moment(name, base)}, '+00')"
    if base == "DATETIME":
        return _moment(name, base)
    return name if base in ("STRING", "BYTES", "FLOAT64") else _text(name, base)
