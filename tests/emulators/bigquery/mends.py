"""Where local-bigquery is not as BigQuery is: each point of ``install`` says what the real one does.

- MERGE within a transaction works.
- Of two transactions that change rows of one table, or of one that reads what another has changed since it began, the
  later one is ended; a statement outside of transactions waits. A MERGE that only adds rows has changed none.
- Statements that define lasting objects are refused within a transaction; so are UPDATE and DELETE without WHERE.
- A text or bytes longer than its column's length are refused.
- Its tables stand in DuckDB's own files, and cursors are used again: DuckLake, and closing them, take most of the time.
- A file's decimals are read with the digits that their columns have, where they would be rounded to eighteen; and
  its bytes as they are, where those of text formats are meant.
- A job that was at work when the service was killed has ended with an error when it is back, where it would be at work
  for ever.
- Faults come on order: a job or a request is refused, or a job is slow.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from local_bigquery.catalog import tables
from local_bigquery.engine import database, types
from local_bigquery.errors import STATUSES, BigQueryError
from local_bigquery.jobs import load, merge, query, runner, store
from local_bigquery.settings import settings
from sqlglot import exp

CHANGES = (exp.Update, exp.Delete, exp.Merge, exp.TruncateTable)
WRITES = (exp.Insert, exp.Update, exp.Merge)
DEFINES = (exp.Create, exp.Drop, exp.Alter)
WAIT_SECONDS = 30
Name = tuple[str, ...]


class Faults:
    """``{"kind": "job", "reason": ..., "holds": ..., "times": 1}``: jobs whose statement, or whose id, holds this end
    so; with ``after`` its end is told so many seconds late.
    ``{"kind": "request", "status": ..., "reason": ..., "method": ..., "holds": ..., "times": 1}``: of an address
    that holds this. ``{"kind": "none"}`` takes all back."""

    def __init__(self) -> None:
        self._lock, self._ordered = threading.Lock(), []  # type: ignore[var-annotated]

    def order(self, fault: dict[str, Any]) -> None:
        with self._lock:
            if fault["kind"] == "none":
                self._ordered.clear()
            else:
                self._ordered.append({"times": 1, "holds": "", **fault})

    def of_request(self, method: str, path: str) -> tuple[int, str, str] | None:
        found = self._next("request", path, method)
        return (found["status"], found["reason"], f"ordered: {found['reason']}") if found else None

    def of_job(self, text: str) -> float:
        """The seconds after which its end is told."""
        found = self._next("job", text)
        if found:
            if found.get("seconds"):
                time.sleep(found["seconds"])
            if found.get("reason"):
                raise BigQueryError(found["reason"], found.get("message", f"ordered: {found['reason']}"))
        return float(found.get("after", 0)) if found else 0

    def _next(self, kind: str, text: str, method: str = "") -> dict[str, Any] | None:
        with self._lock:
            for fault in self._ordered:
                if fault["kind"] == kind and fault["holds"] in text and fault.get("method", method) == method:
                    fault["times"] -= 1
                    if not fault["times"]:
                        self._ordered.remove(fault)
                    return dict(fault)
        return None


@dataclass
class Transaction:
    began: int
    changed: set[Name] = field(default_factory=set)


class Tables:
    """Who changes which table, and when it was changed last."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._owners: dict[Name, int] = {}
        self._last: dict[Name, int] = {}
        self._now = 0
        self.open: dict[int, Transaction] = {}

    def begin(self, owner: int) -> None:
        with self._free:
            self.open[owner] = Transaction(self._now)

    def end(self, owner: int, *, committed: bool) -> None:
        with self._free:
            ended = self.open.pop(owner, None)
            if ended is None:
                return
            self._now += 1
            for name in ended.changed:
                del self._owners[name]
                if committed:
                    self._last[name] = self._now
            self._free.notify_all()

    @contextmanager
    def changing(self, owner: int, name: Name) -> Iterator[None]:
        with self._free:
            mine = self.open.get(owner)
            if mine is not None:
                if self._owners.get(name, owner) != owner or self._last.get(name, 0) > mine.began:
                    table = f"{name[0]}:{'.'.join(name[1:])}"
                    raise BigQueryError(
                        "invalidQuery", f"Transaction is aborted due to concurrent update against table {table}"
                    )
                self._owners[name] = owner
                mine.changed.add(name)
            else:
                self._free.wait_for(lambda: name not in self._owners, WAIT_SECONDS)
                self._owners[name] = owner
        try:
            yield
        finally:
            if mine is None:
                with self._free:
                    self._now += 1
                    self._last[name] = self._now
                    del self._owners[name]
                    self._free.notify_all()


class Cursor:
    """``merge`` learns from an error that a transaction is open, which undoes it in this DuckDB. ``changes`` is asked
    before rows that are there are changed."""

    def __init__(self, cursor: Any, inside: bool, changes: Callable[[], None]) -> None:
        self._cursor, self._inside, self._changes = cursor, inside, changes

    def execute(self, sql: str, *args: Any) -> Any:
        if sql == "BEGIN" and self._inside:
            raise duckdb.TransactionException("cannot start a transaction within a transaction")
        pairs = f"SELECT 1 FROM {merge.PAIRS} LIMIT 1"
        if sql.startswith(("UPDATE", "DELETE")) and self._cursor.execute(pairs).fetchone():
            self._changes()
        return self._cursor.execute(sql, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def install(statements: Path) -> Faults:
    """Mend local-bigquery; each statement and script is appended to the file."""
    faults, locks, writing, defining = Faults(), Tables(), threading.Lock(), threading.Lock()
    for reason, status in (("rateLimitExceeded", 429), ("backendError", 503), ("quotaExceeded", 403)):
        STATUSES.setdefault(reason, (status, "RESOURCE_EXHAUSTED"))
    STATUSES.setdefault("jobRateLimitExceeded", (429, "RESOURCE_EXHAUSTED"))
    statement, whole, run_merge, handle, ask = (
        query._statement,
        query._execute,
        merge.run,
        runner._handle,
        runner._query,
    )

    def one(cur: Any, tree: exp.Expression, context: Any, *args: Any) -> Any:
        owner = id(context)
        if isinstance(tree, exp.Transaction):
            locks.begin(owner)
        if isinstance(tree, DEFINES) and owner in locks.open and tree.find(exp.TemporaryProperty) is None:
            raise BigQueryError("invalidQuery", "DDL on lasting objects is not supported in a transaction")
        if isinstance(tree, exp.Update | exp.Delete) and not tree.args.get("where"):
            raise BigQueryError("invalidQuery", "Syntax error: UPDATE and DELETE must have a WHERE clause")
        if isinstance(tree, CHANGES) and not (isinstance(tree, exp.Merge) and owner in locks.open):
            with locks.changing(owner, query._target(tree, context)):
                done = statement(cur, tree, context, *args)
        elif isinstance(tree, DEFINES) and owner not in locks.open:
            with defining:  # its catalog fails where two make one table at once
                done = statement(cur, tree, context, *args)
        else:
            done = statement(cur, tree, context, *args)
        if isinstance(tree, WRITES):
            _refuse_long(cur, query._target(tree, context))
        if isinstance(tree, exp.Commit | exp.Rollback):
            locks.end(owner, committed=isinstance(tree, exp.Commit))
        return done

    def script(
        cur: Any, project: str, job: str, config: Any, dry: bool, isolated: bool, context: Any, parsed: Any
    ) -> Any:
        try:
            return whole(cur, project, job, config, dry, isolated, context, parsed)
        finally:
            if id(context) in locks.open:
                cur.execute("ROLLBACK")
                locks.end(id(context), committed=False)

    def logged(job: Any, session: Any, running: Any) -> Any:
        sql = job.configuration.query.query or ""
        with writing, statements.open("a") as log:
            log.write(json.dumps({"job": job.jobReference.jobId, "sql": sql}) + "\n")
        after = faults.of_job(sql)
        try:
            return ask(job, session, running)
        finally:
            time.sleep(after)

    def loaded(job: Any, kind: str, running: Any, upload: Any) -> Any:
        faults.of_job(job.jobReference.jobId)
        return handle(job, kind, running, upload)

    def merged(cur: Any, tree: exp.Merge, context: Any) -> Any:
        owner, name = id(context), query._target(tree, context)

        def changes() -> None:
            if owner in locks.open:
                with locks.changing(owner, name):
                    pass

        return run_merge(Cursor(cur, owner in locks.open, changes), tree, context)

    query._statement, query._execute, merge.run = one, script, merged
    began, load_job, list_jobs = time.time() * 1000, store.load, store.list_

    def ended(job: Any) -> Any:
        if job is None or job.status.state == "DONE" or int(job.statistics.creationTime) >= began:
            return job
        lost = BigQueryError("backendError", "The job encountered an error during execution")
        return store.save(runner._done(job, job.statistics, lost))

    def listed(project: str, states: Any = None, *args: Any) -> list[Any]:
        found = [ended(job) for job in list_jobs(project, states, *args)]
        return [job for job in found if not states or job.status.state in states]

    store.load, store.list_ = lambda *args: ended(load_job(*args)), listed
    database.cursor = Pool().cursor
    types.duckdb_type = _digits(types.duckdb_type)
    load._decoded = lambda expression, field, depth=0: expression
    database._attach, database.projects = _attach, lambda: [settings.default_project_id]
    # One thread: what is asked there is tiny, and several threads cost more than they give.
    database.connection().execute("SET threads = 1")
    runner._query, runner._handle = logged, loaded
    return faults


class Pool:
    """Cursors for what the application asks beside its jobs' scripts."""

    def __init__(self) -> None:
        self._free: list[Any] = []

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        try:
            cursor = self._free.pop()
        except IndexError:
            cursor = database.connection().cursor()
        try:
            yield cursor
        except BaseException:
            cursor.close()
            raise
        self._free.append(cursor)


def _attach(connection: Any, project: str) -> None:
    path = settings.data_dir / f"{project}.duckdb"
    connection.execute(f"ATTACH IF NOT EXISTS '{path}' AS {database.quote(project)}")
    database._attached.add(project)


def _digits(real: Any) -> Any:
    def duckdb_type(field: Any) -> str:
        if field.precision and field.mode != "REPEATED":
            return f"DECIMAL({field.precision},{field.scale or 0})"
        return str(real(field))

    return duckdb_type


def _refuse_long(cur: Any, name: Name) -> None:
    found = tables.load(*name)
    for column in tables.fields(found) if found else ():
        if column.maxLength:
            quoted = '"' + column.name.replace('"', '""') + '"'
            where = ".".join('"' + part.replace('"', '""') + '"' for part in name)
            measure = "octet_length" if column.type == "BYTES" else "length"
            sql = f"SELECT max({measure}({quoted})) FROM {where}"
            (longest,) = cur.execute(sql).fetchone()
            if (longest or 0) > int(column.maxLength):
                raise BigQueryError(
                    "invalidQuery",
                    f"Field {column.name}: {column.type}({column.maxLength}) has maximum length {column.maxLength} but "
                    f"got a value with length {longest}",
                )
