"""Files between extract and load. A file under its final name is whole.

Staged files are never used by a later attempt: what a crash leaves is removed and extracted again. That is why they
are renamed but not synced to disk: a sync would protect bytes that nobody would read.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from whimbrel.connectors.protocols import Buffer
from whimbrel.connectors.staged import Checksum, StagedFile
from whimbrel.errors import StagingFull
from whimbrel.model.job import Job
from whimbrel.pipeline.files import require_unlinked

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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

    def write(self, name: str, fill: Callable[[Callable[[Buffer], object]], int]) -> StagedFile:
        """Let ``fill`` write a file of that name; return it with the rows that ``fill`` counted.

        Raises StagingFull when the disk is full; nothing half-written stays.
        """
        part, final = self.folder / f"{name}.part", self.folder / name
        checksum = Checksum()

        def write(block: Buffer) -> None:
            left = memoryview(block)
            try:
                while left:  # a disk that is nearly full takes a part, and says so only when it is asked again
                    left = left[f.write(left) :]
            except OSError as e:
                raise _mapped(e, self.folder) from e
            checksum.add(block)

        try:
            with open(
                os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb", buffering=0
            ) as f:
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
