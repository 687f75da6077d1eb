"""Writes the tables of types into docs/engines/*.md from the engines' own: ``python docs/make_types.py``. A test
compares the two. What stands between the marks is made, what stands around them is not."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from whimbrel.connectors.registry import engine, known_types
from whimbrel.connectors.sql.typemap import TypeMap
from whimbrel.model.table import Annotation, ColumnType

PAGES: Final = Path(__file__).with_name("engines")
BEGIN: Final = "<!-- types: made from the code by `python docs/make_types.py`; do not edit -->"
END: Final = "<!-- end of types -->"
_MADE: Final = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


def _of(*arrows: pa.DataType) -> list[ColumnType]:
    return [ColumnType(arrow, "") for arrow in arrows]


def _noted(*annotations: Annotation, length: int | None = None) -> list[ColumnType]:
    return [ColumnType(pa.string(), "", annotation, length) for annotation in annotations]


def _sized(arrow: pa.DataType, length: int) -> list[ColumnType]:
    return [ColumnType(arrow, "", length=length)]


# What a source has, in words, and a type or some that stand for it
KINDS: Final[Sequence[tuple[str, Sequence[ColumnType]]]] = (
    ("boolean", _of(pa.bool_())),
    ("integers of 8, 16, 32 and 64 bits", _of(pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    ("unsigned ones of 8, 16 and 32 bits", _of(pa.uint8(), pa.uint16(), pa.uint32())),
    ("unsigned ones of 64 bits", _of(pa.uint64())),
    ("decimal(12,2)", _of(pa.decimal128(12, 2))),
    ("decimal(38,0), decimal(38,38)", _of(pa.decimal128(38, 0), pa.decimal128(38, 38))),
    ("decimal(65,30)", _of(pa.decimal256(65, 30))),
    ("decimal without a precision", _noted(Annotation.NUMERIC)),
    ("real, double", _of(pa.float32(), pa.float64())),
    ("text", _of(pa.string())),
    ("varchar(40)", _sized(pa.string(), 40)),
    ("char(4)", _noted(Annotation.CHAR, length=4)),
    ("bytes", _of(pa.binary())),
    ("varbinary(16)", _sized(pa.binary(), 16)),
    ("date", _of(pa.date32())),
    ("time of day", _of(pa.time64("us"))),
    ("time with zone", _noted(Annotation.TIME_TZ)),
    ("duration (TIME of MySQL)", _noted(Annotation.DURATION, length=6)),
    ("interval", _noted(Annotation.INTERVAL)),
    ("timestamp without zone", _of(pa.timestamp("us"))),
    ("instant (timestamp with zone)", _of(pa.timestamp("us", tz="UTC"))),
    ("year", _noted(Annotation.YEAR)),
    ("JSON", _noted(Annotation.JSON)),
    ("array", _noted(Annotation.ARRAY)),
    ("UUID", _noted(Annotation.UUID)),
    ("enum", _noted(Annotation.ENUM)),
    ("set", _noted(Annotation.SET)),
    ("bit string", _noted(Annotation.BIT)),
    ("spatial types, and what only its own engine knows", _noted(Annotation.SPATIAL, Annotation.NATIVE)),
)


def table(title: str, types: TypeMap) -> str:
    rows = "".join(f"| {words} | {_types(types, kinds)} | {_notes(types, kinds)} |\n" for words, kinds in KINDS)
    return f"{BEGIN}\n| source | {title} | what is told of it |\n|---|---|---|\n{rows}{END}"


def _types(types: TypeMap, kinds: Sequence[ColumnType]) -> str:
    made = [found.type.native if (found := types.make(kind)) else "" for kind in kinds]
    return ", ".join(f"`{native}`" if native else "refused" for native in dict.fromkeys(made))


def _notes(types: TypeMap, kinds: Sequence[ColumnType]) -> str:
    notes = [found.note if (found := types.make(kind)) else "by table and column" for kind in kinds]
    return "; ".join(dict.fromkeys(note for note in notes if note)).replace("|", "\\|")


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with a table of types, and how it should be."""
    for type in sorted(known_types()):
        page = PAGES / f"{type}.md"
        if page.exists() and _MADE.search(text := page.read_text(encoding="utf-8")):
            types = importlib.import_module(f"whimbrel.connectors.{type}.types").TYPES
            made = table(engine(type).title, types)
            yield page, _MADE.sub(lambda _, made=made: made, text)  # type: ignore[misc]


if __name__ == "__main__":
    for page, made in pages():
        page.write_text(made, encoding="utf-8")
