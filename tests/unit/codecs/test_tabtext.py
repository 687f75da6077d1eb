"""Tab-text cut anywhere, against a splitter that is too slow to be wrong."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.codecs.both import interpreted
from whimbrel.codecs import tabtext
from whimbrel.errors import InternalError

Rows = list[list[bytes | None]]
MODULES = [tabtext, interpreted("tabtext")]
ESCAPES = {b"\\": b"\\\\", b"\t": b"\\t", b"\n": b"\\n", b"\r": b"\\r", b"\0": b"\\0"}

cells = st.none() | st.binary(max_size=12) | st.lists(st.sampled_from([*ESCAPES, b"N", b"x", b""])).map(b"".join)
tables = st.integers(1, 5).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.lists(cells, min_size=n, max_size=n), max_size=12))
)
cuts = st.lists(st.integers(0, 400), max_size=8)
both = pytest.mark.parametrize("module", MODULES, ids=["installed", "interpreted"])


def written(rows: Rows, *, bare: bytes = b"") -> bytes:
    """The rows as tab-text; what stands in ``bare`` is not escaped where it need not be."""
    escapes = {k: v for k, v in ESCAPES.items() if k not in bare}
    value = lambda v: b"".join(escapes.get(bytes([c]), bytes([c])) for c in v)  # noqa: E731
    return b"".join(b"\t".join(b"\\N" if v is None else value(v) for v in row) + b"\n" for row in rows)


def split(text: bytes) -> Rows:
    """What tab-text says, the slow way."""
    back = {v: k for k, v in ESCAPES.items()}

    def value(field: bytes) -> bytes | None:
        if field == b"\\N":
            return None
        out, at = b"", 0
        while at < len(field):
            two = field[at : at + 2]
            if field[at : at + 1] == b"\\":
                out, at = out + back[two], at + 2
            else:
                out, at = out + field[at : at + 1], at + 1
        return out

    return [[value(f) for f in line.split(b"\t")] for line in text.split(b"\n")[:-1]]


def read(module: ModuleType, columns: int, blocks: list[bytes]) -> Rows:
    reader = module.TabReader(columns)
    rows: Rows = []
    for number, block in enumerate(blocks):
        reader.feed(block)
        if number % 3 != 1:
            rows += rows_of(reader.take())
    rows += rows_of(reader.take())
    reader.end()
    return rows


def rows_of(batch: pa.RecordBatch) -> Rows:
    batch.validate(full=True)
    assert all(c.type == pa.binary() for c in batch.columns)
    return [list(row) for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)]


def cut(text: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(p for p in places if p < len(text)), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@both
@settings(max_examples=40)
@given(table=tables, places=cuts, bare=st.sampled_from([b"", b"\r\0"]))
def test_rows_come_back_wherever_blocks_are_cut(
    module: ModuleType, table: tuple[int, Rows], places: list[int], bare: bytes
) -> None:
    columns, rows = table
    text = written(rows, bare=bare)
    assert split(text) == rows
    assert read(module, columns, cut(text, places)) == rows


@both
@settings(max_examples=80)
@given(
    text=st.lists(st.sampled_from([b"\\", b"\t", b"\n", b"N", b"n", b"a", b"\r"])).map(b"".join),
    columns=st.integers(1, 3),
)
def test_any_bytes_are_rows_or_an_error(module: ModuleType, text: bytes, columns: int) -> None:
    try:
        expected = split(text)
        whole = text.endswith(b"\n") or not text
    except KeyError:
        whole = False
    if whole and all(len(r) == columns for r in expected):
        assert read(module, columns, [text]) == expected
    else:
        with pytest.raises(InternalError):
            read(module, columns, [text])


@both
@pytest.mark.parametrize(
    "text",
    [b"a", b"a\tb", b"a\tb\nc", b"a\n", b"a\tb\tc\n", b"\\N", b"\\b\ta\n", b"x\\N\ta\n", b"\\Nx\ta\n", b"a\t\\\n"],
)
def test_what_is_no_row_of_two_columns_is_refused(module: ModuleType, text: bytes) -> None:
    with pytest.raises(InternalError):
        read(module, 2, [text])


@both
def test_a_long_row_is_not_joined_at_every_block(module: ModuleType) -> None:
    reader = module.TabReader(2)
    for _ in range(4):
        reader.feed(b"x" * 1000)
        assert reader.take().num_rows == 0
    reader.feed(b"\ty\n1\t")
    assert rows_of(reader.take()) == [[b"x" * 4000, b"y"]]
    with pytest.raises(InternalError, match="middle"):
        reader.end()
