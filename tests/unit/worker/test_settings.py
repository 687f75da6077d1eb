"""Where Temporal is, from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from whimbrel.errors import InvalidRequest
from worker.settings import Settings


def test_nothing_set_means_the_development_server() -> None:
    settings = Settings.from_environment({})
    assert (settings.address, settings.namespace, settings.tls_config()) == ("127.0.0.1:7233", "default", False)


def test_temporal_cloud(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("eyJ-secret\n")
    settings = Settings.from_environment(
        {
            "WHIMBREL_TEMPORAL_ADDRESS": "ns.acct.tmprl.cloud:7233",
            "WHIMBREL_TEMPORAL_NAMESPACE": "ns.acct",
            "WHIMBREL_TEMPORAL_API_KEY_FILE": str(file),
        }
    )
    assert settings.api_key == "eyJ-secret"
    assert settings.tls_config()
    assert "secret" not in repr(settings)


def test_tls_files_are_read(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(name.upper())
    prefix = "WHIMBREL_TEMPORAL_TLS_"
    settings = Settings.from_environment(
        {prefix + name.upper(): str(tmp_path / name) for name in ("ca", "cert", "key")}
    )
    tls = settings.tls_config()
    assert not isinstance(tls, bool)
    assert (tls.server_root_ca_cert, tls.client_cert, tls.client_private_key) == (b"CA", b"CERT", b"KEY")


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"WHIMBREL_TEMPORAL_TLS_CERT": "x"}, "WHIMBREL_TEMPORAL_TLS_KEY"),
        ({"WHIMBREL_TEMPORAL_API_KEY_FILE": "/nowhere"}, "WHIMBREL_TEMPORAL_API_KEY_FILE"),
        ({"WHIMBREL_WORKER_ACTIVITIES": "many"}, "WHIMBREL_WORKER_ACTIVITIES"),
        ({"WHIMBREL_WORKER_METRICS": "127.0.0.1"}, "WHIMBREL_WORKER_METRICS"),
        ({"WHIMBREL_WORKER_METRICS": "99999"}, "WHIMBREL_WORKER_METRICS"),
        ({"WHIMBREL_WORKER_LANES": "0"}, "WHIMBREL_WORKER_LANES"),
        ({"WHIMBREL_WORKER_CONTROL_ACTIVITIES": "-1"}, "WHIMBREL_WORKER_CONTROL_ACTIVITIES"),
        ({"WHIMBREL_WORKER_GRACE_SECONDS": "0"}, "WHIMBREL_WORKER_GRACE_SECONDS"),
    ],
)
def test_what_makes_no_sense_is_named(environment: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        Settings.from_environment(environment)


def test_a_port_alone_is_one_of_loopback() -> None:
    def metrics(text: str) -> str | None:
        return Settings.from_environment({"WHIMBREL_WORKER_METRICS": text}).metrics

    assert [metrics(t) for t in ("9464", "0.0.0.0:9464", "[::1]:9464", "")] == [
        "127.0.0.1:9464",
        "0.0.0.0:9464",
        "[::1]:9464",
        None,
    ]
