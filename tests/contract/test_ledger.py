"""The progress that a target keeps of a migration: whole, fenced, and forgotten when told to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest

from tests.contract.bench import Bench, position, table
from whimbrel.connectors.protocols import LoadState
from whimbrel.errors import Fenced
from whimbrel.model.position import Position
from whimbrel.pipeline.cleanup import forget_progress

Make = Callable[..., Bench]


def two(bench: Make) -> Bench:
    return bench(table("t"), table("other"))


def test_progress_is_kept(bench: Make) -> None:
    b = two(bench)
    ledger, first, second = b.ledger, position(1), position(2)
    assert ledger.position() is None
    ledger.snapshot_opened(b.epoch, Position("postgres", "synthetic", "", ()), keep_older=False)
    assert ledger.position() is None, "a snapshot of no log"
    ledger.snapshot_opened(b.epoch, first, keep_older=True)
    ledger.snapshot_opened(b.epoch, second, keep_older=True)
    assert ledger.position() == first
    ledger.snapshot_opened(b.epoch, second, keep_older=False)
    assert ledger.position() == second
    (chunk,) = b.plan()
    ledger.table_finished(b.epoch, b.name)
    ledger.data_complete(b.epoch)
    with closing(b.target.ledger(b.job.migration)) as again:
        state = again.state()
    assert (state.epoch, state.operation, state.snapshots, state.data_complete) == (b.epoch, "op", 4, True)
    assert (state.tables[b.name].chunks, state.tables[b.name].finished) == ((chunk,), True)
    ledger.set_position(b.epoch, first)
    assert ledger.position() == first
    ledger.clear(b.epoch, "next")
    after = ledger.state()
    assert (after.epoch, after.operation, after.position, after.tables) == (b.epoch, "next", None, {})
    with closing(b.target.ledger("unknown")) as other:
        assert (other.state().operation, other.state().epoch, other.position()) == ("", 0, None)


def test_layouts_are_stored_beside_plans_and_are_none(bench: Make) -> None:
    b = two(bench)
    chunk, _ = b.plan(2)
    b.load(chunk, b.staged(("1", "a", None)))
    changed = replace(b.tables[0], primary_key=())
    for tables in (b.tables, (changed,)):
        b.ledger.save_layouts(b.epoch, tables)
    state = b.ledger.state()
    assert state.layouts == {t.name: t.fingerprint for t in (changed, b.tables[1])}
    assert list(state.tables) == [b.name]
    assert state.tables[b.name].loaded == {0: 1}
    with pytest.raises(Fenced):
        b.ledger.save_layouts(b.epoch - 1, b.tables)


def test_tables_are_forgotten_alone_and_all_with_a_new_beginning(bench: Make) -> None:
    b = two(bench)
    (chunk,) = b.plan()
    b.load(chunk, b.staged(("1", "a", None)))
    ledger, first, other, place = b.ledger, *b.tables, position(1)
    ledger.save_layouts(b.epoch, [other])
    ledger.forget(b.epoch, [first.name])
    state = ledger.state()
    assert (dict(state.tables), state.layouts) == ({}, {other.name: other.fingerprint})
    assert state.unknown([first.name, other.name]) == (first.name,)
    ledger.restart(b.epoch, "afresh", place, [first])
    state = ledger.state()
    assert (state.operation, state.position, state.snapshots, state.data_complete) == ("afresh", place, 0, False)
    assert (dict(state.tables), list(state.layouts)) == ({}, [first.name])
    for write in (
        lambda: ledger.forget(b.epoch - 1, [first.name]),
        lambda: ledger.restart(b.epoch - 1, "late", place, []),
    ):
        with pytest.raises(Fenced):
            write()
    assert ledger.state() == state


def test_an_older_epoch_is_fenced_everywhere(bench: Make) -> None:
    b = two(bench)
    (chunk,) = b.plan()
    file, ledger, place = b.staged(("1", "a", None)), b.ledger, position(1)
    with closing(b.target.ledger(b.job.migration)) as newer:
        assert newer.claim() == b.epoch + 1
    for write in (
        lambda: b.load(chunk, file),
        lambda: b.loader.truncate(b.epoch, b.name, b.targets[0].name),
        lambda: ledger.clear(b.epoch, "other"),
        lambda: ledger.save_plan(b.epoch, b.tables[0], []),
        lambda: ledger.snapshot_opened(b.epoch, place, keep_older=False),
        lambda: ledger.table_finished(b.epoch, b.name),
        lambda: ledger.data_complete(b.epoch),
        lambda: ledger.set_position(b.epoch, place),
    ):
        with pytest.raises(Fenced):
            write()
    state = ledger.state()
    assert (state.operation, state.position, state.data_complete, state.snapshots) == ("op", None, False, 0)
    assert state.tables[b.name].chunks == (chunk,)
    assert b.rows() == []


def test_a_namesake_of_a_deleted_migration_never_comes_to_its_epochs(bench: Make) -> None:
    b = two(bench)
    (chunk,) = b.plan()
    file = b.staged(("1", "a", None))
    with closing(b.target.ledger(b.job.migration)) as deleted:
        deleted.own([b.targets[0].name])
        deleted.remove()
    with closing(b.target.ledger(b.job.migration)) as namesake:
        assert namesake.owned() == frozenset(), "or its reset would drop what the other one has made"
        epochs = [namesake.claim() for _ in range(3)]
        namesake.save_plan(epochs[-1], b.tables[0], [chunk])
        assert min(epochs) > b.epoch
    for write in (lambda: b.load(chunk, file), lambda: b.ledger.set_position(b.epoch, position(1))):
        with pytest.raises(Fenced):
            write()
    assert b.rows() == []


def test_tables_are_owned_until_they_are_disowned(bench: Make) -> None:
    b = two(bench)
    names = [t.name for t in b.targets]
    b.ledger.own(names)
    b.ledger.own(names[:1])
    assert b.ledger.owned() == frozenset(names)
    b.ledger.clear(b.epoch, "next")
    b.ledger.disown(names[:1])
    assert b.ledger.owned() == frozenset(names[1:])


def test_of_a_migration_that_is_deleted_nothing_is_kept(bench: Make) -> None:
    b = bench(table("t"))
    b.plan()
    b.ledger.own([b.targets[0].name])
    assert b.target.has_ledger()
    forget_progress(b.job)
    assert b.ledger.state() == LoadState(0, "", None, False, 0)
    assert (b.ledger.owned(), b.ledger.position()) == (frozenset(), None)
