"""What OpenAPI says about each path: its answer inside the envelope, and the errors it may give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.results import Envelope
from whimbrel.errors import (
    AuthFailed,
    ConnectionRefused,
    ExtractorFailed,
    InternalError,
    InvalidRequest,
    LoaderFailed,
    SchemaFailed,
    WhimbrelError,
)

Responses = dict[int | str, dict[str, Any]]
Errors = Sequence[type[WhimbrelError]]

STEP_ERRORS: Errors = (ConnectionRefused, SchemaFailed, ExtractorFailed, LoaderFailed)  # of all that meets both sides
ALWAYS: Errors = (InvalidRequest, AuthFailed, InternalError)  # what any path may answer


def responses(
    result: type[Any], example: Any, *errors: type[WhimbrelError], in_body: Errors = (), far_end: Errors = ()
) -> Responses:
    """The 200 answer with an example of its ``result``, and one entry for each status of ``errors``.

    ``in_body``: what a body names and does not exist, which is 400; ``far_end``: what a test answers with 200.
    """
    model: Any = Envelope
    envelope = {"success": True, "result": example, "error": None, "duration": "12ms"}
    refused = f" Or `success` is false: {', '.join(e.code for e in far_end)}." if far_end else ""
    found: Responses = {
        200: {
            "model": model[result],
            "description": f"Done.{refused}",
            "content": {"application/json": {"example": envelope}},
        }
    }
    codes: dict[int, set[str]] = {}
    for error in (*errors, *ALWAYS):
        codes.setdefault(error.status, set()).add(error.code)
    codes[InvalidRequest.status] |= {e.code for e in in_body}
    for status in sorted(codes):
        found[status] = {"model": Envelope[None], "description": ", ".join(sorted(codes[status]))}
    return found
