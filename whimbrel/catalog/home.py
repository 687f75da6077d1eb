"""Where Whimbrel keeps its files: ``$WHIMBREL_HOME``, else ``~/.whimbrel``. Folders are 0700, files 0600."""

from __future__ import annotations

import os
import re
from pathlib import Path

from whimbrel.errors import InvalidRequest

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_NAME = re.compile(NAME)


def home() -> Path:
    """The home folder of this process; need not exist yet."""
    return Path(os.environ.get("WHIMBREL_HOME") or "~/.whimbrel").expanduser().absolute()


def check_name(name: str, field: str = "name") -> str:
    """The name itself if it may name a source, target or migration. Raises InvalidRequest naming ``field``."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{field}: {name[:80]!r} is not a name; names are 1 to 64 letters, digits, '_', '.' or '-' and begin with "
            "a letter or digit",
            field=field,
        )
    return name


def migration_dir(name: str, base: Path | None = None) -> Path:
    """The working directory of a migration. Raises InvalidRequest for a name that could leave the folder."""
    return (base or home()) / "migrations" / check_name(name)


def database_file(base: Path | None = None) -> Path:
    """The SQLite catalog."""
    return (base or home()) / "catalog" / "whimbrel.db"


def secret_key_file(base: Path | None = None) -> Path:
    """The key that the secrets in the catalog are encrypted with."""
    return (base or home()) / "catalog" / "secret.key"


def certificate_files(base: Path | None = None) -> tuple[Path, Path]:
    """Certificate and private key of the API."""
    folder = (base or home()) / "api" / "certs"
    return folder / "server.crt", folder / "server.key"


def api_keys_file(base: Path | None = None) -> Path:
    """The bearer tokens that the API accepts."""
    return (base or home()) / "api" / "config" / "api_keys.json"


def private_dir(path: Path) -> Path:
    """Make the folder and its missing parents, readable by the owner alone; return it."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    return path


def write_private(path: Path, content: bytes) -> None:
    """Replace a file whole, with mode 0600, synced before it takes the name."""
    private_dir(path.parent)
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
