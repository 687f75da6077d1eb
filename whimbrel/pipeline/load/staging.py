"""Files between extract and load. A file under its final name is whole.

Staged files are never used by a later attempt: what a crash leaves is removed and extracted again. That is why they
are renamed but not synced to disk: a sync would protect bytes that nobody would read.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Protocol, TypeVar

from whimbrel.connectors.protocols import Buffer
from whimbrel.connectors.staged import Checksum, StagedFile
from whimbrel.errors import StagingFull
from whimbrel.model.job import Job
from whimbrel.pipeline.files import require_unlinked

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
T = TypeVar("T")


class Patiently(Protocol):
    def __call__(self, work: Callable[[], T], /) -> T: ...


def at_once(work: Callable[[], T]) -> T:
    return work()


class Staging:
    """One operation's folder of staged files, private to the user."""

    def __init__(self, job: Job) -> None:
        self.folder = job.workdir / "staging" / job.operation

    def open(self) -> None:
        """Make the folder anew, without what an earlier attempt left. Raises StagingFull."""
        require_unlinked(self.folder.parents[1], self.folder.parent)
        self.remove()
        try:
            self.folder.mkdir(parents=True, mode=0o700)
        except OSError as e:
            raise _mapped(e, self.folder) from e

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(
        self, name: str, fill: Callable[[Callable[[Buffer], object]], int], patiently: Patiently = at_once
    ) -> StagedFile:
        """Let ``fill`` write a file of that name; return it with the rows that ``fill`` counted.

        Raises StagingFull when the disk is full; nothing half-written stays. ``patiently`` does what it is given until
        that succeeds: a full disk is waited for in the middle of a file, as whoever fills it cannot begin anew. A
        reader's session does not survive that its rows are not taken.
        """
        part, final = self.folder / f"{name}.part", self.folder / name
        checksum = Checksum()

        def make() -> FileIO:
            try:
                descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            except OSError as e:
                raise _mapped(e, self.folder) from e
            return FileIO(descriptor, "wb")

        def write(block: Buffer) -> None:
            left = memoryview(block)

            def put() -> None:
                nonlocal left
                try:
                    while left:  # a disk that is nearly full takes a part, and says so only when it is asked again
                        left = left[f.write(left) :]
                except OSError as e:
                    raise _mapped(e, self.folder) from e

            patiently(put)
            checksum.add(block)

        try:
            with patiently(make) as f:
                rows = fill(write)
            part.replace(final)
        except BaseException as e:
            part.unlink(missing_ok=True)
            if isinstance(e, OSError):
                raise _mapped(e, self.folder) from e
            raise
        return StagedFile(final, rows, checksum.size, checksum.value)


def _mapped(error: OSError, folder: Path) -> Exception:
    if error.errno in _FULL:
        return StagingFull(f"the disk of the working directory {folder} is full")
    return error
