"""Files of a migration's working directory: ours alone, whole or not there, and never somewhere else by a link."""

from __future__ import annotations

import os
from pathlib import Path

from whimbrel.errors import InvalidRequest


def require_unlinked(*folders: Path) -> None:
    """Raise InvalidRequest where a folder that we write in is a symbolic link."""
    for folder in folders:
        if folder.is_symlink():
            raise InvalidRequest(
                f"{folder} is a symbolic link, which is not followed",
                remedy=f"Move what it points to into its place, or point WHIMBREL_HOME there instead: rm {folder}",
            )


def replace_file(path: Path, content: bytes) -> None:
    """Replace it in one step, and a link by that name with it; mode 0600. The folder is made when absent."""
    require_unlinked(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_unlinked(path: Path) -> bytes:
    """Its content. Raises OSError when it is a link or not there."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return file.read()
