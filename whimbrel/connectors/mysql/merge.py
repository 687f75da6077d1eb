"""The SQL with which staged changes become rows of a target table.

Each table has two staging tables, temporary and of one session: ``upserts`` (whole rows) and ``deletes`` (keys), or, if
it has no key, ``images`` (whole rows with how often to delete each) and ``totals`` (how often the target has them).
Their columns are those of the target table, nullable, without its keys; a few more carry what is needed on the way.
Names of those begin with ``whimbrel#``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whimbrel.connectors.mysql.connection import qualified, quote_identifier, quote_identifiers
from whimbrel.connectors.mysql.infile import infile_clause
from whimbrel.connectors.mysql.load import conversion
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, Index, Table

ROW = "`whimbrel#row`"
MASK = "`whimbrel#mask`"  # a '1' or '0' for each column: whether the target is to fill it
FOUND = "`whimbrel#found`"
COUNT = "`whimbrel#count`"
HAVE = "`whimbrel#have`"
HASH = "`whimbrel#hash`"


@dataclass(frozen=True)
class Pair:
    """A source table and its target; ``number`` names the staging tables. ``columns`` are those that are written."""

    number: int
    source: Table
    target: Table

    @property
    def columns(self) -> tuple[Column, ...]:
        generated = {c.name for c in self.target.columns if c.generated is not None}
        return tuple(c for c in self.source.loaded_columns if c.name not in generated)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    @property
    def key(self) -> tuple[str, ...]:
        return self.source.key

    @property
    def keyed_columns(self) -> tuple[Column, ...]:
        return tuple(self.source.column(name) for name in self.key)

    @property
    def other_uniques(self) -> bool:
        """Whether anything but the key is unique in the target, so that a row can be in the way of another's."""
        primary = (Index("PRIMARY", self.target.primary_key, unique=True),) if self.target.primary_key else ()
        uniques = [i for i in (*primary, *self.target.indexes) if i.unique]
        return any(set(i.columns) != set(self.key) or i.expression or any(i.prefixes) for i in uniques)

    @property
    def table(self) -> str:
        return qualified(self.target.name)

    def staging(self, kind: str) -> str:
        return qualified(TableName("whimbrel", f"{kind}#{self.number}"))


def _empty(pair: Pair, columns: Sequence[str]) -> str:
    """No rows of these columns, nullable because of the outer join."""
    return f"SELECT {', '.join(columns)} FROM (SELECT 1) AS one LEFT JOIN {pair.table} AS t ON FALSE LIMIT 0"  # noqa: S608


def _copies(names: Sequence[str]) -> list[str]:
    return [f"t.{quote_identifier(name)} AS {quote_identifier(name)}" for name in names]


def create_upserts(pair: Pair) -> str:
    origins = [f"t.{quote_identifier(name)} AS {_origin(n)}" for n, name in enumerate(pair.key)]
    return (
        f"CREATE TEMPORARY TABLE {pair.staging('upserts')} ({ROW} BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,"
        f" {MASK} LONGTEXT CHARACTER SET ascii NULL, {FOUND} TINYINT NULL) ENGINE=InnoDB "
        + _empty(pair, [*_copies(pair.names), *origins])
    )


def create_deletes(pair: Pair) -> str:
    return (
        f"CREATE TEMPORARY TABLE {pair.staging('deletes')} ({ROW} BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY)"
        f" ENGINE=InnoDB " + _empty(pair, _copies(pair.key))
    )


def create_images(pair: Pair) -> str:
    return (
        f"CREATE TEMPORARY TABLE {pair.staging('images')} ({ROW} BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,"
        f" {COUNT} BIGINT NULL, {HAVE} BIGINT NULL, {HASH} INT UNSIGNED NULL, KEY ({HASH})) ENGINE=InnoDB "
        + _empty(pair, _copies(pair.names))
    )


def create_totals(pair: Pair) -> str:
    return (
        f"CREATE TEMPORARY TABLE {pair.staging('totals')} ({ROW} BIGINT NOT NULL PRIMARY KEY, {HAVE} BIGINT NOT NULL)"
        " ENGINE=InnoDB"
    )


def _origin(number: int) -> str:
    return quote_identifier(f"whimbrel#origin{number}")


# --- staging ----------------------------------------------------------------------------------------------------------


def load_into(table: str, columns: Sequence[Column], extra: Sequence[str] = (), assignments: Sequence[str] = ()) -> str:
    """LOAD DATA of these source columns, then of ``extra``, which are read as they stand."""
    fields, assignments = [], list(assignments)
    for n, column in enumerate(columns):
        name, written = quote_identifier(column.name), conversion(column, f"@v{n}")
        fields.append(f"@v{n}" if written else name)
        assignments += [f"{name} = {written}"] if written else []
    return _load_data(table, [*fields, *extra], assignments)


def load_upserts(pair: Pair) -> str:
    """LOAD DATA of whole rows. Columns copied from a NOT NULL column have no default, so the unused ones are set."""
    unused = [f"{_origin(n)} = NULL" for n in range(len(pair.key))]
    return load_into(pair.staging("upserts"), pair.columns, assignments=unused)


def load_filling(pair: Pair) -> str:
    """LOAD DATA of whole rows, then row number, mask, and the key under which the target holds the row."""
    fields, assignments = [], []
    targets = [(quote_identifier(c.name), c) for c in pair.columns]
    origins = [(_origin(n), c) for n, c in enumerate(pair.keyed_columns)]
    for n, (name, column) in enumerate([*targets, *origins]):
        written = conversion(column, f"@v{n}")
        fields.append(f"@v{n}" if written else name)
        assignments += [f"{name} = {written}"] if written else []
    fields[len(targets) : len(targets)] = [ROW, MASK]
    return _load_data(pair.staging("upserts"), fields, assignments)


def _load_data(table: str, fields: Sequence[str], assignments: Sequence[str]) -> str:
    return (
        f"LOAD DATA {infile_clause()} INTO TABLE {table} CHARACTER SET utf8mb4"
        " FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'"
        f" ({', '.join(fields)})" + (f" SET {', '.join(assignments)}" if assignments else "")
    )


# --- tables with a key ------------------------------------------------------------------------------------------------


def delete(pair: Pair) -> str:
    match = " AND ".join(f"t.{quote_identifier(n)} = s.{quote_identifier(n)}" for n in pair.key)
    return f"DELETE t FROM {pair.staging('deletes')} AS s STRAIGHT_JOIN {pair.table} AS t ON {match}"


def upsert(pair: Pair) -> str:
    """Insert or update by the key; where other columns are unique too, replace, which clears a value's old holder.

    The old holder's own change follows in the log with its whole row, or is in the same batch.
    """
    columns = quote_identifiers(pair.names)
    chosen = ", ".join(f"s.{quote_identifier(n)}" for n in pair.names)
    rows = f"INTO {pair.table} ({columns}) SELECT {chosen} FROM {pair.staging('upserts')} AS s"  # noqa: S608
    if pair.other_uniques:
        return f"REPLACE {rows} ORDER BY s.{ROW}"
    rest = [n for n in pair.names if n not in pair.key] or list(pair.key)
    target = quote_identifier(pair.target.name.table)
    updates = ", ".join(f"{target}.{quote_identifier(n)} = s.{quote_identifier(n)}" for n in rest)
    return f"INSERT {rows} ON DUPLICATE KEY UPDATE {updates}"


def fill(pair: Pair, unchanged: Sequence[str]) -> str:
    """Take the values that the source left out from where the target holds them."""
    match = " AND ".join(f"t.{quote_identifier(name)} = s.{_origin(n)}" for n, name in enumerate(pair.key))
    places = {name: place for place, name in enumerate(pair.names, 1)}
    values = [
        f"s.{q} = IF(SUBSTRING(s.{MASK}, {places[name]}, 1) = '1', t.{q}, s.{q})"
        for name in unchanged
        for q in (quote_identifier(name),)
    ]
    assignments = ", ".join([*values, f"s.{FOUND} = 1"])
    return f"UPDATE {pair.staging('upserts')} AS s STRAIGHT_JOIN {pair.table} AS t ON {match} SET {assignments}"  # noqa: S608


def not_found(pair: Pair) -> str:
    return f"SELECT {ROW} FROM {pair.staging('upserts')} WHERE {FOUND} IS NULL ORDER BY {ROW}"  # noqa: S608


def drop_rows(pair: Pair, rows: Sequence[int]) -> str:
    return f"DELETE FROM {pair.staging('upserts')} WHERE {ROW} IN ({', '.join(map(str, rows))})"  # noqa: S608


# --- tables without a key ---------------------------------------------------------------------------------------------
# Rows are found by a hash of all their columns, so that one pass over the target serves a whole batch, and compared
# column by column, bytes by bytes.


def _hash(pair: Pair, alias: str) -> str:
    return f"CRC32(CONCAT_WS('|', {', '.join(f'HEX({alias}.{quote_identifier(n)})' for n in pair.names)}))"


def _same(pair: Pair) -> str:
    pairs = ((_comparable(c, "t"), _comparable(c, "s")) for c in _target_columns(pair))
    return " AND ".join(f"{ours} <=> {staged}" for ours, staged in pairs)


def _target_columns(pair: Pair) -> list[Column]:
    return [pair.target.column(n) for n in pair.names]


def _comparable(column: Column, alias: str) -> str:
    """Text by its bytes, since a collation may call different texts equal; JSON by its text; shapes as hex."""
    value = f"{alias}.{quote_identifier(column.name)}"
    native = column.type.native.lower()
    if native.startswith("json"):
        return f"CAST({value} AS CHAR)"
    if "char" in native or "text" in native:
        return f"CAST({value} AS BINARY)"
    if native.startswith("bit"):
        return f"({value} + 0)"
    return f"HEX({value})" if column.type.annotation is Annotation.SPATIAL else value


def hash_images(pair: Pair) -> str:
    return f"UPDATE {pair.staging('images')} AS s SET s.{HASH} = {_hash(pair, 's')}"  # noqa: S608


def count_images(pair: Pair) -> str:
    return (
        f"INSERT INTO {pair.staging('totals')} ({ROW}, {HAVE}) SELECT s.{ROW}, COUNT(*) FROM {pair.table} AS t"  # noqa: S608
        f" STRAIGHT_JOIN {pair.staging('images')} AS s ON s.{HASH} = {_hash(pair, 't')} AND {_same(pair)}"
        f" GROUP BY s.{ROW}"
    )


def note_totals(pair: Pair) -> str:
    return (
        f"UPDATE {pair.staging('images')} AS s JOIN {pair.staging('totals')} AS n ON n.{ROW} = s.{ROW}"  # noqa: S608
        f" SET s.{HAVE} = n.{HAVE}"
    )


def delete_images(pair: Pair) -> str:
    """Delete every copy of the rows of which no copy stays."""
    return (
        f"DELETE t FROM {pair.table} AS t STRAIGHT_JOIN {pair.staging('images')} AS s"
        f" ON s.{HASH} = {_hash(pair, 't')} AND s.{HAVE} <= s.{COUNT} AND {_same(pair)}"
    )


def found(pair: Pair) -> str:
    """How many rows are to go, and how many of them the target had."""
    return f"SELECT SUM({COUNT}), SUM(LEAST(COALESCE({HAVE}, 0), {COUNT})) FROM {pair.staging('images')}"  # noqa: S608


def partly_deleted(pair: Pair) -> str:
    return f"SELECT {ROW}, {COUNT} FROM {pair.staging('images')} WHERE {HAVE} > {COUNT}"  # noqa: S608


def recall(pair: Pair, row: int) -> str:
    """Put one staged row into variables: a statement may name a temporary table only once."""
    values = ", ".join(_comparable(c, "s") for c in _target_columns(pair))
    variables = ", ".join(f"@whimbrel{n}" for n in range(len(pair.names)))
    return f"SELECT {values} INTO {variables} FROM {pair.staging('images')} AS s WHERE s.{ROW} = {row}"  # noqa: S608


def delete_recalled(pair: Pair, count: int) -> str:
    """Delete so many copies of that row and leave the others."""
    same = (f"{_comparable(c, pair.table)} <=> @whimbrel{n}" for n, c in enumerate(_target_columns(pair)))
    return f"DELETE FROM {pair.table} WHERE {' AND '.join(same)} LIMIT {count}"  # noqa: S608
