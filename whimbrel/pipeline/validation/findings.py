"""What a comparison found, kept whole: the key of every row that differs, in a bounded file a table.

The files lie in ``<workdir>/differences/<operation>/``, written as the comparison goes and named once they are whole,
so that a folder without the ``.partial`` of its name is one that a repair may work from. Only the newest is kept.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa

FOLDER: Final = "differences"
INDEX: Final = "index.json"
MOST_BYTES: Final = 256 << 20  # of one comparison's keys; more rows than that are counted, not named
PARTIAL: Final = ".partial"


class Findings:
    """The files of one comparison that is going on. Thread-safe, a table at a time each."""

    def __init__(self, workdir: Path, operation: str, most_bytes: int = MOST_BYTES) -> None:
        self._parent = workdir / FOLDER
        self._operation = operation
        self._left = most_bytes
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._folder = self._parent / f"{operation}{PARTIAL}"
        for leftover in self._parent.glob(f"*{PARTIAL}"):
            shutil.rmtree(leftover)
        self._parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.mkdir(mode=0o700)

    def add(self, table: str, keys: pa.Table) -> None:
        """Note these keys of rows that differ: columns ``k0`` …, or ``hash``; others are left out."""
        with self._lock:
            file = self._files.get(table)
            if file is None:
                file = self._files[table] = _File(self._folder / f"{len(self._files)}.arrow")
            named = keys.select([n for n in keys.schema.names if n == "hash" or n.startswith("k")])
            if named.nbytes > self._left:
                file.complete = False
                return
            self._left -= named.nbytes
        try:
            file.write(named)
        except OSError:
            file.give_up()  # a disk that is full takes the names away, not the comparison

    def finish(self) -> None:
        """Name the files for good, and forget those of earlier comparisons."""
        index = {}
        for table, file in self._files.items():
            file.close()
            index[table] = {"file": file.path.name, "keys": file.keys, "complete": file.complete}
        with _create(self._folder / INDEX) as f:
            f.write(json.dumps(index).encode())
            f.flush()
            os.fsync(f.fileno())
        for earlier in self._parent.iterdir():
            if earlier != self._folder:
                shutil.rmtree(earlier)
        self._folder.rename(self._parent / self._operation)
        _sync_folder(self._parent)

    def abandon(self) -> None:
        """Drop what was written; no error after ``finish``."""
        for file in self._files.values():
            file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class _File:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys = 0
        self.complete = True
        self.dead = False
        self._out: Any = None
        self._writer: Any = None

    def write(self, keys: pa.Table) -> None:
        if self.dead:
            return
        if self._writer is None:
            self._out = _create(self.path)
            self._writer = pa.ipc.new_stream(self._out, keys.schema)
        self._writer.write_table(keys)
        self.keys += len(keys)

    def give_up(self) -> None:
        """Name nothing of this table: what was written is not whole."""
        self.complete, self.keys, self.dead = False, 0, True

    def close(self) -> None:
        if self._writer is None or self._out.closed:
            return
        if self.dead:
            with suppress(OSError):
                self._out.close()
            return
        self._writer.close()
        self._out.flush()
        os.fsync(self._out.fileno())
        self._out.close()


class Named:
    """The keys that a comparison has named, read back."""

    def __init__(self, folder: Path, index: Mapping[str, Mapping[str, Any]]) -> None:
        self._folder = folder
        self._index = index

    def complete(self, table: str) -> bool:
        """Whether every row that the comparison counted in this table is named."""
        return table not in self._index or bool(self._index[table]["complete"])

    def keys(self, table: str, at_once: int) -> Iterator[list[tuple[str | int, ...]]]:
        """The table's keys, at most ``at_once`` at a time."""
        if table not in self._index or not self._index[table]["keys"]:
            return
        with pa.ipc.open_stream(self._folder / self._index[table]["file"]) as reader:
            for batch in reader:
                for at in range(0, len(batch), at_once):
                    columns = [c.to_pylist() for c in batch.slice(at, at_once).columns]
                    yield list(zip(*columns, strict=True))


def named_by(workdir: Path, operation: str) -> Named | None:
    """What the comparison of this operation has named; None where its files are not on this machine (any more)."""
    folder = workdir / FOLDER / operation
    try:
        index = json.loads((folder / INDEX).read_text())
    except FileNotFoundError:
        return None
    return Named(folder, index)


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
