"""Capture: a process that reads the source's log and hands segments to the process that applies them.

It is a process of its own because decoding is the one part of the change plane that keeps a core busy in Python. What
it hands over is bounded by credit: as long as the applier is busy, changes gather into one larger segment, so that
batches grow with the load and latency stays small without it. Nothing is staged on disk: the source may forget only
what the target has committed, so a staged copy would neither free the source nor be read by a later attempt.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.protocols import ChangeStream
from whimbrel.connectors.registry import engine
from whimbrel.errors import InternalError, SourceInterrupted, WhimbrelError
from whimbrel.model.change import Segment
from whimbrel.model.job import Job
from whimbrel.model.position import Position
from whimbrel.model.table import Table
from whimbrel.pipeline.processes import context

CREDIT = 2  # segments handed over and not applied yet
SLICE = 16 << 20  # bytes after which a transaction is cut into slices, and reading waits for the applier
WAIT = 0.1  # seconds to wait for the source when there is nothing to hand over
HURRY = 0.01  # the same while something waits for credit
ALIVE = 5.0  # seconds between signs of life to a source that is not read from, as during a long pause


@dataclass(frozen=True)
class CaptureSpec:
    """What a capture process is born with; it travels over the pipe, never over a command line.

    ``ordered``: segments keep the order of changes across tables, which queues need. ``gather``: for how many seconds
    changes are gathered into one segment, unless they fill a slice sooner.
    """

    job: Job
    tables: tuple[Table, ...]
    start: Position
    ordered: bool = False
    gather: float = 0.0


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


def main(spec: CaptureSpec, pipe: Connection) -> None:
    """The capture process. Ends when the parent's end of the pipe closes, or with ``Failed`` as its last message."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    source = engine(spec.job.source.type).source(spec.job.source, spec.job.operation)
    try:
        with closing(source.open_changes(spec.job, spec.tables, spec.start)) as stream:
            _run(stream, SegmentBuilder(spec.start, ordered=spec.ordered), pipe, spec.gather)
    except (EOFError, OSError):
        os._exit(1)  # the parent is gone
    except WhimbrelError as e:
        _last_word(pipe, e)
    except Exception as e:
        _last_word(pipe, InternalError(f"capture failed: {type(e).__name__}"))
        raise
    finally:
        threading.Thread(target=_end_soon, daemon=True).start()
        source.close()


def _last_word(pipe: Connection, error: WhimbrelError) -> None:
    try:
        pipe.send(Failed(error))
    except OSError:
        os._exit(1)  # the parent is gone, and with it whoever would have wanted to know


def _end_soon(seconds: float = 5.0) -> None:
    """A close that hangs on a dead network must not keep the process."""
    threading.Event().wait(seconds)
    os._exit(1)


def _run(stream: ChangeStream, builder: SegmentBuilder, pipe: Connection, gather: float = 0.0) -> None:
    credit = CREDIT
    handed_over = -gather  # when the last segment was
    committed, told = builder.position, time.monotonic()
    while True:
        full = builder.bytes >= SLICE
        if pipe.poll(WAIT if full and not credit else 0):
            message = pipe.recv()
            credit += 1
            if message.committed is not None:
                committed, told = message.committed, time.monotonic()
                stream.confirm(committed)
            continue
        if not full:
            stream.read(builder, WAIT if builder.empty else HURRY, SLICE)
            for line in stream.notices():
                pipe.send(Notice(line))
        elif time.monotonic() - told > ALIVE:
            told = time.monotonic()
            stream.confirm(committed)
        full = builder.bytes >= SLICE
        ripe = not builder.in_transaction and time.monotonic() - handed_over >= gather
        if credit and not builder.empty and (full or ripe):
            pipe.send(builder.cut())
            handed_over = time.monotonic()
            credit -= 1
