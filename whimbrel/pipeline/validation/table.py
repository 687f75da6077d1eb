"""Comparing the rows of one table: sums first, then the segments that differ, then what is still in flight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.model.normal import cheap, ordered, strict
from whimbrel.model.progress import TableProgress
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.validation.findings import Findings
from whimbrel.pipeline.validation.segments import Descent, Segment
from whimbrel.pipeline.validation.settling import Key, Live, Settled, Settling, counts, key_batches, keys_of
from whimbrel.pipeline.validation.sides import BoundSide, Lines, Plan, TableEnds, ends_of

SAMPLES: Final = 100  # reported a kind and table
PENDING: Final = 50_000  # differing keys a table that are looked up again one by one
PASSES: Final = 3  # over a table that differs in more keys than that while replication runs
KINDS: Final = ("missing", "extra", "different")


@dataclass
class Found:
    """Counts by kind, and the first samples of each."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    samples: dict[str, list[Key]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def add(self, key: Key, rows: tuple[int, int, int]) -> None:
        for kind, n in zip(KINDS, rows, strict=True):
            self.counts[kind] += n
            if n and len(self.samples[kind]) < SAMPLES:
                self.samples[kind].append(key)

    def add_table(self, differences: pa.Table) -> None:
        """The same for a whole leaf, without touching each row."""
        for kind in KINDS:
            self.counts[kind] += pc.sum(differences[kind]).as_py() or 0
            wanted = SAMPLES - len(self.samples[kind])
            if wanted > 0:
                self.samples[kind] += keys_of(differences.filter(pc.greater(differences[kind], 0)).slice(0, wanted))

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass
class TableComparison:
    plan: Plan
    lines: Lines
    sample: int
    live: Live | None
    control: Control
    findings: Findings

    def result(self) -> dict[str, Any]:
        """One table of the REST contract's result."""
        self._progress("comparing", 0)
        rows, checked, found, moving = self._compare()
        if self.live is not None and not moving:
            # Counted while rows were in flight: what was compared row by row is the better figure.
            rows = (rows[0], rows[0] - found.counts["missing"] + found.counts["extra"])
        unequal_counts = self.live is None and rows[0] != rows[1]
        status = "unsettled" if moving else "different" if found.total or unequal_counts else "equal"
        self._progress("done", checked)
        samples = [self._sample(kind, key) for kind in KINDS for key in found.samples[kind]]
        return {
            "table": str(self.plan.source.name),
            "source_rows": rows[0],
            "target_rows": rows[1],
            **found.counts,
            "checked_rows": checked,
            "method": self.plan.method,
            "status": status,
            "samples": samples,
        }

    def _compare(self) -> tuple[tuple[int, int], int, Found, int]:
        """(rows on both sides, rows checked, what differs, keys that never came to rest)."""
        ends = ends_of(self.lines, self.plan, self.sample, cheap)
        whole = self._whole(ends)
        rows = (whole.source[0], whole.target[0]) if self.sample == 100 else ends.both(BoundSide.count)
        if not whole.equal and self._by_us_from_the_start:
            ends = ends_of(self.lines, self.plan, self.sample, strict)
            whole = self._whole(ends)
        checked = whole.rows
        for last in range(PASSES):
            if whole.equal:
                return rows, checked, Found(), 0
            descent = Descent(ends, ordered(self.plan.key(False)))
            if not self._must_settle:
                return rows, checked, self._collected(descent.differences(whole)), 0
            pending, complete = _pending(descent.differences(whole))
            if complete:
                found, moving = self._settled(pending)
                return rows, checked, found, moving
            if self.live is None or last == PASSES - 1:
                break
            self._let_pass()
            whole = self._whole(ends)
        ends = ends_of(self.lines, self.plan, self.sample, strict)
        descent = Descent(ends, ordered(self.plan.key(False)))
        return rows, checked, self._collected(descent.differences(self._whole(ends))), 0

    @property
    def _by_us_from_the_start(self) -> bool:
        """Whether the descent must hash in forms that we render: JSON, whose text differs in every row where it
        does in one; and every such form where rows can be told apart by their hash only."""
        columns = self.plan.columns(False)
        return strict(columns) != cheap(columns) and (not self.plan.source.key or cheap(columns) != tuple(columns))

    @property
    def _must_settle(self) -> bool:
        columns = self.plan.columns(False)
        return self.live is not None or (cheap(columns) != strict(columns) and not self._by_us_from_the_start)

    def _whole(self, ends: TableEnds) -> Segment:
        source, target = ends.both(lambda side: side.checksums(None, None, ())[0])
        return Segment(None, None, source, target)

    def _collected(self, differences: Iterator[pa.Table]) -> Found:
        found = Found()
        for leaf in differences:
            found.add_table(leaf)
            self.findings.add(str(self.plan.source.name), leaf)
        return found

    def _settling(self) -> Settling:
        ends = ends_of(self.lines, self.plan, 100, strict)
        return Settling(
            lambda keys: ends.one(False, lambda _: ends.source.look(keys)),
            lambda keys: ends.one(True, lambda _: ends.target.look(keys)),
            self.lines.check,
            self.live,
        )

    def _settled(self, pending: list[Key]) -> tuple[Found, int]:
        settled: Settled = self._settling().settle(pending)
        found = Found()
        for key, (source, target) in settled.real.items():
            found.add(key, counts(source, target))
        for batch in key_batches(list(settled.real)):
            self.findings.add(str(self.plan.source.name), pa.Table.from_batches([batch]))
        if settled.moving:
            self.control.log(
                "loader",
                f"{self.plan.source.name}: {settled.moving} differing rows kept changing, or the target did not catch "
                "up with them in time; validate again when there is less to apply",
            )
        return found, settled.moving

    def _let_pass(self) -> None:
        """Give the target the time to commit what the source has now."""
        assert self.live is not None
        settling = self._settling()
        settling.wait(self.live.source_position(), settling.clock() + 120)

    def _sample(self, kind: str, key: Key) -> dict[str, Any]:
        if not self.plan.source.key:
            return {"kind": kind, "row_hash": f"{key[0]:015x}"}
        return {"kind": kind, "key": dict(zip(self.plan.source.key, key, strict=True))}

    def _progress(self, status: str, rows: int) -> None:
        total = max(self.plan.source.rows, rows)
        self.control.table(TableProgress(str(self.plan.source.name), status, total, rows_extracted=rows))


def _pending(differences: Iterator[pa.Table]) -> tuple[list[Key], bool]:
    """The differing keys, and whether these are all: no more than PENDING are kept."""
    keys: list[Key] = []
    for leaf in differences:
        keys += keys_of(leaf)
        if len(keys) > PENDING:
            return [], False
    return list(dict.fromkeys(keys)), True
