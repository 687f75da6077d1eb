"""What a workflow and its steps are called in Temporal's UI: one line each, of names and numbers."""

from __future__ import annotations

from workflows.messages import OperationRequest, Title

LONGEST = 380  # bytes; Temporal refuses a summary of more than 400

STEPS = {  # activity -> what it does
    "extract_schema": "write the definitions to files",
    "apply_schema": "make the tables",
    "apply_objects": "make indexes, foreign keys, views and the rest",
    "data_state": "see whether an earlier load is complete",
    "copy_data": "copy every row",
    "replicate": "follow every change",
    "reset_target": "reset the target",
    "validate_data": "compare source and target",
    "set_pause": "bring it to rest, or let it go on",
    "clean_up": "end connections, remove staged files",
    "record_outcome": "record how it ended",
    "look_at_idle": "look at what sources keep for migrations that nobody follows",
}


def workflow_title(request: OperationRequest) -> str:
    """``shop: old (postgres) → new (mariadb), 12 tables``; the mode where more is not known."""
    return bounded(f"{request.migration}: {request.title.text if request.title else request.mode}")


def step_title(activity: str, title: Title | None) -> str:
    """``copy every row: old (postgres) → new (mariadb), 12 tables``."""
    what = STEPS.get(activity, activity)
    return bounded(f"{what}: {title.text}" if title else what)


def bounded(text: str) -> str:
    """Cut where Temporal would refuse it."""
    encoded = text.encode("utf-8", "replace")
    return text if len(encoded) <= LONGEST else encoded[: LONGEST - 3].decode("utf-8", "ignore") + "…"
