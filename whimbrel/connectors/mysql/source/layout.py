"""How the rows of a captured table are read: what the log says about it, checked against what was reflected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from whimbrel.codecs.binlog_rows import RowLayout
from whimbrel.codecs.binlog_tables import TableMap
from whimbrel.codecs.binlog_values import CHARACTERS, ENUM, INTEGERS, SET, ValueType, extent, reader
from whimbrel.connectors.mysql.connection import Session, mapped, query
from whimbrel.connectors.mysql.source.charsets import Charsets
from whimbrel.connectors.mysql.types import base_of
from whimbrel.errors import LayoutChanged
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, Table

# The type codes under which the log may hold a native type.
_INTEGERS = {"tinyint": 1, "smallint": 2, "mediumint": 9, "int": 3, "integer": 3, "bigint": 8}
_CODES: dict[str, tuple[int, ...]] = {
    **{name: (code,) for name, code in _INTEGERS.items()},
    **dict.fromkeys(("decimal", "numeric", "dec", "fixed"), (246,)),
    **{"float": (4, 5), "double": (5,), "real": (5,), "bit": (16,), "year": (13,), "json": (245, 252)},
    **{"date": (10, 14), "time": (11, 19), "datetime": (12, 18), "timestamp": (7, 17)},
    **{
        "char": (254,),
        "binary": (254,),
        "varchar": (15, 141, 253),
        "varbinary": (15, 141, 253),
        "enum": (247,),
        "set": (248,),
    },
    **{"uuid": (254,), "inet6": (254,), "inet4": (254,), "vector": (242, 15, 253)},
    **dict.fromkeys(("tinytext", "text", "mediumtext", "longtext"), (140, 252)),
    **dict.fromkeys(("tinyblob", "blob", "mediumblob", "longblob"), (140, 252)),
}
_SPATIAL_CODES = (255,)


@dataclass(frozen=True)
class Captured:
    """A table and what reflection does not keep: each column's character set ('binary' where it has none)."""

    table: Table
    charsets: tuple[str, ...]

    @property
    def written(self) -> tuple[str, ...]:
        """The columns that changes carry: all but the generated ones."""
        return tuple(c.name for c in self.table.loaded_columns)

    @property
    def unique_keys(self) -> frozenset[str]:
        """The names of its unique keys, in lower case."""
        return frozenset({"primary", *(i.name.lower() for i in self.table.indexes if i.unique)})


def captured(session: Session, tables: Sequence[Table]) -> dict[TableName, Captured]:
    """Read the character sets of the tables' columns."""
    made = {}
    for table in tables:
        with mapped("source", str(table.name)):
            rows = query(
                session,
                "SELECT COLUMN_NAME, CHARACTER_SET_NAME FROM information_schema.COLUMNS"
                " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
                (table.name.schema, table.name.table),
            )
        found = dict(rows)
        made[table.name] = Captured(table, tuple(found.get(c.name) or "binary" for c in table.columns))
    return made


def row_layout(what: Captured, seen: TableMap, charsets: Charsets) -> RowLayout:
    """How to read rows written under this table map. Raises LayoutChanged when it is not the table we know."""
    table = what.table
    _require_same(table, seen)
    key = set(table.key)
    columns = []
    for place, column in enumerate(table.columns):
        if column.generated is not None:
            continue
        kind = _value_type(what, seen, place, charsets)
        convert = partial(charsets.converter, column=f"{table.name}.{column.name}")
        columns.append((place, column.name in key, reader(kind, convert)))
    return RowLayout(
        str(table.name),
        tuple(extent(code, meta) for code, meta in seen.types),
        tuple((place, read) for place, _, read in columns),
        tuple(keyed for _, keyed, _ in columns),
    )


def _require_same(table: Table, seen: TableMap) -> None:
    expected = tuple(c.name for c in table.columns)
    if seen.names is not None and seen.names != expected:
        gone, new = [n for n in expected if n not in seen.names], [n for n in seen.names if n not in expected]
        what = f"without {', '.join(gone)}; " * bool(gone) + f"with {', '.join(new)}; " * bool(new)
        raise LayoutChanged(
            f"{table.name}: the binlog has rows of another layout: {what or 'columns in another order; '}"
            f"{len(seen.names)} columns, {len(expected)} are known",
            table=str(table.name),
        )
    if len(seen.types) != len(expected):
        raise LayoutChanged(
            f"{table.name}: the binlog has rows of {len(seen.types)} columns, {len(expected)} are known",
            table=str(table.name),
        )
    for place, (column, (code, _)) in enumerate(zip(table.columns, seen.types, strict=True)):
        unsigned = _logged_unsigned(seen, place)
        if code not in _codes(column) or unsigned not in (None, _unsigned(column)):
            raise LayoutChanged(
                f"{table.name}: the binlog has column {column.name} in another type than {column.type.native}",
                table=str(table.name),
                column=column.name,
            )


def _codes(column: Column) -> tuple[int, ...]:
    if column.type.annotation is Annotation.SPATIAL:
        return _SPATIAL_CODES
    return _CODES.get(base_of(column.type.native), tuple(range(256)))


def _unsigned(column: Column) -> bool:
    native = column.type.native.lower()
    return "unsigned" in native or "zerofill" in native


def _logged_unsigned(seen: TableMap, place: int) -> bool | None:
    """What the log says about the sign, for the integers, where it matters."""
    if seen.unsigned is None or seen.types[place][0] not in INTEGERS:
        return None
    return seen.unsigned[place]


def _value_type(what: Captured, seen: TableMap, place: int, charsets: Charsets) -> ValueType:
    """The column as it was when the row was written; what the log leaves out is taken from reflection."""
    column = what.table.columns[place]
    code, meta = seen.types[place]
    charset = what.charsets[place]
    logged = seen.collations[place] if seen.collations is not None else None
    if logged is not None and code in (*CHARACTERS, ENUM, SET):
        charset = charsets.name(logged)
    labels = tuple(label.encode() for label in column.type.labels)
    if seen.labels is not None and code in (ENUM, SET):
        convert = charsets.converter(charset)
        labels = tuple(label if convert is None else convert(label) for label in seen.labels[place])
    if column.type.annotation is Annotation.JSON and charset == "binary":
        charset = "utf8mb4"
    return ValueType(
        code,
        meta,
        unsigned=_unsigned(column),
        charset=charset,
        labels=labels,
        native=base_of(column.type.native),
        boolean=bool(pa.types.is_boolean(column.type.arrow)),
    )
