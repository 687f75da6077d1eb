"""The SQL with which staged changes become rows of a target table.

Each table has two staging tables, temporary and of one session: ``upserts`` (whole rows) and ``deletes`` (keys), or, if
it has no key, ``images`` (whole rows with how often to delete each) and ``totals`` (how often the target has them).
Their columns are those of the target table, nullable, without its keys; a few more carry what is needed on the way.
Names of those begin with ``whimbrel#``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from whimbrel.connectors.mysql.connection import qualified, quote_identifier, quote_identifiers
from whimbrel.connectors.mysql.target.loading import Field, Loading, documents_of, fields_of
from whimbrel.connectors.mysql.target.types import key_bytes
from whimbrel.connectors.mysql.target.unique_keys import TargetKeys
from whimbrel.connectors.mysql.types import base_of
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, Table

ROW = "`whimbrel#row`"
MASK = "`whimbrel#mask`"  # a '1' or '0' for each column: whether the target is to fill it
FOUND = "`whimbrel#found`"
COUNT = "`whimbrel#count`"
HAVE = "`whimbrel#have`"
HASH = "`whimbrel#hash`"

ROW_BYTES = 65535  # of a row beside its long texts
_OWN_BYTES = 512  # what our own columns and NULL flags take
_LONG = {"varchar": "LONGTEXT", "varbinary": "LONGBLOB"}


@dataclass(frozen=True)
class Pair:
    """A source table and its target; ``number`` names the staging tables. ``columns`` are those that are written.

    ``keys`` say what is unique in the target.
    """

    number: int
    source: Table
    target: Table
    keys: TargetKeys

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
        f" {MASK} LONGTEXT CHARACTER SET ascii NULL, {FOUND} TINYINT NULL{_apart(pair)}) ENGINE=InnoDB "
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
        f" {COUNT} BIGINT NULL, {HAVE} BIGINT NULL, {HASH} INT UNSIGNED NULL, KEY ({HASH}){_apart(pair)})"
        " ENGINE=InnoDB " + _empty(pair, _copies(pair.names))
    )


def create_totals(pair: Pair) -> str:
    return (
        f"CREATE TEMPORARY TABLE {pair.staging('totals')} ({ROW} BIGINT NOT NULL PRIMARY KEY, {HAVE} BIGINT NOT NULL)"
        " ENGINE=InnoDB"
    )


def _apart(pair: Pair) -> str:
    """Columns that are staged as long texts, which lie beside the row: with ours in it, it could be too long."""
    sizes = {n: key_bytes(pair.target.column(n).type.native) or 12 for n in pair.names}
    loose = [n for n in pair.names if n not in pair.key and base_of(pair.target.column(n).type.native) in _LONG]
    declared = []
    room = ROW_BYTES - _OWN_BYTES - sum(sizes[n] for n in pair.key)  # a key is staged twice
    while loose and sum(sizes.values()) > room:
        longest = max(loose, key=lambda n: sizes[n])
        loose.remove(longest)
        sizes[longest] = 12
        type_ = pair.target.column(longest).type
        collation = type_.collation or pair.target.collation
        written = f" CHARACTER SET {collation.partition('_')[0]} COLLATE {collation}" if collation else ""
        long = _LONG[base_of(type_.native)]
        declared.append(f", {quote_identifier(longest)} {long}{written if long == 'LONGTEXT' else ''} NULL")
    return "".join(declared)


def _origin(number: int) -> str:
    return quote_identifier(f"whimbrel#origin{number}")


# --- staging ----------------------------------------------------------------------------------------------------------


def load_into(pair: Pair, table: str, columns: Sequence[Column], extra: Sequence[str] = ()) -> Loading:
    """These source columns, then ``extra``, which are read as they stand."""
    fields = (*fields_of(columns), *map(Field, extra))
    return Loading(table, fields, documents_of(columns, pair.target))


def load_upserts(pair: Pair) -> Loading:
    """Whole rows. Columns copied from a NOT NULL column have no default, so the unused ones are set."""
    whole = load_into(pair, pair.staging("upserts"), pair.columns)
    return replace(whole, unset=tuple(_origin(n) for n in range(len(pair.key))))


def load_filling(pair: Pair) -> Loading:
    """Whole rows, then row number, mask, and the key under which the target holds the row."""
    whole = load_into(pair, pair.staging("upserts"), pair.columns, (ROW, MASK))
    origins = (Field(_origin(n), column) for n, column in enumerate(pair.keyed_columns))
    return replace(whole, fields=(*whole.fields, *origins))


# --- tables with a key ------------------------------------------------------------------------------------------------


# A row is found by its key as the source tells rows apart: what the target's collation calls equal is not enough.


def _same(columns: Sequence[str], pair: Pair, staged: Sequence[str] = (), target: str = "t") -> str:
    """Whether a row of the target has the staged values in these columns; for an index, and by bytes where it folds."""
    found = []
    for name, value in zip(columns, staged or [f"s.{quote_identifier(n)}" for n in columns], strict=True):
        column = f"{target}.{quote_identifier(name)}"
        found.append(f"{column} = {value}")
        if name in pair.keys.folding:
            found.append(f"CAST({column} AS BINARY) = CAST({value} AS BINARY)")
    return " AND ".join(found)


def delete(pair: Pair, kind: str = "deletes") -> str:
    """Delete the rows that have the key of a staged one."""
    return f"DELETE t FROM {pair.staging(kind)} AS s STRAIGHT_JOIN {pair.table} AS t ON {_same(pair.key, pair)}"


def insert(pair: Pair) -> str:
    """Insert the staged rows. Fails where the target takes one for another that it has."""
    columns = quote_identifiers(pair.names)
    chosen = ", ".join(f"s.{quote_identifier(n)}" for n in pair.names)
    staged = pair.staging("upserts")
    return f"INSERT INTO {pair.table} ({columns}) SELECT {chosen} FROM {staged} AS s ORDER BY s.{ROW}"  # noqa: S608


def upsert(pair: Pair) -> str:
    """Insert, or update the row with the same key. Fails, and changes nothing, where it meets any other row: one that
    has the value in another unique key, or a key that is the same to the target only."""
    table, first = quote_identifier(pair.target.name.table), quote_identifier(pair.key[0])
    # two rows from a subquery are an error, whatever may be NULL; its type is that of NULL, so the column's own stays
    refused = "IF((SELECT 1 UNION ALL SELECT 2), NULL, NULL)"
    guard = f"{table}.{first} = IF({_same(pair.key, pair, target=table)}, {table}.{first}, {refused})"
    rest = [quote_identifier(n) for n in pair.names if n not in pair.key]
    return f"{insert(pair)} ON DUPLICATE KEY UPDATE {', '.join([guard, *(f'{table}.{q} = s.{q}' for q in rest)])}"


def free(pair: Pair) -> list[str]:
    """Delete the rows that hold a value which a staged row is to have in a unique key that the source has too.

    The source never has both, so the one in the way is of another time: old changes are replayed over newer rows, or a
    transaction is half applied. Its own change, with the whole row, is still to come.
    """
    staged = pair.staging("upserts")
    return [
        f"DELETE t FROM {staged} AS s STRAIGHT_JOIN {pair.table} AS t ON {_same(unique, pair)}"
        for unique in pair.keys.shared
        if set(unique) <= set(pair.names)
    ]


def fill(pair: Pair, unchanged: Sequence[str]) -> str:
    """Take the values that the source left out from where the target holds them."""
    match = _same(pair.key, pair, [f"s.{_origin(n)}" for n in range(len(pair.key))])
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
    return f"CRC32(CONCAT_WS('|', {', '.join(_hashed(c, alias) for c in _target_columns(pair))}))"


def _hashed(column: Column, alias: str) -> str:
    """Texts and bytes as hex, so that they may be in different character sets; HEX of a large number is an error."""
    value = f"{alias}.{quote_identifier(column.name)}"
    number = pa.types.is_decimal(column.type.arrow) or pa.types.is_floating(column.type.arrow)
    return value if number else f"HEX({value})"


def _equal(pair: Pair) -> str:
    pairs = zip(_compared(pair, "t"), _compared(pair, "s"), strict=True)
    return " AND ".join(f"{ours} <=> {staged}" for ours, staged in pairs)


def _target_columns(pair: Pair) -> list[Column]:
    return [pair.target.column(n) for n in pair.names]


def _compared(pair: Pair, alias: str) -> list[str]:
    """What must be equal for two rows to be one at the source: of numbers the sign of a zero too."""
    found = []
    for column in _target_columns(pair):
        found.append(_comparable(column, alias))
        if pa.types.is_floating(column.type.arrow):
            found.append(f"ATAN2({found[-1]}, -1)")
    return found


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
        f" STRAIGHT_JOIN {pair.staging('images')} AS s ON s.{HASH} = {_hash(pair, 't')} AND {_equal(pair)}"
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
        f" ON s.{HASH} = {_hash(pair, 't')} AND s.{HAVE} <= s.{COUNT} AND {_equal(pair)}"
    )


def found(pair: Pair) -> str:
    """How many rows are to go, and how many of them the target had."""
    return f"SELECT SUM({COUNT}), SUM(LEAST(COALESCE({HAVE}, 0), {COUNT})) FROM {pair.staging('images')}"  # noqa: S608


def partly_deleted(pair: Pair) -> str:
    return f"SELECT {ROW}, {COUNT} FROM {pair.staging('images')} WHERE {HAVE} > {COUNT}"  # noqa: S608


def recall(pair: Pair, row: int) -> str:
    """Put one staged row into variables: a statement may name a temporary table only once."""
    values = _compared(pair, "s")
    variables = ", ".join(f"@whimbrel{n}" for n in range(len(values)))
    return f"SELECT {', '.join(values)} INTO {variables} FROM {pair.staging('images')} AS s WHERE s.{ROW} = {row}"  # noqa: S608


def delete_recalled(pair: Pair, count: int) -> str:
    """Delete so many copies of that row and leave the others."""
    same = (f"{value} <=> @whimbrel{n}" for n, value in enumerate(_compared(pair, pair.table)))
    return f"DELETE FROM {pair.table} WHERE {' AND '.join(same)} LIMIT {count}"  # noqa: S608
