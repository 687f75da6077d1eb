"""What a table map in the binlog says of its table: columns' types and, where the server logs it, their metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whimbrel.codecs.binlog import Cursor, text_of
from whimbrel.codecs.binlog_values import (
    BIT,
    BLOB,
    BLOB_COMPRESSED,
    BLOBS,
    DATETIME2,
    DOUBLE,
    ENUM,
    FLOAT,
    INTEGERS,
    NEWDECIMAL,
    SET,
    STRING,
    TIME2,
    TIMESTAMP2,
    VAR_STRING,
    VARCHAR,
    VARCHAR_COMPRESSED,
    YEAR,
)
from whimbrel.errors import LogDamaged

_ONE_BYTE_META = frozenset({FLOAT, DOUBLE, *BLOBS, TIMESTAMP2, DATETIME2, TIME2, BLOB_COMPRESSED})
_TWO_BYTE_META = frozenset({VARCHAR, BIT, NEWDECIMAL, VAR_STRING, VARCHAR_COMPRESSED})
_CHARACTER = frozenset({STRING, VAR_STRING, VARCHAR, BLOB, BLOB_COMPRESSED, VARCHAR_COMPRESSED})
_NUMERIC = frozenset({*INTEGERS, FLOAT, DOUBLE, NEWDECIMAL, YEAR})  # those that have a bit for their sign


@dataclass(frozen=True)
class TableMap:
    """What a table looked like when the rows that follow were written.

    ``types`` has (type code, metadata). The rest is None where the server logs no such metadata: ``names``,
    ``unsigned``, ``collations`` (ids; None for columns that are not text) and ``labels`` of enums and sets, undecoded.
    """

    number: int
    schema: str
    table: str
    types: tuple[tuple[int, int], ...]
    names: tuple[str, ...] | None = None
    unsigned: tuple[bool, ...] | None = None
    collations: tuple[int | None, ...] | None = None
    labels: tuple[tuple[bytes, ...], ...] | None = None


def table_map(body: bytes) -> TableMap:
    cursor = Cursor(body)
    number = cursor.number(6)
    cursor.take(2)
    schema = _name(cursor)
    table = _name(cursor)
    codes = cursor.take(cursor.packed())
    types = _types(codes, Cursor(cursor.packed_bytes()))
    cursor.take((len(codes) + 7) // 8)
    return TableMap(number, schema, table, types, **_optional(cursor, types))


def _name(cursor: Cursor) -> str:
    name = cursor.take(cursor.number(1))
    cursor.take(1)
    return text_of(name)


def _types(codes: bytes, meta: Cursor) -> tuple[tuple[int, int], ...]:
    types = []
    for code in codes:
        if code in _ONE_BYTE_META:
            types.append((code, meta.number(1)))
        elif code in _TWO_BYTE_META:
            types.append((code, meta.number(2)))
        elif code in (STRING, ENUM, SET):
            types.append(_string_type(meta.number(1), meta.number(1)))
        else:
            types.append((code, 0))
    return tuple(types)


def _string_type(first: int, second: int) -> tuple[int, int]:
    """CHAR's metadata hide enum and set, and two bits of its length inside the type code."""
    if first & 0x30 != 0x30:
        return first | 0x30, second | ((first & 0x30) ^ 0x30) << 4
    return first, second


def _optional(cursor: Cursor, types: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    """The optional metadata at the end of a table map, as arguments of TableMap."""
    found: dict[int, bytes] = {}
    while cursor.left:
        field = cursor.number(1)
        found[field] = cursor.packed_bytes()
    codes = [code for code, _ in types]
    made: dict[str, Any] = {}
    if 1 in found:
        made["unsigned"] = _unsigned(Cursor(found[1]), codes)
    if 4 in found:
        names = Cursor(found[4])
        made["names"] = tuple(text_of(names.packed_bytes()) for _ in codes)
    text = [i for i, code in enumerate(codes) if code in _CHARACTER]
    named = [i for i, code in enumerate(codes) if code in (ENUM, SET)]
    collations = _collations(found, 2, 3, text) | _collations(found, 10, 11, named)
    if collations:
        made["collations"] = tuple(collations.get(i) for i in range(len(codes)))
    if any(field in found for field in (5, 6)):
        labels = _labels(found.get(5), codes, SET) | _labels(found.get(6), codes, ENUM)
        made["labels"] = tuple(labels.get(i, ()) for i in range(len(codes)))
    return made


def _unsigned(bits: Cursor, codes: list[int]) -> tuple[bool, ...]:
    numeric = [i for i, code in enumerate(codes) if code in _NUMERIC]
    raw = bits.take((len(numeric) + 7) // 8)
    unsigned = {i for n, i in enumerate(numeric) if raw[n // 8] & 0x80 >> n % 8}
    return tuple(i in unsigned for i in range(len(codes)))


def _collations(found: dict[int, bytes], default: int, each: int, columns: list[int]) -> dict[int, int]:
    if each in found:
        cursor = Cursor(found[each])
        return {i: cursor.packed() for i in columns}
    if default not in found:
        return {}
    cursor = Cursor(found[default])
    usual = cursor.packed()
    made = dict.fromkeys(columns, usual)
    while cursor.left:
        nth, collation = cursor.packed(), cursor.packed()
        if nth >= len(columns):
            raise LogDamaged("a table map in the binlog names a column it does not have")
        made[columns[nth]] = collation
    return made


def _labels(raw: bytes | None, codes: list[int], kind: int) -> dict[int, tuple[bytes, ...]]:
    if raw is None:
        return {}
    cursor = Cursor(raw)
    made = {}
    for i in (i for i, code in enumerate(codes) if code == kind):
        made[i] = tuple(cursor.packed_bytes() for _ in range(cursor.packed()))
    return made
