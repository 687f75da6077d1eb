"""What every command shares: where the API is, with which key, and how to print."""

from __future__ import annotations

import os
import ssl
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from whimbrel.catalog.home import certificate_files, home
from whimbrel.cli.contract import Contract
from whimbrel.errors import AuthFailed, TlsFailed

DEFAULT_URL = "https://127.0.0.1:9443"
KEY_REMEDY = "Set WHIMBREL_API_KEY; 'whimbrel keys create NAME' on the API's machine makes a key."
PIPED_WIDTH = 200  # columns of what goes into a file or another program


@dataclass(frozen=True)
class Session:
    """``as_json`` prints results as the API gave them. ``console`` is for people, ``errors`` goes to stderr."""

    url: str = DEFAULT_URL
    as_json: bool = False
    console: Console = field(default_factory=lambda: _console(stderr=False))
    errors: Console = field(default_factory=lambda: _console(stderr=True))

    def client(self) -> Contract:
        """Raises AuthFailed when there is no key, TlsFailed when the CA file cannot be read."""
        return Contract(self.url, api_key(), trust())


def _console(*, stderr: bool) -> Console:
    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal and not os.environ.get("COLUMNS"):
        made.width = PIPED_WIDTH
    return made


_current: ContextVar[Session | None] = ContextVar("session", default=None)


def begin(session: Session) -> None:
    _current.set(session)


def current() -> Session:
    return _current.get() or Session(os.environ.get("WHIMBREL_URL") or DEFAULT_URL)


def key_file() -> Path:
    """Where ``whimbrel up`` keeps the key that it made for this user's own commands."""
    return home() / "cli" / "api_key"


def api_key() -> str:
    """``$WHIMBREL_API_KEY``, else the key file. Raises AuthFailed."""
    key = os.environ.get("WHIMBREL_API_KEY", "").strip()
    if key:
        return _sendable(key, "WHIMBREL_API_KEY")
    try:
        return _sendable(key_file().read_text().strip(), str(key_file()))
    except OSError as e:
        raise AuthFailed(
            "no API key: WHIMBREL_API_KEY is not set and there is no key file",
            remedy=KEY_REMEDY,
            key_file=str(key_file()),
        ) from e


def _sendable(key: str, where: str) -> str:
    if not (key.isascii() and key.isprintable()):
        raise AuthFailed(f"{where} does not hold a key: it has characters that no key has", remedy=KEY_REMEDY)
    return key


def trust() -> ssl.SSLContext:
    """``$WHIMBREL_CA``, else the certificate that the API made in this home folder, else what the system trusts."""
    named = os.environ.get("WHIMBREL_CA")
    own = certificate_files()[0]
    file = Path(named) if named else own if own.exists() else None
    try:
        return ssl.create_default_context(cafile=str(file) if file else None)
    except OSError as e:
        raise TlsFailed(f"the certificate {file} cannot be used: {e}", remedy="Correct WHIMBREL_CA.") from e
