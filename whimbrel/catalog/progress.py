"""How far an operation is. Figures are absolute and overwritten; sums are kept beside them, so that a write costs what
changed and a read of the sums costs one row. Every function runs inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from whimbrel.catalog import tables
from whimbrel.catalog.database import upsert
from whimbrel.model.progress import ChangeProgress, Earlier, TableChangeTotals, TablePhase, TableProgress

SAMPLE_US = 2_000_000  # the rate is taken over at least this long
STALE_US = 10_000_000  # figures older than this no longer tell a rate
_NAMED_AT_ONCE = 500
_SUMS = ("tables_total", "tables_done", "rows_total", "rows_extracted", "rows_loaded", "bytes_extracted")
_totals, _load, _change, _state = tables.load_totals, tables.table_load, tables.table_change, tables.change_state


def save_tables(connection: Connection, operation: str, changed: Sequence[TableProgress], now: int) -> None:
    """Overwrite the figures of these tables and bring sums, rate and percent up to date."""
    if not changed:
        return
    totals = _locked_totals(connection, operation, now)
    latest = {p.table: p for p in changed}
    for old in _known(connection, operation, list(latest)):
        _add(totals, old, -1)
    rows = [{"operation": operation, **asdict(p)} for p in latest.values()]
    for new in rows:
        _add(totals, new, 1)
    upsert(connection, _load, rows)
    _sample_rate(totals, now)
    totals["percent"] = max(totals["percent"], _percent(totals))
    upsert(connection, _totals, [totals])


def save_change_totals(connection: Connection, operation: str, changed: Sequence[TableChangeTotals]) -> None:
    """Overwrite what was applied to these tables."""
    latest = {t.table: t for t in changed}.values()
    upsert(connection, _change, [{"operation": operation, **asdict(t)} for t in latest])


def save_change(connection: Connection, operation: str, progress: ChangeProgress, now: int) -> None:
    """Overwrite the figures of the change phase."""
    upsert(connection, _state, [{"operation": operation, "figures": asdict(progress), "recorded_us": now}])


def earlier(connection: Connection, operation: str, now: int) -> Earlier:
    """All that was saved last."""

    def rows(table: sa.Table) -> list[dict[str, Any]]:
        columns = [c for c in table.columns if c.name != "operation"]
        found = connection.execute(sa.select(*columns).where(table.c.operation == operation)).mappings()
        return [dict(row) for row in found]

    loaded = {row["table"]: TableProgress(**row) for row in rows(_load)}
    applied = {row["table"]: TableChangeTotals(**row) for row in rows(_change)}
    for state in rows(_state):
        change = ChangeProgress(**state["figures"])
        return Earlier(loaded, applied, change, max(0, now - state["recorded_us"]) / 1e6)
    return Earlier(loaded, applied)


def progress_of(
    connection: Connection, operations: Sequence[str], running: set[str], now: int, *, with_tables: bool
) -> dict[str, dict[str, Any]]:
    """The contract's ``progress`` object by operation; operations without figures are left out."""
    found: dict[str, dict[str, Any]] = {}
    for row in connection.execute(sa.select(_totals).where(_totals.c.operation.in_(operations))).mappings():
        found[row["operation"]] = _progress(dict(row), now, row["operation"] in running)
    if with_tables:
        for operation in operations:
            listed = _tables(connection, operation)
            if listed:
                found.setdefault(operation, _only_changes(len(listed)))["tables"] = listed
    return found


def change_of(connection: Connection, operations: Sequence[str], running: set[str], now: int) -> dict[str, Any]:
    """The contract's ``change`` object by operation; operations without one are left out."""
    rows = connection.execute(sa.select(_state).where(_state.c.operation.in_(operations)))
    return {r.operation: _change_json(r.figures, now - r.recorded_us, r.operation in running) for r in rows}


def _locked_totals(connection: Connection, operation: str, now: int) -> dict[str, Any]:
    query = sa.select(_totals).where(_totals.c.operation == operation).with_for_update()
    row = connection.execute(query).mappings().one_or_none()
    if row is not None:
        return dict(row)
    fresh: dict[str, Any] = {c.name: 0 for c in _totals.columns}
    return {**fresh, "operation": operation, "sampled_us": now}


def _known(connection: Connection, operation: str, names: list[str]) -> list[dict[str, Any]]:
    """What is recorded of these tables."""
    query = sa.select(_load).where(_load.c.operation == operation)
    if len(names) <= _NAMED_AT_ONCE:
        return [dict(row) for row in connection.execute(query.where(_load.c.table.in_(names))).mappings()]
    # A long list of names would be compared with every row of the operation; so many are read whole instead.
    wanted = set(names)
    return [dict(row) for row in connection.execute(query).mappings() if row["table"] in wanted]


def _add(totals: dict[str, Any], figures: Mapping[str, Any], sign: int) -> None:
    done = figures["status"] == TablePhase.DONE
    totals["tables_total"] += sign
    totals["tables_done"] += sign * done
    for name in ("rows_total", "rows_extracted", "rows_loaded", "bytes_extracted"):
        totals[name] += sign * figures[name]
    # rows_total is an estimate: loading more than it, or finishing below it, must not bend the percentage.
    credit = figures["rows_total"] if done else min(figures["rows_loaded"], figures["rows_total"])
    totals["rows_credited"] += sign * credit


def _percent(totals: Mapping[str, Any]) -> float:
    """Each table weighs its rows and one more, so that empty tables count too and only all done is 100."""
    if totals["tables_done"] == totals["tables_total"]:
        return 100.0
    share = (totals["rows_credited"] + totals["tables_done"]) / (totals["rows_total"] + totals["tables_total"])
    return float(min(99.9, round(100 * share, 1)))


def _sample_rate(totals: dict[str, Any], now: int) -> None:
    elapsed = now - totals["sampled_us"]
    if elapsed < SAMPLE_US:
        return
    rows = max(0, totals["rows_loaded"] - totals["sampled_rows"])  # a table loaded anew takes rows back
    measured = rows * 1e6 / elapsed
    known = totals["rows_per_second"]
    totals["rows_per_second"] = measured if not known else (known + measured) / 2
    totals["sampled_us"], totals["sampled_rows"] = now, totals["rows_loaded"]


def _progress(totals: Mapping[str, Any], now: int, running: bool) -> dict[str, Any]:
    left = totals["rows_total"] - totals["rows_credited"]
    rate = totals["rows_per_second"] if running and now - totals["sampled_us"] <= STALE_US else 0.0
    eta: float | None = None  # with all rows there, keys and indexes are left, and nobody knows for how long
    if totals["percent"] >= 100:
        eta = 0.0
    elif rate > 0 and left > 0:
        eta = round(left / rate, 1)
    return {
        "percent": totals["percent"],
        "eta_seconds": eta,
        **{name: totals[name] for name in _SUMS},
        "rows_per_second": round(rate, 1),
        "tables": None,
    }


def _only_changes(count: int) -> dict[str, Any]:
    """Progress of an operation that replicates without having loaded."""
    nothing = dict.fromkeys(("percent", "eta_seconds", *_SUMS, "rows_per_second", "tables"))
    return {**nothing, "tables_total": count}


def _tables(connection: Connection, operation: str) -> list[dict[str, Any]]:
    loads = connection.execute(sa.select(_load).where(_load.c.operation == operation)).mappings()
    load = {row["table"]: dict(row) for row in loads}
    applied = connection.execute(sa.select(_change).where(_change.c.operation == operation)).mappings()
    change = {row["table"]: dict(row) for row in applied}
    return [_table(name, load.get(name), change.get(name)) for name in sorted(load.keys() | change.keys())]


def _table(name: str, load: Mapping[str, Any] | None, change: Mapping[str, Any] | None) -> dict[str, Any]:
    loaded = ("rows_total", "rows_extracted", "rows_loaded", "files_done", "files_total")
    changed = ("inserts", "updates", "deletes", "errors")
    return {
        "table": name,
        "status": load["status"] if load else "replicating",
        **{k: load[k] if load else None for k in loaded},
        **{k: change[k] if change else 0 for k in changed},
    }


def _change_json(figures: dict[str, Any], age_us: int, running: bool) -> dict[str, Any]:
    shown = {k: v for k, v in figures.items() if k != "last_commit_us"}
    commit = figures["last_commit_us"]
    last = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=commit) if commit else None
    stale = age_us > STALE_US
    if running and stale:  # nobody has measured since, so all that time may be lag
        shown["lag_seconds"] = round(figures["lag_seconds"] + age_us / 1e6, 3)
    if stale or not running:
        shown["events_per_second"] = 0.0
    return {**shown, "last_commit_at": rfc3339(last)}


def rfc3339(moment: datetime | None) -> str | None:
    """``2026-11-23T09:35:40.123456Z``; None stays None."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
