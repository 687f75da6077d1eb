"""What a server may ask of us to prove who we are. Whoever stands between us and it must not learn the password."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pymysql import _auth

from whimbrel.connectors.mysql.config import ALLOW_CLEAR, VERIFIED
from whimbrel.errors import TlsFailed

Plugin = Callable[[Any], Any]


def plugins(parameters: Mapping[str, Any]) -> dict[str, Plugin]:
    """The driver's handlers for the ways to log in that tell the server, or who plays it, the password itself."""
    clear = parameters.get(ALLOW_CLEAR) is True and parameters.get("ssl_mode") in VERIFIED
    found: dict[str, Plugin] = {
        "mysql_old_password": _refusing("mysql_old_password", "It hides the password too badly for any line."),
        "caching_sha2_password": _CachingSha2,
        "sha256_password": _Sha256,
    }
    if not clear:
        why = f"That is done only with ssl_mode {' or '.join(VERIFIED)} and {ALLOW_CLEAR} true."
        found |= {name: _refusing(name, why) for name in ("mysql_clear_password", "dialog")}
    return found


class _Handler:
    def __init__(self, session: Any) -> None:
        self.session = session

    @property
    def harmless(self) -> bool:
        """Whether the password would be sent encrypted, or there is none."""
        return bool(self.session._secure) or not self.session.password


class _CachingSha2(_Handler):
    """Without TLS the short way alone, which proves that both know the password and tells nothing."""

    def authenticate(self, packet: Any) -> Any:
        if self.harmless:
            return _auth.caching_sha2_password_auth(self.session, packet)
        self.session.server_public_key = b"none is taken from the line"  # so that the driver asks for none
        try:
            return _auth.caching_sha2_password_auth(self.session, packet)
        except ValueError:
            raise _unverified("caching_sha2_password") from None


class _Sha256(_Handler):
    def authenticate(self, packet: Any) -> Any:
        if self.harmless:
            answer: Callable[[Any, Any], Any] = _auth.sha256_password_auth
            return answer(self.session, packet)
        raise _unverified("sha256_password")


def _refusing(plugin: str, why: str) -> Plugin:
    class Refusing(_Handler):
        def authenticate(self, packet: Any) -> Any:
            raise TlsFailed(f"the server asks for the password in clear ({plugin}), which it is not given", remedy=why)

    return Refusing


def _unverified(plugin: str) -> TlsFailed:
    return TlsFailed(
        f"without TLS the server asks for the password under a key that nobody vouches for ({plugin}); it is not sent",
        remedy="Use TLS (ssl_mode required or better); or log in once over TLS with this account, which a server "
        "remembers until it restarts.",
    )
