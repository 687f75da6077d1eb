"""The process: local-bigquery with the mends, on loopback. ``python -m tests.emulators.bigquery.serve SETTINGS``

``SETTINGS`` is a JSON file, so that no secret is seen in the list of processes:

- ``port``: where to listen; ``folder``: datasets and jobs, found again by the next start; ``project``: its only one;
- ``statements``: file to which each script or statement is appended as ``{"job": ..., "sql": ...}``;
- ``accounts``: by e-mail address the public key, in PEM; ``token_seconds``: how long a token lasts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn

from tests.emulators.bigquery import login, mends


def main(settings: Path) -> None:
    chosen = json.loads(settings.read_text())
    uvicorn.run(application(chosen), host="127.0.0.1", port=chosen["port"], log_level="warning")


def application(chosen: dict[str, Any]) -> Any:
    from local_bigquery.settings import settings

    settings.data_dir = Path(chosen["folder"]) / "data"
    settings.default_project_id = chosen["project"]
    from local_bigquery.app import app

    faults = mends.install(Path(chosen["statements"]))
    return login.Door(app, chosen["accounts"], float(chosen["token_seconds"]), faults)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
