"""The worker's log: one JSON object a line, or plain text on a terminal; never a secret."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

from activities.masking import MaskingFilter


class JsonLines(logging.Formatter):
    """``time`` (UTC), ``level``, ``logger``, ``message``, and ``operation`` and ``traceback`` where there are."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        operation = getattr(record, "operation", None) or getattr(record, "temporal_activity", {}).get("workflow_id")
        if operation:
            line["operation"] = operation
        if record.exc_text:
            line["traceback"] = record.exc_text
        return json.dumps(line, ensure_ascii=False)


def set_up(stream: TextIO = sys.stderr) -> None:
    """Send everything from INFO up to ``stream``."""
    handler = logging.StreamHandler(stream)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(plain if stream.isatty() else JsonLines())
    handler.addFilter(MaskingFilter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # An activity that fails is logged by the step itself, in words; the SDK's own traceback adds nothing to it.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
