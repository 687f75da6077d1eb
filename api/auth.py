"""Bearer tokens: the key file, and the check of each request against it."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from whimbrel.catalog.home import api_keys_file, private_dir, write_private
from whimbrel.errors import InvalidRequest

logger = logging.getLogger("api.auth")
_HASHED = "sha256:"


def digest(token: str) -> str:
    """The map key under which a token is kept: ``sha256:<hex>``."""
    return _HASHED + hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class KeyFile:
    """``{"keys": {"sha256:<hex>" or the token itself: {"name", "created_at"}}}``, read again whenever it changes."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or api_keys_file()
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._digests: tuple[bytes, ...] = ()

    def accepts(self, token: str) -> bool:
        """Whether the token is one of the keys; an empty one never is. Every key is compared, each in constant time."""
        if not token:
            return False
        given = digest(token).encode()
        matches = [hmac.compare_digest(given, known) for known in self._current()]
        return any(matches)

    def _current(self) -> tuple[bytes, ...]:
        with self._lock:
            stamp = _stamp(self.path)
            if stamp != self._stamp:
                self._stamp, self._digests = stamp, _read_digests(self.path)
            return self._digests


def create_key(name: str, path: Path | None = None) -> str:
    """Add a key and return its token, which is kept nowhere in clear. Raises InvalidRequest for a name in use."""
    file = path or api_keys_file()
    token = "k_" + secrets.token_hex(24)
    with _locked(file):
        keys = _read(file)
        if any(entry.get("name") == name for entry in keys.values()):
            raise InvalidRequest(f"name: there is a key named {name!r} already", field="name")
        keys[digest(token)] = {"name": name, "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        _write(file, keys)
    return token


def list_keys(path: Path | None = None) -> list[dict[str, Any]]:
    """Name and creation time of each key."""
    return [{"name": e.get("name"), "created_at": e.get("created_at")} for e in _read(path or api_keys_file()).values()]


def revoke_key(name: str, path: Path | None = None) -> None:
    """Remove the key of that name. Raises InvalidRequest when there is none."""
    file = path or api_keys_file()
    with _locked(file):
        keys = _read(file)
        kept = {k: e for k, e in keys.items() if e.get("name") != name}
        if len(kept) == len(keys):
            raise InvalidRequest(f"name: there is no key named {name!r}", field="name")
        _write(file, kept)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        s = path.stat()
    except OSError:
        return None
    return s.st_mtime_ns, s.st_ino, s.st_size, s.st_mode


def _read_digests(path: Path) -> tuple[bytes, ...]:
    """No keys at all when the file cannot be read: a broken file lets nobody in."""
    try:
        keys = _read(path)
        if path.exists() and path.stat().st_mode & 0o077:
            logger.warning("%s can be read by others than its owner; chmod 600 it", path)
    except (InvalidRequest, OSError) as e:
        logger.error("no API key is accepted: %s", e)
        return ()
    return tuple((k.lower() if k.startswith(_HASHED) else digest(k)).encode("utf-8", "replace") for k in keys)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        keys = json.loads(path.read_text())["keys"]
    except (ValueError, KeyError, TypeError) as e:
        raise InvalidRequest(f"{path} is not of the form {{'keys': {{...}}}}") from e
    if not isinstance(keys, dict) or not all(isinstance(entry, dict) for entry in keys.values()):
        raise InvalidRequest(f"{path} is not of the form {{'keys': {{...}}}}")
    return keys


def _write(path: Path, keys: dict[str, dict[str, Any]]) -> None:
    write_private(path, (json.dumps({"keys": keys}, indent=2) + "\n").encode())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    private_dir(path.parent)
    with open(os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600), "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
