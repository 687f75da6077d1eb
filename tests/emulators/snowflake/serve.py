"""The process: fakesnow's server with the mends, on loopback. ``python -m tests.emulators.snowflake.serve SETTINGS``

``SETTINGS`` is a JSON file, so that no secret is seen in the list of processes:

- ``port``: where to listen; ``folder``: databases and stages, found again by the next start;
- ``statements``: file to which each statement is appended as ``{"session": 1, "application": "...", "sql": "..."}``;
- ``users``: by name in capitals ``{"password": ..., "public_key": PEM}``;
- ``warehouses``, ``roles``: names in capitals that there are, the first role being the default;
- ``idle_seconds``: how long a transaction may keep others waiting without a sign of life (Snowflake: five minutes).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import uvicorn

from tests.emulators.snowflake.routes import application


def main(settings: Path) -> None:
    chosen = json.loads(settings.read_text())
    uvicorn.run(application(chosen), host="127.0.0.1", port=chosen["port"], log_level="warning")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
