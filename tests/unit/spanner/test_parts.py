"""How rows are cut into commits that Spanner takes, and what it is spared."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("google.cloud.spanner_v1")
from google.cloud.spanner_v1.types import CommitRequest

from whimbrel.connectors.spanner import mutations
from whimbrel.connectors.spanner.loader import made_keys
from whimbrel.connectors.spanner.mutations import Limits, Shape, delete, delete_all, delete_before, halves, parts, put
from whimbrel.errors import ValueRefused

PLAIN = Shape("s.t", ("id",))
INDEXED = Shape("s.t", ("id",), (2, 3))


def batch(rows: int, text: str = "x") -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array(range(rows), pa.int64()), "note": pa.array([text] * rows)})


def read(*messages: bytes) -> list[tuple[str, list[str]]]:
    """Kind and keys of each mutation, as the vendor's messages read them."""
    request = CommitRequest.pb(CommitRequest.deserialize(b"".join(messages)))
    found = []
    for mutation in request.mutations:
        kind = mutation.WhichOneof("operation")
        inside = getattr(mutation, kind)
        rows = inside.key_set.keys if kind == "delete" else inside.values
        found.append((kind, [row.values[0].string_value for row in rows]))
    return found


def test_messages_are_the_vendors() -> None:
    write, gone = put(PLAIN, batch(3)), delete(PLAIN, pa.record_batch({"id": pa.array([7], pa.int64())}))
    assert read(gone.message(0, 1), write.message(1, 3), write.message(0, 1, "insert")) == [
        ("delete", ["7"]),
        ("insert_or_update", ["1", "2"]),
        ("insert", ["0"]),
    ]
    request = CommitRequest.pb(CommitRequest.deserialize(delete_all("t") + delete_before("t", b"\n\x03\x1a\x015")))
    every, some = (mutation.delete.key_set for mutation in request.mutations)
    assert (every.all_, list(every.keys)) == (True, [])
    (before,) = some.ranges
    assert [v.string_value for v in before.end_open.values] == ["5"]
    assert (before.WhichOneof("start_key_type"), list(before.start_closed.values)) == ("start_closed", [])


def test_a_row_counts_its_columns_and_its_entries() -> None:
    """80,000 of them fit: the columns, and an old and a new entry of each index."""
    assert (put(PLAIN, batch(1)).cost, put(INDEXED, batch(1)).cost) == (2, 2 + 5 + 2)
    assert (PLAIN.delete_costs, INDEXED.delete_costs) == (1, 3)
    cut = [
        sum(piece.rows * piece.write.cost for piece in part) for part in parts([put(PLAIN, batch(90_000))], Limits())
    ]
    assert max(cut) <= mutations.MOST_MUTATIONS
    assert (len(cut), sum(cut)) == (3, 180_000)


def test_parts_keep_the_order_and_lose_nothing() -> None:
    writes = [put(PLAIN, batch(5)), delete(PLAIN, batch(4)), put(PLAIN, batch(3, "y" * 90))]
    whole = read(*(write.message(0, len(write.rows)) for write in writes))
    for limit in (Limits(3, 10_000), Limits(4, 70), Limits(1, 1), Limits(7, 500)):
        found: list[tuple[str, list[str]]] = []
        previous = None
        for part in parts(writes, limit):
            for piece in part:
                ((kind, keys),) = read(piece.message())
                if previous is piece.write:
                    found[-1][1].extend(keys)
                else:
                    found.append((kind, keys))
                previous = piece.write
        assert found == whole, limit


def test_what_the_server_refuses_for_its_size_is_halved_down_to_a_row() -> None:
    (part,) = parts([put(PLAIN, batch(5)), delete(PLAIN, batch(4))], Limits())
    keys = sorted(read(*(p.message() for p in part)))
    several, smaller = halves(part, Limits())
    assert smaller.mutations == 7
    assert len(several) > 1
    assert sum(p.rows for one in several for p in one) == 9
    assert sorted({k for _, ks in keys for k in ks}) == sorted(
        {k for one in several for p in one for _, ks in read(p.message()) for k in ks}
    )
    while sum(p.rows for p in several[0]) > 1:
        several, smaller = halves(several[0], smaller)
    with pytest.raises(ValueRefused, match=r"s\.t"):
        halves(several[0], smaller)


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ({"id": pa.array([1]), "note": pa.array(["x" * 2_621_441])}, "note"),
        ({"id": pa.array([1]), "note": pa.array([b"x" * 10_485_761])}, "note"),
        ({"id": pa.array(["x" * 8193]), "note": pa.array(["x"])}, "id"),
    ],
)
def test_values_beyond_the_vendors_limits_are_refused_by_column(values: dict[str, pa.Array], column: str) -> None:
    with pytest.raises(ValueRefused, match=rf"column {column}:") as refused:
        put(PLAIN, pa.record_batch(values))
    assert "xxx" not in str(refused.value.to_json())


def test_values_within_them_are_not() -> None:
    put(PLAIN, pa.record_batch({"id": pa.array(["x" * 8192]), "note": pa.array(["é" * 2_621_440])}))


def test_made_keys_are_all_different_and_always_the_same() -> None:
    first, again = made_keys(3, 0, 10_000), made_keys(3, 4000, 10)
    assert again.equals(first.slice(4000, 10))
    others = [made_keys(chunk, 0, 10_000) for chunk in range(4)]
    assert len(set().union(*(keys.to_pylist() for keys in others))) == 40_000
    assert {len(key) for key in first.to_pylist()} == {16}
    leading = np.array([int(key[0], 16) for key in first.to_pylist()])
    assert np.bincount(leading, minlength=16).min() > 400, "spread over the whole order"
