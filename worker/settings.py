"""Where Temporal is and who we are there, from the environment. The API and the CLI read the same variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.service import TLSConfig

from whimbrel.errors import InvalidRequest

LANES, METRICS = "WHIMBREL_WORKER_LANES", "WHIMBREL_WORKER_METRICS"


@dataclass(frozen=True)
class Settings:
    """``api_key`` and the TLS files are for Temporal Cloud and clusters of one's own; a development server needs none.

    ``activities`` is how many long steps run at once in this process, one for each operation; ``control_activities``
    how many of the short ones that somebody waits for; ``lanes`` how many processes copy rows, for all loads together;
    ``metrics`` is the ``host:port`` on which Prometheus may scrape the worker.

    With a ``build_id`` the worker is a version of ``deployment`` and takes only what Temporal gives to that version;
    without one it takes what there is for workers without versions.
    """

    address: str = "127.0.0.1:7233"
    namespace: str = "default"
    api_key: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_server_name: str | None = None
    activities: int = 64
    control_activities: int = 32
    lanes: int | None = None
    deployment: str = "whimbrel"
    build_id: str | None = None
    metrics: str | None = None
    grace_seconds: float = 30.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read WHIMBREL_TEMPORAL_* and WHIMBREL_WORKER_*. Raises InvalidRequest naming the variable that is wrong."""
        key_file = environment.get("WHIMBREL_TEMPORAL_API_KEY_FILE")
        files = {name: environment.get(f"WHIMBREL_TEMPORAL_TLS_{name.upper()}") for name in ("ca", "cert", "key")}
        api_key = environment.get("WHIMBREL_TEMPORAL_API_KEY") or (_read(key_file) if key_file else None)
        if bool(files["cert"]) != bool(files["key"]):
            raise InvalidRequest("WHIMBREL_TEMPORAL_TLS_CERT and WHIMBREL_TEMPORAL_TLS_KEY go together")
        wanted = environment.get("WHIMBREL_TEMPORAL_TLS", "").lower() in ("1", "true", "yes", "on")
        return cls(
            address=environment.get("WHIMBREL_TEMPORAL_ADDRESS") or cls.address,
            namespace=environment.get("WHIMBREL_TEMPORAL_NAMESPACE") or cls.namespace,
            api_key=api_key,
            tls=wanted or bool(api_key) or any(files.values()),
            tls_ca=Path(files["ca"]) if files["ca"] else None,
            tls_cert=Path(files["cert"]) if files["cert"] else None,
            tls_key=Path(files["key"]) if files["key"] else None,
            tls_server_name=environment.get("WHIMBREL_TEMPORAL_TLS_SERVER_NAME"),
            activities=_number(environment, "WHIMBREL_WORKER_ACTIVITIES", cls.activities),
            control_activities=_number(environment, "WHIMBREL_WORKER_CONTROL_ACTIVITIES", cls.control_activities),
            metrics=_address(environment, METRICS),
            deployment=environment.get("WHIMBREL_WORKER_DEPLOYMENT") or cls.deployment,
            build_id=environment.get("WHIMBREL_WORKER_BUILD_ID") or None,
            lanes=_number(environment, LANES, 1) if environment.get(LANES) else None,
            grace_seconds=float(_number(environment, "WHIMBREL_WORKER_GRACE_SECONDS", int(cls.grace_seconds))),
        )

    def tls_config(self) -> TLSConfig | bool:
        """What the Temporal client takes. Raises OSError naming a file that cannot be read."""
        if not self.tls:
            return False
        return TLSConfig(
            server_root_ca_cert=self.tls_ca.read_bytes() if self.tls_ca else None,
            client_cert=self.tls_cert.read_bytes() if self.tls_cert else None,
            client_private_key=self.tls_key.read_bytes() if self.tls_key else None,
            domain=self.tls_server_name,
        )

    async def connect(self, runtime: Runtime | None = None) -> Client:
        """One attempt. Raises RuntimeError when the server cannot be reached."""
        return await Client.connect(
            self.address, namespace=self.namespace, api_key=self.api_key, tls=self.tls_config(), runtime=runtime
        )


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as e:
        raise InvalidRequest(f"WHIMBREL_TEMPORAL_API_KEY_FILE: {e}") from e


def _address(environment: Mapping[str, str], name: str) -> str | None:
    """``9464`` is a port of loopback, ``host:port`` any other; None when unset."""
    text = environment.get(name)
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidRequest(f"{name}: {text!r} is neither a port nor host:port")
    return f"{host or '127.0.0.1'}:{port}"


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdigit() or int(text) < 1:
        raise InvalidRequest(f"{name}: {text!r} is not a number from 1 up")
    return int(text)
