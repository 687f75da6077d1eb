"""The line to SingleStore is as safe as it was asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.faults.singlestore import stand
from tests.servers.certificates import authority
from tests.servers.process import Process, free_port, wait_until
from tests.servers.singlestore import SingleStore
from tests.servers.stand import ROOT
from whimbrel.connectors.registry import engine
from whimbrel.errors import AuthenticationFailed, TlsFailed
from whimbrel.model.job import Endpoint

__all__ = ["stand"]  # fixtures


@pytest.fixture(scope="module")
def encrypted(stand: SingleStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A second proxy before the same server, with TLS: its parameters, and the authority that vouches for it."""
    folder = tmp_path_factory.mktemp("tls")
    trusted = authority(folder, "trusted")
    certificate, key = trusted.server(folder, "127.0.0.1")
    settings = {**json.loads((stand.folder / "settings.json").read_text()), "port": free_port()}
    settings |= {"certificate": str(certificate), "key": str(key), "statements": str(folder / "statements.jsonl")}
    (folder / "settings.json").write_text(json.dumps(settings))
    argv = [sys.executable, "-m", "tests.emulators.singlestore.serve", str(folder / "settings.json")]
    process = Process(argv, folder / "log", env={"PYTHONUNBUFFERED": "1"}, cwd=ROOT)
    process.start()
    given = {**stand.parameters(), "port": str(settings["port"]), "ssl_ca": str(trusted.ca)}

    def answers() -> bool:
        with suppress(Exception):
            engine("singlestore").test(Endpoint("tls", "singlestore", {**given, "ssl_mode": "verify_identity"}))
            return True
        return False

    wait_until(answers, 30, "the proxy with TLS")
    yield {**given, "other": str(authority(folder, "other").ca)}
    process.stop()


def titled(parameters: dict[str, Any], **more: Any) -> str:
    given = {k: v for k, v in {**parameters, **more}.items() if k != "other" and v is not None}
    found = engine("singlestore")
    return found.test(Endpoint("tls", "singlestore", found.parse("singlestore", given))).title


def test_the_line_is_as_safe_as_it_was_asked_for(encrypted: dict[str, Any], stand: SingleStore) -> None:
    for mode in ("verify_identity", "verify_ca", "required", "preferred", None):
        assert titled(encrypted, ssl_mode=mode).startswith("SingleStore 8")
    assert titled(encrypted, ssl_mode="required", ssl_ca=encrypted["other"]).startswith("SingleStore 8")
    for mode in ("verify_identity", "verify_ca"):
        with pytest.raises(TlsFailed):
            titled(encrypted, ssl_mode=mode, ssl_ca=encrypted["other"])
    with pytest.raises(TlsFailed):
        titled(encrypted, ssl_mode="verify_identity", host="localhost")
    with pytest.raises(AuthenticationFailed) as refused:
        titled(encrypted, ssl_mode="verify_identity", password="a wrong secret")
    assert "a wrong secret" not in str(refused.value.to_json())
    for mode in ("required", "verify_identity", None):
        with pytest.raises(TlsFailed, match="no TLS"):
            titled(stand.parameters(), ssl_mode=mode)
    for mode in ("preferred", "disabled"):
        assert titled(stand.parameters(), ssl_mode=mode).startswith("SingleStore 8")
