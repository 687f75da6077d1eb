"""``whimbrel up``: Temporal, the API and a worker on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from temporalio.service import RPCError

from api.auth import KeyFile, create_key, list_keys, revoke_key
from whimbrel.catalog.home import api_keys_file, home, private_dir, write_private
from whimbrel.cli.children import Child
from whimbrel.cli.session import DEFAULT_URL, current, key_file, trust
from whimbrel.errors import InvalidRequest, TlsFailed
from worker import polling
from worker.polling import Workers
from worker.settings import Settings

START_SECONDS = 60.0
OWN_KEY = "whimbrel-up"
RESTART_SECONDS = 2.0
T = TypeVar("T")


@dataclass(frozen=True)
class Ports:
    api: int
    temporal: int
    ui: int


def up(ports: Ports) -> None:
    """Start Temporal, the API and a worker, and stay until Ctrl-C."""
    require_free(ports)
    private_dir(home())
    children = stack(ports)
    stopping = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda *_: stopping.set())
    try:
        for child in children:
            current().console.print(f"starting {child.name} …")
            child.start()
            child.wait_until_healthy(START_SECONDS, stopping.is_set)
        if not stopping.is_set():
            own_key()
            _greet(ports, children)
        _stay(children, stopping)
    finally:
        for child in reversed(children):
            current().console.print(f"stopping {child.name} …")
            child.stop()


def stack(ports: Ports) -> list[Child]:
    """What is started, in this order; it is stopped in the opposite one."""
    settings = Settings(address=f"127.0.0.1:{ports.temporal}")
    env = {
        "WHIMBREL_TEMPORAL_ADDRESS": settings.address,
        "WHIMBREL_TEMPORAL_NAMESPACE": settings.namespace,
        "WHIMBREL_TEMPORAL_UI": f"http://127.0.0.1:{ports.ui}",
    }
    python, logs = sys.executable, home() / "logs"
    temporal = [str(temporal_script()), "--port", str(ports.temporal), "--ui-port", str(ports.ui)]
    serve = ["-m", "whimbrel.cli.main", "serve", "--host", "127.0.0.1", "--port", str(ports.api)]
    return [
        Child("Temporal", [python, *temporal], logs / "temporal.log", lambda: temporal_answers(settings), env=env),
        Child("API", [python, *serve], logs / "api.log", lambda: api_answers(ports.api), env=env),
        Child(
            "worker", [sys.executable, "-m", "worker"], logs / "worker.log", lambda: worker_polls(settings), 45.0, env
        ),
    ]


def temporal_script() -> Path:
    """``temporal-dev/start.py`` of this checkout. Raises InvalidRequest when Whimbrel was installed without one."""
    script = Path(__file__).resolve().parents[2] / "temporal-dev" / "start.py"
    if not script.exists():
        raise InvalidRequest(
            "temporal-dev/start.py is not here: 'whimbrel up' works in a checkout",
            remedy="Run a Temporal server, set WHIMBREL_TEMPORAL_ADDRESS, and start 'whimbrel serve' and "
            "'whimbrel worker'.",
        )
    return script


def require_free(ports: Ports) -> None:
    """Raises InvalidRequest naming each port that something listens on."""
    options = {"--port": ports.api, "--temporal-port": ports.temporal, "--ui-port": ports.ui}
    taken = [f"{option} {port}" for option, port in options.items() if not is_free(port)]
    if taken:
        raise InvalidRequest(
            f"in use on 127.0.0.1: {', '.join(taken)}",
            remedy="Stop what listens there (another 'whimbrel up'?), or give other ports.",
        )


def is_free(port: int) -> bool:
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def api_answers(port: int) -> bool:
    """Whether GET /v1/health does, over TLS that we trust."""
    try:
        return httpx.get(f"https://127.0.0.1:{port}/v1/health", verify=trust(), trust_env=False, timeout=2).is_success
    except (httpx.HTTPError, TlsFailed):
        return False


def worker_polls(settings: Settings) -> bool:
    """Whether anybody polls our task queues for workflows and for activities, or would if it had a place."""
    return workers(settings) in (Workers.POLL, Workers.BUSY)


def workers(settings: Settings) -> Workers:
    """What Temporal says of workers; UNKNOWN when it does not answer."""

    async def ask() -> Workers:
        return await polling.workers(await settings.connect())

    return _answered(ask, Workers.UNKNOWN)


def temporal_answers(settings: Settings) -> bool:
    """Whether its frontend serves."""

    async def ask() -> bool:
        return await (await settings.connect()).service_client.check_health()

    return _answered(ask, False)


def _answered(ask: Callable[[], Coroutine[Any, Any, T]], otherwise: T) -> T:
    try:
        return asyncio.run(asyncio.wait_for(ask(), 5))
    except (RuntimeError, RPCError, TimeoutError):
        return otherwise


def own_key() -> None:
    """Make sure that this user's own commands have a key, and that the API accepts it."""
    file = key_file()
    if file.exists() and KeyFile().accepts(file.read_text().strip()):
        return
    if any(key["name"] == OWN_KEY for key in list_keys()):
        revoke_key(OWN_KEY)
    write_private(file, create_key(OWN_KEY).encode())


def _greet(ports: Ports, children: Sequence[Child]) -> None:
    say = current().console.print
    say(f"\n[bold]Whimbrel is up[/]   https://127.0.0.1:{ports.api}/docs")
    say(f"  Temporal UI      http://127.0.0.1:{ports.ui}")
    say(f"  home             {home()}", soft_wrap=True)
    say(f"  API keys         {api_keys_file()}", soft_wrap=True)
    say(f"  your key         {key_file()}  (read by 'whimbrel'; for curl: $(cat {key_file()}))", soft_wrap=True)
    say(f"  certificate      {home() / 'api' / 'certs' / 'server.crt'}", soft_wrap=True)
    say(f"  logs             {home() / 'logs'}", soft_wrap=True)
    say(f"  processes        {', '.join(f'{c.name} {c.pid}' for c in children)}")
    if f"https://127.0.0.1:{ports.api}" != DEFAULT_URL:
        say(f"  for 'whimbrel'   export WHIMBREL_URL=https://127.0.0.1:{ports.api}")
    say("Ctrl-C stops it.\n")


def _stay(children: Sequence[Child], stopping: threading.Event) -> None:
    """Until told to stop; a process that ends meanwhile is started again."""
    while not stopping.wait(0.5):
        for child in children:
            if child.ended is not None:
                current().console.print(f"{child.name} ended with exit code {child.ended}; starting it again")
                stopping.wait(RESTART_SECONDS)
                child.start()
