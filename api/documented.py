"""What OpenAPI says about each path: its answer inside the envelope, and the errors it may give."""

from __future__ import annotations

from typing import Any

from api.results import Envelope
from whimbrel.errors import WhimbrelError

Responses = dict[int | str, dict[str, Any]]


def responses(result: type[Any], example: Any, *errors: type[WhimbrelError]) -> Responses:
    """The 200 answer with an example of its ``result``, and one entry for each status of ``errors``."""
    model: Any = Envelope
    envelope = {"success": True, "result": example, "error": None, "duration": "12ms"}
    found: Responses = {
        200: {
            "model": model[result],
            "description": "Done.",
            "content": {"application/json": {"example": envelope}},
        }
    }
    for status in sorted({e.status for e in errors}):
        codes = sorted({e.code for e in errors if e.status == status})
        found[status] = {"model": Envelope[None], "description": ", ".join(codes)}
    return found
