"""Programs that a server's own account can get at, even when the checkout lies in a folder closed to others."""

from __future__ import annotations

import atexit
import shutil
import stat
import tempfile
from functools import cache
from pathlib import Path


@cache
def reachable(folder: Path, account: str | None, beside: tuple[str, ...] = ()) -> Path:
    """``folder`` itself, or a copy that is open to everybody and goes when this process ends.

    A copy is made when ``account`` is another user's (None is ourselves) and some folder on the way is closed to
    others, as /root is. ``beside`` names neighbours of ``folder`` that must come along.
    """
    if account is None or _is_open(folder):
        return folder
    place = Path(tempfile.mkdtemp(prefix="whimbrel-programs-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    for name in (folder.name, *beside):
        shutil.copytree(folder.parent / name, place / name, symlinks=True)
    for path in (place, *place.rglob("*")):
        if not path.is_symlink():
            _open(path)
    return place / folder.name


def _is_open(folder: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (folder, *folder.parents))


def _open(path: Path) -> None:
    """Let everybody read, and execute what its owner may."""
    mode = path.stat().st_mode
    path.chmod(mode | 0o044 | (0o011 if mode & stat.S_IXUSR else 0))
