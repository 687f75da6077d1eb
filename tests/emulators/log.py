"""What a stand-in was asked."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Log:
    """Statements, one JSON object a line."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()

    def add(self, client: str, sql: str) -> None:
        line: dict[str, Any] = {"at": datetime.now(UTC).isoformat(), "client": client, "sql": sql}
        with self._lock, self._file.open("a") as sink:
            sink.write(json.dumps(line) + "\n")
