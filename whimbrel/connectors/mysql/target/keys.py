"""Keys, indexes and foreign keys under MySQL's rules: bounded length, plain columns, names unique in the schema."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from whimbrel.connectors.mysql.capabilities import CAPABILITIES
from whimbrel.connectors.mysql.target.dialect import Dialect
from whimbrel.connectors.mysql.target.types import key_bytes
from whimbrel.connectors.mysql.types import canonical
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, ForeignKey, Index, Table

INDEX_BYTES = 3072  # InnoDB's limit for all of an index's columns together
PREFIX_CHARACTERS = 191
_RULES = frozenset({"NO ACTION", "RESTRICT", "CASCADE", "SET NULL"})  # all that InnoDB does


class KeyRoom:
    """How much of an index each unbounded column of a table may take."""

    def __init__(self, table: Table) -> None:
        self.shares: dict[str, int] = {}
        uniques = [i.columns for i in table.indexes if i.unique and i.expression is None]
        for key in (table.primary_key, *uniques, *(f.columns for f in table.foreign_keys)):
            columns = [table.column(name) for name in key]
            open_ended = [c for c in columns if _open_ended(c)]
            taken = sum(_fixed_bytes(c) for c in columns if c not in open_ended)
            for column in open_ended:
                share = max(INDEX_BYTES - taken, 4 * len(open_ended)) // len(open_ended)
                self.shares[column.name] = min(share, self.shares.get(column.name, INDEX_BYTES))

    def share(self, column: Column) -> int | None:
        """Characters (bytes for binary columns) that the column may have, or None when it stands in no key."""
        share = self.shares.get(column.name)
        if share is None:
            return None
        return share if pa.types.is_binary(column.type.arrow) else share // 4


def _open_ended(column: Column) -> bool:
    type_ = column.type
    if type_.annotation in (Annotation.NONE, Annotation.CHAR) and (
        pa.types.is_string(type_.arrow) or pa.types.is_binary(type_.arrow)
    ):
        return type_.length is None or _fixed_bytes(column) > 255
    return type_.annotation is Annotation.BIT and (type_.length or 1) > 64


def _fixed_bytes(column: Column) -> int:
    type_ = column.type
    if pa.types.is_string(type_.arrow):
        return 4 * (type_.length or 36)
    return (type_.length or 16) if pa.types.is_binary(type_.arrow) else 30


def convert_indexes(
    source: Table, target: Table, dialect: Dialect, *, family: bool
) -> tuple[tuple[Index, ...], list[str]]:
    """The target's indexes, its AUTO_INCREMENT's own one included where no key begins with it; and notes."""
    found: list[Index] = []
    notes: list[str] = []
    for index in source.indexes:
        problem = _problem(index, target, dialect, family=family)
        if problem:
            notes.append(f"{source.name}: index {index.name} is left out: {problem}")
            continue
        prefixed = index if family else _prefixed(index, target)
        if prefixed is None:
            notes.append(f"{source.name}: index {index.name} is left out: a column of it cannot be indexed")
            continue
        if index.include:
            notes.append(f"{source.name}: index {index.name}: the columns it only includes are left out")
        found.append(replace(prefixed, name=_index_name(index.name), include=()))
    numbered = next((c.name for c in target.columns if c.identity), None)
    begins = [target.primary_key[:1], *(i.columns[:1] for i in found if i.method in ("btree", "hash"))]
    if numbered and (numbered,) not in begins:
        found.append(Index(_index_name(f"{numbered}_auto"), (numbered,)))
    return tuple(found), notes


def _problem(index: Index, target: Table, dialect: Dialect, *, family: bool) -> str | None:
    if family and index.unique and not dialect.mariadb and index.expression is None and not any(index.prefixes):
        long = [name for name in index.columns if not key_bytes(target.column(name).type.native)]
        if long:
            return f"MySQL has no uniqueness over the whole of a long text ({', '.join(long)})"
    if family:
        return "MariaDB has no indexes on expressions" if index.expression and dialect.mariadb else None
    if index.expression is not None:
        kind = "uniqueness over an expression or a part of the rows" if index.unique else "an expression or a condition"
        return f"{kind} ({index.expression})"
    return None if index.method in ("btree", "hash") else f"method {index.method}"


def _prefixed(index: Index, target: Table) -> Index | None:
    """A plain index with prefixes where a column is too long for one; None if it cannot be made."""
    natives = [target.column(name).type for name in index.columns]
    if any(t.annotation in (Annotation.JSON, Annotation.SPATIAL) for t in natives):
        return None
    sizes = [key_bytes(t.native) for t in natives]
    method = replace(index, method="btree", constraint=index.unique)
    if all(sizes) and sum(sizes) <= INDEX_BYTES:
        return method
    if index.unique:
        return method if all(sizes) else None
    room = min(PREFIX_CHARACTERS, INDEX_BYTES // 4 // len(sizes))
    prefixes = tuple(None if 0 < size <= room * 4 else room for size in sizes)
    return replace(method, prefixes=prefixes)


def _index_name(name: str) -> str:
    if name.upper() == "PRIMARY":
        return "primary_"
    return _shortened(name)


def _shortened(name: str) -> str:
    if CAPABILITIES.fits(name):
        return name
    return f"{name[: CAPABILITIES.identifier_length - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@dataclass
class Keyed:
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def convert_foreign_keys(targets: Sequence[Table], sources: Sequence[Table], schemas: Mapping[str, str]) -> Keyed:
    """The targets with foreign keys that name target tables, with names that are unique in each schema."""
    found = Keyed()
    by_name = {t.name: t for t in targets}
    taken: set[tuple[str, str]] = set()
    for target, source in zip(targets, sources, strict=True):
        kept = []
        for key in source.foreign_keys:
            converted = _foreign_key(key, source.name, schemas, found.notes)
            if not _same_types(target, by_name.get(converted.parent), converted):
                found.notes.append(f"{source.name}: foreign key {key.name} is left out: its columns differ in type")
                continue
            name = _shortened(key.name)
            if (target.name.schema, name.casefold()) in taken:
                name = _shortened(f"{target.name.table}_{key.name}")
            taken.add((target.name.schema, name.casefold()))
            kept.append(replace(converted, name=name))
        found.tables.append(replace(target, foreign_keys=tuple(kept)))
    return found


def _foreign_key(key: ForeignKey, table: TableName, schemas: Mapping[str, str], notes: list[str]) -> ForeignKey:
    for rule in (key.on_delete, key.on_update):
        if rule not in _RULES:
            notes.append(f"{table}: foreign key {key.name}: {rule} -> NO ACTION")
    if key.deferrable:
        notes.append(f"{table}: foreign key {key.name}: is checked at once, not at the end of the transaction")
    return replace(
        key,
        parent=key.parent.renamed(schemas),
        on_delete=key.on_delete if key.on_delete in _RULES else "NO ACTION",
        on_update=key.on_update if key.on_update in _RULES else "NO ACTION",
        deferrable=False,
        initially_deferred=False,
    )


def _same_types(child: Table, parent: Table | None, key: ForeignKey) -> bool:
    """Whether InnoDB takes the pair: texts of any length, all else of one type. A parent out of sight passes."""
    if parent is None:
        return True
    pairs = zip(key.columns, key.parent_columns, strict=True)
    return all(_comparable(child.column(c)) == _comparable(parent.column(p)) for c, p in pairs)


def _comparable(column: Column) -> str:
    native = canonical(column.type.native)
    return "text" if native.startswith(("varchar", "char")) else native
