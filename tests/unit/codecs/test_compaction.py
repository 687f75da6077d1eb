"""Compaction against a plain model: a dict of rows that the changes are replayed on one by one."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.codecs.changes import TableBuffer
from whimbrel.codecs.compaction import compact, net
from whimbrel.errors import ReplicationFailed
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, TableChanges
from whimbrel.model.names import TableName

T = TableName("s", "t")
UNCHANGED = object()


def changes(*rows: tuple[int, Any, Any]) -> TableChanges:
    buffer = TableBuffer(T, ("k", "v"))
    for op, *values in rows:
        for column, value in zip(buffer.columns, values, strict=True):
            if value is UNCHANGED:
                column.unchanged()
            elif value is None:
                column.null()
            else:
                column.put(str(value).encode())
        buffer.row(op)
    return buffer.changes()


def pairs(batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    columns = [[None if v is None else v.decode() for v in c.to_pylist()] for c in batch.columns]
    return list(zip(*columns, strict=True))


def test_last_image_wins_and_deleted_keys_leave() -> None:
    c = compact(
        changes((INSERT, 1, "a"), (UPDATE, 1, "b"), (INSERT, 2, "x"), (DELETE, 2, None), (DELETE, 3, None)), ["k"]
    )
    assert pairs(c.upserts) == [("1", "b")]
    assert pairs(c.deletes) == [("2",), ("3",)]
    assert c.origins is None


def test_delete_then_insert_is_an_upsert() -> None:
    c = compact(changes((DELETE, 5, None), (INSERT, 5, "new")), ["k"])
    assert pairs(c.upserts) == [("5", "new")]
    assert c.deletes.num_rows == 0


def test_keys_swapped_in_one_transaction() -> None:
    run = changes(
        (UPDATE_BEFORE, 1, None), (UPDATE, 3, "one"), (UPDATE_BEFORE, 2, None), (UPDATE, 1, "two"),
        (UPDATE_BEFORE, 3, None), (UPDATE, 2, "one"),
    )  # fmt: skip
    c = compact(run, ["k"])
    assert sorted(pairs(c.upserts)) == [("1", "two"), ("2", "one")]
    assert pairs(c.deletes) == [("3",)]


def test_unchanged_cells_are_filled_from_earlier_images() -> None:
    c = compact(changes((UPDATE, 1, "set here"), (UPDATE, 1, UNCHANGED), (UPDATE, 2, UNCHANGED)), ["k"])
    assert pairs(c.upserts) == [("1", "set here"), ("2", None)]
    assert c.unchanged["v"].to_pylist() == [False, True]
    assert c.origins is not None
    assert pairs(c.origins) == [("1",), ("2",)]


def test_unchanged_cells_follow_key_changes_to_where_the_target_has_the_row() -> None:
    run = changes(
        (UPDATE_BEFORE, 1, None), (UPDATE, 3, UNCHANGED), (UPDATE_BEFORE, 2, None), (UPDATE, 1, UNCHANGED),
        (UPDATE_BEFORE, 3, None), (UPDATE, 2, UNCHANGED),
    )  # fmt: skip
    c = compact(run, ["k"])
    assert c.origins is not None
    assert dict(zip([p[0] for p in pairs(c.upserts)], [p[0] for p in pairs(c.origins)], strict=True)) == {
        "1": "2",
        "2": "1",
    }


def test_null_is_not_the_empty_text() -> None:
    n = net(changes((INSERT, "a", None), (DELETE, "a", "")))
    assert pairs(n.inserts) == [("a", None)]
    assert pairs(n.deletes.select(["k", "v"])) == [("a", "")]


def test_net_counts_duplicates() -> None:
    n = net(changes((INSERT, "a", "1"), (INSERT, "a", "1"), (DELETE, "b", "2"), (DELETE, "b", "2"), (INSERT, "b", "2")))
    assert pairs(n.inserts) == [("a", "1"), ("a", "1")]
    assert n.deletes.column("#count").to_pylist() == [1]


def test_net_refuses_values_the_log_left_out() -> None:
    with pytest.raises(ReplicationFailed, match=r"s\.t: the log left out"):
        net(changes((UPDATE_BEFORE, "a", "1"), (UPDATE, "b", UNCHANGED)))


@given(
    st.lists(st.tuples(st.sampled_from("iudm"), st.integers(0, 5), st.integers(0, 5), st.integers(0, 99)), max_size=60)
)
def test_compacted_run_has_the_effect_of_the_whole_run(script: list[tuple[str, int, int, int]]) -> None:
    start = {str(k): f"old{k}" for k in range(0, 6, 2)}
    model = dict(start)
    run: list[tuple[int, str, object]] = []
    for what, a, b, value in script:
        k, other = str(a), str(b)
        if what == "i" and k not in model:
            run.append((INSERT, k, value))
            model[k] = str(value)
        elif what == "u" and k in model:
            kept = value % 2
            run.append((UPDATE, k, UNCHANGED if kept else value))
            model[k] = model[k] if kept else str(value)
        elif what == "d" and k in model:
            run.append((DELETE, k, None))
            del model[k]
        elif what == "m" and k in model and other not in model:
            run += [(UPDATE_BEFORE, k, None), (UPDATE, other, UNCHANGED)]
            model[other] = model.pop(k)
    if not run:
        return
    c = compact(changes(*run), ["k"])
    target = dict(start)
    origins = pairs(c.origins) if c.origins is not None else [(k,) for k, _ in pairs(c.upserts)]
    open_cells = c.unchanged["v"].to_pylist() if c.unchanged else [False] * c.upserts.num_rows
    filled = [
        (k, start[origin] if missing else v)
        for (k, v), (origin,), missing in zip(pairs(c.upserts), origins, open_cells, strict=True)
    ]
    for (k,) in pairs(c.deletes):
        target.pop(k, None)
    target.update(filled)
    assert target == model
