"""An owner that stands still in the midst of its work holds its successor up no longer than it takes to end its
sessions, and what it sends once it wakes up is refused."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import running_end
from tests.contract.bench import SCHEMA, Bench, Row, position, table
from tests.engines import Side, side_of
from tests.servers.fleet import SERVERS, Fleet
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors import live_sessions
from whimbrel.connectors.registry import engine
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import WhimbrelError
from whimbrel.model.change import INSERT, UPDATE, Segment
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Job
from whimbrel.model.table import Table

LOCKING = ("mysql", "mariadb", "postgres18")  # where a worker's locks are in somebody's way
SECONDS = 8  # a claim, a truncation and a load, with a machine that has other things to do
LEFT_BEHIND = 30  # until a child has come to where it stands still
OLD = 5000  # rows of the old owner: several blocks


class Halting(StagedFile):
    """A file in the midst of which its reader stands still, with what was read under way to the server."""

    def blocks(self, most: int, table: str) -> Iterator[bytes]:
        whole = b"".join(super().blocks(most, table))
        yield whole[: len(whole) // 2]
        os.kill(os.getpid(), signal.SIGSTOP)
        yield whole[len(whole) // 2 :]


def worker(what: str, job: Job, epoch: int, source: Table, chunk: Chunk, file: StagedFile, pipe: Connection) -> None:
    """An owner in a process of its own: it stands still in the midst of a load, of changes or of a repair. Sends what
    became of it."""
    target = engine(job.target.type).target(job.target, job.operation)
    try:
        made = target.target_tables([source], {SCHEMA: job.schema_rename[SCHEMA]}, "postgres")
        if what == "load":
            loader = target.open_loader(job)
            halting = Halting(file.path, file.rows, file.size, file.checksum)
            format = Format(file.path.suffix[1:])
            loader.load(epoch, source, made[0], source.loaded_columns, chunk, format, halting, upsert=False)
        else:
            holder = target.open_holder(job, [source], made)
            if what == "repair":
                holder.hold()
            holder.apply(changed(source, ("1", "late", None)), lambda name, keys: keys)
            os.kill(os.getpid(), signal.SIGSTOP)
            if what == "repair":
                holder.release()
            else:
                holder.commit(epoch, position(9))
    except WhimbrelError as e:
        pipe.send(type(e).__name__)
    else:
        pipe.send("it was let")


def changed(source: Table, row: Row) -> Segment:
    builder = SegmentBuilder(position(1))
    builder.begin()
    buffer = builder.buffer(source.name, tuple(c.name for c in source.columns))
    for column, value in zip(buffer.columns, row, strict=True):
        column.null() if value is None else column.put(str(value).encode())
    buffer.row(INSERT)
    builder.commit(position(9), 1)
    return builder.cut()


def stands_still(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@contextmanager
def frozen(*arguments: Any) -> Iterator[Connection]:
    """A worker that stands still inside the block; by what is given it says afterwards how it ended."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=worker, args=(*arguments, there))
    child.start()
    assert child.pid is not None
    try:
        deadline = time.monotonic() + LEFT_BEHIND
        while not stands_still(child.pid):
            assert not here.poll(), here.recv()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield here
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.join()


def woken(pipe: Connection) -> str:
    """What became of the worker that goes on."""
    (child,) = multiprocessing.active_children()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGCONT)
    assert pipe.poll(LEFT_BEHIND)
    return str(pipe.recv())


@pytest.fixture(scope="module", params=LOCKING)
def side(request: pytest.FixtureRequest, fleet: Fleet) -> Side:
    found = side_of(running_end(fleet, request.param), SERVERS[request.param], "frozen", "frozen")
    found.drop_leftovers()
    return found


@pytest.mark.parametrize("what", ["load", "changes", "repair"])
def test_a_new_owner_goes_on_while_the_old_one_stands_still(bench: Callable[..., Bench], what: str) -> None:
    b = bench(table("t"))
    (chunk,), job = b.plan(), replace(b.job, schema_rename=b.schemas)
    old = b.staged(*((str(n), "old", None) for n in range(OLD)), name="old")
    with frozen(what, job, b.epoch, b.tables[0], chunk, old) as pipe:
        began = time.monotonic()
        b.epoch = b.ledger.claim()
        b.loader.truncate(b.epoch, b.name, b.targets[0].name)
        assert b.load(chunk, b.staged(("1", "new", None))) == 1
        b.apply(b.applier(), b.segment((UPDATE, ("1", "newer", None))))
        took = time.monotonic() - began
        became = woken(pipe)
    assert became in ("TargetInterrupted", "Fenced"), "what it sends later is refused"
    assert took < SECONDS
    assert (b.rows(), b.ledger.position()) == (["1|newer|NULL"], position(2))
    assert b.ledger.state().tables[b.name].loaded == {0: 1}


def test_a_claim_passes_over_what_else_this_process_has_open(bench: Callable[..., Bench]) -> None:
    """Also where a source of another engine goes by the operation's name."""

    class Other:
        pass

    b, other = bench(table("t")), Other()
    live_sessions.track(b.job.operation, "target", other, lambda one: None)
    b.epoch = b.ledger.claim()
    (chunk,) = b.plan()
    assert b.load(chunk, b.staged(("1", "a", None))) == 1, "the loader of the same process is let be"
