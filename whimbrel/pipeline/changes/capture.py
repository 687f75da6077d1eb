"""Capture: a process that reads the source's log and hands segments to the process that applies them.

It is a process of its own because decoding is the one part of the change plane that keeps a core busy in Python. What
it hands over is bounded by credit: as long as the applier is busy, changes gather into one larger segment, so that
batches grow with the load and latency stays small without it. Nothing is staged on disk: the source may forget only
what the target has committed, so a staged copy would neither free the source nor be read by a later attempt.

A segment is larger than a pipe holds, and stays in it until the applier asks for the next one, which may take as long
as a batch takes. A thread waits for that, so that a source that is not read from meanwhile still hears of us.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.protocols import ChangeStream, Pace
from whimbrel.connectors.registry import engine
from whimbrel.errors import InternalError, SourceInterrupted, WhimbrelError
from whimbrel.model.change import Segment
from whimbrel.model.job import Job
from whimbrel.model.position import Position
from whimbrel.model.table import Table
from whimbrel.pipeline.processes import context

READ = 16 << 20  # bytes after which a read returns, whether or not there is more
CREDIT = 2  # segments handed over and not applied yet
WAIT = 0.1  # seconds to wait for the source when there is nothing to hand over
HURRY = 0.01  # the same while something waits for credit
ALIVE = 5.0  # seconds between signs of life to a source that is not read from, as during a long pause


@dataclass(frozen=True)
class CaptureSpec:
    """What a capture process is born with; it travels over the pipe, never over a command line.

    ``ordered``: segments keep the order of changes across tables, which queues need. ``pace``: how long changes are
    gathered into one segment, unless they are many, and after how many bytes a transaction is cut into slices and
    reading waits for the applier.
    """

    job: Job
    tables: tuple[Table, ...]
    start: Position
    ordered: bool = False
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True)
class Applied:
    """The applier is done with one segment; the target has committed everything up to ``committed``."""

    committed: Position | None


@dataclass(frozen=True)
class Notice:
    """A line for people."""

    line: str


@dataclass(frozen=True)
class Failed:
    error: WhimbrelError


class Capture:
    """The capture process, as the applier sees it. Use as a context manager. ``tell`` gets its lines for people."""

    def __init__(self, spec: CaptureSpec, tell: Callable[[str], None]) -> None:
        processes = context()
        self._tell = tell
        self._pipe, self._theirs = processes.Pipe()
        self._process = processes.Process(target=main, args=(spec, self._theirs), name="whimbrel-capture", daemon=True)

    def __enter__(self) -> Capture:
        self._process.start()
        self._theirs.close()
        return self

    def __exit__(self, *_: Any) -> None:
        self._pipe.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def receive(self, timeout: float) -> Segment | None:
        """The next segment, or None when none came in time. Raises what ended the capture."""
        try:
            if not self._pipe.poll(timeout):
                return None
            message = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise SourceInterrupted(
                f"the capture process ended unexpectedly with exit code {self._process.exitcode}"
            ) from None
        if isinstance(message, Failed):
            raise message.error
        if isinstance(message, Notice):
            self._tell(message.line)
            return None
        segment: Segment = message
        return segment

    def applied(self, committed: Position | None) -> None:
        """Give the credit of one segment back, and say what may be forgotten."""
        with suppress(OSError):  # it has ended, and its last word, or that there was none, comes with ``receive``
            self._pipe.send(Applied(committed))


class Outbox:
    """What goes to the applier, in order, while the one who puts it in goes on."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._messages: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def put(self, message: object) -> None:
        self._messages.put(message)

    def last(self, message: object) -> None:
        """Put the last one, and wait until all of them were taken or nobody is there to take them."""
        self._messages.put(message)
        self._messages.put(None)
        self._thread.join()

    def _send(self) -> None:
        while (message := self._messages.get()) is not None:
            try:
                self._pipe.send(message)
            except OSError:
                os._exit(1)  # the parent is gone
            except Exception:
                os._exit(2)  # or what comes behind it would never be sent, and nobody would know


def main(spec: CaptureSpec, pipe: Connection) -> None:
    """The capture process. Ends when the parent's end of the pipe closes, or with ``Failed`` as its last message."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    source = engine(spec.job.source.type).source(spec.job.source, spec.job.operation)
    outbox = Outbox(pipe)
    try:
        with closing(source.open_changes(spec.job, spec.tables, spec.start)) as stream:
            run(stream, SegmentBuilder(spec.start, ordered=spec.ordered), pipe, outbox, spec.pace)
    except (EOFError, OSError):
        os._exit(1)  # the parent is gone
    except WhimbrelError as e:
        outbox.last(Failed(e))
    except Exception as e:
        outbox.last(Failed(InternalError(f"capture failed: {type(e).__name__}")))
        raise
    finally:
        threading.Thread(target=_end_soon, daemon=True).start()
        source.close()


def _end_soon(seconds: float = 5.0) -> None:
    """A close that hangs on a dead network must not keep the process."""
    threading.Event().wait(seconds)
    os._exit(1)


def run(stream: ChangeStream, builder: SegmentBuilder, pipe: Connection, outbox: Outbox, pace: Pace) -> None:
    """Read, gather and hand over until the source or the applier ends it."""
    credit = CREDIT
    handed_over = -pace.gather  # when the last segment was
    committed, told = builder.position, time.monotonic()
    while True:
        full = builder.bytes >= pace.bytes
        if pipe.poll(WAIT if full and not credit else 0):
            message = pipe.recv()
            credit += 1
            if message.committed is not None:
                committed, told = message.committed, time.monotonic()
                stream.confirm(committed)
            continue
        if not full:
            stream.read(builder, WAIT if builder.empty else HURRY, READ)
            for line in stream.notices():
                outbox.put(Notice(line))
        elif time.monotonic() - told > ALIVE:
            told = time.monotonic()
            stream.confirm(committed)
        full = builder.bytes >= pace.bytes
        ripe = not builder.in_transaction and time.monotonic() - handed_over >= pace.gather
        if credit and not builder.empty and (full or ripe):
            outbox.put(builder.cut())
            handed_over = time.monotonic()
            credit -= 1
