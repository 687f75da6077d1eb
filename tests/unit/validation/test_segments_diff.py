"""Every seeded fault is found and typed, whatever the table's shape, by fetching few rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.validation.fakes import FakeEnds, FakeSide, Row, hashed
from whimbrel.pipeline.validation.segments import Descent, Limits, Segment, diff

SMALL = Limits(leaf=8, fetch=32, scan=32, parts=4, buckets=8)


def found(source: FakeSide, target: FakeSide, limits: Limits = SMALL) -> Counter[tuple[str, str]]:
    """(kind, key) -> rows, as the descent reports them; for tables without a key the key is the hash."""
    ends = FakeEnds(source, target)
    s, t = ends.both(lambda side: side.checksums(None, None, ())[0])
    result: Counter[tuple[str, str]] = Counter()
    descent = Descent(ends, source.keyed and source.by_range, limits)
    for table in descent.differences(Segment(None, None, s, t)):
        for row in table.to_pylist():
            key = str(row.get("k0", row.get("hash")))
            for kind in ("missing", "extra", "different"):
                result[kind, key] += row[kind]
    return +result


def expected(source: FakeSide, target: FakeSide) -> Counter[tuple[str, str]]:
    """The same from the definition: multisets of rows per key."""

    def key_of(row: Row) -> str:
        return str(row[0]) if source.keyed else str(hashed(row))

    result: Counter[tuple[str, str]] = Counter()
    for key in {key_of(r) for r in (*source.rows, *target.rows)}:
        s = Counter(r for r in source.rows if key_of(r) == key)
        t = Counter(r for r in target.rows if key_of(r) == key)
        only_s, only_t = (s - t).total(), (t - s).total()
        both = min(only_s, only_t)
        result["missing", key] = only_s - both
        result["extra", key] = only_t - both
        result["different", key] = both
    return +result


def rows(count: int) -> list[Row]:
    return [(n * 3, f"value {n}", None if n % 5 else "") for n in range(count)]


def seeded(fault: str, table: list[Row]) -> list[Row]:
    """The table with one fault of checklist C12 near its middle."""
    at = len(table) // 2
    faulty = list(table)
    key, text, extra = faulty[at]
    match fault:
        case "missing":
            del faulty[at]
        case "extra":
            faulty.append((key + 1, "nobody's", None))
        case "one bit":
            faulty[at] = (key, chr(ord(text[0]) ^ 1) + text[1:], extra)
        case "swapped":
            other, *rest = faulty[at + 1]
            faulty[at], faulty[at + 1] = (key, *rest), (other, text, extra)
        case "duplicated":
            faulty.append(faulty[at])
        case "null for empty":
            faulty[at] = (key, text, None if extra == "" else "")
    return faulty


FAULTS = {
    "missing": {"missing": 1},
    "extra": {"extra": 1},
    "one bit": {"different": 1},
    "swapped": {"different": 2},
    "duplicated": {"extra": 1},
    "null for empty": {"different": 1},
}
SHAPES = {"range": (True, True), "key hash": (True, False), "no key": (False, False)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_is_found_and_typed(fault: str, shape: str) -> None:
    keyed, by_range = SHAPES[shape]
    source = FakeSide(rows(1000), keyed, by_range)
    target = FakeSide(seeded(fault, rows(1000)), keyed, by_range)
    kinds: Counter[str] = Counter()
    for (kind, _), n in found(source, target).items():
        kinds[kind] += n
    wanted = Counter(FAULTS[fault])
    if not keyed:  # without a key a changed row is one that is missing and one that is extra
        changed = wanted.pop("different", 0)
        wanted += Counter(missing=changed, extra=changed)
    assert kinds == wanted
    assert max(source.largest, target.largest) <= 2 * SMALL.fetch
    assert source.fetched + target.fetched < 200, "this read the table instead of searching it"


@pytest.mark.parametrize("shape", SHAPES)
def test_an_equal_table_is_not_fetched(shape: str) -> None:
    keyed, by_range = SHAPES[shape]
    source, target = FakeSide(rows(500), keyed, by_range), FakeSide(rows(500)[::-1], keyed, by_range)
    assert not found(source, target)
    assert source.fetched == target.fetched == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("empty", ["source", "target"])
def test_an_empty_side_misses_everything_and_memory_stays_bounded(shape: str, empty: str) -> None:
    keyed, by_range = SHAPES[shape]
    full, none = FakeSide(rows(700), keyed, by_range), FakeSide([], keyed, by_range)
    pair = (none, full) if empty == "source" else (full, none)
    result = found(*pair)
    assert {kind for kind, _ in result} == {"extra" if empty == "source" else "missing"}
    assert result.total() == 700
    assert full.largest <= 4 * SMALL.fetch


def test_every_row_different_is_counted_once() -> None:
    source, target = FakeSide(rows(700)), FakeSide([(k, "other", e) for k, _, e in rows(700)])
    result = found(source, target)
    assert result.total() == 700
    assert set(result.values()) == {1}


def test_identical_rows_without_a_key_cannot_be_cut_and_are_counted() -> None:
    source, target = FakeSide([(1, "same", "")] * 500, keyed=False), FakeSide([(1, "same", "")] * 498, keyed=False)
    assert list(found(source, target).items()) == [(("missing", str(hashed((1, "same", "")))), 2)]


def test_a_part_that_grows_meanwhile_is_cut_again() -> None:
    source = FakeSide(rows(300))
    target = FakeSide([])
    descent = Descent(FakeEnds(source, target), True, replace(SMALL, fetch=4))
    said_small = Segment(None, None, (5, 1), (4, 2))  # what was true when it was asked
    tables = list(descent.differences(said_small))
    assert sum(sum(t["missing"].to_pylist()) for t in tables) == 300


row = st.tuples(st.integers(0, 60), st.sampled_from(["a", "b", ""]), st.none() | st.just(""))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(row, max_size=120),
    st.lists(row, max_size=120),
    st.lists(row, max_size=120),
    st.sampled_from(sorted(SHAPES)),
)
def test_the_descent_finds_what_a_full_comparison_finds(
    shared: list[Row], only_source: list[Row], only_target: list[Row], shape: str
) -> None:
    keyed, by_range = SHAPES[shape]
    source = FakeSide(shared + only_source[:8], keyed, by_range)
    target = FakeSide(shared[::-1] + only_target[:8], keyed, by_range)
    limits = Limits(leaf=4, fetch=8, scan=8, parts=3, buckets=5)
    assert found(source, target, limits) == expected(source, target)


def test_diff_tells_kinds_by_key_even_with_duplicates() -> None:
    def batch(*rows: tuple[str, int]) -> pa.RecordBatch:
        keys, hashes = zip(*rows, strict=True)
        return pa.record_batch({"k0": pa.array(keys), "hash": pa.array(hashes, pa.int64()), "rows": [1] * len(rows)})

    result = diff(batch(("a", 1), ("b", 2), ("c", 3)), batch(("a", 1), ("a", 1), ("b", 9), ("d", 4)))
    got = {r.pop("k0"): r for r in result.to_pylist()}
    assert got == {
        "a": {"missing": 0, "extra": 1, "different": 0},
        "b": {"missing": 0, "extra": 0, "different": 1},
        "c": {"missing": 1, "extra": 0, "different": 0},
        "d": {"missing": 0, "extra": 1, "different": 0},
    }
