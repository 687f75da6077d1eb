"""``whimbrel doctor``: what is wrong with this machine's setup, and what to do about it."""

from __future__ import annotations

import os
import platform
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from whimbrel.catalog.home import api_keys_file, certificate_files, home, secret_key_file
from whimbrel.catalog.store import Catalog
from whimbrel.cli import show, stack
from whimbrel.cli.session import DEFAULT_URL, current, key_file
from whimbrel.errors import WhimbrelError
from worker.polling import Workers
from worker.settings import Settings


@dataclass(frozen=True)
class Finding:
    """``status`` is 'ok', 'warn' (works, but) or 'fail'."""

    check: str
    status: str
    message: str
    remedy: str = ""


def examine() -> None:
    """Print what was found; typer.Exit with code 1 when something fails."""
    findings = [finding for check in CHECKS for finding in check()]
    rows = [asdict(f) for f in findings]
    show.table({"checks": rows}, rows, ("check", "status", "message", "remedy"))
    if any(f.status == "fail" for f in findings):
        raise typer.Exit(show.FAILED)


def _python() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")


def _home() -> Iterator[Finding]:
    folder = home()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=existing):
            yield Finding("home", "ok", f"{folder} can be written")
    except OSError as e:
        yield Finding(
            "home", "fail", f"{folder} cannot be written: {e.strerror}", "Set WHIMBREL_HOME to another folder."
        )


def _secrets() -> Iterator[Finding]:
    """Files that nobody but their owner may read."""
    for file in (api_keys_file(), certificate_files()[1], secret_key_file(), key_file()):
        if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
            yield Finding("modes", "fail", f"{file} can be read by others", f"chmod 600 {file}")
    if not api_keys_file().exists():
        yield Finding("keys", "warn", "no API key exists", "whimbrel keys create NAME")
    else:
        yield Finding("keys", "ok", str(api_keys_file()))


def _catalog() -> Iterator[Finding]:
    if not os.environ.get("WHIMBREL_CATALOG_URL") and not (home() / "catalog").exists():
        yield Finding("catalog", "ok", "will be made at first start")
        return
    try:
        catalog = Catalog.open()
        running = len(catalog.running_operations())
        catalog.close()
        yield Finding("catalog", "ok", f"opens; {running} operations run")
    except WhimbrelError as e:
        yield Finding("catalog", "fail", e.message, e.how_to_fix)


def _temporal() -> Iterator[Finding]:
    try:
        settings = Settings.from_environment()
    except WhimbrelError as e:
        yield Finding("temporal", "fail", e.message, e.how_to_fix)
        return
    if not stack.temporal_answers(settings):
        remedy = "Start it with 'whimbrel up' or temporal-dev/start.py, or set WHIMBREL_TEMPORAL_ADDRESS."
        yield Finding("temporal", "fail", f"no answer at {settings.address}", remedy)
        return
    yield Finding("temporal", "ok", f"answers at {settings.address}, namespace {settings.namespace}")
    match stack.workers(settings):
        case Workers.POLL:
            yield Finding("worker", "ok", "polls")
        case Workers.BUSY:
            busy = "every worker has as many operations as it takes (WHIMBREL_WORKER_ACTIVITIES): others wait"
            yield Finding("worker", "warn", busy, "start another one: whimbrel worker")
        case Workers.MISSING:
            yield Finding("worker", "fail", "no worker polls", "whimbrel worker")
        case Workers.UNKNOWN:
            yield Finding("worker", "warn", "Temporal does not say whether one polls", "whimbrel worker")


def _ports() -> Iterator[Finding]:
    """A port in use is right when our own server stands there."""
    if stack.api_answers(9443):
        yield Finding("api", "ok", "answers at https://127.0.0.1:9443")
    elif stack.is_free(9443):
        yield Finding(
            "api", "warn", "does not run on this machine; port 9443 is free", "whimbrel up, or whimbrel serve"
        )
    else:
        remedy = "Stop what listens there, or give --port another number."
        yield Finding("api", "fail", "something else listens on port 9443", remedy)
    if current().url != DEFAULT_URL:
        yield Finding("url", "ok", f"'whimbrel' talks to {current().url}")


def _disk() -> Iterator[Finding]:
    folder: Path = next(p for p in (home(), *home().parents) if p.exists())
    figures = os.statvfs(folder)
    free = figures.f_bavail * figures.f_frsize / 1e9
    if free < 1:
        yield Finding("disk", "warn", f"{free:.1f} GB free for staged files", "Free some, or move WHIMBREL_HOME.")
    else:
        yield Finding("disk", "ok", f"{free:.0f} GB free for staged files")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _home, _disk, _secrets, _catalog, _temporal, _ports)
