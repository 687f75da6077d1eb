"""Keys of tables, which Snowflake writes down and does not enforce: kept beside DuckDB, which would enforce them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import Expr, exp

from tests.emulators.snowflake import names
from tests.emulators.snowflake.locks import Table

STORE = "_fs_global._fs_information_schema._keys"
OF_COLUMN = (exp.PrimaryKeyColumnConstraint, exp.UniqueColumnConstraint, exp.Reference)
OF_TABLE = (exp.PrimaryKey, exp.UniqueColumnConstraint, exp.ForeignKey)
KINDS: dict[type[Any], str] = {
    exp.PrimaryKey: "PRIMARY",
    exp.PrimaryKeyColumnConstraint: "PRIMARY",
    exp.UniqueColumnConstraint: "UNIQUE",
    exp.ForeignKey: "IMPORTED",
    exp.Reference: "IMPORTED",
}
Found = list[tuple[str, str, list[str]]]  # kind, name, columns


def taken_out(statement: exp.Create, connection: Any) -> Callable[[], None]:
    """Take the keys out of a CREATE TABLE; columns of its primary key are NOT NULL. Returns what writes them down."""
    schema = statement.this
    if statement.args.get("kind") != "TABLE" or not isinstance(schema, exp.Schema):
        return lambda: None
    found: Found = []
    kept = []
    for part in schema.expressions:
        if isinstance(part, exp.ColumnDef):
            _of_column(part, found)
        elif _of_table(part, found):
            continue
        kept.append(part)
    schema.set("expressions", kept)
    primary = {column for kind, _, columns in found if kind == "PRIMARY" for column in columns}
    for part in kept:
        if isinstance(part, exp.ColumnDef) and names.normal(part.this) in primary:
            part.append("constraints", exp.ColumnConstraint(kind=exp.NotNullColumnConstraint()))
    table = names.full(schema.this, connection)
    return lambda: _write(table, found, connection, anew=True)


def added(statement: exp.Alter, connection: Any) -> bool:
    """Whether the ALTER TABLE adds a key, which is all that it does then."""
    actions = statement.args.get("actions") or []
    found: Found = []
    if not actions or not all(isinstance(a, exp.AddConstraint) for a in actions):
        return False
    for action in actions:
        for part in action.expressions:
            _of_table(part, found)
    _write(names.full(statement.this, connection), found, connection, anew=False)
    return True


def forget(table: Table, connection: Any) -> None:
    connection._duck_conn.execute(
        f"delete from {STORE} where (database_name, schema_name, table_name) = (?, ?, ?)", table
    )


def shown(statement: exp.Show) -> bool:
    return statement.name.upper() in ("PRIMARY KEYS", "UNIQUE KEYS", "IMPORTED KEYS")


def listing(statement: exp.Show, connection: Any) -> str:
    """DuckDB's SQL for SHOW PRIMARY KEYS [IN TABLE t | IN SCHEMA s | IN DATABASE d]."""
    kind = statement.name.upper().split()[0]
    where = [f"kind = '{kind}'"]
    parts: tuple[str, ...] = ()
    scope, place = statement.args.get("scope_kind"), statement.args.get("scope")
    if isinstance(place, exp.Table):
        within, last = place.args.get("db"), names.normal(place.this)
        parts = {
            "TABLE": names.full(place, connection),
            "SCHEMA": (names.normal(within) if within else connection.database, last),
            "DATABASE": (last,),
        }[str(scope)]
    elif scope != "ACCOUNT":
        parts = tuple(part for part in (connection.database, connection.schema) if part)
    for column, value in zip(("database_name", "schema_name", "table_name"), parts, strict=False):
        where.append(f"{column} = {exp.Literal.string(value).sql('duckdb')}")
    return (
        'SELECT now() AS "created_on", database_name AS "database_name", schema_name AS "schema_name", '
        'table_name AS "table_name", column_name AS "column_name", key_sequence AS "key_sequence", '
        'constraint_name AS "constraint_name", \'false\' AS "rely", NULL::VARCHAR AS "comment" '
        f"FROM {STORE} WHERE {' AND '.join(where)} ORDER BY database_name, schema_name, table_name, key_sequence"
    )


def _of_column(column: exp.ColumnDef, found: Found) -> None:
    kept = []
    for constraint in column.args.get("constraints") or []:
        if isinstance(constraint.kind, OF_COLUMN):
            found.append((KINDS[type(constraint.kind)], _name(constraint), [names.normal(column.this)]))
        else:
            kept.append(constraint)
    column.set("constraints", kept)


def _of_table(part: Expr, found: Found) -> bool:
    """Whether this part of a table's definition is a key, or several."""
    inner = part.expressions if isinstance(part, exp.Constraint) else [part]
    if not all(isinstance(one, OF_TABLE) for one in inner):
        return False
    for one in inner:
        listed = one.this.expressions if isinstance(one, exp.UniqueColumnConstraint) else one.expressions
        columns = [names.normal(c.this if isinstance(c, (exp.Column, exp.Ordered)) else c) for c in listed]
        found.append((KINDS[type(one)], _name(part), columns))
    return True


def _name(part: Expr) -> str:
    given = part.args.get("this")
    return names.normal(given) if isinstance(given, exp.Identifier) else ""


def _write(table: Table, found: Found, connection: Any, *, anew: bool) -> None:
    if anew:
        forget(table, connection)
    for kind, name, columns in found:
        given = name or f"SYS_CONSTRAINT_{kind}_{table[2]}"
        for number, column in enumerate(columns, 1):
            row = [*table, kind, given, column, number]
            connection._duck_conn.execute(f"insert into {STORE} values (?, ?, ?, ?, ?, ?, ?)", row)
