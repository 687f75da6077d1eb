"""Values that the driver hands over, as the texts that engines are compared by (docs/validation.md), and as the change
plane would carry them. Firebolt's documentation has no SHA-256, so that rows are read and hashed by us."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from whimbrel.connectors.comparison import DIGESTED, FREE_TEXT
from whimbrel.model.normal import HASH_DIGITS, split_form

Render = Callable[[Any, int], str]


def normal(value: Any, form: str) -> str | None:
    """The text of a value in a form; NULL stays NULL."""
    if value is None:
        return None
    name, digits = split_form(form)
    return _RENDER.get(name, _text)(value, digits)


def row_number(values: Sequence[Any], forms: Sequence[str]) -> int:
    """The hash of a row or of its key, as a database that has SHA-256 makes it."""
    if not forms:
        return 0
    parts = "|".join(_part(value, form) for value, form in zip(values, forms, strict=True))
    return int(hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS], 16)


def _part(value: Any, form: str) -> str:
    text = normal(value, form)
    if text is None:
        return "N"
    if form in FREE_TEXT:
        return f"{len(text.encode('utf-8', 'surrogatepass'))}:{text}"
    return _digest(text.encode("utf-8", "surrogatepass")) if form in DIGESTED else text


def canonical(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, bytes):
        return value
    if isinstance(value, datetime):
        return _moment(value, 6).encode() + (b"+00" if value.tzinfo else b"")
    return (repr(value) if isinstance(value, float) else _text(value, 0)).encode("utf-8", "surrogatepass")


def _text(value: Any, digits: int) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return _moment(value, 6)
    return value.isoformat() if isinstance(value, date) else str(value)


def _integer(value: Any, digits: int) -> str:
    return str(int(value)) if isinstance(value, bool) else _text(value, digits)


def _decimal(value: Any, digits: int) -> str:
    text = _integer(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _float(value: Any, digits: int) -> str:
    return repr(value) if isinstance(value, float) else _text(value, digits)


def _padded(value: Any, digits: int) -> str:
    return _text(value, digits).rstrip(" ")


def _uuid(value: Any, digits: int) -> str:
    return value.hex() if isinstance(value, bytes) else str(value).lower().replace("-", "")


def _bytes(value: Any, digits: int) -> str:
    return _digest(value if isinstance(value, bytes) else str(value).encode())


def _hex(value: Any, digits: int) -> str:
    return value.hex() if isinstance(value, bytes) else str(value).encode().hex()


def _date(value: Any, digits: int) -> str:
    return value.date().isoformat() if isinstance(value, datetime) else str(value)[:10]


def _time(value: Any, digits: int) -> str:
    """In units of the last digit, of the text that times and durations are kept as; it may have a sign and more hours
    than a day."""
    hours, minutes, seconds = str(value).lstrip("-").split(":")
    whole, _, fraction = seconds.partition(".")
    units = (int(hours) * 3600 + int(minutes) * 60 + int(whole)) * 10**digits
    units += int(f"{fraction:0<6}"[:digits] or "0")
    return str(-units if str(value).startswith("-") else units)


def _timestamp(value: Any, digits: int) -> str:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return f"{value.isoformat()} 00:00:00"
    text = _moment(value, 6)[: 20 + digits if digits else 19]
    return text.rstrip("0").rstrip(".") if digits else text


def _moment(value: datetime, digits: int) -> str:
    if value.tzinfo:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return value.isoformat(" ", timespec="microseconds")


def _bit(value: Any, digits: int) -> str:
    """Without leading zeros: '' is zero."""
    return _integer(value, digits).lstrip("0")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


_RENDER: Final[dict[str, Render]] = {
    "integer": _integer,
    "decimal": _decimal,
    "float64": _float,
    "float32": _float,
    "float64-exact": _float,
    "float32-exact": _float,
    "padded": _padded,
    "uuid": _uuid,
    "bytes": _bytes,
    "hex": _hex,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "bit": _bit,
}
