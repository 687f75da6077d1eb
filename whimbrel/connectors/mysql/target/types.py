"""Column types as MySQL or MariaDB will hold them, with what is lost said aloud."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from whimbrel.connectors.mysql.capabilities import CAPABILITIES
from whimbrel.connectors.mysql.connection import quote_literal
from whimbrel.connectors.mysql.target.dialect import Dialect
from whimbrel.connectors.mysql.types import ADDRESSES, base_of, canonical
from whimbrel.model.table import Annotation, ColumnType

LONGEST_VARCHAR = 16383  # characters of utf8mb4 in one row's 65535 bytes
INTEGERS = {pa.int8(): "tinyint", pa.int16(): "smallint", pa.int32(): "int", pa.int64(): "bigint"} | {
    pa.uint8(): "tinyint unsigned",
    pa.uint16(): "smallint unsigned",
    pa.uint32(): "int unsigned",
    pa.uint64(): "bigint unsigned",
}
_TEXT_OF_OTHERS = {"inet": 49, "cidr": 49, "macaddr": 17, "macaddr8": 23}  # PostgreSQL's, as text


@dataclass(frozen=True)
class Mapped:
    """``native`` as information_schema would show it; ``note`` says what is lost or spelled otherwise, if anything."""

    native: str
    note: str | None = None
    collation: str | None = None


def from_family(source: ColumnType, dialect: Dialect, *, from_mariadb: bool) -> Mapped | None:
    """A type of the other server or the same one; None when it must be refused."""
    base = base_of(source.native)
    if source.annotation is Annotation.SPATIAL:
        return Mapped(source.native)
    if source.annotation is Annotation.NATIVE:
        return Mapped(source.native) if from_mariadb == dialect.mariadb else None
    if base == "uuid" and not dialect.has_uuid:
        return Mapped("char(36)", "uuid -> char(36)", "ascii_bin")
    if base in ADDRESSES and not dialect.mariadb:
        length = ADDRESSES[base]
        return Mapped(f"varchar({length})", f"{base} -> text", "ascii_bin")
    note = None
    if source.annotation is Annotation.JSON and not dialect.mariadb:
        note = _JSON_NOTE if from_mariadb else None
    native = canonical(source.native) if not dialect.mariadb else source.native
    if not source.collation:
        return Mapped(native, note=note)
    collation, same = dialect.collation(source.collation)
    if not same:
        note = f"collation {source.collation} -> {collation}"
        if collation.partition("_")[0] != source.collation.partition("_")[0]:
            native = _WIDER.get(native, native)  # more bytes a character
    return Mapped(native, note, collation)


_WIDER = {"tinytext": "text", "text": "mediumtext", "mediumtext": "longtext"}
_JSON_NOTE = (
    "json -> json: equal by meaning, keys are reordered; numbers of more than 65 digits, or 30 behind the point, are "
    "refused"
)


def from_foreign(source: ColumnType, dialect: Dialect, characters: int | None) -> Mapped | None:
    """Another engine's type; None when it must be refused.

    ``characters`` is None, or how long a text may be because the column stands in a key (bytes for binary).
    """
    if source.annotation is Annotation.NONE:
        return _plain(source, dialect, characters)
    return _annotated(source, dialect, characters)


def _annotated(source: ColumnType, dialect: Dialect, characters: int | None) -> Mapped | None:
    match source.annotation:
        case Annotation.NUMERIC if "(" not in source.native:
            return Mapped("decimal(65,30)", note="at most 35 digits before and 30 behind the point; others are refused")
        case Annotation.CHAR if source.length and source.length <= 255:
            return Mapped(f"char({source.length})")
        case Annotation.CHAR:
            return _text(source.length, characters)
        case Annotation.JSON:
            return Mapped("json", note=None if dialect.mariadb else _JSON_NOTE)
        case Annotation.UUID if dialect.has_uuid:
            return Mapped("uuid")
        case Annotation.UUID:
            return Mapped("char(36)", collation="ascii_bin")
        case Annotation.ENUM if source.labels and len(source.labels) <= 65535 and _fit_enum(source.labels):
            return Mapped(f"enum({','.join(quote_literal(label) for label in source.labels)})")
        case Annotation.ENUM | Annotation.SET:
            return _text(255, characters)
        case Annotation.BIT if (source.length or 1) <= 64 and "var" not in source.native:
            return Mapped(f"bit({source.length or 1})")
        case Annotation.BIT:
            return _text(source.length, characters)
        case Annotation.TIME_TZ:
            return Mapped("varchar(21)", note="kept as the source's text")
        case Annotation.INTERVAL:
            return Mapped("varchar(255)", note="kept as the source's text")
        case Annotation.ARRAY if characters is None:
            return Mapped("json", note="array -> JSON array, without its lower bounds")
        case Annotation.DURATION:
            return Mapped(f"time({6 if source.length is None else source.length})")
        case Annotation.YEAR:
            return Mapped("smallint")
        case Annotation.NATIVE if source.native in _TEXT_OF_OTHERS:
            return Mapped(f"varchar({_TEXT_OF_OTHERS[source.native]})", note="kept as the source's text")
    return None


def _fit_enum(labels: tuple[str, ...]) -> bool:
    """MySQL strips blanks behind labels, and tells labels apart by the column's collation, which is exact here."""
    return all(label == label.rstrip(" ") and len(label) <= 255 and "\0" not in label for label in labels)


def _plain(source: ColumnType, dialect: Dialect, characters: int | None) -> Mapped | None:
    arrow, length = source.arrow, source.length
    if pa.types.is_boolean(arrow):
        return Mapped("tinyint(1)")
    if arrow in INTEGERS:
        return Mapped(INTEGERS[arrow])
    if pa.types.is_decimal(arrow):
        digits, scale = CAPABILITIES.decimal_digits or 0, CAPABILITIES.decimal_scale or 0
        fits = arrow.precision <= digits and 0 <= arrow.scale <= min(scale, arrow.precision)
        return Mapped(f"decimal({arrow.precision},{arrow.scale})") if fits else None
    if pa.types.is_float32(arrow):
        return Mapped("float")
    if pa.types.is_float64(arrow):
        return Mapped("double")
    if pa.types.is_string(arrow):
        return _text(length, characters)
    if pa.types.is_binary(arrow):
        return _bytes(length, characters)
    if pa.types.is_date(arrow):
        return Mapped("date")
    digits = 6 if length is None else length
    suffix = f"({digits})" if digits else ""
    if pa.types.is_time(arrow):
        return Mapped(f"time{suffix}")
    if pa.types.is_timestamp(arrow):
        return Mapped(f"datetime{suffix}", note="instants are kept as UTC without a zone" if arrow.tz else None)
    return None


def _text(length: int | None, characters: int | None) -> Mapped:
    if characters is None:
        return Mapped(f"varchar({length})" if length and length <= LONGEST_VARCHAR else "longtext")
    if length and length <= characters:
        return Mapped(f"varchar({length})")
    return Mapped(f"varchar({characters})", note=f"in a key: longer than {characters} characters is refused")


def _bytes(length: int | None, size: int | None) -> Mapped:
    if size is None:
        return Mapped(f"varbinary({length})" if length and length <= 65535 // 4 else "longblob")
    if length and length <= size:
        return Mapped(f"varbinary({length})")
    return Mapped(f"varbinary({size})", note=f"in a key: longer than {size} bytes is refused")


def key_bytes(native: str) -> int:
    """At most how many bytes a value takes in an index; 0 for types without a bound, which need a prefix."""
    base, numbers = base_of(native), [int(n) for n in re.findall(r"\d+", native.partition("(")[2])]
    if base in ("varchar", "char"):
        return numbers[0] * 4
    if base in ("varbinary", "binary"):
        return numbers[0]
    if base.endswith(("text", "blob")) or base == "json":
        return 0
    return 30 if base == "decimal" else 16 if base in ("uuid", "inet6") else 8
