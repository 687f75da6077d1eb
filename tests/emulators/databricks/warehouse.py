"""Statements of one warehouse, run by DuckDB: each catalog a file, each statement a transaction."""

from __future__ import annotations

import re
import threading
import warnings
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlglot import exp

from tests.emulators.databricks.errors import Refused, of_duckdb
from tests.emulators.databricks.translate import duckdb as rendered
from tests.emulators.databricks.translate import parsed
from tests.emulators.databricks.volumes import Volumes

_NAME = r"`(?:[^`]|``)+`|\w+"
_COPY = re.compile(
    rf"COPY\s+INTO\s+((?:{_NAME})(?:\.(?:{_NAME}))*)\s+FROM\s+'([^']+)'\s+FILEFORMAT\s*=\s*PARQUET\s+FILES\s*=\s*"
    r"\('([^']+)'\)\s+(FORMAT_OPTIONS\s*\('datetimeRebaseMode'\s*=\s*'CORRECTED'\)\s+)?COPY_OPTIONS\s*\('mergeSchema'\s*=\s*'false'\)\s*\Z",
    re.IGNORECASE,
)
_VOLUME = re.compile(rf"CREATE\s+VOLUME\s+(IF\s+NOT\s+EXISTS\s+)?({_NAME})\.({_NAME})\s*\Z", re.IGNORECASE)
_LIST = re.compile(r"LIST\s+'([^']+)'\s*\Z", re.IGNORECASE)
_ATOMIC = re.compile(r"BEGIN\s+ATOMIC\s+(.*?);?\s*END\s*;?\s*\Z", re.IGNORECASE | re.DOTALL)
_CATALOG = re.compile(rf"(CREATE|DROP)\s+CATALOG\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?({_NAME})(?:\s+CASCADE)?\s*\Z", re.I)
_COMMENT = re.compile(rf"ALTER\s+TABLE\s+(.+?)\s+ALTER\s+COLUMN\s+({_NAME})\s+COMMENT\s+('.*')\s*\Z", re.I | re.DOTALL)
_MANAGED = "delta.feature.catalogManaged"


class Warehouse:
    def __init__(self, folder: Path, volumes: Volumes, *, transactions: bool = False) -> None:
        self._folder, self.volumes, self._transactions = folder, volumes, transactions
        self.lock = threading.Lock()
        self._root = duckdb.connect()
        self._root.execute("SET TimeZone = 'UTC'")
        for file in sorted(folder.glob("*.catalog")):
            self._attach(file.stem)

    def _attach(self, name: str) -> None:
        self._root.execute(f"ATTACH IF NOT EXISTS '{self._folder / name}.catalog' AS \"{name}\"")
        self._root.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"._stand')
        self._root.execute(
            f'CREATE TABLE IF NOT EXISTS "{name}"._stand.loads (schema_name VARCHAR, table_name VARCHAR, path VARCHAR)'
        )

    def session(self, catalog: str | None) -> duckdb.DuckDBPyConnection:
        session = self._root.cursor()
        session.execute("SET TimeZone = 'UTC'")
        session.execute("CREATE TEMP MACRO conv(s, a, b) AS CAST(CAST('0x' || s AS BIGINT) AS VARCHAR)")
        if catalog:
            if not (self._folder / f"{catalog.lower()}.catalog").exists():
                raise Refused("NO_SUCH_CATALOG_EXCEPTION", f"Catalog '{catalog}' was not found", "42704")
            session.execute(f'USE "{catalog.lower()}"')
        return session

    def run(self, session: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
        """The statement's result. Raises Refused."""
        try:
            return self._run(session, sql.strip().rstrip(";"))
        except duckdb.Error as e:
            raise of_duckdb(e) from e

    def _run(self, session: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
        if found := _CATALOG.match(sql):
            return self._catalog(found[1].upper() == "CREATE", _bare(found[2]))
        if found := _VOLUME.match(sql):
            catalog = str(session.execute("SELECT current_database()").fetchone()[0])
            self.volumes.make(catalog, _bare(found[2]), _bare(found[3]), quiet=bool(found[1]))
            return pa.table({})
        if found := _LIST.match(sql):
            listed = self.volumes.listed(found[1])
            return pa.table({n: [row[at] for row in listed] for at, n in enumerate(("path", "name", "size"))})
        if found := _ATOMIC.match(sql):
            return self._atomic(session, [s for s in found[1].split(";") if s.strip()])
        if re.match(r"(BEGIN|START)\s+TRANSACTION|COMMIT|ROLLBACK", sql, re.IGNORECASE):
            raise Refused("UNSUPPORTED_FEATURE.TRANSACTION", "transactions are not supported here", "0A000")
        if found := _COPY.match(sql):
            return self._copy(session, _parts(found[1]), f"{found[2].rstrip('/')}/{found[3]}", bool(found[4]))
        if re.match(r"COPY\s+INTO", sql, re.IGNORECASE):
            raise Refused("PARSE_SYNTAX_ERROR", "Syntax error at or near 'COPY'", "42601")
        if found := _COMMENT.match(sql):
            text = found[3][1:-1].replace("\\'", "''")
            session.execute(
                f"COMMENT ON COLUMN {'.'.join(map(_quoted, _parts(found[1])))}.{_quoted(found[2])} IS '{text}'"
            )
            return pa.table({})
        if _MANAGED.lower() in sql.lower() and not self._transactions:
            raise Refused("DELTA_UNSUPPORTED_FEATURES_IN_CONFIG", "catalogManaged is not supported", "56038")
        return self._translated(session, sql)

    def _translated(self, session: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
        tree = parsed(sql, lambda name, as_written: str(self._there(name, as_written)))
        if isinstance(tree, exp.Merge):
            return self._merge(session, tree)
        if isinstance(tree, exp.Drop) and tree.kind == "TABLE":
            self._forget_loads(session, tree)
        text = rendered(tree)
        if isinstance(tree, exp.Drop) and tree.kind == "SCHEMA":
            text = text if text.endswith("CASCADE") else f"{text}"
        session.execute(text)
        table: pa.Table = _table(session)
        if isinstance(tree, exp.Insert | exp.Update | exp.Delete):
            count = int(table.column(0)[0].as_py())
            names = (
                ["num_affected_rows", "num_inserted_rows"] if isinstance(tree, exp.Insert) else ["num_affected_rows"]
            )
            return pa.table({name: [count] for name in names})
        return pa.table({}) if isinstance(tree, exp.Create | exp.Drop | exp.Comment | exp.TruncateTable) else table

    def _there(self, name: str, as_written: bool) -> Path:
        """Where a file lies. Databricks moves days before 1582 unless it is told to take them as they are written,
        which is refused here."""
        path = self.volumes.path(name)
        if not path.is_file():
            raise Refused("CF_PATH_DOES_NOT_EXIST_FOR_READ_FILES", f"Path does not exist: {name}", "42K03")
        if not as_written and _has_ancient_days(path):
            raise Refused("INCONSISTENT_BEHAVIOR_CROSS_VERSION.READ_ANCIENT_DATETIME", "days before 1582", "42K0B")
        return path

    def _merge(self, session: duckdb.DuckDBPyConnection, tree: exp.Merge) -> pa.Table:
        """DuckDB keeps any of two source rows for one row of the table; Databricks refuses them."""
        target, source, on = (tree.args[part].sql(dialect="duckdb") for part in ("this", "using", "on"))
        alias = tree.this.alias or tree.this.name
        double = session.execute(
            rendered_text(
                f'SELECT 1 FROM {target} JOIN {source} ON {on} GROUP BY "{alias}".rowid HAVING COUNT(*) > 1 LIMIT 1'
            )
        ).fetchone()
        if double:
            raise Refused(
                "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE",
                "Cannot perform Merge as multiple source rows matched and attempted to modify the same target row",
                "21506",
            )
        actions = [row[0] for row in session.execute(f"{rendered(tree)} RETURNING merge_action").fetchall()]
        counts = {
            "num_affected_rows": len(actions),
            "num_updated_rows": actions.count("UPDATE"),
            "num_deleted_rows": actions.count("DELETE"),
            "num_inserted_rows": actions.count("INSERT"),
        }
        return pa.table({name: [count] for name, count in counts.items()})

    def _copy(self, session: duckdb.DuckDBPyConnection, table: list[str], path: str, as_written: bool) -> pa.Table:
        """Load a path once into a table, its columns by name and in their own types."""
        schema, name = (part.lower() for part in table[-2:])
        where = f"schema_name = '{schema}' AND table_name = '{name}'"
        known_columns = f"duckdb_columns() WHERE database_name = current_database() AND {where}"
        columns = dict(session.execute(f"SELECT column_name, data_type FROM {known_columns}").fetchall())
        if not columns:
            raise Refused("TABLE_OR_VIEW_NOT_FOUND", f"The table `{schema}`.`{name}` cannot be found", "42P01")
        known = session.execute(f"SELECT 1 FROM _stand.loads WHERE {where} AND path = ?", [path]).fetchone()
        rows = 0
        if not known:
            file = self._there(path, as_written)
            for column, type, *_ in session.execute(f"DESCRIBE SELECT * FROM read_parquet('{file}')").fetchall():
                if columns.get(column) != type:
                    raise Refused(
                        "DELTA_FAILED_TO_MERGE_FIELDS", f"Failed to merge fields '{column}' ({type})", "22005"
                    )
            session.execute("BEGIN")
            try:
                done = session.execute(
                    f"INSERT INTO {_quoted(schema)}.{_quoted(name)} BY NAME FROM read_parquet('{file}')"
                )
                rows = int(done.fetchone()[0])
                session.execute("INSERT INTO _stand.loads VALUES (?, ?, ?)", [schema, name, path])
                session.execute("COMMIT")
            except BaseException:
                session.execute("ROLLBACK")
                raise
        names = ("num_affected_rows", "num_inserted_rows", "num_skipped_corrupt_files")
        return pa.table(dict(zip(names, ([rows], [rows], [0]), strict=True)))

    def _atomic(self, session: duckdb.DuckDBPyConnection, statements: list[str]) -> pa.Table:
        if not self._transactions:
            raise Refused("TRANSACTION_NOT_SUPPORTED", "the tables are not managed by their catalog", "0A000")
        session.execute("BEGIN")
        try:
            for sql in statements:
                if re.match(r"\s*COPY\s+INTO", sql, re.IGNORECASE):
                    raise Refused("TRANSACTION_NOT_SUPPORTED", "COPY INTO is not supported in a transaction", "0A000")
                self._translated(session, sql.strip())
            session.execute("COMMIT")
        except BaseException:
            session.execute("ROLLBACK")
            raise
        return pa.table({})

    def _forget_loads(self, session: duckdb.DuckDBPyConnection, tree: exp.Drop) -> None:
        table = tree.find(exp.Table)
        assert table is not None
        session.execute(
            "DELETE FROM _stand.loads WHERE schema_name = ? AND table_name = ?", [table.db.lower(), table.name.lower()]
        )

    def _catalog(self, make: bool, name: str) -> pa.Table:
        name, file = name.lower(), self._folder / f"{name.lower()}.catalog"
        if make:
            self._attach(name)
        elif file.exists():
            self._root.execute("USE memory")
            self._root.execute(f'DETACH "{name}"')
            for left in self._folder.glob(f"{name}.catalog*"):
                left.unlink()
        return pa.table({})


def rendered_text(sql: str) -> str:
    return re.sub(r"\bOCTET_LENGTH\(", "strlen(", sql)


def _table(session: duckdb.DuckDBPyConnection) -> pa.Table:
    if not session.description:
        return pa.table({})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a copy that does not matter here
        return session.to_arrow_table()


def _has_ancient_days(file: Path) -> bool:
    columns = [c for c in pq.read_table(file).columns if pa.types.is_date(c.type) or pa.types.is_timestamp(c.type)]
    first = [pc.min(c).cast(pa.date32()).as_py() for c in columns if c.null_count < len(c)]
    return any(day < date(1582, 10, 15) for day in first)


def _parts(name: str) -> list[str]:
    return [_bare(part) for part in re.findall(_NAME, name)]


def _bare(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def _quoted(name: str) -> str:
    return '"' + _bare(name).replace('"', '""') + '"'
