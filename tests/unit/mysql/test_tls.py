"""What each ssl_mode demands of a real server's certificate."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import running_server
from tests.servers.certificates import authority
from tests.servers.fetch_mysql import ServerMissing
from tests.servers.fleet import Fleet
from tests.servers.mysql import MySQL
from tests.servers.process import unprivileged_user
from whimbrel.connectors.mysql import ENGINE, config
from whimbrel.connectors.mysql.connection import connect, query
from whimbrel.errors import TlsFailed
from whimbrel.model.job import Endpoint


@dataclass(frozen=True)
class Guarded:
    server: MySQL
    files: dict[str, str]


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    """A server whose certificate is for 'localhost'; the file 'ours' is of who signed it."""
    with tempfile.TemporaryDirectory(prefix="whimbrel-tls-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        ours, other = authority(folder, "ours"), authority(folder, "other")
        certificate, key = ours.server(folder, "localhost", unprivileged_user("mysql"))
        try:
            server = MySQL(folder / "s", request.param, ssl_cert=str(certificate), ssl_key=str(key))
            server.start()
        except ServerMissing as e:
            pytest.skip(str(e))
        try:
            yield Guarded(server, {"ours": str(ours.ca), "other": str(other.ca), "none": str(folder / "none.pem")})
        finally:
            server.stop()


def endpoint(server: MySQL, mode: str, host: str = "127.0.0.1", ca: str | None = None) -> Endpoint:
    given = {**server.parameters, "host": host, "ssl_mode": mode, **({"ssl_ca": ca} if ca else {})}
    return Endpoint("e", server.flavor, config.parse(server.flavor, given))


@pytest.mark.parametrize(
    ("mode", "host", "ca", "encrypted"),
    [
        ("disabled", "127.0.0.1", None, False),
        ("preferred", "127.0.0.1", None, True),
        ("required", "127.0.0.1", None, True),
        ("verify_ca", "127.0.0.1", "ours", True),
        ("verify_identity", "localhost", "ours", True),
    ],
)
def test_accepted(guarded: Guarded, mode: str, host: str, ca: str | None, encrypted: bool) -> None:
    here = endpoint(guarded.server, mode, host, guarded.files[ca] if ca else None)
    if not encrypted and guarded.server.flavor == "mysql":  # which must remember the account from an earlier login
        guarded.server.client("flush privileges")
        with pytest.raises(TlsFailed, match="asks for the password"):
            ENGINE.test(here)
        ENGINE.test(endpoint(guarded.server, "required"))
    ENGINE.test(here)
    with closing(connect(here.parameters, "tls")) as session:
        assert bool(query(session, "SHOW STATUS LIKE 'Ssl_cipher'")[0][1]) is encrypted


@pytest.mark.parametrize(
    ("mode", "host", "ca", "words"),
    [
        ("verify_ca", "127.0.0.1", "other", "certificate verify failed"),
        ("verify_identity", "localhost", "other", "certificate verify failed"),
        ("verify_identity", "127.0.0.1", "ours", "mismatch|not valid for '127"),
        ("verify_ca", "127.0.0.1", None, "certificate verify failed"),
        ("verify_ca", "127.0.0.1", "none", r"none\.pem"),
    ],
)
def test_refused(guarded: Guarded, mode: str, host: str, ca: str | None, words: str) -> None:
    with pytest.raises(TlsFailed, match=words) as caught:
        ENGINE.test(endpoint(guarded.server, mode, host, guarded.files[ca] if ca else None))
    assert not caught.value.retryable
    assert ca == "none" or f"{host}:{guarded.server.port}" in caught.value.message


def test_a_server_without_tls_is_refused_where_it_is_wanted(fleet: Fleet, guarded: Guarded) -> None:
    """Nothing may be sent in clear text then, the password least of all."""
    plain = running_server(fleet, "mariadb")
    assert isinstance(plain, MySQL)
    for mode in ("required", "verify_ca", "verify_identity"):
        with pytest.raises(TlsFailed, match=r"SSL is required"):
            ENGINE.test(endpoint(plain, mode, ca=guarded.files["ours"]))
    ENGINE.test(endpoint(plain, "preferred"))
