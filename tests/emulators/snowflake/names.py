"""Names as Snowflake reads them: capitals unless quoted, and then the case counts. DuckDB would forgive any case."""

from __future__ import annotations

from typing import Any

from snowflake.connector.errors import ProgrammingError
from sqlglot import Expr, exp

from tests.emulators.snowflake.locks import Table

OBJECTS = """
select database_name, schema_name, table_name from duckdb_tables()
union all select database_name, schema_name, view_name from duckdb_views() where not internal
"""


def normal(identifier: Any) -> str:
    """What the identifier means: as written where it is quoted, else in capitals."""
    if isinstance(identifier, exp.Identifier):
        name = str(identifier.this)
        return name if identifier.args.get("quoted") else name.upper()
    return str(identifier)


def full(table: exp.Table, connection: Any) -> Table:
    """The table's three names, completed from the session."""
    database, schema = table.args.get("catalog"), table.args.get("db")
    return (
        normal(database) if database else connection.database or "",
        normal(schema) if schema else connection.schema or "",
        normal(table.this),
    )


def tables(statement: Expr) -> list[exp.Table]:
    """The tables that it names; no common table expressions, stages, or functions."""
    common = {normal(cte.args["alias"].this) for cte in statement.find_all(exp.CTE)}
    found = (t for t in statement.find_all(exp.Table) if isinstance(t.this, exp.Identifier))
    return [t for t in found if t.args.get("db") or normal(t.this) not in common]


def check_case(statement: Expr, connection: Any) -> None:
    """Raise what Snowflake would where a table or a column is there in another case only."""
    if isinstance(statement, (exp.Create, exp.Show, exp.Use)):
        return
    named = [full(t, connection) for t in tables(statement)]
    there: set[Table] = set(connection._duck_conn.execute(OBJECTS).fetchall())
    folded = {_folded(row) for row in there}
    for table in named:
        if table not in there and _folded(table) in folded:
            raise ProgrammingError(
                msg=f"SQL compilation error:\nObject '{'.'.join(table)}' does not exist or not authorized.",
                errno=2003,
                sqlstate="42S02",
            )
    known = _columns(connection, [n for n in named if n in there]) | _aliases(statement)
    anyhow = {name.upper() for name in known}
    for column in statement.find_all(exp.Column):
        name = normal(column.this)
        if isinstance(column.this, exp.Identifier) and name not in known and name.upper() in anyhow:
            raise ProgrammingError(
                msg=f"SQL compilation error: error line 1 at position 0\ninvalid identifier '{name}'",
                errno=904,
                sqlstate="42000",
            )


def _folded(name: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.upper() for part in name)


def _columns(connection: Any, named: list[Table]) -> set[str]:
    found: set[str] = set()
    for table in named:
        rows = connection._duck_conn.execute(
            "select column_name from duckdb_columns() where (database_name, schema_name, table_name) = (?, ?, ?)", table
        ).fetchall()
        found.update(name for (name,) in rows)
    return found


def _aliases(statement: Expr) -> set[str]:
    found = {normal(a.args["alias"]) for a in statement.find_all(exp.Alias)}
    for alias in statement.find_all(exp.TableAlias):
        found |= {normal(column) for column in alias.args.get("columns") or ()}
    return found
