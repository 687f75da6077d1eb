"""SQL that makes the server write whole rows as finished lines of COPY text or tab text (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType

import pyarrow as pa

from whimbrel.connectors.mysql.connection import quote_identifier
from whimbrel.connectors.mysql.types import ADDRESSES, base_of
from whimbrel.model.chunk import Format
from whimbrel.model.table import Annotation, Column, Table

Value = Callable[[bytes], bytes]

# MariaDB's REPLACE moves the rest of the text at each hit, so its time grows with the square of the length: seconds
# for 100 kB full of line ends. Longer texts than this are escaped here instead.
LONGEST_ESCAPED_BY_MARIADB = 16 << 10

_TEXTS = frozenset({Annotation.NONE, Annotation.CHAR, Annotation.ENUM, Annotation.SET})
_WHOLE_CHARSETS = frozenset({"", "binary", "utf8mb4", "utf8mb3", "utf8", "latin1", "utf16", "utf16le", "utf32"})
_WITH_REPLACEMENTS = frozenset({"big5", "tis620"})  # where the server makes U+FFFD of some bytes, and not '?'
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


class Kind(Enum):
    """How a column is written."""

    PLAIN = "plain"
    NUMBER = "number"  # with ZEROFILL, which a bare column would show
    SINGLE = "single"
    BOOLEAN = "boolean"
    BITS = "bits"
    INSTANT = "instant"
    BYTES = "bytes"
    TEXT = "text"


def kind(column: Column) -> Kind:
    """Which of them a column is."""
    arrow, annotation = column.type.arrow, column.type.annotation
    if pa.types.is_binary(arrow):
        return Kind.BYTES
    if annotation is Annotation.BIT:
        return Kind.BITS
    if pa.types.is_boolean(arrow):
        return Kind.BOOLEAN
    if pa.types.is_floating(arrow):
        return Kind.SINGLE if pa.types.is_float32(arrow) else Kind.PLAIN
    if pa.types.is_timestamp(arrow):
        return Kind.INSTANT if arrow.tz else Kind.PLAIN
    if pa.types.is_string(arrow) and annotation not in (Annotation.DURATION, Annotation.UUID):
        return Kind.TEXT
    return Kind.NUMBER if "zerofill" in column.type.native.lower() else Kind.PLAIN


def unreadable(table: Table, columns: Sequence[Column]) -> dict[str, str]:
    """By column, the condition under which a text has bytes without a meaning in its character set.

    The server makes question marks of them, U+FFFD, or of the whole text NULL. Unicode and latin1 have no such bytes.
    """
    found = {}
    for column in columns:
        charset = (column.type.collation or table.collation or "").partition("_")[0]
        plain = column.type.annotation in _TEXTS and base_of(column.type.native) not in ADDRESSES
        if kind(column) is Kind.TEXT and plain and charset not in _WHOLE_CHARSETS:
            name = quote_identifier(column.name)
            marks = "CHAR_LENGTH(REPLACE({}, '?', ''))".format
            converted = f"CONVERT({name} USING utf8mb4)"
            found[column.name] = f"NOT ({marks(name)} <=> {marks(converted)})"
            if charset in _WITH_REPLACEMENTS:
                found[column.name] += f" OR INSTR(CAST({converted} AS BINARY), 0xEFBFBD) > 0"
    return found


def line(
    columns: Sequence[Column],
    format: Format,
    longest: int | None = None,
    unreadable: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """An expression for one row as a line without its newline.

    It is NULL for a row that would exceed max_allowed_packet, has a text of more than ``longest`` bytes, or one that is
    ``unreadable``, and only then: so NULL values are written as ``\\N``, and CONCAT is used, which does not pass over a
    NULL.
    """
    return f"CONCAT({', 0x09, '.join(_field(c, format, longest, unreadable) for c in columns)}, '')"


def _field(column: Column, format: Format, longest: int | None, unreadable: Mapping[str, str]) -> str:
    name = quote_identifier(column.name)
    text = _escaped(name, column, format)
    if column.name in unreadable:
        text = f"IF({unreadable[column.name]}, NULL, {text})"
    if longest is not None and kind(column) is Kind.TEXT:
        text = f"IF(LENGTH({name}) > {longest}, NULL, {text})"
    return f"IF({name} IS NULL, {_literal(chr(92) + 'N')}, {text})" if column.nullable else text


def _escaped(name: str, column: Column, format: Format) -> str:
    what = kind(column)
    if what is Kind.TEXT:
        text = f"CONVERT({name} USING utf8mb4)"
        for character, written in _ESCAPES:
            text = f"REPLACE({text}, {_literal(character)}, {_literal(written)})"
        return text
    if what is Kind.BYTES:
        return f"CONCAT({_literal(chr(92) * 2 + 'x')}, HEX({name}))" if format is Format.COPY_TEXT else f"HEX({name})"
    return _shown(name, column, format)


def _shown(name: str, column: Column, format: Format) -> str:
    """An expression for the server's text of a value, before any escape."""
    what = kind(column)
    copy = format is Format.COPY_TEXT
    if what is Kind.NUMBER:
        return f"({name} + 0)"
    if what is Kind.SINGLE:
        # Alone it would be shown with six digits. MySQL cuts computed numbers at 22 characters, which is enough for a
        # FLOAT and too little for a DOUBLE.
        return f"({name} * 1e0)"
    if what is Kind.BOOLEAN:
        return f"IF({name}, 't', 'f')" if copy else f"IF({name}, '1', '0')"
    if what is Kind.BITS:
        return f"LPAD(BIN({name} + 0), {column.type.length or 1}, '0')"
    if what is Kind.INSTANT and copy:
        return f"CONCAT({name}, '+00')"
    return name


def bare(table: Table, columns: Sequence[Column]) -> list[str]:
    """Expressions for the values themselves, for an answer in the binary protocol. A text with bytes that have no
    meaning in its character set comes as one that is no UTF-8, which its reader refuses."""
    marked = unreadable(table, columns)
    expressions = []
    for column in columns:
        name = quote_identifier(column.name)
        if column.name in marked:
            name = f"IF({marked[column.name]}, 0xFF, CAST(CONVERT({name} USING utf8mb4) AS BINARY))"
        elif column.type.annotation is Annotation.SPATIAL:
            name = f"CAST({name} AS BINARY)"
        expressions.append(name)
    return expressions


def separate(columns: Sequence[Column], format: Format) -> tuple[list[str], list[Value]]:
    """For rows too long for ``line``: expressions for the bare values, and what makes fields of a line of them."""
    expressions: list[str] = []
    values: list[Value] = []
    for column in columns:
        name, what = quote_identifier(column.name), kind(column)
        if what is Kind.TEXT:
            expressions.append(f"CONVERT({name} USING utf8mb4)")
            values.append(escape)
        elif what is Kind.BYTES:
            expressions.append(f"CAST({name} AS BINARY)" if column.type.annotation is Annotation.SPATIAL else name)
            values.append(copy_hex if format is Format.COPY_TEXT else hexadecimal)
        else:
            expressions.append(f"CONCAT({_shown(name, column, format)})")
            values.append(_as_it_is)
    return expressions, values


def _as_it_is(value: bytes) -> bytes:
    return value


def escape(value: bytes) -> bytes:
    for character, written in _ESCAPES:
        value = value.replace(character.encode(), written.encode())
    return value


def hexadecimal(value: bytes) -> bytes:
    return value.hex().upper().encode()


def copy_hex(value: bytes) -> bytes:
    return b"\\\\x" + hexadecimal(value)


def _literal(text: str) -> str:
    """A string constant without any quoting to go wrong."""
    return f"_utf8mb4 0x{text.encode().hex()}"
