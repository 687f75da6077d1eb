"""Sealing secrets, and the keys that they are sealed with.

A key is 32 bytes in base64. ``<home>/catalog/secret.key`` holds one in each line, ``WHIMBREL_SECRET_KEY`` the same with
commas between them; usually there is one. Which of them seals stands in the catalog (``keyring.py``), so that all
processes change over in one moment.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from whimbrel.catalog.home import private_dir, write_private
from whimbrel.errors import SecretsUnreadable

VARIABLE = "WHIMBREL_SECRET_KEY"


class Vault:
    """Seals with AES-256-GCM. A sealed text names its key. A key that is not known is looked for once more."""

    def __init__(self, load: Callable[[], Sequence[bytes]]) -> None:
        self._load = load
        self._ciphers = {key_id(key): AESGCM(key) for key in load()}

    @property
    def newest(self) -> str:
        """The id of the last key, which the next rotation changes over to."""
        return next(reversed(self._ciphers))

    @property
    def count(self) -> int:
        return len(self._ciphers)

    def reload(self) -> None:
        """Read the keys again. Raises SecretsUnreadable."""
        self._ciphers = {key_id(key): AESGCM(key) for key in self._load()}

    def knows(self, id: str) -> bool:
        """Whether that key is here, or has come since."""
        if id not in self._ciphers:
            self.reload()
        return id in self._ciphers

    def seal(self, secrets: Mapping[str, Any], owner: str, key: str) -> str:
        """Encrypt for one owner (``source/shop``): moved to another row, the text does not open.

        ``key`` is the id of a key that ``knows`` knows.
        """
        nonce = os.urandom(12)
        sealed = self._ciphers[key].encrypt(nonce, json.dumps(dict(secrets)).encode(), owner.encode())
        return f"v1:{key}:{base64.b64encode(nonce + sealed).decode()}"

    def open(self, text: str, owner: str) -> dict[str, Any]:
        """What ``seal`` was given. Raises SecretsUnreadable."""
        id = key_of(text)
        if id is None:
            raise SecretsUnreadable(f"the secrets of {owner} are damaged")
        if not self.knows(id):
            raise SecretsUnreadable(f"the secrets of {owner} were encrypted with another key (id {id})")
        try:
            raw = base64.b64decode(text.split(":")[2], validate=True)
            opened = json.loads(self._ciphers[id].decrypt(raw[:12], raw[12:], owner.encode()))
        except (ValueError, InvalidTag) as e:
            raise SecretsUnreadable(f"the secrets of {owner} are damaged") from e
        return dict(opened)


def key_id(key: bytes) -> str:
    """What names a key without telling anything of it."""
    return hashlib.sha256(b"whimbrel key id" + key).hexdigest()[:12]


def key_of(sealed: str) -> str | None:
    """The id of the key that a text was sealed with; None when it is no sealed text."""
    parts = sealed.split(":")
    return parts[1] if len(parts) == 3 and parts[0] == "v1" else None


def open_vault(key_file: Path) -> Vault:
    """The vault of ``WHIMBREL_SECRET_KEY``, else of the key file, which is made when absent.

    Raises SecretsUnreadable when a key is not one.
    """
    return Vault(lambda: _given() or _of_file(key_file))


def from_environment() -> bool:
    """Whether the keys come from the environment rather than from the key file."""
    return bool(os.environ.get(VARIABLE))


def add_key(key_file: Path) -> None:
    """Add a new key at the end of the file, which is replaced whole."""
    keys = _of_file(key_file)
    _write(key_file, [*keys, os.urandom(32)])


def keep_only(key_file: Path, id: str) -> None:
    """Remove all other keys from the file, which is replaced whole."""
    _write(key_file, [key for key in _of_file(key_file) if key_id(key) == id])


@contextmanager
def rotating(key_file: Path) -> Iterator[None]:
    """One rotation at a time on this machine."""
    private_dir(key_file.parent)
    with open(os.open(key_file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600), "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _given() -> list[bytes]:
    return [_decode(text, VARIABLE) for text in os.environ.get(VARIABLE, "").split(",") if text]


def _of_file(key_file: Path) -> list[bytes]:
    if not key_file.exists():
        _make_key(key_file)
    return [_decode(line, str(key_file)) for line in key_file.read_text().splitlines() if line] or [_no_key(key_file)]


def _no_key(key_file: Path) -> bytes:
    raise SecretsUnreadable(f"{key_file} is empty")


def _decode(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise SecretsUnreadable(f"{where} does not hold 32 bytes in base64")
    return key


def _write(key_file: Path, keys: Sequence[bytes]) -> None:
    write_private(key_file, b"".join(base64.b64encode(key) + b"\n" for key in keys))


def _make_key(file: Path) -> None:
    """Write a new key whole under another name, then link: of two processes at once, one wins and both read its key."""
    private_dir(file.parent)
    part = file.with_name(f".{file.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(base64.b64encode(os.urandom(32)).decode() + "\n")
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(part, file)
    except FileExistsError:
        return
    finally:
        part.unlink()
