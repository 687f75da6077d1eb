"""What capture does while a batch takes long."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest

from tests.servers.process import wait_until
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.protocols import Pace
from whimbrel.errors import SourceInterrupted
from whimbrel.model.change import UPDATE, Segment
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.pipeline.changes import capture
from whimbrel.pipeline.changes.capture import Applied, Failed, Outbox

TABLE = TableName("shop", "orders")
EACH = 100_000  # bytes of a transaction


def at(number: int) -> Position:
    return Position("postgres", "s", str(number), (number,))


class Stream:
    """A log of so many transactions, one with each read. It wants to hear of its reader as servers do."""

    def __init__(self, transactions: int, patience: float = 1.0, changes_each: int = 1) -> None:
        self.transactions, self.patience, self.changes_each = transactions, patience, changes_each
        self.sent = 0
        self.confirmed: list[int] = []
        self.heard_at = time.monotonic()
        self.longest = 0.0

    def read(self, builder: SegmentBuilder, timeout: float, limit: int) -> bool:
        self._heard()
        if self.sent == self.transactions:
            time.sleep(timeout)
            return False
        self.sent += 1
        builder.begin()
        buffer = builder.buffer(TABLE, ("id",))
        for _ in range(self.changes_each):
            buffer.columns[0].put(b"%0100000d" % self.sent)
            buffer.row(UPDATE)
        builder.commit(at(self.sent), 0)
        return True

    def confirm(self, position: Position) -> None:
        self._heard()
        self.confirmed.append(position.order[0])

    def notices(self) -> Sequence[str]:
        return ()

    def _heard(self) -> None:
        now = time.monotonic()
        self.longest, self.heard_at = max(self.longest, now - self.heard_at), now
        if self.longest > self.patience:
            raise SourceInterrupted("the server has heard nothing and ends the connection")


@pytest.fixture
def applier(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Starts a capture on a stream; its end of the pipe is the applier's."""
    monkeypatch.setattr(capture, "ALIVE", 0.1)
    ends: list[Connection] = []
    threads: list[threading.Thread] = []

    def start(stream: Stream, pace: Pace) -> Connection:
        ours, theirs = Pipe()
        outbox = Outbox(theirs)

        def work() -> None:
            try:
                capture.run(stream, SegmentBuilder(at(0)), theirs, outbox, pace)  # type: ignore[arg-type]
            except (EOFError, OSError):
                return
            except SourceInterrupted as e:
                outbox.last(Failed(e))

        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        ends.append(ours)
        return ours

    # without an applier, it ends its process
    monkeypatch.setattr(os, "_exit", lambda _: None)
    yield start
    for end in ends:
        end.close()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def received(pipe: Connection) -> Segment:
    assert pipe.poll(10)
    message = pipe.recv()
    assert isinstance(message, Segment), message
    return message


def test_the_source_hears_of_us_however_long_a_batch_takes(applier: Any) -> None:
    """Two segments that no pipe holds are on their way meanwhile, and a third is full."""
    stream = Stream(transactions=61, patience=1.0)
    pipe = applier(stream, Pace(gather=60.0, bytes=10 * EACH))
    seen, last = 0, 0
    while seen < 61:
        segment = received(pipe)
        if not seen:
            time.sleep(1.5)
            assert stream.sent == 21  # it does not run ahead without a bound
            assert stream.confirmed
            assert max(stream.confirmed) == 0  # and nothing counts as committed that is not
        seen += sum(c.updates for c in segment.counts.values())
        assert segment.position.order[0] == seen > last
        last = seen
        pipe.send(Applied(segment.position))
    assert stream.longest < 1.0


def test_batches_are_as_large_as_the_target_wants_them(applier: Any) -> None:
    sizes = []
    for wanted in (5, 20):
        pipe = applier(Stream(transactions=60), Pace(gather=60.0, bytes=wanted * EACH))
        segments = [received(pipe)]  # the first one is not waited for
        for _ in range(2):
            pipe.send(Applied(segments[-1].position))
            segments.append(received(pipe))
        sizes.append([s.transactions for s in segments[1:]])
    assert sizes == [[5, 5], [20, 20]]


def test_the_last_word_comes_behind_what_was_on_its_way(applier: Any) -> None:
    stream = Stream(transactions=20, patience=60.0)
    pipe = applier(stream, Pace(bytes=5 * EACH))
    first = received(pipe)
    wait_until(lambda: stream.sent == 7, 10, "a full one behind two on their way", every=0.01)
    stream.patience = 0.0
    assert received(pipe).number == first.number + 1
    assert pipe.poll(10)
    while isinstance(message := pipe.recv(), Segment):
        assert pipe.poll(10)
    assert isinstance(message, Failed)
