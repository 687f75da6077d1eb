"""Databricks' SQL into DuckDB's, and what DuckDB would take of it that Databricks does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import sqlglot
from sqlglot import exp

from tests.emulators.databricks.errors import Refused

_AS_WRITTEN = r"(\s*,\s*datetimeRebaseMode\s*=>\s*'CORRECTED')?"
READ_FILES = re.compile(
    rf"READ_FILES\(\s*'((?:[^'\\]|\\.)*)'\s*,\s*format\s*=>\s*'parquet'{_AS_WRITTEN}\s*\)", re.IGNORECASE
)
_WORDS = (
    "BOOLEAN TINYINT SMALLINT INT BIGINT FLOAT DOUBLE DECIMAL TEXT VARCHAR CHAR BINARY DATE TIMESTAMP TIMESTAMPTZ "
    "TIMESTAMPNTZ TIMESTAMPLTZ"
)
TYPES = frozenset(_WORDS.split())
_SPECIAL = re.compile(r"[ ,;{}()\n\t=]")
# the columns of information_schema that we may ask for, of the session's catalog alone
COLUMNS = """(SELECT schema_name AS table_schema, table_name, column_name, column_index AS ordinal_position,
CASE WHEN is_nullable THEN 'YES' ELSE 'NO' END AS is_nullable, column_default,
CASE WHEN data_type = 'TIMESTAMP' THEN 'timestamp_ntz' WHEN data_type = 'TIMESTAMP WITH TIME ZONE' THEN 'timestamp'
WHEN data_type = 'BLOB' THEN 'binary' WHEN data_type = 'VARCHAR' THEN 'string' WHEN data_type = 'INTEGER' THEN 'int'
ELSE lower(data_type) END AS full_data_type FROM duckdb_columns()
WHERE database_name = current_database() AND schema_name <> '_stand')"""
TABLES = """(SELECT schema_name AS table_schema, table_name FROM duckdb_tables()
WHERE database_name = current_database() AND schema_name <> '_stand')"""
SCHEMATA = """(SELECT schema_name FROM duckdb_schemas()
WHERE database_name = current_database() AND schema_name <> '_stand')"""
_CATALOG = {"columns": COLUMNS, "tables": TABLES, "schemata": SCHEMATA}


def parsed(sql: str, path_of: Callable[[str, bool], str]) -> Any:
    """One statement, with names folded, files found and what Databricks does not have refused. ``path_of`` is told
    whether days are to be taken as written."""
    sql = READ_FILES.sub(lambda m: f"read_parquet('{path_of(m[1], bool(m[2]))}')", sql)
    try:
        tree = sqlglot.parse_one(sql, read="databricks")
    except sqlglot.errors.ParseError as e:
        raise Refused("PARSE_SYNTAX_ERROR", str(e).splitlines()[0], "42601") from e
    if isinstance(tree, exp.Command):
        raise Refused("PARSE_SYNTAX_ERROR", f"Syntax error at or near '{sql.split()[0]}'", "42601")
    for table in tree.find_all(exp.Table):
        _fold(table)
    if isinstance(tree, exp.Create) and tree.kind == "TABLE":
        _require_known(tree)
        tree.set("properties", None)
    return tree


def duckdb(tree: Any) -> str:
    out = tree.sql(dialect="duckdb")
    out = re.sub(r"\bOCTET_LENGTH\(", "strlen(", out)
    out = re.sub(r"\bCURRENT_CATALOG\b", "current_database()", out)
    out = re.sub(r"\bVERSION\(\)\.dbsql_version", "'2026.20'", out)
    return re.sub(
        r'"?information_schema"?\."?(columns|tables|schemata)"?', lambda m: _CATALOG[m[1].lower()], out, flags=re.I
    )


def _fold(table: exp.Table) -> None:
    for part in ("this", "db", "catalog"):
        name = table.args.get(part)
        if isinstance(name, exp.Identifier):
            name.set("this", name.this.lower())


def _require_known(tree: exp.Create) -> None:
    """Types, names of columns and constraints of CREATE TABLE."""
    columns = list(tree.find_all(exp.ColumnDef))
    for column in columns:
        kind = column.args.get("kind")
        name = kind.this.name if isinstance(kind, exp.DataType) else ""
        if name not in TYPES:
            raise Refused("UNSUPPORTED_DATATYPE", f"Unsupported data type {kind}", "0A000")
        for parameter in kind.expressions if kind and name == "DECIMAL" else ():
            if int(parameter.name) > 38:
                raise Refused("DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION", "precision exceeds 38", "22003")
    properties = {p.name.lower(): str(p.args.get("value")) for p in tree.find_all(exp.Property)}
    if any(_SPECIAL.search(c.name) for c in columns) and "'name'" not in properties.get("delta.columnmapping.mode", ""):
        raise Refused("DELTA_INVALID_CHARACTERS_IN_COLUMN_NAMES", "use column mapping", "42K05")
    folded = [c.name.lower() for c in columns]
    if len(set(folded)) < len(folded):
        raise Refused("COLUMN_ALREADY_EXISTS", "a column is there twice", "42711")
    if tree.find(exp.UniqueColumnConstraint):
        raise Refused("PARSE_SYNTAX_ERROR", "Syntax error at or near 'UNIQUE'", "42601")
    schema = tree.this
    if isinstance(schema, exp.Schema):
        kept = [e for e in schema.expressions if isinstance(e, exp.ColumnDef)]
        schema.set("expressions", kept)
