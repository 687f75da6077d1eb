"""Comparing the rows of a migration's source and target: see docs/validation.md."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from typing import Any, Final

from whimbrel.connectors.protocols import Scope
from whimbrel.errors import ConnectionRefused, Interrupted, ValidateFailed, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.progress import TablePhase, TableProgress
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.pair import open_pair, require_compared
from whimbrel.pipeline.scope import made_later
from whimbrel.pipeline.stalls import Stalls
from whimbrel.pipeline.validation.findings import Findings
from whimbrel.pipeline.validation.settling import Live, replication
from whimbrel.pipeline.validation.sides import BoundSide, Plan, open_lines, plans_of
from whimbrel.pipeline.validation.table import KINDS, TableComparison

TABLES_AT_ONCE: Final = 4


def validate_data(job: Job, control: Control, sample_percent: int) -> dict[str, Any]:
    """Compare every table and return the result of the REST contract. ``sample_percent`` 0 or 100 is all rows.

    A difference is a result; raised are ValidateFailed when a table cannot be compared, the leaves of
    ConnectionRefused, and retryable errors of a server that went away. Bounded memory. The keys of all rows that
    differ, of which the result shows a few, are kept in the working directory for ``repair_data``.
    """
    sample = sample_percent if 1 <= sample_percent <= 99 else 100
    require_compared(job)
    control.phase("validate")
    with as_validate_failed(), Stalls(job, control) as stalls, open_pair(job) as pair:
        order, absent = [str(t.name) for t in pair.tables], made_later(pair)
        pair = pair.without(absent)
        pair.require_target_tables()
        plans = plans_of(pair)
        findings = Findings(job.workdir, job.operation)
        try:
            with closing(pair.target.ledger(job.migration)) as ledger:
                live = replication(job, pair.source, ledger, control.followed)
                tables = _all_tables(job, control, plans, sample, live, findings, stalls.sign)
                tables += [_absent(job, control, name, stalls.sign) for name in absent]
                tables.sort(key=lambda t: order.index(t["table"]))
            try:
                findings.finish()
            except OSError as e:
                control.log("loader", f"not all differences could be named for a repair: {e.strerror}")
        finally:
            findings.abandon()
    return {"valid": all(t["status"] == "equal" for t in tables), "sample_percent": sample, "tables": tables}


def _absent(job: Job, control: Control, name: TableName, sign: Callable[[], None]) -> dict[str, Any]:
    """The result of a table that was made on the source since, under a pattern, and that the target does not have."""
    control.log("loader", f"{name}: the target has no such table, so all its rows are missing")
    with open_lines(job, control.check, sign) as lines:
        counted = lines.threads.submit(BoundSide(lines.source, Scope(name, (), ())).count)
        lines.wait(counted)
        rows = counted.result()
    return {
        "table": str(name),
        "source_rows": rows,
        "target_rows": 0,
        **dict.fromkeys(KINDS, 0),
        "missing": rows,
        "checked_rows": rows,
        "method": "count of rows",
        "status": "different",
        "samples": [],
    }


@contextmanager
def as_validate_failed() -> Iterator[None]:
    """What stops the comparison has one code; what a retry may heal, and what did not let us in, keeps its own."""
    try:
        yield
    except WhimbrelError as e:
        if e.retryable or isinstance(e, ConnectionRefused | ValidateFailed):
            raise
        raise ValidateFailed(e.message, remedy=e.how_to_fix, **e.extra) from e


# --- tables -----------------------------------------------------------------------------------------------------------


def _all_tables(
    job: Job,
    control: Control,
    plans: list[Plan],
    sample: int,
    live: Live | None,
    findings: Findings,
    sign: Callable[[], None],
) -> list[dict[str, Any]]:
    """Several tables at a time, largest first; the results in the order of the migration. One failure ends all."""
    failed = threading.Event()

    def check() -> None:
        control.check()
        if failed.is_set():
            raise Interrupted

    def one(plan: Plan) -> dict[str, Any]:
        try:
            check()
            with open_lines(job, check, sign) as lines:
                return TableComparison(plan, lines, sample, live, control, findings).result()
        except BaseException:
            failed.set()
            raise

    control.all_tables([TableProgress(str(p.source.name), TablePhase.WAITING, p.source.rows) for p in plans])
    by_size = sorted(plans, key=lambda p: p.source.rows, reverse=True)
    with ThreadPoolExecutor(max(1, min(job.threads, TABLES_AT_ONCE)), thread_name_prefix="validate") as threads:
        futures = {id(plan): threads.submit(one, plan) for plan in by_size}
        wait(futures.values())
    control.check()
    errors = [e for f in futures.values() if (e := f.exception()) is not None]
    for error in sorted(errors, key=lambda e: isinstance(e, Interrupted)):
        raise error
    return [futures[id(plan)].result() for plan in plans]
