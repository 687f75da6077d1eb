"""Reads table definitions: SHOW CREATE TABLE says what a table is, information_schema how large it is."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pymysql

from whimbrel.connectors.mysql.connection import Session, qualified, query, quote_identifier, quote_literal
from whimbrel.connectors.mysql.particulars import MySQLParticulars
from whimbrel.connectors.mysql.refusals import number_and_text
from whimbrel.connectors.mysql.source import expressions
from whimbrel.connectors.mysql.source.definition_columns import ColumnDefinition
from whimbrel.connectors.mysql.source.definitions import (
    Definition,
    ForeignKeyDefinition,
    IndexDefinition,
    Part,
    definition,
)
from whimbrel.connectors.mysql.source.readable import require_readable
from whimbrel.connectors.mysql.types import SPATIAL, TEXTS, base_of, read_type
from whimbrel.errors import DefinitionRefused, TableMissing
from whimbrel.model.names import TableName
from whimbrel.model.table import Check, Column, ForeignKey, Identity, Index, Table

Row = dict[str, Any]
_FEW = 20  # so many tables of one schema are asked for one by one; MariaDB opens every table of a schema otherwise

_BASE_TABLES = ("BASE TABLE", "SYSTEM VERSIONED")
_NO_SCHEMA = (1044, 1049)  # one that is not there, and one that the account may not see
_NO_TABLE = (1049, 1146)
_DENIED = (1044, 1142, 1143, 1370)
_TEXTS = frozenset({*TEXTS, "char", "varchar", "enum", "set"})
_JSON_CHECK = re.compile(r"json_valid\(`(?:[^`]|``)+`\)", re.I)


def resolve(session: Session, patterns: Sequence[TableName]) -> tuple[TableName, ...]:
    """Expand ``schema.*`` and check that the tables exist, case-exact. Raises TableMissing naming all that do not.

    A table that the account has no right to is not shown by the server; then it is SourcePermissionDenied.
    """
    listed = {schema: _tables_of(session, schema) for schema in dict.fromkeys(p.schema for p in patterns)}
    found: list[TableName] = []
    missing: list[TableName] = []
    for pattern in patterns:
        names = [n for n in listed[pattern.schema] if pattern.is_pattern or n == pattern]
        found += names
        missing += [] if names else [pattern]
    if missing:
        require_readable(session, [m for m in missing if not m.is_pattern])
        raise TableMissing(
            f"the source has no table {', '.join(str(n) for n in missing)}, or the account may not see it",
            tables=[str(n) for n in missing],
        )
    return tuple(dict.fromkeys(found))


def _tables_of(session: Session, schema: str) -> list[TableName]:
    """Every table of a schema, by name; none where the schema is not there.

    Not from information_schema, where MariaDB leaves out a table that is just being truncated.
    """
    try:
        rows = query(session, f"SHOW FULL TABLES FROM {quote_identifier(schema)}")
    except pymysql.MySQLError as e:
        if number_and_text(e)[0] not in _NO_SCHEMA:
            raise
        return []
    return sorted(TableName(schema, name) for name, kind in rows if kind in _BASE_TABLES)


def reflect(session: Session, names: Sequence[TableName]) -> tuple[Table, ...]:
    """The definitions, in the order asked. Raises TableMissing, DefinitionRefused, SourcePermissionDenied."""
    texts = _definitions(session, names)
    missing = [n for n in names if n not in texts]
    if missing:
        raise TableMissing(
            f"the source has no table {', '.join(str(n) for n in missing)}", tables=[str(n) for n in missing]
        )
    refused: list[DefinitionRefused] = []
    found: dict[TableName, Definition] = {}
    for name, text in texts.items():
        try:
            found[name] = definition(name, text, mariadb=session.mariadb)
        except DefinitionRefused as e:
            refused.append(e)
    if refused:
        raise DefinitionRefused(
            "; ".join(e.message for e in refused[:20]), tables=[t for e in refused[:100] for t in e.extra["tables"]]
        )
    facts = _Facts(session, found)
    return tuple(facts.table(name) for name in names)


def _definitions(session: Session, names: Sequence[TableName]) -> dict[TableName, str]:
    """What SHOW CREATE TABLE says of those tables that exist, in bytes that no server has converted on their way."""
    settings = {"character_set_results": "NULL"}
    if not session.mariadb and session.version >= (8, 0, 30):
        settings["show_gipk_in_create_table_and_information_schema"] = "1"  # the log has that key too
    query(session, "SET " + ", ".join(f"SESSION {name} = {value}" for name, value in settings.items()))
    unicode, session.use_unicode = session.use_unicode, False
    found: dict[TableName, str] = {}
    denied: list[TableName] = []
    try:
        for name in dict.fromkeys(names):
            try:
                found[name] = query(session, f"SHOW CREATE TABLE {qualified(name)}")[0][1].decode(
                    "utf-8", "surrogateescape"
                )
            except pymysql.MySQLError as e:
                if number_and_text(e)[0] in _DENIED:
                    denied.append(name)
                elif number_and_text(e)[0] not in _NO_TABLE:
                    raise
    finally:
        session.use_unicode = unicode
        query(session, "SET SESSION character_set_results = utf8mb4")
    if denied:
        require_readable(session, denied)
    return found


class _Facts:
    """What SHOW CREATE TABLE does not say, and tables made of both."""

    def __init__(self, session: Session, found: Mapping[TableName, Definition]) -> None:
        self.session = session
        self.mariadb = session.mariadb
        self.found = found
        self.collations = {str(row[0]): str(row[2]) for row in query(session, "SHOW CHARACTER SET")}
        if not self.mariadb and session.version >= (8,):
            query(session, "SET SESSION information_schema_stats_expiry = 0")
        tables = self.read("TABLES", "TABLE_SCHEMA", "TABLE_NAME")
        self.tables: dict[TableName, Row] = {name: rows[0] for name, rows in tables.items()}
        spatial = self.mariadb and any(base_of(c.native) in SPATIAL for d in found.values() for c in d.columns)
        self.geometries = self.read("GEOMETRY_COLUMNS", "G_TABLE_SCHEMA", "G_TABLE_NAME") if spatial else {}

    def read(self, view: str, schema: str, table: str) -> dict[TableName, list[Row]]:
        """The view's rows of our tables, by table."""
        found: dict[TableName, list[Row]] = defaultdict(list)
        for where in self._conditions(schema, table):
            for row in self.rows(f"SELECT * FROM information_schema.{view} WHERE {where}"):  # noqa: S608 - quoted there
                name = TableName(row[schema], row[table])
                if name in self.found:
                    found[name].append(row)
        return found

    def rows(self, sql: str) -> Iterator[Row]:
        with self.session.cursor() as cursor:
            cursor.execute(sql)
            titles = [d[0].upper() for d in cursor.description or ()]
            for row in cursor.fetchall():
                yield dict(zip(titles, row, strict=True))

    def _conditions(self, schema: str, table: str) -> Iterator[str]:
        by_schema: dict[str, list[str]] = defaultdict(list)
        for name in self.found:
            by_schema[name.schema].append(name.table)
        for wanted, tables in by_schema.items():
            condition = f"{schema} = {quote_literal(wanted)}"
            if len(tables) > _FEW:
                yield condition
            else:
                yield from (f"{condition} AND {table} = {quote_literal(t)}" for t in tables)

    # --- one table ----------------------------------------------------------------------------------------------------

    def table(self, name: TableName) -> Table:
        found, facts = self.found[name], self.tables.get(name, {})
        collation = found.collation or self.collations.get(found.charset or "", "")
        indexes = sorted((self.index(i, found) for i in found.indexes), key=lambda i: i.name)
        primary = next((i for i in indexes if i.name == "PRIMARY"), None)
        odd_key = primary if primary and (primary.prefixes or primary.descending) else None
        return Table(
            name=name,
            columns=tuple(self.column(name, c, collation) for c in found.columns),
            primary_key=primary.columns if primary else (),
            primary_key_name="PRIMARY" if primary else None,
            indexes=tuple(i for i in indexes if i.name != "PRIMARY"),
            foreign_keys=tuple(self.foreign_key(k, name) for k in found.foreign_keys),
            checks=tuple(_checks(found)),
            rows=int(facts.get("TABLE_ROWS") or 0),
            bytes=int(facts.get("DATA_LENGTH") or 0),
            comment=found.comment,
            charset=collation.partition("_")[0] if collation else None,
            lost=tuple(_lost(found, mariadb=self.mariadb)),
            collation=collation or None,
            versioned=found.versioned,
            particulars=MySQLParticulars(self.mariadb, found.engine, key_parts(odd_key) if odd_key else None),
        )

    def column(self, table: TableName, column: ColumnDefinition, table_collation: str) -> Column:
        collation = column.collation or self.collations.get(column.charset or "")
        type_ = read_type(
            column.native,
            collation if collation != table_collation else None,
            json=column.check is not None and _JSON_CHECK.fullmatch(column.check) is not None,
            srid=column.srid or self._srid(table, column.name) or None,
        )
        default = self._default(table, column, collation or table_collation)
        identity = None
        if column.numbered:
            known = self.tables.get(table, {}).get("AUTO_INCREMENT") or self.found[table].next_number
            identity = Identity(next_value=int(known or 1))
        return Column(
            name=column.name,
            type=type_,
            nullable=column.nullable and column.generated not in ("ROW START", "ROW END"),
            default=None if default is None else expressions.default(default),
            identity=identity,
            generated=None if column.generated is None else expressions.expression(column.generated),
            generated_stored=column.stored or column.generated is None,
            comment=column.comment,
            on_update=column.on_update,
            invisible=column.invisible,
        )

    def _srid(self, table: TableName, column: str) -> int | None:
        return next((r["SRID"] for r in self.geometries.get(table, ()) if r["G_GEOMETRY_COLUMN"] == column), None)

    def _default(self, table: TableName, column: ColumnDefinition, collation: str) -> str | None:
        """MySQL shows texts with characters beyond U+FFFF as bytes of the column's character set; MariaDB shows a
        question mark in their place, and is asked for the value itself."""
        text = column.default
        if text is None or base_of(column.native) not in _TEXTS:
            return text
        asked: tuple[str, ...] = ()
        if text.startswith("0x"):
            asked = (f"SELECT CONVERT(_{collation.partition('_')[0]} {text} USING utf8mb4)",)
        elif self.mariadb and text.startswith("'") and "?" in text:
            ask = f"SELECT CONVERT(DEFAULT({quote_identifier(column.name)}) USING utf8mb4)"
            asked = (
                f"{ask} FROM (SELECT 1) one LEFT JOIN {qualified(table)} ON FALSE",  # NULL for columns that are not
                f"{ask} FROM {qualified(table)} LIMIT 1",
            )
        answers = (row[0] for sql in asked for row in query(self.session, sql))
        value = next((answer for answer in answers if answer is not None), None)
        return text if value is None else quote_literal(str(value))

    def index(self, index: IndexDefinition, table: Definition) -> Index:
        parts = [p for part in index.parts for p in _plain_parts(part, table)]
        functional = any(part.column is None for part in parts)
        spatial = index.kind == "spatial"  # its prefix length is of the box, not of the value
        prefixes = tuple(None if spatial else part.prefix for part in parts)
        unique = index.kind in ("primary", "unique")
        hashed = index.using == "hash" and (self.mariadb or table.engine.upper() != "INNODB")
        return Index(
            name=index.name,
            columns=() if functional else tuple(part.column or "" for part in parts),
            unique=unique,
            constraint=unique,
            method=("btree" if not hashed else "hash") if unique or not index.kind else index.kind,
            expression=", ".join(part.sql for part in parts) if functional else None,
            prefixes=prefixes if any(prefixes) and not functional else (),
            descending=tuple(part.descending for part in parts) if any(p.descending for p in parts) else (),
        )

    def foreign_key(self, key: ForeignKeyDefinition, table: TableName) -> ForeignKey:
        unsaid = "RESTRICT" if self.mariadb else "NO ACTION"
        schema, parent = key.parent
        return ForeignKey(
            name=key.name,
            columns=key.columns,
            parent=TableName(table.schema if schema is None else schema, parent),
            parent_columns=key.parent_columns,
            on_delete=key.on_delete or unsaid,
            on_update=key.on_update or unsaid,
        )


def _checks(found: Definition) -> Iterator[Check]:
    """The table's own, and its columns', which MariaDB names after the column; its JSON is such a check."""
    for column in found.columns:
        if column.check is not None and not _JSON_CHECK.fullmatch(column.check):
            yield Check(column.name, expressions.expression(column.check))
    for period, (start, end) in found.periods.items():
        yield Check(period, expressions.expression(f"{quote_identifier(start)} < {quote_identifier(end)}"))
    for check in sorted(found.checks, key=lambda c: not c.enforced):
        yield Check(check.name, expressions.expression(check.expression), check.enforced)


def _plain_parts(part: Part, table: Definition) -> tuple[Part, ...]:
    """A period in a key stands for its two columns: no two rows have the same ones when none overlap."""
    if not part.without_overlaps or part.column not in table.periods:
        return (part,)
    return tuple(Part(quote_identifier(name), name) for name in table.periods[part.column])


def _lost(found: Definition, *, mariadb: bool) -> Iterator[str]:
    if found.partitioned:
        yield "partitioned on the source, one plain table here"
    if found.versioned:
        yield "system-versioned on the source; the rows of today are moved, their history is not"
    for period in found.periods:
        yield f"period {period} and WITHOUT OVERLAPS are left out; its two columns are moved"
    for index in found.indexes:
        if index.hidden:
            yield f"index {index.name} is hidden from the optimizer on the source, used here"
    for column in found.columns:
        if column.compressed:
            yield f"column {column.name} is compressed on the source, plain here"
        base = base_of(column.native)
        if mariadb and base in _TEXTS and "?" in (column.default or "") and not column.nullable:
            yield f"column {column.name}: a ? in its default may stand for a character that the source does not show"
        if base in ("enum", "set") and "?" in column.native:
            yield f"column {column.name}: a ? in its labels may stand for a character that the source does not show"


def key_parts(index: Index) -> str:
    """The columns of an index without expressions, as CREATE TABLE has them."""
    parts = []
    for number, name in enumerate(index.columns):
        prefix = index.prefixes[number] if index.prefixes else None
        descends = bool(index.descending) and index.descending[number]
        parts.append(f"{quote_identifier(name)}{f'({prefix})' if prefix else ''}{' DESC' if descends else ''}")
    return ", ".join(parts)
