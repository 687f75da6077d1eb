"""DuckDB behind the stand-in; databases, catalogue and stages lie in one folder, which outlives the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
from fakesnow import info_schema, instance, macros
from fakesnow.transforms import show, stage

KEYS = """
create table if not exists _fs_global._fs_information_schema._keys
  (database_name varchar, schema_name varchar, table_name varchar, kind varchar, constraint_name varchar,
   column_name varchar, key_sequence integer)
"""


# Snowflake tells it, fakesnow does not.
info_schema.SQL_CREATE_GLOBAL_INFORMATION_SCHEMA_COLUMNS_VIEW = (
    info_schema.SQL_CREATE_GLOBAL_INFORMATION_SCHEMA_COLUMNS_VIEW.replace(
        "null::VARCHAR as DATA_TYPE_ALIAS",
        "null::VARCHAR as DATA_TYPE_ALIAS, case when columns.data_type like 'TIME%' then 6 end as DATETIME_PRECISION",
    )
)


class Instance(instance.FakeSnow):  # type: ignore[misc]
    """What fakesnow calls an instance; a login creates neither databases nor schemas, as Snowflake's does not."""

    def __init__(self, folder: Path) -> None:
        databases, stages = folder / "databases", folder / "stages"
        for made in (databases, stages):
            made.mkdir(parents=True, exist_ok=True)
        stage.LOCAL_BUCKET_PATH = str(stages)
        self.create_database_on_connect = self.create_schema_on_connect = False
        self.db_path = databases
        self.nop_regexes = None
        self.results_cache: dict[str, tuple[Any, ...]] = {}
        self.duck_conn = duckdb.connect(":memory:", config={"lambda_syntax": "ENABLE_SINGLE_ARROW"})
        self.duck_conn.execute(f"ATTACH '{folder / 'global.db'}' AS {instance.GLOBAL_DATABASE_NAME}")
        self.duck_conn.execute(info_schema.fs_global_creation_sql())
        self.duck_conn.execute(show.fs_global_creation_sql())
        self.duck_conn.execute(KEYS)
        self.duck_conn.execute("SET GLOBAL TimeZone = 'UTC'")
        for file in sorted(databases.glob("*.db")):
            self.duck_conn.execute(f"ATTACH '{file}' AS \"{file.stem}\"")
            self.duck_conn.execute(info_schema.per_db_creation_sql(file.stem))
            self.duck_conn.execute(macros.creation_sql(file.stem))
