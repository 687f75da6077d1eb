"""One column of SHOW CREATE TABLE."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from whimbrel.connectors.mysql.connection import quote_literal
from whimbrel.connectors.mysql.source.constants import raw, spelled
from whimbrel.connectors.mysql.tokens import Kind, Reader
from whimbrel.connectors.mysql.types import INTEGERS, base_of

_NUMBERS: Final = frozenset({*INTEGERS, "decimal", "numeric", "float", "double", "real", "year", "bit"})
_BINARIES: Final = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_LITERALS: Final = (Kind.TEXT, Kind.HEX, Kind.BITS, Kind.NUMBER)
# What says how a value is stored or what a secondary engine does with it, with a value behind.
_STORAGE: Final = "COLUMN_FORMAT|STORAGE|ENGINE_ATTRIBUTE|SECONDARY_ENGINE_ATTRIBUTE"


@dataclass(frozen=True)
class ColumnDefinition:
    """``native`` is the type as SQL, with labels in our own quotes; ``default`` is SQL for that type on its own server,
    None where it is none or NULL. ``generated`` is an expression, or a system-versioned table's ``ROW START`` and
    ``ROW END``. ``charset`` and ``collation`` are None where nothing is said of them.
    """

    name: str
    native: str
    charset: str | None = None
    collation: str | None = None
    nullable: bool = True
    default: str | None = None
    on_update: str | None = None
    numbered: bool = False
    generated: str | None = None
    stored: bool = False
    invisible: bool = False
    compressed: bool = False
    unversioned: bool = False
    srid: int | None = None
    check: str | None = None
    comment: str | None = None


def column_definition(r: Reader) -> ColumnDefinition:
    """The column that begins here, up to the comma or bracket behind it. Raises NotUnderstood."""
    found = ColumnDefinition(r.name(), _type(r))
    while not r.ended and not r.sees(",") and not r.sees(")"):
        found = _attribute(r, found)
    return found


def _type(r: Reader) -> str:
    words = [r.value(Kind.WORD).lower()]
    if words[0] == "double" and r.accept("PRECISION"):
        pass
    if r.sees("("):
        words[0] += f"({_arguments(r)})"
    while r.sees("UNSIGNED|ZEROFILL"):
        words.append(r.next().value.lower())
    return " ".join(words)


def _arguments(r: Reader) -> str:
    """Lengths, or the labels of enum and set."""
    r.expect("(")
    parts = []
    while True:
        token = r.next()
        parts.append(
            quote_literal(raw(token.value).decode(errors="replace")) if token.kind is Kind.TEXT else token.value
        )
        if r.accept(")"):
            return ",".join(parts)
        r.expect(",")


def _plain(text: str) -> str:
    """Text that may stand in statements, whatever bytes a server had kept in it."""
    return raw(text).decode(errors="replace")


def _attribute(r: Reader, c: ColumnDefinition) -> ColumnDefinition:
    """The column with what its next words say."""
    if r.accept("NOT", "NULL"):
        return replace(c, nullable=False)
    if r.accept("NULL"):
        return replace(c, nullable=True)
    if r.accept("CHARACTER", "SET"):
        return replace(c, charset=r.name().lower())
    if r.accept("COLLATE"):
        return replace(c, collation=r.name())
    if r.accept("DEFAULT"):
        return replace(c, default=_default(r, c.native))
    if r.accept("ON", "UPDATE"):
        return replace(c, on_update=_call(r))
    if r.accept("AUTO_INCREMENT"):
        return replace(c, numbered=True)
    if r.accept("GENERATED", "ALWAYS", "AS"):
        return _generated(r, c)
    if r.accept("COMMENT"):
        return replace(c, comment=_plain(r.value(Kind.TEXT)) or None)
    if r.accept("CHECK"):
        return replace(c, check=spelled(r.group()))
    return _rarer_attribute(r, c)


def _rarer_attribute(r: Reader, c: ColumnDefinition) -> ColumnDefinition:
    if r.accept("INVISIBLE"):
        return replace(c, invisible=True)
    if r.accept("VISIBLE") or r.accept("NOT", "SECONDARY"):
        return c
    if r.accept("COMPRESSED"):
        if r.accept("="):
            r.next()
        return replace(c, compressed=True)
    if r.accept("WITHOUT", "SYSTEM", "VERSIONING"):
        return replace(c, unversioned=True)
    if r.accept("WITH", "SYSTEM", "VERSIONING"):
        return c
    if r.accept("SRID|REF_SYSTEM_ID"):
        r.accept("=")
        return replace(c, srid=int(r.value(Kind.NUMBER)))
    if r.accept(_STORAGE):
        r.accept("=")
        r.next()
        return c
    raise r.stuck()


def _generated(r: Reader, c: ColumnDefinition) -> ColumnDefinition:
    if r.accept("ROW"):
        return replace(c, generated=f"ROW {r.value(Kind.WORD).upper()}")
    expression = spelled(r.group())
    stored = r.accept("STORED|PERSISTENT")
    if not stored:
        r.expect("VIRTUAL")
    return replace(c, generated=expression, stored=stored)


# --- defaults ---------------------------------------------------------------------------------------------------------


def _default(r: Reader, native: str) -> str | None:
    if r.accept("NULL"):
        return None
    if r.sees("("):
        return f"({spelled(r.group())})"
    if r.sees("-") or r.sees("+"):
        sign = r.next().value
        return sign + r.value(Kind.NUMBER)
    token = r.peek()
    if token is None:
        raise r.stuck()
    if token.kind in _LITERALS:
        r.next()
        return _literal(token.kind, token.value, native)
    return _call(r)


def _literal(kind: Kind, value: str, native: str) -> str:
    """A constant as SQL; those of binary columns as the bytes themselves, padded as BINARY pads them."""
    base = base_of(native)
    if kind is Kind.BITS:
        return f"b'{value}'"
    if kind is Kind.HEX and base not in _BINARIES:
        return f"0x{value}"
    if kind is Kind.NUMBER:
        return value
    if base in _BINARIES:
        return hexadecimal(bytes.fromhex(value) if kind is Kind.HEX else raw(value), native)
    return value if base in _NUMBERS else quote_literal(_plain(value))


def hexadecimal(value: bytes, native: str) -> str:
    """Bytes as a constant of a binary column of this type."""
    if base_of(native) == "binary":
        value = value.ljust(_width(native), b"\0")
    return f"0x{value.hex()}" if value else "''"


def _call(r: Reader) -> str:
    """A constant with its character set, or a function with or without brackets: ``current_timestamp(3)``."""
    start = r.peek()
    assert start is not None
    r.name()
    token = r.peek()
    if start.value.startswith("_") and token is not None and token.kind in _LITERALS:
        r.next()
    else:
        while r.accept("."):
            r.name()
        if r.sees("("):
            r.skip_group()
    return spelled(r.text[start.start : r.found[r.at - 1].end])


def _width(native: str) -> int:
    """Of ``binary(4)``; a damaged one, which is refused elsewhere, has none."""
    digits = native.partition("(")[2].rstrip(")")
    return int(digits) if digits.isascii() and digits.isdigit() else 1
