"""Reads tables from PostgreSQL's catalog."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from whimbrel.connectors.postgres.particulars import PostgresParticulars
from whimbrel.connectors.postgres.source import expressions, sequences
from whimbrel.connectors.postgres.source.reflection import (
    COLUMNS,
    CONSTRAINTS,
    FIND,
    INDEXES,
    RELATIONS,
    SEQUENCES,
    TABLES,
    TYPES,
    Connection,
    Row,
    rows,
)
from whimbrel.connectors.postgres.source.sequences import SequenceUse
from whimbrel.connectors.postgres.types import CatalogType, column_type
from whimbrel.connectors.postgres.usertypes import UserType
from whimbrel.errors import SourcePermissionDenied, TableMissing
from whimbrel.model.names import TableName
from whimbrel.model.table import Check, Column, ColumnType, ForeignKey, Index, Table

_ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
_ENDLESS_INTERVALS_SINCE = 170000
_SET_COLUMNS = re.compile(r" ON DELETE (SET (?:NULL|DEFAULT) \(.*?\))")
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}


def resolve(connection: Connection, patterns: Sequence[TableName]) -> tuple[TableName, ...]:
    """Expand ``schema.*`` to its tables, without partitions (their parent has their rows) and extensions' own tables.

    Raises TableMissing naming all that do not exist or are no tables.
    """
    found = rows(connection, RELATIONS, [sorted({p.schema for p in patterns})])
    kinds = {TableName(r["schema"], r["name"]): r["kind"] for r in found}
    wanted = {TableName(r["schema"], r["name"]) for r in found if not r["partition"] and not r["extension"]}
    names: dict[TableName, None] = {}
    missing: list[str] = []
    for pattern in patterns:
        if pattern.is_pattern:
            tables = [n for n in kinds if n.schema == pattern.schema and n in wanted and kinds[n] in "rp"]
            names.update(dict.fromkeys(tables))
            missing += [] if tables else [f"{pattern} (no tables)"]
        elif kinds.get(pattern, "") in _KINDS:
            missing.append(f"{pattern} ({_KINDS[kinds[pattern]]})")
        elif pattern in kinds:
            names[pattern] = None
        else:
            missing.append(str(pattern))
    if missing:
        raise TableMissing(f"no such table: {', '.join(missing[:20])}", tables=missing[:100])
    return tuple(names)


def reflect(connection: Connection, names: Sequence[TableName], *, readable: bool = False) -> tuple[Table, ...]:
    """The definitions, in the order asked.

    Raises TableMissing, and with ``readable`` SourcePermissionDenied naming every table whose rows may not be read.
    """
    with unqualified_names_off(connection):
        found = rows(connection, FIND, [[n.schema for n in names], [n.table for n in names]])
        by_place = {r["ordinal"]: r for r in found}
        missing = [str(n) for place, n in enumerate(names, 1) if place not in by_place]
        if missing:
            raise TableMissing(f"no such table: {', '.join(missing[:20])}", tables=missing[:100])
        denied = [str(n) for place, n in enumerate(names, 1) if not by_place[place]["readable"]]
        if readable and denied:
            raise SourcePermissionDenied(f"the user may not SELECT from {', '.join(denied[:20])}", tables=denied[:100])
        catalog = _Catalog(connection, [r["oid"] for r in found])
        return tuple(catalog.table(by_place[place]["oid"], name) for place, name in enumerate(names, 1))


@contextmanager
def unqualified_names_off(connection: Connection) -> Iterator[None]:
    """One consistent view of the catalog in which PostgreSQL prints every name with its schema."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        connection.execute("set local search_path to ''")
        connection.execute("set local jit to off")  # compiling these queries takes a hundred times as long as they do
        yield


class _Catalog:
    """What the catalog says about some tables, read in a handful of queries."""

    def __init__(self, connection: Connection, oids: list[int]) -> None:
        wanted = {"oids": oids}
        # since 17 an interval may be infinite, whose binary form is a finite one to an older server
        self.endless_intervals = connection.info.server_version >= _ENDLESS_INTERVALS_SINCE
        self.sizes = {r["oid"]: r for r in rows(connection, TABLES, wanted)}
        self.columns = _grouped(rows(connection, COLUMNS, wanted))
        self.constraints = _grouped(rows(connection, CONSTRAINTS, wanted))
        self.indexes = _grouped(rows(connection, INDEXES, wanted))
        self.types = {r["oid"]: r for r in rows(connection, TYPES, wanted)}
        self.sequences: dict[int, dict[str, SequenceUse]] = defaultdict(dict)
        for r in rows(connection, SEQUENCES, wanted):
            self.sequences[r["relid"]].setdefault(r["column"], sequences.read_use(connection, r))

    def table(self, oid: int, name: TableName) -> Table:
        constraints = self.constraints[oid]
        types = {c["name"]: self.column_type(c) for c in self.columns[oid]}
        primary = next((c for c in constraints if c["kind"] == "p"), None)
        return Table(
            name=name,
            columns=tuple(self.column(oid, c, types) for c in self.columns[oid]),
            primary_key=tuple(primary["columns"]) if primary else (),
            primary_key_name=primary["name"] if primary else None,
            indexes=tuple(self.table_indexes(oid)),
            foreign_keys=tuple(_foreign_key(c) for c in constraints if c["kind"] == "f"),
            checks=tuple(
                Check(c["name"], expressions.expression(c["expression"], types))
                for c in constraints
                if c["kind"] == "c"
            ),
            rows=self.sizes[oid]["rows"],
            bytes=self.sizes[oid]["bytes"],
            comment=self.sizes[oid]["comment"],
            lost=tuple(_lost(self.sizes[oid])),
            binary_rows=self.portable(oid),
            particulars=self.particulars(oid),
        )

    def column_type(self, row: Row) -> ColumnType:
        return column_type(self.catalog_type(row["type"], row["typmod"], row["native"]), row["collation"])

    def column(self, oid: int, row: Row, types: Mapping[str, ColumnType]) -> Column:
        default = None if row["generated"] else row["expression"]
        use = self.sequences[oid].get(row["name"])
        identity = None
        if use is not None and (use.identity or sequences.is_plain_nextval(default)):
            identity, default = sequences.identity_of(use, row["identity"] == "a"), None
        return Column(
            name=row["name"],
            type=types[row["name"]],
            nullable=not row["not_null"],
            default=None if default is None else expressions.default(default, types[row["name"]]),
            identity=identity,
            generated=expressions.expression(row["expression"], types) if row["generated"] else None,
            generated_stored=row["generated"] != "v",
            comment=row["comment"],
            domain_rules=tuple(self._domain_rules(row["type"])),
        )

    def catalog_type(self, oid: int, typmod: int, native: str) -> CatalogType:
        found = self.types[oid]
        base = element = None
        if found["kind"] == "d":
            base = self.catalog_type(found["base"], found["base_typmod"], found["base_native"])
        elif found["element"]:
            element = self.catalog_type(found["element"], typmod, self.types[found["element"]]["spelling"])
        builtin = found["schema"] == "pg_catalog"
        return CatalogType(found["name"], typmod, native, builtin, tuple(found["labels"]), base, element)

    def table_indexes(self, oid: int) -> Iterator[Index]:
        constraints = {c["index"]: c for c in self.constraints[oid] if c["kind"] in "pux"}
        for row in self.indexes[oid]:
            constraint = constraints.get(row["index"])
            if constraint and constraint["kind"] == "p":
                continue
            plain = row["plain"] and not (constraint and constraint["deferrable"])
            yield Index(
                name=row["name"],
                columns=tuple(row["columns"]),
                unique=row["is_unique"],
                constraint=constraint is not None,
                method=row["method"],
                expression=None if plain else (constraint or row)["definition"],
                descending=tuple(row["descending"]),
                include=tuple(row["include"]),
            )

    def particulars(self, oid: int) -> PostgresParticulars:
        definitions = {c["name"]: c["definition"] for c in self.constraints[oid] if c["kind"] in "pfc"}
        return PostgresParticulars(self.sequences[oid], self.user_types(oid), definitions)

    def portable(self, oid: int) -> bool:
        """Whether an older server reads the binary form of its rows as we do."""
        return not (self.endless_intervals and any(self._is_made_of(c["type"], "interval") for c in self.columns[oid]))

    def _is_made_of(self, oid: int, name: str) -> bool:
        row = self.types[oid]
        if row["name"] == name and row["schema"] == "pg_catalog":
            return True
        return any(self._is_made_of(part, name) for part in (row["element"], row["base"]) if part)

    def _domain_rules(self, oid: int) -> list[str]:
        row = self.types[oid]
        if row["kind"] != "d":
            return []
        default = [f"DEFAULT {row['default']}"] if row["default"] else []
        own = [*default, *["NOT NULL"] * row["not_null"], *(definition for _, definition in row["checks"])]
        return own + self._domain_rules(row["base"])

    def user_types(self, oid: int) -> tuple[UserType, ...]:
        ordered: dict[int, UserType] = {}
        for column in self.columns[oid]:
            self._add_type(column["type"], ordered)
        return tuple(ordered.values())

    def _add_type(self, oid: int, ordered: dict[int, UserType]) -> None:
        """Put a type behind those it is made of; a row type may contain itself through an array."""
        row = self.types[oid]
        if row["schema"] == "pg_catalog" and not row["element"]:
            return
        if row["element"]:
            self._add_type(row["element"], ordered)
            return
        if oid in ordered:
            return
        if row["extension"] is None:
            for part in [row["base"]] if row["base"] else row["attribute_types"] if row["attributes"] else []:
                self._add_type(part, ordered)
        ordered[oid] = _user_type(row)


def _lost(row: Row) -> Iterator[str]:
    if row["kind"] == "p":
        yield "partitioned on the source, one plain table here"
    if row["unlogged"]:
        yield "unlogged on the source, an ordinary table here"
    if row["heirs"]:
        yield f"a query shows the rows of {', '.join(row['heirs'])} too on the source, which inherit from it, not here"


def _user_type(row: Row) -> UserType:
    kind = "extension" if row["extension"] else {"e": "enum", "d": "domain"}.get(row["kind"], "other")
    if kind == "other" and row["attributes"] is not None:
        kind = "composite"
    return UserType(
        kind=kind,
        schema=row["extension_schema"] or row["schema"],
        name=row["name"],
        spelling=row["spelling"],
        labels=tuple(row["labels"]),
        base=row["base_native"] if kind == "domain" else "",
        not_null=row["not_null"],
        default=row["default"],
        checks=tuple((n, d) for n, d in row["checks"]),
        attributes=tuple((n, d) for n, d in row["attributes"] or ()),
        extension=row["extension"],
    )


def _foreign_key(row: Row) -> ForeignKey:
    return ForeignKey(
        name=row["name"],
        columns=tuple(row["columns"]),
        parent=TableName(row["parent_schema"], row["parent"]),
        parent_columns=tuple(row["parent_columns"]),
        on_delete=columns[1] if (columns := _SET_COLUMNS.search(row["definition"])) else _ACTIONS[row["on_delete"]],
        on_update=_ACTIONS[row["on_update"]],
        deferrable=row["deferrable"],
        initially_deferred=row["deferred"],
    )


def _grouped(found: list[Row]) -> dict[int, list[Row]]:
    groups: dict[int, list[Row]] = defaultdict(list)
    for row in found:
        groups[row["relid"]].append(row)
    return groups
