"""How far an operation is, as the Markdown that Temporal's UI shows of a workflow: names and figures, never a secret
and never a row's value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any

from activities.masking import mask
from whimbrel.catalog.records import OperationRecord, Status

LONGEST_ERROR = 2000  # characters
LINE = 72  # characters of a line of code, which the page does not wrap


def details(record: OperationRecord, now: datetime) -> str:
    """Status, phase, percent, lag and the last error of one operation, as the catalog has them at ``now``."""
    lines = [_headline(record), ""]
    lines += [f"- {line}" for line in _figures(record)]
    lines += ["", *_error(record.error)] if record.error else []
    seen = record.finished_at or now
    lines += ["", f"*{'ended' if record.finished_at else 'as of'} {seen.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC*"]
    return "\n".join(lines)


def _headline(record: OperationRecord) -> str:
    running = record.status is Status.RUNNING
    state = "paused" if running and record.paused else record.status.value
    said = [f"**{state}**"]
    if running and record.pause_wanted and not record.paused:
        said.append("a pause was asked for")
    if record.phase and running:
        said.append(f"phase **{record.phase}**")
    percent = (record.progress or {}).get("percent")
    if percent is not None:
        said.append(f"**{percent:g} %**")
    return ", ".join(said)


def _figures(record: OperationRecord) -> Iterator[str]:
    load, change = record.progress or {}, record.change or {}
    if load.get("rows_loaded") is not None:
        yield f"rows: {load['rows_loaded']:,} of about {load['rows_total']:,}, {load['rows_per_second']:,.0f} a second"
        yield f"tables: {load['tables_done']:,} of {load['tables_total']:,} done"
    if load.get("eta_seconds"):
        yield f"rows are there in about {load['eta_seconds']:,.0f} s"
    if change:
        if record.status is Status.RUNNING:
            yield f"lag: {change['lag_seconds']:,.1f} s, {change['lag_bytes']:,} bytes of log"
        kinds = ", ".join(f"{change[kind]:,} {kind}" for kind in ("inserts", "updates", "deletes"))
        yield f"changes: {kinds} in {change['transactions']:,} transactions"
        yield f"position: `{change['position'].replace('`', '')}`"


def _error(error: Mapping[str, Any]) -> list[str]:
    """As a block of code, which nothing in a message can end."""
    remedy = (error.get("details") or {}).get("remedy")
    text = f"{error.get('code')}: {error.get('message')}" + (f"\n{remedy}" if remedy else "")
    lines = [part for line in mask(text)[:LONGEST_ERROR].splitlines() for part in wrap(line, LINE)]
    return ["**last error**", "", *(f"    {line}" for line in lines)]
