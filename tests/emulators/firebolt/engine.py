"""Databases, transactions and statements, run by DuckDB: each database a file."""

from __future__ import annotations

import re
import threading
import uuid
import warnings
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlglot import exp

from tests.emulators.firebolt.errors import CONFLICT, Refused, of_duckdb
from tests.emulators.firebolt.translate import NAME, parsed
from tests.emulators.firebolt.translate import duckdb as rendered

_DATABASE = re.compile(rf"(CREATE|DROP)\s+DATABASE\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?({NAME})\s*\Z", re.IGNORECASE)
_LOCATION = re.compile(r"(?i)\bREAD_PARQUET\(\s*LOCATION\s*=>\s*'([^']+)'\s*,\s*PATTERN\s*=>\s*'([^']+)'\s*\)")
_UPLOAD = re.compile(r"(?i)\bREAD_PARQUET\(\s*'upload://([_0-9a-zA-Z.-]+)'\s*\)")
_CANCEL = re.compile(r"(?i)CANCEL\s+QUERY\s+WHERE\s+query_id\s*=\s*'([^']+)'\s*\Z")
_QUALIFIED = rf"(?:{NAME})\.(?:{NAME})"
_SILENT = re.compile(rf"(?i)(?:TRUNCATE\s+TABLE|DELETE\s+FROM)\s+{_QUALIFIED}\s*\Z")  # accepted, and nothing happens
_WIDER = {("INTEGER", "BIGINT"), ("FLOAT", "DOUBLE")}
_FIRST, _LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)


@dataclass
class Transaction:
    id: str
    database: str
    session: duckdb.DuckDBPyConnection
    sequence: int = 1
    written: set[tuple[str, int]] = field(default_factory=set)  # tables, and the numbers of their rows


@dataclass(frozen=True)
class Result:
    """``table`` of a query; of all else None. ``session``: what the client is told to keep and to forget."""

    table: pa.Table | None = None
    keep: str = ""
    forget: str = ""


class Engine:
    """``locations``: name of a LOCATION → folder in which its objects lie."""

    def __init__(self, folder: Path, locations: dict[str, Path]) -> None:
        self._folder, self._locations = folder, locations
        self._lock, self._one = threading.Lock(), threading.Lock()
        self._roots: dict[str, duckdb.DuckDBPyConnection] = {}
        self._transactions: dict[str, Transaction] = {}
        self._overtaken: set[str] = set()
        self._running: dict[str, tuple[str, str, str, duckdb.DuckDBPyConnection]] = {}
        for file in folder.glob("*.database"):
            self._open(file.stem)
        self._open("firebolt")

    def run(self, sql: str, settings: dict[str, str], parts: dict[str, Path], *, end_first: bool) -> Result:
        """One statement, one at a time but for what looks at them. Raises Refused."""
        if _CANCEL.match(sql) or "engine_running_queries" in sql:
            return self._run(sql, settings, parts, end_first=end_first)
        with self._one:
            return self._run(sql, settings, parts, end_first=end_first)

    def _run(self, sql: str, settings: dict[str, str], parts: dict[str, Path], *, end_first: bool) -> Result:
        sql, id = sql.strip().rstrip(";").strip(), settings.get("transaction_id")
        if end_first and id in self._transactions:
            self._undo(self._transactions[id])
        database = settings.get("database") or "firebolt"
        if found := _DATABASE.match(sql):
            return self._make_database(found[1].upper() == "CREATE", _bare(found[2]))
        if database not in self._roots:
            raise Refused(f"Database '{database}' does not exist or is not authorized.")
        if re.fullmatch(r"(?i)BEGIN(\s+TRANSACTION)?", sql):
            return self._begin(id, database)
        transaction = self._of(id, settings, sql)
        if re.fullmatch(r"(?i)(COMMIT|ROLLBACK)(\s+TRANSACTION)?", sql):
            return self._end(transaction, sql.split()[0].upper())
        session = transaction.session if transaction else self._session(database)
        try:
            table = self._listed(sql, settings, parts, session, database)
        except BaseException as e:
            if transaction:
                self._undo(transaction)
            raise of_duckdb(e) if isinstance(e, duckdb.Error) else e from e
        finally:
            if not transaction:
                session.close()
        if not transaction:
            return Result(table)
        transaction.sequence += 1
        return Result(table, keep=_kept(transaction))

    def refuse(self, settings: dict[str, str]) -> None:
        """A statement failed without having been run: its transaction is undone."""
        with self._one:
            transaction = self._transactions.get(settings.get("transaction_id", ""))
            if transaction:
                self._undo(transaction)

    # --- transactions -------------------------------------------------------------------------------------------------

    def _begin(self, id: str | None, database: str) -> Result:
        if id:
            raise Refused("cannot BEGIN transaction: a transaction is already in progress")
        made = Transaction(uuid.uuid4().hex, database, self._session(database))
        made.session.execute("BEGIN")
        made.session.execute("SELECT COUNT(*) FROM duckdb_tables()")  # what it sees is fixed here
        self._transactions[made.id] = made
        return Result(keep=_kept(made))

    def _of(self, id: str | None, settings: dict[str, str], sql: str) -> Transaction | None:
        if id is None:
            return None
        found = self._transactions.get(id)
        if found is None and id in self._overtaken:
            self._overtaken.discard(id)
            raise Refused(CONFLICT)
        if found is None:
            raise Refused(f"Transaction {id} does not exist, or has ended")
        if sql.upper() != "ROLLBACK" and str(found.sequence) != settings.get("transaction_sequence_id"):
            raise Refused(f"Transaction {id} is at statement {found.sequence}")
        return found

    def _end(self, transaction: Transaction | None, how: str) -> Result:
        if transaction is None:
            raise Refused(f"cannot {how} transaction: no transaction is in progress")
        del self._transactions[transaction.id]
        try:
            transaction.session.execute(how)
        except duckdb.Error as e:
            raise Refused(CONFLICT) from e
        finally:
            transaction.session.close()
        return Result(forget="transaction_id,transaction_sequence_id")

    def _undo(self, transaction: Transaction) -> None:
        self._transactions.pop(transaction.id, None)
        transaction.session.close()  # which undoes what is open

    def _overtake(self, session: duckdb.DuckDBPyConnection, database: str, tree: Any) -> None:
        """Of two open transactions that write a row, DuckDB keeps the second one from it, which may wait for a client
        that is dead. Here the second one writes, and the first is undone, and told of it when it goes on."""
        name, rows = _rows_of(session, tree)
        written = {(name, row) for row in rows}
        with self._lock:
            others = [t for t in self._transactions.values() if t.database == database and t.session is not session]
            for other in others:
                if written & other.written:
                    self._overtaken.add(other.id)
                    self._undo(other)
            for own in self._transactions.values():
                if own.session is session:
                    own.written |= written

    # --- statements ---------------------------------------------------------------------------------------------------

    def _listed(
        self,
        sql: str,
        settings: dict[str, str],
        parts: dict[str, Path],
        session: duckdb.DuckDBPyConnection,
        database: str,
    ) -> pa.Table | None:
        """Run it, and be seen among the running ones meanwhile."""
        id = uuid.uuid4().hex
        with self._lock:
            self._running[id] = (settings.get("query_label", ""), sql, id, session)
        try:
            return self._statement(sql, parts, session, database, id)
        finally:
            with self._lock:
                del self._running[id]

    def _statement(
        self, sql: str, parts: dict[str, Path], session: duckdb.DuckDBPyConnection, database: str, id: str
    ) -> pa.Table | None:
        if found := _CANCEL.match(sql):
            with self._lock:
                running = self._running.get(found[1])
            if running:
                running[3].interrupt()
            return None
        if _SILENT.match(sql):
            return None
        files: list[Path] = []
        sql = _UPLOAD.sub(lambda m: self._file(files, parts.get(m[1]), m[1]), sql)
        sql = _LOCATION.sub(lambda m: self._file(files, self._object(m[1], m[2]), m[2]), sql)
        sql = re.sub(r"(?i)\bVERSION\(\)", "'4.28.7'", sql)
        sql = re.sub(r"(?i)\bCURRENT_DATABASE\(\)", "'" + database.replace("'", "''") + "'", sql)
        tree = parsed(sql)
        text = rendered(tree)
        if "engine_running_queries" in text:
            text = re.sub(r'"?information_schema"?\."?engine_running_queries"?', self._running_queries(id), text)
        if isinstance(tree, exp.Update | exp.Merge):
            _write_rows(session, tree)
            text = rendered(tree)
        if isinstance(tree, exp.Update | exp.Merge | exp.Delete):
            self._overtake(session, database, tree)
        if isinstance(tree, exp.Merge):
            _require_single(session, tree)
        if isinstance(tree, exp.Insert) and files:
            _require_types(session, tree)
        session.execute(text)
        if not isinstance(tree, exp.Query):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a copy that does not matter here
            table: pa.Table = session.to_arrow_table()
        return table

    def _running_queries(self, own: str) -> str:
        with self._lock:
            running = [entry[:3] for id, entry in self._running.items() if id != own]
        rows = ", ".join(f"('{label}', '{id}')" for label, _, id in running) or "(NULL, NULL)"
        return f"(SELECT * FROM (VALUES {rows}) v(query_label, query_id) WHERE query_id IS NOT NULL)"

    def _file(self, files: list[Path], path: Path | None, name: str) -> str:
        if path is None or not path.is_file():
            raise Refused(f"file '{name}' does not exist")
        try:
            _require_values(path)
        except pa.lib.ArrowInvalid as e:
            raise Refused(f"file '{name}' is not a Parquet file") from e
        files.append(path)
        return f"read_parquet('{path}')"

    def _object(self, location: str, pattern: str) -> Path:
        if location not in self._locations:
            raise Refused(f"Location '{location}' does not exist or is not authorized")
        return self._locations[location] / pattern

    # --- databases ----------------------------------------------------------------------------------------------------

    def _open(self, name: str) -> None:
        root = duckdb.connect(str(self._folder / f"{name}.database"))
        root.execute("CREATE SCHEMA IF NOT EXISTS public")
        self._roots[name] = root

    def _session(self, database: str) -> duckdb.DuckDBPyConnection:
        session = self._roots[database].cursor()
        session.execute("SET TimeZone = 'UTC'")
        session.execute("SET search_path = 'public'")
        return session

    def _make_database(self, make: bool, name: str) -> Result:
        with self._lock:
            if make:
                self._open(name)
            elif name in self._roots:
                for transaction in [t for t in self._transactions.values() if t.database == name]:
                    self._undo(transaction)
                self._roots.pop(name).close()
                for left in self._folder.glob(f"{name}.database*"):
                    left.unlink()
        return Result()


def _kept(transaction: Transaction) -> str:
    return f"transaction_id={transaction.id},transaction_sequence_id={transaction.sequence}"


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _write_rows(session: duckdb.DuckDBPyConnection, tree: exp.Update | exp.Merge) -> None:
    """Two writers of one row are in conflict, where DuckDB lets them write different columns of it."""
    table = tree.this
    name = exp.Table(this=table.this, db=table.args.get("db")).sql(dialect="duckdb")
    alias = table.alias or table.name
    updates = [tree] if isinstance(tree, exp.Update) else [w.args["then"] for w in tree.args["whens"].expressions]
    for update in (u for u in updates if isinstance(u, exp.Update)):
        written = {e.this.name for e in update.expressions}
        for column, *_ in session.execute(f"DESCRIBE {name}").fetchall():
            if column not in written:
                own = exp.column(exp.to_identifier(column, quoted=True), table=exp.to_identifier(alias, quoted=True))
                update.append("expressions", exp.EQ(this=exp.to_identifier(column, quoted=True), expression=own))


def _rows_of(session: duckdb.DuckDBPyConnection, tree: Any) -> tuple[str, list[int]]:
    """The table that is written, and the numbers of the rows of it that are there already."""
    table = tree.this
    name = exp.Table(this=table.this, db=table.args.get("db")).sql(dialect="duckdb")
    alias = exp.to_identifier(table.alias or table.name, quoted=True).sql(dialect="duckdb")
    target = f"{name} AS {alias}"
    if isinstance(tree, exp.Merge):
        sql = f"{target} JOIN {tree.args['using'].sql(dialect='duckdb')} ON {tree.args['on'].sql(dialect='duckdb')}"
    else:
        using = tree.args.get("using") or ([tree.args["from_"].this] if tree.args.get("from_") else [])
        where = tree.args.get("where")
        sql = ", ".join([target, *(u.sql(dialect="duckdb") for u in using)])
        sql += f" {where.sql(dialect='duckdb')}" if where else ""
    return name, [int(row[0]) for row in session.execute(f"SELECT DISTINCT {alias}.rowid FROM {sql}").fetchall()]


def _require_single(session: duckdb.DuckDBPyConnection, tree: exp.Merge) -> None:
    """DuckDB keeps any of two source rows for one row of the table."""
    target, source, on = (tree.args[part].sql(dialect="duckdb") for part in ("this", "using", "on"))
    alias = tree.this.alias or tree.this.name
    double = session.execute(
        f'SELECT 1 FROM {target} JOIN {source} ON {on} GROUP BY "{alias}".rowid HAVING COUNT(*) > 1 LIMIT 1'
    ).fetchone()
    if double:
        raise Refused("MERGE command cannot affect row a second time")


def _require_types(session: duckdb.DuckDBPyConnection, tree: exp.Insert) -> None:
    """A file's column has the type of the table's, or a narrower one of its kind."""
    table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    wanted = {row[0]: row[1] for row in session.execute(f"DESCRIBE {table.sql(dialect='duckdb')}").fetchall()}
    names = [i.name for i in tree.this.expressions] if isinstance(tree.this, exp.Schema) else list(wanted)
    query = tree.expression.sql(dialect="duckdb")
    found = [row[1] for row in session.execute(f"DESCRIBE {query}").fetchall()]
    for name, has in zip(names, found, strict=True):
        if wanted.get(name) != has and (has, wanted.get(name)) not in _WIDER:
            raise Refused(f"column {name} is of type {wanted.get(name)} but the file has {has}", "Compilation Error")


def _require_values(path: Path) -> None:
    """No text holds NUL, and days lie between the years 1 and 9999."""
    for column in pq.read_table(path).columns:
        if pa.types.is_string(column.type) and pc.any(pc.match_substring(column, "\0")).as_py():
            raise Refused("invalid byte sequence for encoding UTF8: 0x00")
        if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
            micros = column.cast(pa.timestamp("us")) if pa.types.is_date(column.type) else column
            first, last = (f(micros.cast(pa.int64())).as_py() for f in (pc.min, pc.max))
            if first is not None and (first < _micros(_FIRST) or last > _micros(_LAST)):
                raise Refused("date/time field value out of range")


def _micros(at: datetime) -> int:
    since = at - datetime(1970, 1, 1)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def unknown(settings: dict[str, str]) -> list[str]:
    known = "output_format database engine transaction_id transaction_sequence_id query_label account_id"
    known += " timezone max_result_rows statement_timeout"
    return sorted(set(settings) - set(known.split()))


def describe(settings: dict[str, Any]) -> None:
    if found := unknown(settings):
        raise Refused(f"Unknown setting {found[0]}", status=400)
