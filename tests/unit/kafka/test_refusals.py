"""What a client cannot get past: each has its leaf, soon, with the words of the other side and without the password."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from api.certificates import ensure_certificate
from tests.emulators.sasl import refusing_broker
from tests.servers.process import free_port
from whimbrel.connectors.kafka import ENGINE
from whimbrel.errors import AuthenticationFailed, HostUnreachable, TlsFailed, WhimbrelError
from whimbrel.model.job import Endpoint

SECRET = "hidden-7b1f"
LOGIN: dict[str, Any] = {"sasl_username": "u", "sasl_password": SECRET, "security_protocol": "sasl_plaintext"}


def refused(brokers: str, seconds: float = 5, **more: object) -> WhimbrelError:
    """How the test of such a queue ends."""
    parameters = ENGINE.parse("kafka", {"brokers": brokers, "topic": "t", **more})
    began = time.monotonic()
    with pytest.raises(WhimbrelError) as caught:
        ENGINE.test(Endpoint("queue", "kafka", parameters))
    assert time.monotonic() - began < seconds
    assert SECRET not in str(caught.value.to_json())
    return caught.value


def test_nobody_listens() -> None:
    found = refused(f"127.0.0.1:{free_port()}")
    assert isinstance(found, HostUnreachable)
    assert "refused" in found.message


def test_a_name_that_nobody_knows() -> None:
    found = refused("no-such-host.invalid:9092", seconds=15)
    assert isinstance(found, HostUnreachable)
    assert "no-such-host.invalid" in found.message


def test_a_password_that_is_wrong() -> None:
    with refusing_broker() as brokers:
        found = refused(brokers, **LOGIN)
    assert isinstance(found, AuthenticationFailed)
    assert "no such user" in found.message


def test_a_mechanism_that_the_broker_does_not_have() -> None:
    with refusing_broker() as brokers:
        found = refused(brokers, **LOGIN, sasl_mechanism="SCRAM-SHA-512")
    assert isinstance(found, AuthenticationFailed)
    assert "SCRAM-SHA-512" in found.message


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """Of a server whose certificate signs itself; it is in ``ca.pem``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    ensure_certificate(certificate, key)
    context.load_cert_chain(certificate, key)
    return context


def test_a_certificate_that_is_not_trusted(tls: ssl.SSLContext) -> None:
    with refusing_broker(tls) as brokers:
        found = refused(brokers, **{**LOGIN, "security_protocol": "sasl_ssl"})
    assert isinstance(found, TlsFailed)
    assert "certificate" in found.message


def test_with_its_certificate_one_gets_as_far_as_the_password(tls: ssl.SSLContext, tmp_path: Path) -> None:
    with refusing_broker(tls) as brokers:
        found = refused(brokers, **{**LOGIN, "security_protocol": "sasl_ssl"}, ssl_ca=str(tmp_path / "ca.pem"))
    assert isinstance(found, AuthenticationFailed)
    assert "no such user" in found.message


def test_no_tls_where_it_is_wanted(tls: ssl.SSLContext) -> None:
    with refusing_broker(tls) as brokers:
        found = refused(brokers, seconds=15)
    assert isinstance(found, HostUnreachable)
    assert "security_protocol" in found.how_to_fix


def test_tls_where_there_is_none() -> None:
    with refusing_broker() as brokers:
        found = refused(brokers, seconds=15, security_protocol="ssl")
    assert isinstance(found, TlsFailed | HostUnreachable)
    assert "security_protocol" in found.how_to_fix or "TLS" in found.how_to_fix


def test_a_ca_file_that_is_not_there(tmp_path: Path) -> None:
    found = refused("127.0.0.1:9", security_protocol="ssl", ssl_ca=str(tmp_path / "ca.pem"))
    assert isinstance(found, TlsFailed)
    assert "ca.pem" in found.message
