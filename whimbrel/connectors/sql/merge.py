"""The statements that bring staged rows into a table, for engines that have MERGE.

Changes of a table come as one final image a key (``codecs.compaction``) in a staging table of this session: the
target's columns as they stand in a file, and behind them our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.model.table import Column, Table

OP = "#whimbrel_op"  # U: put the row; D: remove the one with its key
NUMBER = "#whimbrel_number"  # of the row within its batch, from 0
MASK = "#whimbrel_mask"  # a digit a column: 1 where the source left the value out; '' for whole rows
FOUND = "#whimbrel_found"  # of rows with a mask: the target had the values
COPIES = "#whimbrel_copies"  # of rows without a key: how many equal ones are to go
ORIGIN = "#whimbrel_origin"  # behind it the place in the key: what the target holds the row under now
PUT, GONE = "U", "D"


@dataclass(frozen=True)
class Pair:
    """A table on both sides; ``number`` names its staging tables. ``staged`` is the target, with a file's types."""

    number: int
    source: Table
    target: Table
    dialect: SqlDialect

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.target.loaded_columns

    @property
    def key(self) -> tuple[str, ...]:
        """The target's names of the source's key."""
        names = {s.name: t.name for s, t in zip(self.source.columns, self.target.columns, strict=True)}
        return tuple(names[name] for name in self.source.key)

    @property
    def table(self) -> str:
        return self.dialect.qualified(self.target.name)

    @property
    def staging(self) -> str:
        return self.dialect.own(f"changes_{self.number}")

    @property
    def loading(self) -> str:
        """Where rows of a load are staged that cannot be loaded into the table itself."""
        return self.dialect.own(f"rows_{self.number}")


def origin(place: int) -> str:
    return f"{ORIGIN}{place}"


def own_columns(pair: Pair) -> tuple[tuple[str, pa.DataType], ...]:
    """What stands in a staging table and in its files beside the table's columns."""
    keyed = ((OP, pa.string()), (NUMBER, pa.int64()), (MASK, pa.string()))
    if not pair.key:
        return ((NUMBER, pa.int64()), (COPIES, pa.int64()))
    return keyed + tuple((origin(n), pair.target.column(name).type.arrow) for n, name in enumerate(pair.key))


def create_staging(pair: Pair) -> str:
    dialect = pair.dialect
    plain = {OP: "VARCHAR", NUMBER: "BIGINT", MASK: "VARCHAR", COPIES: "BIGINT"}
    origins = {origin(n): dialect.staged_type(pair.target.column(name)) for n, name in enumerate(pair.key)}
    columns = [(c.name, dialect.staged_type(c)) for c in pair.columns]
    columns += [(name, plain.get(name) or origins[name]) for name, _ in own_columns(pair)]
    return dialect.create_staging(pair.staging, [*columns, (FOUND, "BOOLEAN")])


def create_loading(pair: Pair) -> str:
    return pair.dialect.create_staging(pair.loading, [(c.name, pair.dialect.staged_type(c)) for c in pair.columns])


def put(pair: Pair, staging: str, *, removing: bool) -> str:
    """Rows take the place of those with their keys, or are added; with ``removing`` those marked GONE go."""
    d = pair.dialect
    on = by_key(pair)
    rest = [c for c in pair.columns if c.name not in pair.key]
    marked = f" AND s.{d.identifier(OP)} = '{PUT}'" if removing else ""
    parts = [f"MERGE INTO {pair.table} t USING {staging} s ON {on}"]
    if removing:
        parts.append(f"WHEN MATCHED AND s.{d.identifier(OP)} = '{GONE}' THEN DELETE")
    # a table of key columns alone has nothing to update, but is counted as if
    sets = rest or [pair.target.column(pair.key[0])]
    updates = ", ".join(f"{d.identifier(c.name)} = {made(pair, c)}" for c in sets)
    parts.append(f"WHEN MATCHED{marked} THEN UPDATE SET {updates}")
    values = ", ".join(made(pair, c) for c in pair.columns)
    names = d.identifiers(c.name for c in pair.columns)
    parts.append(f"WHEN NOT MATCHED{marked} THEN INSERT ({names}) VALUES ({values})")  # noqa: S608
    return " ".join(parts)


def by_key(pair: Pair) -> str:
    """Whether a target's row ``t`` and a staged one ``s`` have one key."""
    d = pair.dialect
    return " AND ".join(
        d.matches(pair.target.column(k), f"t.{d.identifier(k)}", f"s.{d.identifier(k)}") for k in pair.key
    )


def made(pair: Pair, column: Column) -> str:
    return pair.dialect.from_staged(column, f"s.{pair.dialect.identifier(column.name)}")


def add(pair: Pair, staging: str) -> str:
    """All staged rows, into a table of which none is there yet."""
    names = pair.dialect.identifiers(c.name for c in pair.columns)
    values = ", ".join(made(pair, c) for c in pair.columns)
    return f"INSERT INTO {pair.table} ({names}) SELECT {values} FROM {staging} s"  # noqa: S608


def expected(pair: Pair) -> str:
    """How many rows of the target a ``put`` will remove: those marked GONE may not be there at all."""
    d = pair.dialect
    on = by_key(pair)
    return f"SELECT COUNT(*) FROM {pair.staging} s JOIN {pair.table} t ON {on} WHERE s.{d.identifier(OP)} = '{GONE}'"  # noqa: S608


# --- values that the source left out ----------------------------------------------------------------------------------


def fill(pair: Pair, names: Sequence[str]) -> str:
    """Take what was left out in these (target) columns from the target's own row."""
    d = pair.dialect
    mask, places = d.identifier(MASK), {c.name: n + 1 for n, c in enumerate(pair.columns)}
    sets = {d.identifier(FOUND): "TRUE"}
    for name in names:
        column = pair.target.column(name)
        there = d.to_staged(column, f"t.{d.identifier(name)}")
        staged = d.identifier(name)
        sets[staged] = f"CASE WHEN SUBSTR(s.{mask}, {places[name]}, 1) = '1' THEN {there} ELSE s.{staged} END"
    keys = (
        d.matches(pair.target.column(k), f"t.{d.identifier(k)}", f"s.{d.identifier(origin(n))}")
        for n, k in enumerate(pair.key)
    )
    on = " AND ".join((*keys, f"s.{mask} <> ''"))
    return d.update_by(f"{pair.staging} s", sets, f"{pair.table} t", on)


def not_found(pair: Pair) -> str:
    """The numbers of rows that the target could not complete."""
    d = pair.dialect
    number, mask, found = (d.identifier(n) for n in (NUMBER, MASK, FOUND))
    return f"SELECT {number} FROM {pair.staging} WHERE {mask} <> '' AND {found} IS NULL"  # noqa: S608


def drop_not_found(pair: Pair) -> str:
    d = pair.dialect
    return f"DELETE FROM {pair.staging} WHERE {d.identifier(MASK)} <> '' AND {d.identifier(FOUND)} IS NULL"  # noqa: S608


# --- rows without a key -----------------------------------------------------------------------------------------------


def _alike(pair: Pair) -> str:
    d = pair.dialect
    there = (part for c in pair.columns for part in d.compared(c, f"t.{d.identifier(c.name)}"))
    staged = (part for c in pair.columns for part in d.compared(c, made(pair, c)))
    return " AND ".join(d.same(left, right) for left, right in zip(there, staged, strict=True))


def first_alike(pair: Pair) -> str:
    """Of each staged row its number, and the least one of those that are equal here, though not at the source: such as
    documents that differ in blanks."""
    d = pair.dialect
    number = f"s.{d.identifier(NUMBER)}"
    values = ", ".join(part for c in pair.columns for part in d.compared(c, made(pair, c)))
    return f"SELECT {number}, MIN({number}) OVER (PARTITION BY {values}) FROM {pair.staging} s"  # noqa: S608


def count_alike(pair: Pair) -> str:
    """Of each staged row its number, and how many rows of the target equal it; those with none are left out."""
    number = pair.dialect.identifier(NUMBER)
    return (
        f"SELECT s.{number}, COUNT(*) FROM {pair.staging} s JOIN {pair.table} t ON {_alike(pair)} GROUP BY s.{number}"  # noqa: S608
    )


def remove_alike(pair: Pair) -> str:
    """All rows of the target that equal a staged one."""
    return pair.dialect.delete_by(f"{pair.table} t", f"{pair.staging} s", _alike(pair))
