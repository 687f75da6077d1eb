"""Reads table definitions from information_schema, whole schemas at a time."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pymysql

from whimbrel.connectors.mysql.connection import Session, query, quote_identifier, quote_literal
from whimbrel.connectors.mysql.readable import require_readable
from whimbrel.connectors.mysql.refusals import number_and_text
from whimbrel.connectors.mysql.types import INTEGERS, base_of, read_type
from whimbrel.errors import SourcePermissionDenied, TableMissing
from whimbrel.model.names import TableName
from whimbrel.model.table import Check, Column, ForeignKey, Identity, Index, Table

Row = dict[str, Any]
_FEW = 20  # so many tables of one schema are asked for one by one; MariaDB opens every table of a schema otherwise

_BASE_TABLES = ("BASE TABLE", "SYSTEM VERSIONED")
_NO_SCHEMA = (1044, 1049)  # one that is not there, and one that the account may not see
_JSON_CHECK = re.compile(r"^\s*json_valid\(`(?P<column>(?:[^`]|``)+)`\)\s*$", re.I)
_NOW = re.compile(r"^(current_timestamp|now|localtime|localtimestamp)(\(\d*\))?$", re.I)
_INTRODUCER = re.compile(r"_utf8mb[34](?=')")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "Z": "\x1a", "b": "\b"}


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
    """The definitions, in the order asked. Raises TableMissing."""
    if not session.mariadb and session.version >= (8,):
        query(session, "SET SESSION information_schema_stats_expiry = 0")
    facts = _Facts(session, names)
    missing = [n for n in names if n not in facts.tables]
    if missing:
        raise TableMissing(
            f"the source has no table {', '.join(str(n) for n in missing)}", tables=[str(n) for n in missing]
        )
    return tuple(facts.table(name) for name in names)


class _Facts:
    """All rows about some tables, sorted by table. Each information_schema view is asked once per schema."""

    def __init__(self, session: Session, names: Sequence[TableName]) -> None:
        self.session = session
        self.mariadb = session.mariadb
        self.names = set(names)
        tables = self.read("TABLES", "TABLE_SCHEMA", "TABLE_NAME")
        self.tables: dict[TableName, Row] = {name: rows[0] for name, rows in tables.items()}
        self.columns = self.read("COLUMNS", "TABLE_SCHEMA", "TABLE_NAME", "ORDINAL_POSITION")
        self.statistics = self.read("STATISTICS", "TABLE_SCHEMA", "TABLE_NAME", "INDEX_NAME, SEQ_IN_INDEX")
        self.constraints = self.read("TABLE_CONSTRAINTS", "TABLE_SCHEMA", "TABLE_NAME")
        self.keys = self.read("KEY_COLUMN_USAGE", "TABLE_SCHEMA", "TABLE_NAME", "ORDINAL_POSITION")
        self.references = self.read("REFERENTIAL_CONSTRAINTS", "CONSTRAINT_SCHEMA", "TABLE_NAME")
        self.geometries = self.read("GEOMETRY_COLUMNS", "G_TABLE_SCHEMA", "G_TABLE_NAME") if self.mariadb else {}
        self.clauses = self._check_clauses()

    def read(self, view: str, schema: str, table: str, order: str = "") -> dict[TableName, list[Row]]:
        """The view's rows of our tables, by table."""
        found: dict[TableName, list[Row]] = defaultdict(list)
        for where in self._conditions(schema, table):
            sql = f"SELECT * FROM information_schema.{view} WHERE {where}"  # noqa: S608 - quoted in _conditions
            for row in self.rows(sql + (f" ORDER BY {order}" if order else "")):
                name = TableName(row[schema], row[table])
                if name in self.names:
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
        for name in self.names:
            by_schema[name.schema].append(name.table)
        for wanted, tables in by_schema.items():
            condition = f"{schema} = {quote_literal(wanted)}"
            if len(tables) > _FEW:
                yield condition
            else:
                yield from (f"{condition} AND {table} = {quote_literal(t)}" for t in tables)

    def _check_clauses(self) -> dict[TableName, list[Row]]:
        """Checks by table. MySQL's view lacks the table; the constraint's name is unique within its schema there."""
        if self.mariadb:
            return self.read("CHECK_CONSTRAINTS", "CONSTRAINT_SCHEMA", "TABLE_NAME")
        if self.session.version < (8, 0, 16):
            return {}
        owners = {
            (name.schema, row["CONSTRAINT_NAME"]): name
            for name, rows in self.constraints.items()
            for row in rows
            if row["CONSTRAINT_TYPE"] == "CHECK"
        }
        found: dict[TableName, list[Row]] = defaultdict(list)
        for schema in {owner[0] for owner in owners}:
            sql = (
                f"SELECT * FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = {quote_literal(schema)}"  # noqa: S608
            )
            for row in self.rows(sql):
                owner = owners.get((schema, row["CONSTRAINT_NAME"]))
                if owner is not None:
                    found[owner].append({**row, "CHECK_CLAUSE": unescape(row["CHECK_CLAUSE"])})
        return found

    # --- one table ----------------------------------------------------------------------------------------------------

    def table(self, name: TableName) -> Table:
        facts = self.tables[name]
        json_columns = {
            found["column"].replace("``", "`")
            for row in self.clauses.get(name, ())
            if row.get("LEVEL") == "Column" and (found := _JSON_CHECK.match(row["CHECK_CLAUSE"]))
        }
        collation = facts["TABLE_COLLATION"]
        srids = {row["G_GEOMETRY_COLUMN"]: row["SRID"] for row in self.geometries.get(name, ())}
        options = {
            "engine": facts["ENGINE"] or "",
            "collation": collation or "",
            "flavor": "mariadb" if self.mariadb else "mysql",
        }
        columns = []
        for row in self.columns[name]:
            column, extra = self.column(row, facts, srids, json=row["COLUMN_NAME"] in json_columns)
            columns.append(column)
            options.update(extra)
        indexes = self.indexes(name)
        primary = next((i for i in indexes if i.name == "PRIMARY"), None)
        if primary and (primary.prefixes or primary.descending):
            options["primary_key"] = key_parts(primary)
        return Table(
            name=name,
            columns=tuple(columns),
            primary_key=primary.columns if primary else (),
            primary_key_name="PRIMARY" if primary else None,
            indexes=tuple(i for i in indexes if i.name != "PRIMARY"),
            foreign_keys=self.foreign_keys(name),
            checks=self.checks(name, json_columns),
            rows=int(facts["TABLE_ROWS"] or 0),
            bytes=int(facts["DATA_LENGTH"] or 0),
            comment=facts["TABLE_COMMENT"] or None,
            charset=collation.partition("_")[0] if collation else None,
            lost=tuple(_lost(facts)),
            options=options,
        )

    def column(self, row: Row, table: Row, srids: dict[str, int], *, json: bool) -> tuple[Column, dict[str, str]]:
        """The column, and what has no field of its own, for the table's options."""
        name, extra = row["COLUMN_NAME"], (row["EXTRA"] or "")
        collation = row["COLLATION_NAME"]
        srid = row.get("SRS_ID") or srids.get(name) or None
        type_ = read_type(
            row["COLUMN_TYPE"], collation if collation != table["TABLE_COLLATION"] else None, json=json, srid=srid
        )
        generated = row["GENERATION_EXPRESSION"] or None
        identity = None
        if "auto_increment" in extra.lower():
            identity = Identity(next_value=int(table["AUTO_INCREMENT"] or 1))
        options = {}
        on_update = re.search(r"on update (\S+)", extra, re.I)
        if on_update:
            options[f"on_update.{name}"] = on_update[1]
        if "INVISIBLE" in extra.upper():
            options[f"invisible.{name}"] = "yes"
        return Column(
            name=name,
            type=type_,
            nullable=row["IS_NULLABLE"] == "YES",
            default=None if generated else self.default(row, extra),
            identity=identity,
            generated=(generated if self.mariadb else unescape(generated)) if generated else None,
            generated_stored="VIRTUAL" not in extra.upper(),
            comment=row["COLUMN_COMMENT"] or None,
        ), options

    def default(self, row: Row, extra: str) -> str | None:
        """The default as SQL: MariaDB shows that, MySQL shows literals bare and expressions escaped."""
        text = row["COLUMN_DEFAULT"]
        if text is None or (self.mariadb and text == "NULL"):
            return None
        if self.mariadb:
            return str(text)
        base = base_of(row["COLUMN_TYPE"])
        if _NOW.match(text) and base in ("timestamp", "datetime"):
            return str(text)
        if "DEFAULT_GENERATED" in extra:
            return f"({unescape(text)})"
        if base in INTEGERS or base in ("decimal", "float", "double", "bit", "year"):
            return str(text)
        if base in ("binary", "varbinary") and text.startswith("0x"):
            return str(text)
        return quote_literal(text)

    def indexes(self, name: TableName) -> list[Index]:
        parts: dict[str, list[Row]] = defaultdict(list)
        for row in self.statistics.get(name, ()):
            parts[row["INDEX_NAME"]].append(row)
        found = []
        for index, rows in parts.items():
            functional = any(row.get("EXPRESSION") for row in rows)
            spatial = rows[0]["INDEX_TYPE"] == "SPATIAL"  # its prefix length is of the box, not of the value
            prefixes = tuple(None if spatial else row["SUB_PART"] and int(row["SUB_PART"]) for row in rows)
            found.append(
                Index(
                    name=index,
                    columns=() if functional else tuple(row["COLUMN_NAME"] for row in rows),
                    unique=int(rows[0]["NON_UNIQUE"]) == 0,
                    constraint=int(rows[0]["NON_UNIQUE"]) == 0,
                    method=rows[0]["INDEX_TYPE"].lower(),
                    expression=", ".join(_key_part(row) for row in rows) if functional else None,
                    prefixes=prefixes if any(prefixes) else (),
                    descending=tuple(row["COLLATION"] == "D" for row in rows) if _descends(rows) else (),
                )
            )
        return found

    def foreign_keys(self, name: TableName) -> tuple[ForeignKey, ...]:
        parts: dict[str, list[Row]] = defaultdict(list)
        for row in self.keys.get(name, ()):
            if row["REFERENCED_TABLE_NAME"]:
                parts[row["CONSTRAINT_NAME"]].append(row)
        rules = {row["CONSTRAINT_NAME"]: row for row in self.references.get(name, ())}
        hidden = parts.keys() - rules.keys()
        if hidden:  # MariaDB shows a foreign key's rules only to an account with a right on the whole database
            raise SourcePermissionDenied(
                f"table {name}: this account is not shown the rules of {', '.join(sorted(hidden))}",
                remedy=f"GRANT SHOW VIEW, TRIGGER ON {quote_identifier(name.schema)}.* TO this account.",
            )
        return tuple(
            ForeignKey(
                name=constraint,
                columns=tuple(row["COLUMN_NAME"] for row in rows),
                parent=TableName(rows[0]["REFERENCED_TABLE_SCHEMA"], rows[0]["REFERENCED_TABLE_NAME"]),
                parent_columns=tuple(row["REFERENCED_COLUMN_NAME"] for row in rows),
                on_delete=rules[constraint]["DELETE_RULE"],
                on_update=rules[constraint]["UPDATE_RULE"],
            )
            for constraint, rows in parts.items()
        )

    def checks(self, name: TableName, json_columns: set[str]) -> tuple[Check, ...]:
        return tuple(
            Check(row["CONSTRAINT_NAME"], row["CHECK_CLAUSE"])
            for row in self.clauses.get(name, ())
            if not (row.get("LEVEL") == "Column" and row["CONSTRAINT_NAME"] in json_columns)
        )


def _lost(facts: Row) -> Iterator[str]:
    if "partitioned" in (facts["CREATE_OPTIONS"] or ""):
        yield "partitioned on the source, one plain table here"
    if facts["TABLE_TYPE"] == "SYSTEM VERSIONED":
        yield "system-versioned on the source; the rows of today are moved, their history is not"


def key_parts(index: Index) -> str:
    """The columns of an index without expressions, as CREATE TABLE has them."""
    parts = []
    for number, name in enumerate(index.columns):
        prefix = index.prefixes[number] if index.prefixes else None
        descends = bool(index.descending) and index.descending[number]
        parts.append(f"{quote_identifier(name)}{f'({prefix})' if prefix else ''}{' DESC' if descends else ''}")
    return ", ".join(parts)


def _key_part(row: Row) -> str:
    """One part of an index that has expressions, as it stands in CREATE INDEX."""
    part = f"({unescape(row['EXPRESSION'])})" if row.get("EXPRESSION") else "`" + row["COLUMN_NAME"] + "`"
    if row["SUB_PART"]:
        part += f"({row['SUB_PART']})"
    return part + (" DESC" if row["COLLATION"] == "D" else "")


def _descends(rows: Sequence[Row]) -> bool:
    return any(row["COLLATION"] == "D" for row in rows)


def unescape(text: str) -> str:
    """MySQL shows expressions with their quotes and backslashes escaped once more, and literals with their charset."""
    plain = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text, flags=re.S)
    return _INTRODUCER.sub("", plain)
