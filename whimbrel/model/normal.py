"""Normal forms: the texts that two engines agree on so that values can be compared across them.

A form is a name with an optional number of fractional digits: ``integer``, ``timestamp(3)``. Both sides of a pair
render a column in the same form; ``docs/validation.md`` gives the text of each. Most are rendered by the database.
Those in ``CLIENT_FORMS`` are rendered here, from the database's own text, because SQL cannot do it alike everywhere;
each has a cheap database form (``cheap``) whose equality already proves equal values, but whose difference does not
prove different ones.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa

from whimbrel.errors import ValidateFailed
from whimbrel.model.table import Annotation, ColumnType

HASH_BITS: Final = 60  # of each row's SHA-256, kept as a whole number that every engine can add up
HASH_END: Final = 1 << HASH_BITS
HASH_DIGITS: Final = HASH_BITS // 4  # the same in hex, from the front
DECIMAL_TEXT: Final = re.compile(r"-?\d+(\.\d+)?\Z")  # may stand as it is where SQL takes a number
SHORT_TEXT: Final = 255  # characters; longer texts enter a row's hash as their own SHA-256

CLIENT_FORMS: Final = frozenset({"json", "float64-exact", "float32-exact"})
_CHEAP: Final = {"json": "json-text", "float64-exact": "float64", "float32-exact": "float32"}
_BY_US: Final = {"float64": "float64-exact", "float32": "float32-exact"}
_STRICT: Final = {"float64": "float64-exact"}
_KEY: Final = {"long-text": "text", "bytes": "hex"}

# Forms whose values both engines keep in one order, so that a key of them can be cut into ranges along its index.
_ORDERED: Final = frozenset({"integer", "decimal", "date", "bytes"})

Columns = Sequence[tuple[str, str]]  # (column name, normal form)


def normal_form(source: ColumnType, target: ColumnType, *, same_engine: bool = False) -> str:
    """The form in which values of these two column types are compared.

    ``same_engine`` says that both columns live in the same kind of database, whose own text may then be compared.
    Raises ValidateFailed when there is no form in which both can be written.
    """
    kinds = (_kind(source), _kind(target))
    form = _of_equal_kinds(kinds[0], source, target) if kinds[0] == kinds[1] else _MIXED.get(frozenset(kinds))
    if kinds == ("native", "native") and not same_engine:
        form = None
    if form is None:
        raise ValidateFailed(
            f"values of {source.native} and {target.native} have no common form to compare them in",
            remedy="Leave the table out of this validation, or change the column's type on the target.",
        )
    if form in ("time", "timestamp"):
        return f"{form}({min(_digits(source), _digits(target))})"
    return form


def split_form(form: str) -> tuple[str, int]:
    """``timestamp(3)`` -> (``timestamp``, 3); the number is 6 where the form has none."""
    name, _, digits = form.partition("(")
    return name, int(digits.rstrip(")")) if digits else 6


def cheap(columns: Columns) -> tuple[tuple[str, str], ...]:
    """The same columns in forms that the database alone can render."""
    return tuple((name, _CHEAP.get(form, form)) for name, form in columns)


def strict(columns: Columns) -> tuple[tuple[str, str], ...]:
    """The same columns in forms that differ only where the values do."""
    return tuple((name, _STRICT.get(form, form)) for name, form in columns)


def without_floats(form: str) -> str:
    """The form for a pair of engines of which one cannot write binary floats exactly: floats are then read by us."""
    return _BY_US.get(form, form)


def ordered(key: Columns) -> bool:
    """Whether rows with this key can be cut into ranges of the key; otherwise they are cut by the key's hash."""
    return bool(key) and all(form in _ORDERED for _, form in key)


def hash_cuts(low: Sequence[str] | None, high: Sequence[str] | None, parts: int) -> list[tuple[str, ...]]:
    """Equally distant points that cut an interval of the hash order into at most ``parts``."""
    start = int(low[0]) if low is not None else 0
    end = int(high[0]) if high is not None else HASH_END
    width = max(1, -(-(end - start) // parts))
    return [(str(point),) for point in range(start + width, end, width)]


def key_forms(key: Columns) -> tuple[tuple[str, str], ...]:
    """The forms in which a key's own values are read, so that they can be written back as constants."""
    return tuple((name, _KEY.get(form, form)) for name, form in cheap(key))


def row_hash(database_hash: int, texts: Sequence[str]) -> int:
    """The hash of a row of which only a part could be hashed by the database: 60 bits of a SHA-256 again."""
    whole = "|".join((str(database_hash), *(f"{len(text)}:{text}" for text in texts)))
    return int(hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS], 16)


def client_text(form: str, text: str | None) -> str:
    """A value of one of CLIENT_FORMS as it enters ``row_hash``. Raises ValidateFailed when it cannot be read."""
    if text is None:
        return "NULL"
    try:
        if form == "float64-exact":
            return repr(float(text) + 0.0)
        if form == "float32-exact":
            return repr(float(np.float32(text)) + 0.0)
        return "=" + _canonical_json(text)
    except (ValueError, ArithmeticError, RecursionError) as e:
        raise ValidateFailed(f"a value cannot be read as {form}: {type(e).__name__}") from e


# --- kinds of column ------------------------------------------------------------------------------------------------

_BY_ANNOTATION: Final = {
    Annotation.NUMERIC: "decimal",
    Annotation.CHAR: "char",
    Annotation.JSON: "json",
    Annotation.UUID: "uuid",
    Annotation.ENUM: "enum",
    Annotation.SET: "set",
    Annotation.BIT: "bit",
    Annotation.TIME_TZ: "timetz",
    Annotation.INTERVAL: "interval",
    Annotation.ARRAY: "array",
    Annotation.SPATIAL: "spatial",
    Annotation.YEAR: "integer",
    Annotation.DURATION: "time",
    Annotation.NATIVE: "native",
}

_MIXED: Final = {
    frozenset(kinds.split()): form
    for kinds, form in {
        "boolean integer": "integer",
        "boolean decimal": "decimal",
        "integer decimal": "decimal",
        "float64 float32": "float32",
        "float64 decimal": "float64",
        "float64 integer": "float64",
        "float32 decimal": "float32",
        "float32 integer": "float32",
        "integer text": "integer",
        "decimal text": "decimal",
        "text char": "padded",
        "text enum": "text",
        "char enum": "padded",
        "text set": "set",
        "array set": "set",
        "text json": "json",
        "array json": "json",
        "char json": "json",
        "array text": "json",
        "uuid text": "uuid",
        "uuid char": "uuid",
        "uuid bytes": "uuid",
        "bit boolean": "bit",
        "bit integer": "bit",
        "bit text": "bit",
        "date timestamp": "timestamp",
        "date text": "date",
        "timestamp text": "timestamp",
        "time timetz": "time",
        "time interval": "time",
        "timetz text": "text",
        "interval text": "text",
        "native text": "text",  # kept as the source's text, where it can be kept at all
    }.items()
}


_OF_KIND: Final = {
    "boolean": "integer",
    "char": "padded",
    "enum": "text",
    "timetz": "own",
    "interval": "own",
    "array": "own",
    "native": "own",
    "spatial": "bytes",
}


def _kind(type: ColumnType) -> str:
    if type.annotation is not Annotation.NONE:
        return _BY_ANNOTATION[type.annotation]
    for kind, test in _TESTS:
        if test(type.arrow):
            return kind
    return "native"


_TESTS: Final = (
    ("boolean", pa.types.is_boolean),
    ("integer", pa.types.is_integer),
    ("decimal", pa.types.is_decimal),
    ("float64", pa.types.is_float64),
    ("float32", pa.types.is_float32),
    ("text", pa.types.is_string),
    ("text", pa.types.is_large_string),
    ("bytes", pa.types.is_binary),
    ("bytes", pa.types.is_large_binary),
    ("bytes", pa.types.is_fixed_size_binary),
    ("date", pa.types.is_date),
    ("time", pa.types.is_time),
    ("timestamp", pa.types.is_timestamp),
    ("array", pa.types.is_list),
)


def _of_equal_kinds(kind: str, source: ColumnType, target: ColumnType) -> str:
    """The form of two columns of one kind, by the lengths where these matter."""
    lengths = (source.length, target.length)
    if kind == "bit" and None in lengths:  # of varying width, where leading zeros count
        return "own"
    if kind == "text" and any(length is None or length > SHORT_TEXT for length in lengths):
        return "long-text"
    return _OF_KIND.get(kind, kind)


def _digits(type: ColumnType) -> int:
    """Fractional digits of a time; a date has none, and a type that does not say has six."""
    if pa.types.is_date(type.arrow):
        return 0
    return 6 if type.length is None else min(type.length, 6)


# --- JSON by meaning ------------------------------------------------------------------------------------------------

_FLOAT_WHOLE: Final = 1 << 53  # whole numbers below are the same as binary float and as integer


@dataclass(frozen=True)
class _Digits:
    """A number that no binary float shows; its digits without zeros at either end, and where they stand."""

    text: str


class _HasDigits(Exception):
    pass


def _canonical_json(text: str) -> str:
    """Sorted keys, no spaces, the last of duplicate keys, numbers by exact value: ``1`` = ``1.0`` = ``10e-1``."""
    value = _DECODER.decode(text)
    try:
        return _ENCODER.encode(value)
    except _HasDigits:
        return _write(value)


def _whole(text: str) -> int | float | _Digits:
    return int(text) if len(text) <= 15 else _by_value(text)


def _fraction(text: str) -> int | float | _Digits:
    return _by_value(text) if repr(number := float(text)) != text else _as_whole(number)


def _by_value(text: str) -> int | float | _Digits:
    number, exact = float(text), Decimal(text)
    if math.isfinite(number) and exact == Decimal(repr(number)):
        return _as_whole(number)
    sign, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int)
    written = "".join(map(str, digits))
    short = written.rstrip("0")
    power = exponent + len(written) - len(short)
    return _Digits(f"{'-' * sign}{short}" + (f"e{power}" if power else ""))


def _as_whole(number: float) -> int | float:
    return int(number) if number.is_integer() and abs(number) < _FLOAT_WHOLE else number


def _write(value: Any) -> str:
    if isinstance(value, dict):
        members = (f"{json.dumps(name)}:{_write(value[name])}" for name in sorted(value))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_write, value)) + "]"
    return value.text if isinstance(value, _Digits) else json.dumps(value)


def _slowly(value: Any) -> Any:
    raise _HasDigits


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_int=_whole, parse_float=_fraction, parse_constant=_refuse_constant)
_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_slowly)
