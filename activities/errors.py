"""From the error tree to what Temporal decides by: retryable or not, with the registered code on board."""

from __future__ import annotations

import errno
import json
import logging
import traceback
import uuid
from typing import Any

from temporalio.exceptions import ApplicationError

from activities.masking import mask
from whimbrel.errors import Fenced, InternalError, StagingFull, WhimbrelError

log = logging.getLogger(__name__)

DETAIL_BYTES = 32 * 1024  # an error stands in Temporal's history, where nothing may grow with the database
LIST_ITEMS = 50
TEXT_CHARACTERS = 4000


def classify(error: Exception) -> WhimbrelError:
    """The error as a leaf of the tree. What is none of ours becomes InternalError, its traceback logged under an id."""
    if isinstance(error, WhimbrelError):
        return error
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return StagingFull(f"no space left: {error.filename or 'the working directory'}")
    error_id = uuid.uuid4().hex[:12]
    lines = mask("".join(traceback.format_exception(error)))
    log.error("internal error %s\n%s", error_id, lines)
    return InternalError(f"{type(error).__name__} in the worker, see error {error_id} in its log", id=error_id)


def is_retryable(error: WhimbrelError) -> bool:
    """Whether trying the step again can help.

    A fenced write means that two attempts overlapped: the older one's report is ignored by Temporal anyway, and the
    newer one has to claim the migration again.
    """
    return error.retryable or isinstance(error, Fenced)


def as_failure(error: WhimbrelError, *, retryable: bool | None = None, **options: Any) -> ApplicationError:
    """What an activity raises: ``type`` is the reason, ``details[0]`` the error object of the REST envelope."""
    payload = masked_json(error)
    final = not (is_retryable(error) if retryable is None else retryable)
    return ApplicationError(payload["message"], payload, type=error.reason(), non_retryable=final, **options)


def masked_json(error: WhimbrelError) -> dict[str, Any]:
    """``error.to_json()`` without secrets and of bounded size."""
    raw: dict[str, Any] = json.loads(json.dumps(error.to_json(), default=str))
    payload: dict[str, Any] = _trimmed(raw)
    if len(json.dumps(payload)) > DETAIL_BYTES:
        kept = {k: payload["details"][k] for k in ("reason", "remedy")}
        payload["details"] = {**kept, "truncated": True}
    return payload


def _trimmed(value: Any) -> Any:
    """Masked, with long texts and lists cut where a note says so."""
    if isinstance(value, str):
        text = mask(value).encode("utf-8", "replace").decode()  # Temporal's failures cannot hold lone surrogates
        return text if len(text) <= TEXT_CHARACTERS else f"{text[:TEXT_CHARACTERS]}… ({len(text)} characters)"
    if isinstance(value, list):
        more = [f"… and {len(value) - LIST_ITEMS} more"] if len(value) > LIST_ITEMS else []
        return [_trimmed(v) for v in value[:LIST_ITEMS]] + more
    if isinstance(value, dict):
        return {k: _trimmed(v) for k, v in value.items()}
    return value
