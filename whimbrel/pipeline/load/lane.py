"""A lane: one process that reads chunks inside the snapshot, stages them and loads them.

Two threads, so that the next chunk is read while the last one loads; the main thread only listens, and ends the
process at once when its parent is gone. Lanes are processes and not threads so that each has a core to itself.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from whimbrel.connectors.protocols import Buffer, Loader, Route, SnapshotReader
from whimbrel.connectors.registry import engine
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import InternalError, StagingFull, TargetFull, TargetInterrupted, WhimbrelError
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Job
from whimbrel.model.table import Table
from whimbrel.pipeline.load.patience import patiently
from whimbrel.pipeline.load.staging import Staging

T = TypeVar("T")


@dataclass(frozen=True)
class LaneSpec:
    """What a lane is born with; it travels over the pipe between the processes, never over a command line."""

    job: Job
    epoch: int
    tables: tuple[tuple[Table, Table, Route], ...]


@dataclass(frozen=True)
class Started:
    """The lane runs, and waits for the snapshot's token."""


@dataclass(frozen=True)
class Join:
    """Open a reader inside the snapshot."""

    token: Any


@dataclass(frozen=True)
class Opened:
    """The lane's reader stands inside the snapshot."""


@dataclass(frozen=True)
class Take:
    """Copy this chunk of table number ``table``."""

    table: int
    chunk: Chunk
    upsert: bool


@dataclass(frozen=True)
class Extracted:
    table: int
    chunk: Chunk
    rows: int
    bytes: int


@dataclass(frozen=True)
class Loaded:
    table: int
    chunk: Chunk
    rows: int


@dataclass(frozen=True)
class Waiting:
    """The lane tries again by itself: a line for the log, and why."""

    role: str
    message: str
    error: WhimbrelError


@dataclass(frozen=True)
class Failed:
    error: WhimbrelError


@dataclass(frozen=True)
class _Staged:
    take: Take
    file: StagedFile


class _Lane:
    def __init__(self, spec: LaneSpec, pipe: Connection) -> None:
        self.spec = spec
        self.staging = Staging(spec.job)
        self.pipe = pipe
        self.sending = threading.Lock()
        self.takes: queue.SimpleQueue[Take | None] = queue.SimpleQueue()
        self.staged: queue.SimpleQueue[_Staged | None] = queue.SimpleQueue()
        self.source = engine(spec.job.source.type).source(spec.job.source, spec.job.operation)
        self.target = engine(spec.job.target.type).target(spec.job.target, spec.job.operation)

    def send(self, message: object) -> None:
        with self.sending:
            self.pipe.send(message)

    def wait(self, role: str, message: str, error: WhimbrelError) -> None:
        self.send(Waiting(role, message, error))

    def guarded(self, work: Callable[[], None]) -> None:
        """Run a thread's work; whatever it raises reaches the parent as an error of the tree."""
        try:
            work()
        except WhimbrelError as e:
            self.send(Failed(e))
        except Exception as e:
            self.send(Failed(InternalError(f"a lane failed: {type(e).__name__}")))
            raise

    def extract_all(self, token: Any) -> None:
        with closing(self.source.open_reader(self.spec.job, token)) as reader:
            self.send(Opened())
            while (take := self.takes.get()) is not None:
                file = self._extract(reader, take)
                self.send(Extracted(take.table, take.chunk, file.rows, file.size))
                self.staged.put(_Staged(take, file))
        self.staged.put(None)

    def _extract(self, reader: SnapshotReader, take: Take) -> StagedFile:
        source, target, route = self.spec.tables[take.table]
        name = f"{take.table}-{take.chunk.number}.{route.staged}"
        fill = partial(read_chunk, reader, source, target, route, take.chunk)
        return self.staging.write(name, fill, self._once_there_is_room)

    def _once_there_is_room(self, work: Callable[[], T]) -> T:
        return patiently(work, (StagingFull,), partial(self.wait, "extractor"))

    def load_all(self) -> None:
        loader: Loader | None = None
        try:
            while (staged := self.staged.get()) is not None:

                def load(staged: _Staged = staged) -> int:
                    nonlocal loader
                    loader = loader or self.target.open_loader(self.spec.job)
                    try:
                        return self._load(loader, staged)
                    except TargetInterrupted:
                        loader.close()
                        loader = None
                        raise

                # giving up here would cost the snapshot, and with it the whole load's progress
                rows = patiently(load, (TargetInterrupted, TargetFull), partial(self.wait, "loader"))
                staged.file.path.unlink(missing_ok=True)
                self.send(Loaded(staged.take.table, staged.take.chunk, rows))
        finally:
            if loader is not None:
                loader.close()

    def _load(self, loader: Loader, staged: _Staged) -> int:
        source, target, route = self.spec.tables[staged.take.table]
        take, columns = staged.take, source.loaded_columns
        return loader.load(
            self.spec.epoch, source, target, columns, take.chunk, route.staged, staged.file, upsert=take.upsert
        )


def read_chunk(
    reader: SnapshotReader, source: Table, target: Table, route: Route, chunk: Chunk, write: Callable[[Buffer], object]
) -> int:
    """Write one chunk in the format that is staged; return the rows. Raises ValueRefused where a value has no place in
    the column that the target has for it."""
    if route.staged is not Format.PARQUET:
        return reader.extract(source, source.loaded_columns, chunk, route.read, write)
    from whimbrel.codecs.parquet import ParquetFile, RowsToParquet  # most loads do without

    with ParquetFile(target.loaded_columns, write) as file:
        made = RowsToParquet(file, source.loaded_columns, str(source.name), route.read)
        rows = reader.extract(source, source.loaded_columns, chunk, route.read, made.feed)
        made.end()
        if rows != file.rows:
            raise InternalError(f"{source.name}: {rows} rows were read, but {file.rows} are staged")
    return rows


def main(spec: LaneSpec, pipe: Connection) -> None:
    """The lane process. Ends when told ``None``, when its work failed, or when the parent's end of the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    lane = _Lane(spec, pipe)
    threads: list[threading.Thread] = []
    try:
        lane.send(Started())
        join: Join | None = pipe.recv()
        if join is None:
            return
        for work in (partial(lane.extract_all, join.token), lane.load_all):
            threads.append(threading.Thread(target=lane.guarded, args=(work,), daemon=True))
            threads[-1].start()
        while True:
            take = pipe.recv()
            lane.takes.put(take)
            if take is None:
                break
    except (EOFError, OSError):
        os._exit(1)
    for thread in threads:
        thread.join()
    lane.source.close()
    lane.target.close()
