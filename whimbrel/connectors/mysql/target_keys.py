"""What makes rows of a target table unique, as its catalog has it, which may be stricter than the source.

Two rows that a source tells apart may be one to the target: it has a unique key of its own, or the same one under a
collation that calls 'ABC' and 'abc', or 'x' and 'x ', equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from whimbrel.connectors.mysql.connection import Session, query
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

_COLLATIONS = (
    "SELECT COLUMN_NAME, COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    " AND COLLATION_NAME IS NOT NULL"
)
_PARTS = (
    "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS WHERE NON_UNIQUE = 0"
    " AND TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY INDEX_NAME, SEQ_IN_INDEX"
)
# each byte counts, and none is thought away
_EXACT = ("_0900_bin", "_nopad_bin")


@dataclass(frozen=True)
class TargetKeys:
    """``folding`` are columns in which the target may call values equal that the source tells apart; they are compared
    by their bytes besides. ``colliding``: no two rows of one key fit into the table, so that a statement meets the row
    that is there. ``uniques`` are the columns of the target's unique keys, by name; ``shared`` those which the source
    has too: of two rows with the same values there, one is of another time.
    """

    folding: frozenset[str]
    colliding: bool
    uniques: Mapping[str, tuple[str, ...]]
    shared: tuple[tuple[str, ...], ...]


UNKNOWN = TargetKeys(frozenset(), False, {}, ())  # not asked yet


def read_keys(session: Session, source: Table, target: TableName) -> TargetKeys:
    """Ask the catalog. A table that is not there, or not shown to this account, has no unique key."""
    name = (target.schema, target.table)
    collations = {str(column): str(collation) for column, collation in query(session, _COLLATIONS, name)}
    parts: dict[str, list[tuple[str | None, int | None]]] = {}
    for index, column, prefix in query(session, _PARTS, name):
        parts.setdefault(str(index), []).append((column, prefix))  # an expression has no column
    plain = {index: [c for c, _ in found if c is not None] for index, found in parts.items()}
    whole = [tuple(plain[i]) for i, found in parts.items() if all(c is not None and p is None for c, p in found)]
    key = set(source.key)
    return TargetKeys(
        folding=frozenset(_folding(source, collations)),
        colliding=any(len(plain[i]) == len(found) and set(plain[i]) <= key for i, found in parts.items()),
        uniques={index: tuple(columns) for index, columns in plain.items()},
        shared=tuple(u for u in whole if set(u) != key and any(set(own) <= set(u) for own in source.uniques)),
    )


def _folding(source: Table, collations: Mapping[str, str]) -> Iterator[str]:
    for column in source.loaded_columns:
        there = collations.get(column.name)
        if there is not None and there != collation_of(source, column.name) and not there.endswith(_EXACT):
            yield column.name


def collation_of(table: Table, column: str) -> str | None:
    """The collation of a column of MySQL or MariaDB; None of any other's."""
    return table.column(column).type.collation or table.options.get("collation") or None
