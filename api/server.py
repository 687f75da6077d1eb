"""The API as a process: HTTPS by uvicorn."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
import os
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from api.app import create_app
from api.certificates import ensure_certificate, fingerprint
from api.connections import raise_descriptors
from api.gate import HEADER_LIMIT
from api.orchestrator import TemporalOrchestrator
from api.protocol import EnvelopeProtocol, bounded_loop
from whimbrel.catalog.home import certificate_files
from whimbrel.catalog.store import Catalog
from whimbrel.errors import InvalidRequest, WhimbrelError
from worker.settings import Settings

logger = logging.getLogger("api.server")

DEFAULT_HOST, DEFAULT_PORT = "0.0.0.0", 9443
DEFAULT_UI = "http://127.0.0.1:8233"
SWITCH_SECONDS = 0.0005


def serve(
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    cert: Path | None = None,
    key: Path | None = None,
    *,
    home: Path | None = None,
) -> None:
    """Run until SIGTERM or SIGINT. Temporal is found by WHIMBREL_TEMPORAL_*, its web page by WHIMBREL_TEMPORAL_UI.

    ``cert`` and ``key`` default to the pair in the home folder, made when absent. Raises InvalidRequest,
    CatalogUnreachable, OSError when the address is taken.
    """
    catalog = Catalog.open(home)
    certificate, private = _pair(catalog, cert, key)
    settings = Settings.from_environment()
    orchestrator = TemporalOrchestrator(settings, os.environ.get("WHIMBREL_TEMPORAL_UI", DEFAULT_UI))
    config = uvicorn.Config(
        create_app(catalog, orchestrator),
        host=host,
        port=port,
        ssl_certfile=certificate,
        ssl_keyfile=private,
        access_log=False,
        log_config=None,
        server_header=False,
        http=EnvelopeProtocol,  # h11, the one that bounds what it reads before a request is whole
        h11_max_incomplete_event_size=2 * HEADER_LIMIT,
        timeout_graceful_shutdown=5,
        ws="none",
    )
    try:
        config.load()
        shown = fingerprint(certificate)
    except (ssl.SSLError, ValueError) as e:
        raise InvalidRequest(f"{certificate} and {private} are no certificate with its key in PEM: {e}") from e
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    logger.info("Temporal at %s, namespace %s", settings.address, settings.namespace)
    logger.info("%s; certificate %s, SHA-256 %s", _listening(host, port), certificate, shown)
    sys.setswitchinterval(SWITCH_SECONDS)  # a thread that reads the catalog must not hold up all other answers
    raise_descriptors()
    try:
        with asyncio.Runner(loop_factory=bounded_loop) as runner:
            runner.run(uvicorn.Server(config).serve())
    finally:
        catalog.close()


def _pair(catalog: Catalog, cert: Path | None, key: Path | None) -> tuple[Path, Path]:
    if (cert is None) != (key is None):
        raise InvalidRequest("--cert and --key go together")
    if cert is not None and key is not None:
        for file in (cert, key):
            if not file.is_file():
                raise InvalidRequest(f"{file}: there is no such file")
        return cert, key
    certificate, private = certificate_files(catalog.home)
    if ensure_certificate(certificate, private):
        logger.info("made a self-signed certificate: %s", certificate)
    return certificate, private


def _listening(host: str, port: int) -> str:
    """Say aloud who can reach us."""
    shown = f"[{host}]" if ":" in host else host
    text = f"listening on https://{shown}:{port}"
    try:
        open_to_all = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        open_to_all = False
    return f"{text} (every network interface; --host 127.0.0.1 keeps it to this machine)" if open_to_all else text


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m api`` and ``whimbrel serve``."""
    parser = argparse.ArgumentParser(prog="python -m api", description="The REST API of Whimbrel.")
    parser.add_argument("--host", default=DEFAULT_HOST, help="address to listen on (default: all of them)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--cert", type=Path, help="certificate file (default: one made in the home folder)")
    parser.add_argument("--key", type=Path, help="its private key")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        serve(given.host, given.port, given.cert, given.key)
    except WhimbrelError as e:
        sys.exit(f"{e.message}\n{e.how_to_fix}")
