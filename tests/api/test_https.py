"""The API as a process, over real HTTPS."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.auth import create_key
from api.certificates import ensure_certificate
from api.results import Envelope
from api.server import serve
from tests.api.conftest import MARKER, POSTGRES
from tests.api.processes import Api
from whimbrel.catalog.home import api_keys_file, certificate_files
from whimbrel.cli.contract import Contract
from whimbrel.errors import InvalidRequest, OperationNotFound


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    made = Api(tmp_path_factory.mktemp("https") / "home")
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def http(api: Api) -> Iterator[httpx.Client]:
    with api.client(create_key("https", api_keys_file(api.home))) as client:
        yield client


def test_the_certificate_made_at_the_first_start_can_be_trusted(api: Api, http: httpx.Client) -> None:
    health = http.get("/v1/health").json()["result"]
    assert (health["temporal"], health["worker"]) == ("unreachable", "unknown")
    _, private = certificate_files(api.home)
    assert private.stat().st_mode & 0o777 == 0o600
    assert "SHA-256" in api.tail()


def test_it_says_aloud_where_it_listens(api: Api) -> None:
    assert re.search(r"listening on https://0\.0\.0\.0:\d+ \(every network interface", api.tail())


def test_old_tls_is_refused(api: Api) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)), socket.create_connection(("127.0.0.1", api.port)) as raw:
        old.wrap_socket(raw)


def test_plain_http_gets_no_answer(api: Api) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{api.port}/v1/health")


@pytest.mark.parametrize(
    "sent",
    [b"nonsense\r\n\r\n", b"GET /v1/health HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2_000_000],
    ids=["no request", "no host", "headers without an end"],
)
def test_what_is_no_request_gets_the_envelope_too(api: Api, sent: bytes) -> None:
    connection = socket.create_connection(("127.0.0.1", api.port))
    with api.trust().wrap_socket(connection, server_hostname="localhost") as line:
        line.sendall(sent)
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    envelope = Envelope[Any].model_validate_json(body)
    assert envelope.error is not None
    assert envelope.error.code == "INVALID_REQUEST"


def test_an_answer_to_head_has_no_body(http: httpx.Client) -> None:
    for path in ("/v1/sources", "/v1/nothing"):
        assert http.head(path).content == b""
        assert http.get("/v1/sources").status_code == 200  # on the same connection


def test_bodies_in_chunks_have_the_limit_too(http: httpx.Client) -> None:
    chunks = (b"x" * 65536 for _ in range(32))
    answer = http.put("/v1/sources/a", content=chunks)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST")


def test_headers_have_a_limit(http: httpx.Client) -> None:
    answer = http.get("/v1/sources", headers={"X-Long": "x" * 40_000})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST")
    try:  # far beyond it, reading ends before there is a request to answer
        assert http.get("/v1/sources", headers={"X-Long": "x" * 2_000_000}).status_code == 400
    except httpx.HTTPError:
        assert http.get("/v1/sources").status_code == 200


def test_no_secret_is_left_anywhere(api: Api, http: httpx.Client) -> None:
    for _ in range(2):
        body = {"type": "postgres", "parameters": POSTGRES}
        assert http.put("/v1/sources/secret", json=body).status_code == 200
        assert http.post("/v1/sources/test", json=body).json()["error"]["code"] == "CONNECTION_REFUSED"
        http.put("/v1/sources/secret", json={**body, "more": MARKER})
        assert MARKER not in http.get("/v1/sources/secret").text
    found = [f for f in (api.home, api.log) for f in ([f] if f.is_file() else f.rglob("*")) if f.is_file()]
    assert api.log in found
    assert len(found) > 5
    for file in found:
        assert MARKER.encode() not in file.read_bytes(), file
    process = Path(f"/proc/{api.pid}")
    assert MARKER.encode() not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()


def test_it_comes_back_after_a_crash(tmp_path: Path) -> None:
    api = Api(tmp_path / "home", "--host", "127.0.0.1")
    api.start()
    key = create_key("k", api_keys_file(api.home))
    try:
        with api.client(key) as http:
            http.put("/v1/sources/a", json={"type": "postgres", "parameters": POSTGRES}).raise_for_status()
        api.kill()
        api.start()
        with api.client(key) as http:
            assert http.get("/v1/sources/a").json()["result"]["type"] == "postgres"
        assert "every network interface" not in api.tail()
    finally:
        api.stop()


@pytest.mark.parametrize("missing", [0, 1])
def test_half_a_pair_is_refused(tmp_path: Path, missing: int) -> None:
    pair = certificate_files(tmp_path)
    assert ensure_certificate(*pair) is True
    assert ensure_certificate(*pair) is False
    pair[missing].unlink()
    with pytest.raises(InvalidRequest, match=re.escape(str(pair[missing]))):
        ensure_certificate(*pair)


@pytest.mark.parametrize("broken", ["another", "no key"])
def test_a_certificate_with_the_wrong_key_is_refused(tmp_path: Path, broken: str) -> None:
    certificate, key = certificate_files(tmp_path / "one")
    ensure_certificate(certificate, key)
    if broken == "another":
        ensure_certificate(*certificate_files(tmp_path / "two"))
        key = certificate_files(tmp_path / "two")[1]
    else:
        key.write_text("no key")
    with pytest.raises(InvalidRequest, match=re.escape(str(certificate))):
        serve("127.0.0.1", 0, certificate, key, home=tmp_path / "home")


def test_the_typed_client(api: Api) -> None:
    with Contract(api.url, create_key("typed", api_keys_file(api.home)), api.trust()) as client:
        assert client.health()["temporal"] == "unreachable"
        named = client.put_source("typed", {"type": "postgres", "parameters": POSTGRES})
        assert named == {"name": "typed", "type": "postgres"}
        assert client.get_source("typed")["parameters"]["password"] == "***"
        assert "typed" in [source["name"] for source in client.list_sources()["sources"]]
        client.put_target("typed", {"type": "postgres", "parameters": POSTGRES})
        client.put_migration("typed", {"source": "typed", "tables": ["public.*"], "fileTarget": "typed"})
        assert client.status("typed")["state"] == "idle"
        assert client.list_operations(migration="typed", page_size=5)["operations"] == []
        with pytest.raises(OperationNotFound):
            client.get_operation("6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10")
        with pytest.raises(OperationNotFound):
            client.pause_replication("typed")
        assert client.delete_migration("typed", force=True)["deleted"]
