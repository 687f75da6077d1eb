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
    parts, collations = _read(session, target)
    plain = {index: tuple(c for c, _ in found if c is not None) for index, found in parts.items()}
    key = set(source.key)
    return TargetKeys(
        folding=frozenset(c.name for c in source.loaded_columns if _folds(collations, source, c.name)),
        colliding=any(len(plain[i]) == len(found) and set(plain[i]) <= key for i, found in parts.items()),
        uniques=plain,
        shared=tuple(plain[i] for i, found in parts.items() if set(plain[i]) != key and _shared(found, source)),
    )


def stricter(session: Session, source: Table, wanted: Table) -> Iterator[str]:
    """``schema.table: what`` may make two rows of the source one in a table that exists, though not in one that we
    would make, which is ``wanted``."""
    parts, collations = _read(session, wanted.name)
    made = {(i.name, i.columns, i.prefixes if any(i.prefixes) else ()) for i in wanted.indexes if i.unique}
    for index, found in parts.items():
        columns = tuple(c for c, _ in found if c is not None)
        prefixes = tuple(p for _, p in found)
        if not _shared(found, source) and (index, columns, prefixes if any(prefixes) else ()) not in made:
            shown = (f"{c}({p})" if p else str(c or "an expression") for c, p in found)
            yield f"{wanted.name}: unique key {index} ({', '.join(shown)}) is none of the source's"
        for column in columns:
            if any(c.name == column for c in wanted.columns) and _folds(collations, wanted, column):
                yield (
                    f"{wanted.name}.{column}: {collations[column]}, in unique key {index}, is not "
                    f"{collation_of(wanted, column) or 'exact'} and may call other texts equal"
                )
    if source.key and not any({c for c, _ in found} <= set(source.key) for found in parts.values()):
        yield f"{wanted.name}: has no unique key on {', '.join(source.key)}"


Parts = list[tuple[str | None, int | None]]  # column (None for an expression) and length of the prefix, if any


def _read(session: Session, target: TableName) -> tuple[dict[str, Parts], dict[str, str]]:
    """The parts of each unique key, and the collation of each text column."""
    name = (target.schema, target.table)
    parts: dict[str, Parts] = {}
    for index, column, prefix in query(session, _PARTS, name):
        parts.setdefault(str(index), []).append((column, prefix))
    return parts, {str(column): str(collation) for column, collation in query(session, _COLLATIONS, name)}


def _shared(parts: Parts, source: Table) -> bool:
    """Whether the source keeps rows apart by no more than these columns, whole ones."""
    whole = {c for c, prefix in parts if prefix is None and c is not None}
    return len(whole) == len(parts) and any(set(own) <= whole for own in source.uniques)


def _folds(collations: Mapping[str, str], table: Table, column: str) -> bool:
    """Whether a text column of the target has another collation than in ``table``, and one that may fold."""
    there = collations.get(column)
    return there is not None and there != collation_of(table, column) and not there.endswith(_EXACT)


def collation_of(table: Table, column: str) -> str | None:
    """The collation of a column of MySQL or MariaDB; None of any other's."""
    return table.column(column).type.collation or table.collation
