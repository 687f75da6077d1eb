"""DROP DATABASE and DROP STAGE, which fakesnow does not know."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from fakesnow.transforms import stage
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp

from tests.emulators.snowflake import names
from tests.emulators.snowflake.locks import Table

CATALOGUE = "_fs_global._fs_information_schema"
OF_DATABASES = {  # what is kept of databases beside them: table, and its column that names one
    "_fs_stages": "database_name",
    "_fs_tables_ext": "ext_table_catalog",
    "_fs_columns_ext": "ext_table_catalog",
    "_keys": "database_name",
}


def done(statement: exp.Drop, connection: Any) -> bool:
    """Whether it was one of the two."""
    dropped, exists = statement.args["tables"][0], bool(statement.args.get("exists"))
    if statement.args.get("kind") == "DATABASE":
        _database(names.normal(dropped.this), exists, connection)
        return True
    if statement.args.get("kind") == "STAGE":
        _stage(names.full(dropped, connection), exists, connection)
        return True
    return False


def _database(name: str, exists: bool, connection: Any) -> None:
    if connection.database == name:
        connection._duck_conn.execute("USE memory.main")
        connection.database, connection._schema = None, None
        connection.database_set = connection.schema_set = False
    with connection._duck_conn.cursor() as apart:  # no session's own, whose database it might be
        there = apart.execute("select 1 from duckdb_databases() where database_name = ?", [name]).fetchone()
        if not there and not exists:
            raise _absent("Database", name)
        if there:
            quoted = name.replace('"', '""')
            apart.execute(f'DETACH "{quoted}"')
        for kept, column in OF_DATABASES.items():
            apart.execute(f"DELETE FROM {CATALOGUE}.{kept} WHERE {column} = ?", [name])
    for gone in (connection.db_path / f"{name}.db", connection.db_path / f"{name}.db.wal"):
        gone.unlink(missing_ok=True)
    shutil.rmtree(Path(stage.LOCAL_BUCKET_PATH) / name, ignore_errors=True)


def _stage(name: Table, exists: bool, connection: Any) -> None:
    found = connection._duck_conn.execute(
        f"DELETE FROM {CATALOGUE}._fs_stages WHERE (database_name, schema_name, name) = (?, ?, ?) RETURNING name", name
    ).fetchall()
    if not found and not exists:
        raise _absent("Stage", ".".join(name))
    shutil.rmtree(stage.internal_dir(".".join(name)), ignore_errors=True)


def _absent(kind: str, name: str) -> ProgrammingError:
    return ProgrammingError(
        msg=f"SQL compilation error:\n{kind} '{name}' does not exist or not authorized.", errno=2003, sqlstate="02000"
    )
