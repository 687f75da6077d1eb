"""``layouts.json`` in the migration's working directory: what tables looked like when their changes began to go to a
queue alone.

Where there is a database, its progress tables hold this. A queue has no room for it beside the position, and a worker
without the file knows no more than what the tables look like now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from whimbrel.model.names import TableName
from whimbrel.model.table import Table
from whimbrel.pipeline.files import replace_file

NAME = "layouts.json"


def write_layouts(workdir: Path, operation: str, tables: Sequence[Table]) -> None:
    """Replace the file in one step. ``operation`` is the one that begins there."""
    content = {"begun_by": operation, "tables": [[t.name.schema, t.name.table, t.fingerprint] for t in tables]}
    replace_file(workdir / NAME, json.dumps(content, separators=(",", ":")).encode())


def read_layouts(workdir: Path, operation: str) -> Mapping[TableName, str]:
    """Fingerprints of the tables when ``operation`` began; empty when that is not known."""
    try:
        content = json.loads((workdir / NAME).read_text())
        if content["begun_by"] != operation:
            return {}
        return {TableName(schema, table): str(fingerprint) for schema, table, fingerprint in content["tables"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
