"""Secrets of sources and targets: which parameters they are, how they are masked and how they are sealed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from whimbrel.catalog.home import private_dir
from whimbrel.errors import SecretsUnreadable

MASK = "***"
_SECRET = re.compile(r"password|passphrase|secret|token|private_key|credentials", re.IGNORECASE)


def is_secret(parameter: str) -> bool:
    """Whether a parameter of that name is kept encrypted and never shown."""
    return _SECRET.search(parameter) is not None


def masked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as they may be shown."""
    return {k: MASK if is_secret(k) and v not in (None, "") else v for k, v in parameters.items()}


def redact(text: str, *parameters: Mapping[str, Any]) -> str:
    """``text`` without any of these parameters' secrets; for messages that servers and drivers wrote."""
    values = {str(v) for p in parameters for k, v in p.items() if is_secret(k) and v}
    for value in sorted(values, key=len, reverse=True):
        if len(value) > 3:  # shorter ones stand in ordinary words
            text = text.replace(value, MASK)
    return text


class Vault:
    """Seals secrets with AES-256-GCM. A sealed text names its key, so that a wrong key is told from damage."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._id = hashlib.sha256(b"whimbrel key id" + key).hexdigest()[:12]

    def seal(self, secrets: Mapping[str, Any], owner: str) -> str:
        """Encrypt for one owner (``source/shop``): moved to another row, the text does not open."""
        nonce = os.urandom(12)
        sealed = self._cipher.encrypt(nonce, json.dumps(dict(secrets)).encode(), owner.encode())
        return f"v1:{self._id}:{base64.b64encode(nonce + sealed).decode()}"

    def open(self, text: str, owner: str) -> dict[str, Any]:
        """What ``seal`` was given. Raises SecretsUnreadable."""
        try:
            version, key_id, payload = text.split(":")
            if version != "v1" or key_id != self._id:
                raise SecretsUnreadable(f"the secrets of {owner} were encrypted with another key (id {key_id})")
            raw = base64.b64decode(payload, validate=True)
            opened = json.loads(self._cipher.decrypt(raw[:12], raw[12:], owner.encode()))
        except (ValueError, InvalidTag) as e:
            raise SecretsUnreadable(f"the secrets of {owner} are damaged") from e
        return dict(opened)


def open_vault(key_file: Path) -> Vault:
    """The vault of ``WHIMBREL_SECRET_KEY`` (base64 of 32 bytes), else of the key file, which is made when absent.

    Raises SecretsUnreadable when the key is not one.
    """
    given = os.environ.get("WHIMBREL_SECRET_KEY")
    if given:
        return Vault(_decode(given, "WHIMBREL_SECRET_KEY"))
    if not key_file.exists():
        _make_key(key_file)
    return Vault(_decode(key_file.read_text(), str(key_file)))


def _decode(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise SecretsUnreadable(f"{where} does not hold 32 bytes in base64")
    return key


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
