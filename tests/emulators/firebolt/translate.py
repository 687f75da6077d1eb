"""Firebolt's SQL into DuckDB's, and what DuckDB would take of it that Firebolt does not."""

from __future__ import annotations

import re
from typing import Any

import sqlglot
from sqlglot import exp

from tests.emulators.firebolt.errors import Refused

NAME = r'"(?:[^"]|"")+"|\w+'
_INDEX = re.compile(rf"\)\s*PRIMARY\s+INDEX\s+((?:{NAME})(?:\s*,\s*(?:{NAME}))*)\s*\Z", re.IGNORECASE)
_TYPES = "BOOLEAN INT BIGINT DECIMAL FLOAT DOUBLE TEXT VARBINARY DATE TIMESTAMP TIMESTAMPTZ"
TYPES = frozenset(_TYPES.split())
_CATALOG = {
    "columns": """(SELECT schema_name AS table_schema, table_name, column_name, column_index AS ordinal_position,
CASE WHEN is_nullable THEN 'YES' ELSE 'NO' END AS is_nullable, column_default, numeric_precision, numeric_scale,
CASE WHEN data_type = 'BLOB' THEN 'bytea' WHEN data_type = 'VARCHAR' THEN 'text' WHEN data_type = 'FLOAT' THEN 'real'
WHEN data_type = 'DOUBLE' THEN 'double precision' WHEN data_type = 'TIMESTAMP WITH TIME ZONE' THEN 'timestamptz'
WHEN data_type LIKE 'DECIMAL%' THEN 'numeric(' || numeric_precision || ', ' || numeric_scale || ')'
ELSE lower(data_type) END AS data_type FROM duckdb_columns() WHERE schema_name <> 'main')""",
    "tables": "(SELECT schema_name AS table_schema, table_name FROM duckdb_tables() WHERE schema_name <> 'main')",
    "schemata": "(SELECT schema_name FROM duckdb_schemas() WHERE NOT internal AND schema_name <> 'main')",
}


def parsed(sql: str) -> Any:
    """One statement, its PRIMARY INDEX looked at and taken off. Raises Refused."""
    index = _INDEX.search(sql) if re.match(r"\s*CREATE\s+(FACT\s+|DIMENSION\s+)?TABLE", sql, re.IGNORECASE) else None
    if index:
        sql = sql[: index.start() + 1]
    sql = re.sub(r"(?i)^\s*CREATE\s+(?:FACT|DIMENSION)\s+TABLE", "CREATE TABLE", sql)
    try:
        trees = [tree for tree in sqlglot.parse(sql, read="postgres") if tree is not None]
    except sqlglot.errors.SqlglotError as e:
        raise Refused(f"syntax error: {str(e).splitlines()[0]}", "Compilation Error") from e
    if len(trees) != 1:
        raise Refused("syntax error: one statement a request", "Compilation Error")
    tree = trees[0]
    if isinstance(tree, exp.Command | exp.Comment):
        raise Refused(f"syntax error at or near {sql.split()[0]}", "Compilation Error")
    if isinstance(tree, exp.Create) and tree.kind == "TABLE":
        _require_known(tree, re.findall(NAME, index[1]) if index else [])
    return tree


def _require_known(tree: exp.Create, index: list[str]) -> None:
    """Types, constraints and the primary index of CREATE TABLE."""
    if tree.find(exp.TemporaryProperty):
        raise Refused("syntax error at or near TEMPORARY", "Compilation Error")
    columns = {c.name: c for c in tree.find_all(exp.ColumnDef)}
    for column in columns.values():
        kind = column.args.get("kind")
        name = kind.this.name if isinstance(kind, exp.DataType) else ""
        numbers = [int(p.name) for p in kind.expressions] if kind is not None else []
        if name not in TYPES or (numbers and name != "DECIMAL"):
            raise Refused(f"unsupported data type {kind}", "Compilation Error")
        if numbers and (numbers[0] > 38 or sum(numbers[1:]) > numbers[0]):
            raise Refused(f"invalid precision of {kind}", "Compilation Error")
    keys = (exp.PrimaryKey, exp.PrimaryKeyColumnConstraint, exp.UniqueColumnConstraint, exp.ForeignKey)
    if tree.find(*keys, exp.CheckColumnConstraint):
        raise Refused("syntax error: no such constraint", "Compilation Error")
    for quoted in index:
        name = quoted[1:-1].replace('""', '"') if quoted.startswith('"') else quoted.lower()
        made = columns.get(name)
        if made is None:
            raise Refused(f"primary index: there is no column {name}", "Compilation Error")
        null = made.find(exp.NotNullColumnConstraint)
        if null is None or null.args.get("allow_null"):
            raise Refused(f"primary index: column {name} takes NULL", "Compilation Error")


def duckdb(tree: Any) -> str:
    for cast in list(tree.find_all(exp.Cast)):
        if cast.to.this == exp.DataType.Type.VARBINARY and cast.this.is_string and cast.this.name.startswith("\\x"):
            cast.replace(exp.func("unhex", exp.Literal.string(cast.this.name[2:])))
    out: str = tree.sql(dialect="duckdb")
    return re.sub(
        r'"?information_schema"?\."?(columns|tables|schemata)"?', lambda m: _CATALOG[m[1].lower()], out, flags=re.I
    )
