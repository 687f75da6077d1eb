"""Putting right the rows that a validation has named, while replication goes on: see docs/validation.md.

A batch of rows is repaired inside one transaction of the target that first locks the migration's row of the progress
table. The applier writes that row with every commit, so as long as we hold it the target stands still at some position
P. The source is read after that, so its rows are of P or later. What is written is therefore never older than what the
applier has written, and it goes on from P: a row with a key that was ahead is made older and then newer again by the
changes behind P, and ends as the source has it.

A row without a key has no such luck, as its changes add and take away. It is repaired only at a moment in which the
target has everything that the source has.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from whimbrel.connectors.protocols import Applier
from whimbrel.errors import TargetInterrupted, ValidateFailed, WhimbrelError
from whimbrel.model.change import DELETE, INSERT, Segment, TableChanges
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.normal import strict
from whimbrel.model.position import Position
from whimbrel.pipeline.comparing import BoundSide, Lines, Plan, TableEnds, ends_of, open_lines, plan_of, row_keys
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.pair import Pair, open_pair
from whimbrel.pipeline.settling import Key, Live, Settling, replication
from whimbrel.pipeline.table_comparison import KINDS, SAMPLES
from whimbrel.pipeline.validation import as_validate_failed

BATCH: Final = 50  # rows that are repaired, and keep the applier waiting, at once
PATIENCE: Final = 30.0  # seconds to wait for a moment in which a batch can be repaired
_NOWHERE: Final = Position("", "", "", ())  # the stored position stays


def repair_data(job: Job, control: Control, report: Mapping[str, Any]) -> dict[str, Any]:
    """Repair every row that ``report``, the result of ``validate_data``, names, and say what became of each.

    The result has ``valid`` (nothing that the report knew of is left), ``repaired`` in all, and by table how many rows
    were ``named``, were ``already_equal`` when looked at, were ``repaired``, and are ``left``, with samples and why;
    ``unnamed`` counts rows that the report knew of and had no room to name. Raises what ``validate_data`` raises.
    """
    control.phase("repair")
    named = {str(t["table"]): t for t in report["tables"] if t["samples"]}
    with as_validate_failed(), open_pair(job) as pair:
        pair.require_target_tables()
        plans = {str(s.name): plan_of(job, s, t) for s, t in pair.both if str(s.name) in named}
        with (
            closing(pair.target.checkpoint(job.migration)) as checkpoint,
            closing(pair.target.open_applier(job, pair.tables, pair.target_tables)) as applier,
            open_lines(job, control.check) as lines,
        ):
            live = replication(job, pair.source, checkpoint)
            tables = [
                _Repair(pair, _planned(plans, name), lines, applier, live, control).of(table)
                for name, table in named.items()
            ]
    unnamed = any(t["status"] != "equal" and not t["samples"] for t in report["tables"])
    return {
        "valid": not unnamed and all(t["left"] == 0 and t["unnamed"] == 0 for t in tables),
        "sample_percent": report["sample_percent"],
        "repaired": sum(t["repaired"] for t in tables),
        "tables": tables,
    }


def _planned(plans: Mapping[str, Plan], name: str) -> Plan:
    if name not in plans:
        raise ValidateFailed(
            f"{name} is in the report, but no longer in the migration", remedy="Validate again, then repair."
        )
    return plans[name]


@dataclass
class _Repair:
    """One table."""

    pair: Pair
    plan: Plan
    lines: Lines
    applier: Applier
    live: Live | None
    control: Control
    ends: TableEnds = field(init=False)

    def __post_init__(self) -> None:
        self.ends = ends_of(self.lines, self.plan, 100, strict)

    def of(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Repair what the table's part of a report names."""
        keys = list(dict.fromkeys(self._key(sample) for sample in table["samples"]))
        settling = Settling(self._look(False), self._look(True), self.control.check, self.live)
        before = settling.settle(keys)
        wrong = list(before.real)
        why: dict[Key, str] = {}
        for at in range(0, len(wrong), BATCH):
            batch = wrong[at : at + BATCH]
            reason = self._repaired(batch)
            why |= dict.fromkeys(batch, reason) if reason else {}
        after = settling.settle(wrong) if wrong else before
        left = dict(after.real) if wrong else {}
        moving = before.moving + (after.moving if wrong else 0)
        repaired = len(wrong) - len(left) - (after.moving if wrong else 0)
        self.control.log("loader", f"{self.plan.source.name}: {repaired} of {len(keys)} named rows repaired")
        return {
            "table": table["table"],
            "named": len(keys),
            "already_equal": len(keys) - len(wrong) - before.moving,
            "repaired": repaired,
            "left": len(left) + moving,
            "unnamed": sum(max(0, int(table[kind]) - self._named(table, kind)) for kind in KINDS),
            "samples": [self._sample(key, why.get(key, "still differs")) for key in list(left)[:SAMPLES]],
        }

    def _named(self, table: Mapping[str, Any], kind: str) -> int:
        """How many rows of a kind the samples stand for: without a key one may stand for several."""
        samples = [s for s in table["samples"] if s["kind"] == kind]
        return len(samples) if self.plan.source.key or len(samples) >= SAMPLES else int(table[kind])

    def _key(self, sample: Mapping[str, Any]) -> Key:
        key = self.plan.source.key
        try:
            return tuple(sample["key"][name] for name in key) if key else (int(sample["row_hash"], 16),)
        except KeyError as e:
            raise ValidateFailed(
                f"{self.plan.source.name}: the report names rows by another key", remedy="Validate again, then repair."
            ) from e

    def _sample(self, key: Key, why: str) -> dict[str, Any]:
        if not self.plan.source.key:
            return {"row_hash": f"{key[0]:015x}", "why": why}
        return {"key": dict(zip(self.plan.source.key, key, strict=True)), "why": why}

    def _look(self, target: bool) -> Any:
        side = self.ends.target if target else self.ends.source
        return lambda keys: self.ends.one(target, lambda _: side.look(keys))

    # --- one batch ------------------------------------------------------------------------------------------------

    def _repaired(self, keys: list[Key]) -> str:
        """Repair these rows; why that was not possible, else nothing."""
        deadline, pause = time.monotonic() + PATIENCE, 0.05
        while True:
            self.control.check()
            try:
                if self._try(keys):
                    return ""
                reason = "the table has no key, and the source does not rest: repair it when nothing is written"
            except TargetInterrupted as e:
                reason = e.message
            except WhimbrelError as e:
                if e.retryable:
                    raise
                return e.message
            if time.monotonic() > deadline:
                return reason
            time.sleep(pause)
            pause = min(pause * 2, 1.0)

    def _try(self, keys: list[Key]) -> bool:
        """One attempt; False when the source was ahead of a table without a key."""
        self.applier.hold()
        try:
            if not self.plan.source.key and not self._caught_up():
                self.applier.rollback()
                return False
            source, target = self._images(False, keys), self._images(True, keys)
            build = _by_key if self.plan.source.key else _by_hash
            changes = build(self.plan.source.name, source, target, len(self.plan.source.key))
            if changes is not None:
                self.applier.apply(Segment(0, (changes,), _NOWHERE, True, 1, 0, {}, 0), self._refetch)
            self.applier.release()
        except BaseException:
            self.applier.rollback()
            raise
        return True

    def _caught_up(self) -> bool:
        """Whether the target, which stands still, has everything that the source has."""
        if self.live is None:
            return True
        source, target = self.live.source_position(), self.live.target_position()
        return target is not None and source <= target

    def _images(self, target: bool, keys: list[Key]) -> pa.Table:
        """Rows as they are now, under the names of the source's columns."""
        side: BoundSide = self.ends.target if target else self.ends.source
        table = self.plan.target if target else self.plan.source
        rows: pa.Table = self.ends.one(target, lambda _: side.images(table, keys))
        known = len(self.plan.source.key) or 1
        names = [*rows.schema.names[:known], *(f"={c.name}" for c in self.plan.source.loaded_columns)]
        return rows.rename_columns(names)

    def _refetch(self, table: TableName, keys: pa.RecordBatch) -> pa.RecordBatch:
        return self.pair.source.fetch_rows(self.plan.source, keys)


def _by_key(table: TableName, source: pa.Table, target: pa.Table, width: int) -> TableChanges | None:
    """Put every row that the source has, remove those that only the target has."""
    there = set(row_keys(source, width))
    gone = target.filter(pa.array([key not in there for key in row_keys(target, width)], pa.bool_()))
    return _changes(table, gone, source)


def _by_hash(table: TableName, source: pa.Table, target: pa.Table, width: int) -> TableChanges | None:
    """Add copies that the target lacks, take away those that it has too many of."""
    at_source, at_target = Counter(row_keys(source, width)), Counter(row_keys(target, width))
    return _changes(table, _first(target, at_target - at_source), _first(source, at_source - at_target))


def _first(rows: pa.Table, wanted: Counter[Key]) -> pa.Table:
    """So many rows of each key; every copy of a source's row has the same values."""
    places: dict[Key, list[int]] = {}
    for place, key in enumerate(row_keys(rows, 0)):
        places.setdefault(key, []).append(place)
    return rows.take(pa.array([place for key, n in wanted.items() for place in places[key][:n]], pa.int64()))


def _changes(table: TableName, deletes: pa.Table, inserts: pa.Table) -> TableChanges | None:
    rows = pa.concat_tables([_values(deletes), _values(inserts)])
    if rows.num_rows == 0:
        return None
    ops = np.repeat(np.array([DELETE, INSERT], dtype=np.uint8), [deletes.num_rows, inserts.num_rows])
    data = rows.combine_chunks().to_batches()[0]
    return TableChanges(table, pa.array(ops), data)


def _values(rows: pa.Table) -> pa.Table:
    names: Sequence[str] = [n for n in rows.schema.names if n.startswith("=")]
    return rows.select(names).rename_columns([n.removeprefix("=") for n in names])
