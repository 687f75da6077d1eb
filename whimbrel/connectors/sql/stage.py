"""How a file comes to where the target can load it from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from whimbrel.connectors.sql.session import Session
from whimbrel.errors import StagingFull
from whimbrel.model.job import Job

_FILE_MODE = 0o600


class Stage(Protocol):
    """Files are known by a name that no attempt uses twice, so that a half-written one is never taken for another."""

    def put(self, session: Session, file: Path) -> str:
        """Bring a Parquet file there; its name there. Outside of transactions or inside, it is in none."""

    def load(self, session: Session, name: str, table: str, columns: Sequence[str]) -> int:
        """Load it into a table, columns by name (unquoted names as in the file); the rows that were loaded."""

    def remove(self, session: Session, name: str) -> None:
        """No error when it is gone."""

    def clear(self, session: Session) -> None:
        """Remove what the operation has there."""


class ChangeFiles:
    """Parquet files of change batches on their way to the stage, in the operation's private staging folder."""

    def __init__(self, job: Job) -> None:
        self._folder = job.workdir / "staging" / job.operation
        self._number = 0

    @contextmanager
    def written(self, batch: pa.RecordBatch) -> Iterator[Path]:
        """The batch as a file that is gone behind the block. Raises StagingFull."""
        self._number += 1
        path = self._folder / f"changes-{os.getpid()}-{self._number}.parquet"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _FILE_MODE), "wb") as sink:
                pq.write_table(pa.Table.from_batches([batch]), sink, compression="snappy", write_statistics=False)
        except OSError as e:
            path.unlink(missing_ok=True)
            raise StagingFull(f"changes cannot be written to {self._folder}: {e.strerror}") from e
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
