"""Staged files into tables: whole, once, and what is not so is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.contract.bench import Bench, table
from whimbrel.errors import DataFailed, StagingDamaged, WhimbrelError
from whimbrel.model.chunk import Chunk

Make = Callable[..., Bench]


def test_a_chunk_is_loaded_once(bench: Make) -> None:
    b = bench(table("t", key=()))  # without a key nothing but the record stops the second one
    first, second = b.plan(2)
    file = b.staged(("1", "a", None), ("2", None, "7"))
    assert [b.load(first, file), b.load(first, file), b.load(first, file, loader=b.another_loader())] == [2, 2, 2]
    assert b.load(second, b.staged()) == 0
    assert b.rows() == ["1|a|NULL", "2|NULL|7"]
    state = b.ledger.state().tables[b.name]
    assert (state.loaded, state.chunks, state.finished) == ({0: 2, 1: 0}, (first, second), False)


@pytest.mark.parametrize("upsert", [False, True])
def test_a_file_that_is_not_what_was_written_is_not_loaded(bench: Make, upsert: bool) -> None:
    """Lost lines, one changed byte, and a reader that counted more: nothing of it stays, and no record of the chunk."""
    b = bench(table("t"))
    chunk, other, unplanned = *b.plan(2), Chunk(b.name, 99, None, 0)
    file = b.staged(("1", "a", None), ("2", "b", "7"))
    whole = file.path.read_bytes()
    for changed in (whole[: len(whole) // 2], whole.replace(b"b", b"c"), b"", whole + whole):
        file.path.write_bytes(changed)
        with pytest.raises(StagingDamaged, match="not what was"):
            b.load(chunk, file, upsert=upsert, loader=b.another_loader())
    file.path.write_bytes(whole)
    with pytest.raises(DataFailed, match="3 rows were read, but the target counts 2"):
        b.load(chunk, replace(file, rows=3), upsert=upsert)
    assert b.rows() == []
    assert b.ledger.state().tables[b.name].loaded == {}
    assert b.load(chunk, file, upsert=upsert) == 2
    with pytest.raises(WhimbrelError, match="not in the plan"):
        b.load(unplanned, file, upsert=upsert)
    file.path.unlink()
    with pytest.raises(StagingDamaged, match="is gone"):
        b.load(other, file, upsert=upsert)
    assert b.rows() == ["1|a|NULL", "2|b|7"]


def test_upsert_replaces_rows_by_key_and_no_others(bench: Make) -> None:
    b = bench(table("t"))
    first, second = b.plan(2)
    b.load(first, b.staged(("1", "old", "1"), ("2", "kept", "2"), name="first"))
    file = b.staged(("1", "new", None), ("3", "more", "3"))
    assert [b.load(second, file, upsert=True) for _ in range(2)] == [2, 2]
    assert b.rows() == ["1|new|NULL", "2|kept|2", "3|more|3"]


def test_truncate_forgets_the_chunks(bench: Make) -> None:
    b = bench(table("t"))
    (chunk,) = b.plan()
    file = b.staged(("1", "a", None))
    b.load(chunk, file)
    b.ledger.table_finished(b.epoch, b.name)
    b.loader.truncate(b.epoch, b.name, b.targets[0].name)
    state = b.ledger.state().tables[b.name]
    assert (state.loaded, state.finished, state.chunks) == ({}, False, (chunk,))
    assert b.rows() == []
    assert b.load(chunk, file) == 1
    assert b.rows() == ["1|a|NULL"]
