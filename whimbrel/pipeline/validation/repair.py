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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from whimbrel.connectors.protocols import Holder
from whimbrel.errors import TargetInterrupted, ValidateFailed, WhimbrelError
from whimbrel.model.change import DELETE, INSERT, Segment, TableChanges
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.normal import strict
from whimbrel.model.position import Position
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.pair import Pair, open_pair, require_compared
from whimbrel.pipeline.scope import made_later
from whimbrel.pipeline.stalls import Stalls
from whimbrel.pipeline.validation.findings import Named, named_by
from whimbrel.pipeline.validation.settling import Key, Live, Settled, Settling, replication
from whimbrel.pipeline.validation.sides import (
    BoundSide,
    Lines,
    Plan,
    TableEnds,
    ends_of,
    open_lines,
    plans_of,
    row_keys,
)
from whimbrel.pipeline.validation.table import KINDS, SAMPLES
from whimbrel.pipeline.validation.tables import as_validate_failed

BATCH: Final = 50  # rows that are repaired, and keep the applier waiting, at once
AT_REST: Final = 1000  # the same when nothing replicates
GROUP: Final = 5000  # named rows that are looked up at once
PATIENCE: Final = 30.0  # seconds to wait for a moment in which a batch can be repaired
_NOWHERE: Final = Position("", "", "", ())  # the stored position stays


def repair_data(job: Job, control: Control, report: Mapping[str, Any], comparison: str) -> dict[str, Any]:
    """Repair every row that a comparison has named, and say what became of them.

    ``report`` is the result of ``validate_data`` and ``comparison`` its operation, whose findings name all rows; where
    they are not on this machine, those in the report's samples are repaired.

    The result has ``valid`` (nothing that the report knew of is left), ``repaired`` in all, what to do ``next`` (''
    when nothing is), and by table how many rows were ``named``, were ``already_equal`` when looked at, were
    ``repaired``, and are ``left``, with samples and why; ``unnamed`` counts rows that the report knew of and had no
    room to name. Raises what ``validate_data`` raises.
    """
    require_compared(job)
    control.phase("repair")
    kept = named_by(job.workdir, comparison)
    if kept is None:
        control.log("loader", f"the findings of {comparison} are not here: only the rows in its samples are repaired")
    named = {str(t["table"]): t for t in report["tables"] if t["samples"]}
    with as_validate_failed(), Stalls(job, control) as stalls, open_pair(job) as pair:
        pair = pair.without(made_later(pair))
        pair.require_target_tables()
        plans = {str(plan.source.name): plan for plan in plans_of(pair, named)}
        with (
            closing(pair.target.ledger(job.migration)) as ledger,
            closing(pair.target.open_holder(job, pair.tables, pair.target_tables)) as holder,
            open_lines(job, control.check, stalls.sign) as lines,
        ):
            live = replication(job, pair.source, ledger, control.followed)
            tables = [
                _Repair(pair, _planned(plans, name), lines, holder, live, control, kept).of(table)
                for name, table in named.items()
            ]
    unnamed = any(t["status"] != "equal" and not t["samples"] for t in report["tables"])
    return {
        "valid": not unnamed and all(t["left"] == 0 and t["unnamed"] == 0 for t in tables),
        "sample_percent": report["sample_percent"],
        "repaired": sum(t["repaired"] for t in tables),
        "next": _next(tables),
        "tables": tables,
    }


def _next(tables: Sequence[Mapping[str, Any]]) -> str:
    unnamed = sum(t["unnamed"] for t in tables)
    left = sum(t["left"] for t in tables)
    parts = [f"{left} rows are left, see 'why' in the samples: repair again"] if left else []
    parts += [f"{unnamed} rows were counted but not named: validate again, then repair again"] if unnamed else []
    return "; ".join(parts)


def _planned(plans: Mapping[str, Plan], name: str) -> Plan:
    if name not in plans:
        raise ValidateFailed(
            f"{name} is in the report, but no longer in the migration", remedy="Validate again, then repair."
        )
    return plans[name]


@dataclass
class _Done:
    """What became of a table's named rows; ``why`` has the first of those that are left."""

    named: int = 0
    repaired: int = 0
    left: int = 0
    why: dict[Key, str] = field(default_factory=dict)


@dataclass
class _Repair:
    """One table."""

    pair: Pair
    plan: Plan
    lines: Lines
    holder: Holder
    live: Live | None
    control: Control
    kept: Named | None
    ends: TableEnds = field(init=False)
    refused: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.ends = ends_of(self.lines, self.plan, 100, strict)

    def of(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Repair what the table's part of a report names."""
        done = _Done()
        for keys in self._named(table):
            self._group(keys, done)
            self.control.log("loader", f"{self.plan.source.name}: {done.repaired} of {done.named} named rows repaired")
        return {
            "table": table["table"],
            "named": done.named,
            "already_equal": done.named - done.repaired - done.left,
            "repaired": done.repaired,
            "left": done.left,
            "unnamed": self._unnamed(table, done.named),
            "samples": [self._sample(key, why) for key, why in done.why.items()],
        }

    def _group(self, keys: list[Key], done: _Done) -> None:
        """Repair those of these rows that still differ."""
        settling = Settling(self._look(False), self._look(True), self.control.check, self.live)
        before = settling.settle(keys)
        wrong = list(before.real)
        why: dict[Key, str] = {}
        parts = self._parts(wrong)
        for at in range(0, len(wrong), self._at_once):
            why |= self._batch(wrong[at : at + self._at_once], parts)
        after = settling.settle(wrong) if wrong else Settled({})
        done.named += len(keys)
        done.repaired += len(wrong) - len(after.real) - after.moving
        done.left += len(after.real) + before.moving + after.moving
        for key in list(after.real)[: SAMPLES - len(done.why)]:
            done.why[key] = why.get(key, "still differs")

    @property
    def _at_once(self) -> int:
        return BATCH if self.live is not None else AT_REST

    def _named(self, table: Mapping[str, Any]) -> Iterator[list[Key]]:
        if self.kept is not None:
            for keys in self.kept.keys(str(table["table"]), GROUP):
                yield [self._checked(key) for key in dict.fromkeys(keys)]
        else:
            yield list(dict.fromkeys(self._key(sample) for sample in table["samples"]))

    def _unnamed(self, table: Mapping[str, Any], named: int) -> int:
        """Rows that were counted only. Without a key, one name may stand for several rows."""
        counted = sum(int(table[kind]) for kind in KINDS)
        if self.kept is not None:
            return 0 if self.kept.complete(str(table["table"])) else max(0, counted - named)
        full = any(sum(s["kind"] == kind for s in table["samples"]) >= SAMPLES for kind in KINDS)
        return max(0, counted - named) if self.plan.source.key or full else 0

    def _checked(self, key: Key) -> Key:
        if len(key) != (len(self.plan.source.key) or 1):
            raise self._another_key()
        return key

    def _another_key(self) -> ValidateFailed:
        return ValidateFailed(
            f"{self.plan.source.name}: the report names rows by another key", remedy="Validate again, then repair."
        )

    def _key(self, sample: Mapping[str, Any]) -> Key:
        key = self.plan.source.key
        try:
            return tuple(sample["key"][name] for name in key) if key else (int(sample["row_hash"], 16),)
        except KeyError as e:
            raise self._another_key() from e

    def _sample(self, key: Key, why: str) -> dict[str, Any]:
        if not self.plan.source.key:
            return {"row_hash": f"{key[0]:015x}", "why": why}
        return {"key": dict(zip(self.plan.source.key, key, strict=True)), "why": why}

    def _look(self, target: bool) -> Any:
        side = self.ends.target if target else self.ends.source
        return lambda keys: self.ends.one(target, lambda _: side.look(keys))

    # --- one batch ------------------------------------------------------------------------------------------------

    def _parts(self, keys: list[Key]) -> dict[int, int]:
        """What rows without a key can be found by inside a database that cannot hash all of their values.

        Both sides make the same of rows with the same hash, whichever of them has one now.
        """
        sides = ((False, self.ends.source), (True, self.ends.target))
        found = [self.ends.one(at, lambda _, side=side: side.parts(keys)) for at, side in sides]  # type: ignore[misc]
        return {**found[0], **found[1]}

    def _batch(self, keys: list[Key], parts: Mapping[int, int]) -> dict[Key, str]:
        """Repair these rows; those that were not, with why. One row that cannot be does not keep the others from it."""
        reason, refused = self._repaired(keys, parts)
        if not reason:
            return {}
        if not refused or len(keys) == 1 or self.refused >= SAMPLES:
            self.refused += refused
            return dict.fromkeys(keys, reason)
        half = len(keys) // 2
        return {**self._batch(keys[:half], parts), **self._batch(keys[half:], parts)}

    def _repaired(self, keys: list[Key], parts: Mapping[int, int]) -> tuple[str, bool]:
        """Repair these rows; why that was not possible ('' when it was), and whether it was refused for good."""
        deadline, pause = time.monotonic() + PATIENCE, 0.05
        while True:
            self.control.check()
            try:
                if self._try(keys, parts):
                    return "", False
                reason = "the table has no key, and the source does not rest: repair it when nothing is written"
            except TargetInterrupted as e:
                reason = e.message
            except WhimbrelError as e:
                if e.retryable:
                    raise
                return e.message, True
            if time.monotonic() > deadline:
                return reason, False
            time.sleep(pause)
            pause = min(pause * 2, 1.0)

    def _try(self, keys: list[Key], parts: Mapping[int, int]) -> bool:
        """One attempt; False when the source was ahead of a table without a key."""
        self.holder.hold()
        try:
            if not self.plan.source.key and not self._caught_up():
                self.holder.rollback()
                return False
            source, target = self._images(False, keys, parts), self._images(True, keys, parts)
            if self.plan.source.key and self._taken(source, target, keys):
                raise ValidateFailed("the target takes another row's key for the same, and cannot hold both")
            build = _by_key if self.plan.source.key else _by_hash
            changes = build(self.plan.source.name, source, target, len(self.plan.source.key))
            if changes is not None:
                self.holder.apply(Segment(0, (changes,), _NOWHERE, True, 1, 0, {}, 0), self._refetch)
            self.holder.release()
        except BaseException:
            self.holder.rollback()
            raise
        return True

    def _taken(self, source: pa.Table, target: pa.Table, keys: list[Key]) -> bool:
        """Whether the target would put one of these rows over another: a key that it lacks equals that row's in the
        column's collation."""
        width = len(self.plan.source.key)
        lacking = set(row_keys(source, width)) - set(row_keys(target, width))
        return bool(lacking) and self.ends.one(True, lambda _: self.ends.target.strangers(keys))

    def _caught_up(self) -> bool:
        """Whether the target, which stands still, has everything that the source has."""
        if self.live is None:
            return True
        source, target = self.live.source_position(), self.live.target_position()
        return target is not None and source <= target

    def _images(self, target: bool, keys: list[Key], parts: Mapping[int, int]) -> pa.Table:
        """Rows as they are now, under the names of the source's columns."""
        side: BoundSide = self.ends.target if target else self.ends.source
        table = self.plan.target if target else self.plan.source
        rows: pa.Table = self.ends.one(target, lambda _: side.images(table, keys, parts))
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
