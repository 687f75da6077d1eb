"""Oracle's types: as DDL writes them, as its catalogue shows them, as PostgreSQL keeps them, and as the wire has them.

Sizes and limits: "Oracle Database SQL Language Reference", chapter "Data Types"; what the catalogue shows of them:
"Database Reference", ALL_TAB_COLS.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tests.emulators.oracle import wire
from tests.emulators.oracle.tokens import group, word

VARCHAR, NUMBER, LONG, ROWID, DATE, RAW, LONG_RAW, CHAR = 1, 2, 8, 11, 12, 23, 24, 96
FLOAT, DOUBLE, CLOB, BLOB, TIMESTAMP, TIMESTAMP_TZ, YEARS, DAYS, LOCAL_TZ = 100, 101, 112, 113, 180, 181, 182, 183, 231
LOBS: Final = frozenset({CLOB, BLOB})
TEXTS: Final = frozenset({VARCHAR, CHAR, LONG, CLOB})
NATIONAL: Final = 2  # the form of a national character set, UTF-16 on the wire
ANY_SCALE: Final = -127


@dataclass(frozen=True)
class Type:
    """``data_type`` … ``char_used`` are as in ALL_TAB_COLS; ``kept`` is PostgreSQL's type."""

    data_type: str
    kept: str
    wire: int = VARCHAR
    length: int = 22
    precision: int | None = None
    scale: int | None = None
    char_length: int = 0
    char_used: str | None = None
    form: int = 0

    @property
    def size(self) -> int:
        """Bytes of the wire's buffer."""
        if self.wire in (CHAR, VARCHAR):
            return self.char_length * (2 if self.form == NATIONAL else 4) if self.char_used == "C" else self.length
        return {NUMBER: 22, DATE: 7, TIMESTAMP: 11, TIMESTAMP_TZ: 13, LOCAL_TZ: 11, FLOAT: 4, DOUBLE: 8}.get(
            self.wire, {YEARS: 5, DAYS: 11, ROWID: 18, LONG: 0, LONG_RAW: 0}.get(self.wire, self.length)
        )


def read_type(parts: Sequence[str]) -> tuple[Type, int]:
    """The type at the front of some tokens, and how many of them it takes."""
    head, at = word(parts[0]), 1
    arguments: list[str] = []
    if head == "INTERVAL":
        return _interval(parts)
    if at < len(parts) and parts[at] == "(":
        end = group(parts, at)
        arguments, at = [word(p) for p in parts[at + 1 : end - 1] if p != ","], end
    rest = [word(p) for p in parts[at : at + 4]]
    if head == "TIMESTAMP":
        return _timestamp(int(arguments[0]) if arguments else 6, rest, at)
    if head == "LONG" and rest[:1] == ["RAW"]:
        return Type("LONG RAW", "bytea", LONG_RAW, 0), at + 1
    if head == "DOUBLE":
        return _float(126), at + 1
    return _plain(head, arguments), at


def _plain(head: str, arguments: list[str]) -> Type:
    size = int(arguments[0]) if arguments and arguments[0].isdigit() else None
    if head in ("NUMBER", "DECIMAL", "NUMERIC", "DEC"):
        scale = int("".join(arguments[1:])) if len(arguments) > 1 else None
        return number(size, scale if scale is not None or (head == "NUMBER" and not arguments) else 0)
    if head in ("INTEGER", "INT", "SMALLINT"):
        return number(None, 0)
    if head in ("FLOAT", "REAL"):
        return _float(size or (63 if head == "REAL" else 126))
    if head in ("VARCHAR2", "VARCHAR", "CHAR", "NVARCHAR2", "NCHAR"):
        return _text(head, size or 1, arguments)
    if head == "RAW":
        return Type("RAW", "bytea", RAW, size or 1)
    return _KNOWN.get(head) or Type(head, "text", VARCHAR, 4000)


def number(precision: int | None, scale: int | None) -> Type:
    kept = "numeric" if scale is None else f"numeric({precision or 38},{scale})"
    return Type("NUMBER", kept, NUMBER, 22, precision, scale)


def _float(bits: int) -> Type:
    return Type("FLOAT", "numeric", NUMBER, 22, bits)


def _text(head: str, size: int, arguments: list[str]) -> Type:
    fixed, national = head in ("CHAR", "NCHAR"), head in ("NVARCHAR2", "NCHAR")
    in_chars = national or "CHAR" in arguments[1:]
    kept = f"{'character' if fixed else 'character varying'}({size})"
    bytes_ = min(size * (2 if national else 4), 2000 if fixed else 4000) if in_chars else size
    name = "VARCHAR2" if head == "VARCHAR" else head
    form = NATIONAL if national else 1
    return Type(
        name, kept, CHAR if fixed else VARCHAR, bytes_, char_length=size, char_used="C" if in_chars else "B", form=form
    )


def _timestamp(digits: int, rest: list[str], at: int) -> tuple[Type, int]:
    kept = f"timestamp({digits})" if digits <= 6 else '"SYS".timestamp9'
    if rest[:2] == ["WITH", "TIME"]:
        name = f"TIMESTAMP({digits}) WITH TIME ZONE"
        return Type(name, f"timestamptz({min(digits, 6)})", TIMESTAMP_TZ, 13, scale=digits), at + 3
    if rest[:3] == ["WITH", "LOCAL", "TIME"]:
        name = f"TIMESTAMP({digits}) WITH LOCAL TIME ZONE"
        return Type(name, f"timestamptz({min(digits, 6)})", LOCAL_TZ, 11, scale=digits), at + 4
    return Type(f"TIMESTAMP({digits})", kept, TIMESTAMP, 11 if digits else 7, scale=digits), at


def _interval(parts: Sequence[str]) -> tuple[Type, int]:
    at, numbers = 1, {}
    while at < len(parts) and word(parts[at]) in ("YEAR", "MONTH", "DAY", "SECOND", "TO"):
        unit, at = word(parts[at]), at + 1
        if at < len(parts) and parts[at] == "(":
            numbers[unit], at = int(parts[at + 1]), at + 3
        else:
            numbers.setdefault(unit, 6 if unit == "SECOND" else 2)
        if unit in ("MONTH", "SECOND"):
            break
    if "YEAR" in numbers:
        whole = numbers["YEAR"]
        return Type(f"INTERVAL YEAR({whole}) TO MONTH", "interval", YEARS, 5, whole, 0), at
    days, digits = numbers["DAY"], numbers["SECOND"]
    return Type(f"INTERVAL DAY({days}) TO SECOND({digits})", "interval", DAYS, 11, days, digits), at


_KNOWN: Final = {
    "BINARY_FLOAT": Type("BINARY_FLOAT", "real", FLOAT, 4),
    "BINARY_DOUBLE": Type("BINARY_DOUBLE", "double precision", DOUBLE, 8),
    "DATE": Type("DATE", "timestamp(0)", DATE, 7),
    "CLOB": Type("CLOB", "text", CLOB, 4000, form=1),
    "NCLOB": Type("NCLOB", "text", CLOB, 4000, form=NATIONAL),
    "BLOB": Type("BLOB", "bytea", BLOB, 4000),
    "LONG": Type("LONG", "text", LONG, 0, form=1),
    "ROWID": Type("ROWID", "text", ROWID, 10),
    "UROWID": Type("UROWID", "text", VARCHAR, 4000, form=1),
}
TEXT: Final = Type("VARCHAR2", "text", VARCHAR, 4000, char_length=4000, char_used="B", form=1)


def of_result(oid: int, modifier: int) -> Type:
    """The type of an expression, by PostgreSQL's."""
    if oid == 1700:
        bound = modifier >= 4
        return number((modifier - 4) >> 16, (modifier - 4) & 0x7FF) if bound else number(None, None)
    if oid in (20, 21, 23, 26):
        return number(None, None)
    if oid in (700, 701):
        return _KNOWN["BINARY_FLOAT" if oid == 700 else "BINARY_DOUBLE"]
    if oid in (1082, 1114):
        return _timestamp(6 if modifier < 0 else modifier, [], 0)[0] if oid == 1114 else _KNOWN["DATE"]
    if oid == 1184:
        return _timestamp(6 if modifier < 0 else modifier, ["WITH", "TIME"], 0)[0]
    if oid == 1186:
        return Type("INTERVAL DAY(9) TO SECOND(6)", "interval", DAYS, 11, 9, 6)
    if oid == 17:
        return Type("RAW", "bytea", RAW, 2000)
    return TEXT


def encode(type: Type, found: Any, defined: int | None = None) -> bytes:
    """A value, PostgreSQL's text of it (bytes for bytea), on the wire; '' is NULL. LOBs are written by the session."""
    as_long = defined in (LONG, LONG_RAW)
    tail = (b"\0\0" if found not in (None, "", b"") else b"\x81\x01\x02\x05\x7d") if as_long else b""
    if found is None or found == "" or found == b"":
        return b"\0" + tail
    return wire.value(_raw(type, found)) + tail


def _raw(type: Type, found: Any) -> bytes:
    match type.wire:
        case 2:
            return wire.encode_number(Decimal(found))
        case 100 | 101:
            number = float(found)
            return wire.encode_double(number, ">f" if type.wire == FLOAT else ">d")
        case 12 | 180 | 181 | 231:
            return wire.encode_date(_moment(found), {DATE: 7, TIMESTAMP_TZ: 13}.get(type.wire, 11))
        case 182:
            return wire.encode_year_to_month(_interval_parts(found)[0])
        case 183:
            return wire.encode_day_to_second(_interval_parts(found)[1])
        case 23 | 24 | 113:
            return bytes(found)
    return str(found).encode("utf-16-be" if type.form == NATIONAL else "utf-8")


def _moment(text: str) -> str:
    """PostgreSQL's text as ``wire.encode_date`` takes it."""
    before = text.endswith(" BC")
    plain = text.removesuffix(" BC").removesuffix("+00")
    return f"-{plain}" if before else plain


_PART: Final = re.compile(r"(-?[0-9.]+)([YMDHS])")


def _interval_parts(text: str) -> tuple[int, int]:
    """(months, microseconds) of PostgreSQL's text in the style of ISO 8601."""
    days, _, clock = text.removeprefix("P").partition("T")
    of = {unit: Decimal(count) for count, unit in _PART.findall(days)}
    seconds = of.get("D", Decimal(0)) * 86_400
    for count, unit in _PART.findall(clock):
        seconds += Decimal(count) * {"H": 3600, "M": 60, "S": 1}[unit]
    return int(of.get("Y", 0) * 12 + of.get("M", 0)), int(seconds * 1_000_000)


def decode(kind: int, form: int, data: bytes | None) -> Any:
    """A bind as PostgreSQL takes it: text whose type the statement decides, or bytes."""
    if not data:
        return None
    match kind:
        case 2 | 3:
            return wire.decode_number(data)
        case 1 | 96 | 8:
            return data.decode("utf-16-be" if form == NATIONAL else "utf-8")
        case 23 | 24:
            return data
        case 12 | 180 | 181 | 231:
            return wire.decode_date(data)
        case 100 | 101:
            return wire.decode_double(data, ">f" if kind == FLOAT else ">d")
        case 183:
            return f"{wire.decode_day_to_second(data)} microseconds"
        case 182:
            return f"{wire.decode_year_to_month(data)} months"
    raise ValueError(f"binds of type {kind} are not taken")
