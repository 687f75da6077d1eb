"""A staged file is whole or absent."""

from __future__ import annotations

import errno
import resource
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from whimbrel.errors import StagingFull
from whimbrel.model.job import Endpoint, Job
from whimbrel.pipeline.load.staging import Staging

T = TypeVar("T")


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    nowhere = Endpoint("e", "postgres", {})
    made = Staging(Job("m", "op", nowhere, nowhere, (), tmp_path))
    made.open()
    return made


def test_a_whole_file(staging: Staging) -> None:
    def fill(write: object) -> int:
        write(b"ab")  # type: ignore[operator]
        write(memoryview(b"cd"))  # type: ignore[operator]
        return 2

    file = staging.write("0-0.x", fill)
    path = file.path
    assert (path.read_bytes(), file.rows, file.size, file.checksum) == (b"abcd", 2, 4, zlib.crc32(b"abcd"))
    assert b"".join(file.blocks(3, "t")) == b"abcd"
    assert path.stat().st_mode & 0o077 == 0


def test_a_reader_that_fails_leaves_nothing(staging: Staging) -> None:
    def fill(write: object) -> int:
        write(b"ab")  # type: ignore[operator]
        raise ValueError("the reader failed")

    with pytest.raises(ValueError, match="the reader failed"):
        staging.write("0-0.x", fill)
    assert list(staging.folder.iterdir()) == []


def test_a_full_disk_is_named(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(StagingFull, match=str(staging.folder)):
        staging.write("0-0.x", fill)
    assert list(staging.folder.iterdir()) == []


def test_opening_removes_what_an_earlier_attempt_left(staging: Staging) -> None:
    (staging.folder / "0-0.x").write_bytes(b"old")
    staging.open()
    assert list(staging.folder.iterdir()) == []


def test_a_block_of_which_the_disk_takes_a_part_is_no_whole_file(staging: Staging) -> None:
    def fill(write: object) -> int:
        write(b"x" * 10_000)  # type: ignore[operator]
        return 1

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(StagingFull):
            staging.write("0-0.x", fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(staging.folder.iterdir()) == []


def test_a_full_disk_is_waited_for_in_the_middle_of_a_file(staging: Staging) -> None:
    """Whoever fills the file goes on where it was: a snapshot's reader has no second chance."""
    filled, waited = 0, 0

    def fill(write: object) -> int:
        nonlocal filled
        filled += 1
        for block in (b"a" * 3000, b"b" * 3000, b"c" * 3000):
            write(block)  # type: ignore[operator]
        return 3

    def until_there_is_room(work: Callable[[], T]) -> T:
        nonlocal waited
        try:
            return work()
        except StagingFull:
            waited += 1
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            return work()

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        file = staging.write("0-0.x", fill, until_there_is_room)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (filled, waited) == (1, 1)
    assert b"".join(file.blocks(1000, "t")) == b"a" * 3000 + b"b" * 3000 + b"c" * 3000
