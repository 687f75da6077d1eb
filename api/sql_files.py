"""Which SQL files schema/apply may run: those of the migration's own folder, and of folders the server was told of."""

from __future__ import annotations

import os
from pathlib import Path

from whimbrel.errors import InvalidRequest


def configured_folders() -> tuple[Path, ...]:
    """Folders named in ``WHIMBREL_SQL_FOLDERS``, separated by colons."""
    named = os.environ.get("WHIMBREL_SQL_FOLDERS", "")
    return tuple(Path(p) for p in named.split(os.pathsep) if p)


def allowed_sql_file(text: str, workdir: Path, folders: tuple[Path, ...]) -> Path:
    """The file with every link and ``..`` resolved; a relative name is one in ``workdir``.

    Raises InvalidRequest when it lies elsewhere or does not exist (which of both is not told about other folders).
    """
    file = _resolved(workdir / text)
    if file is not None and any(file.is_relative_to(f.resolve()) for f in (workdir, *folders)):
        return file
    raise InvalidRequest(
        f"sql_file: {text[:200]!r} is not a file under the migration's working directory",
        remedy="Put it there, or start the API with its folder in WHIMBREL_SQL_FOLDERS.",
        field="sql_file",
    )


def _resolved(path: Path) -> Path | None:
    """None for what is no file: missing, a folder, a loop of links, a name with a NUL."""
    try:
        file = path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
    return file if file.is_file() else None
