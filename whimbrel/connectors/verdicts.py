"""How a prerequisite is judged; shared by the ``checks.py`` of all engines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from whimbrel.connectors.protocols import CheckResult
from whimbrel.errors import InvalidRequest
from whimbrel.model.names import TableName

MODES = ("data", "replication", "data+replication")
SHOWN = 20  # names in one message


def verdict(
    id: str, good: bool, ok: str, problem: str, remedy: str, otherwise: Literal["warn", "fail"] = "fail"
) -> CheckResult:
    """The result of one check: ``ok`` is its message when ``good``, else ``problem`` with ``remedy``."""
    return CheckResult(id, "ok", ok) if good else CheckResult(id, otherwise, problem, remedy)


def offenders(
    id: str, found: Sequence[str], ok: str, problem: str, remedy: str, otherwise: Literal["warn", "fail"] = "fail"
) -> CheckResult:
    """A check that holds when nothing was found; ``problem`` is followed by what was."""
    return verdict(id, not found, ok, f"{problem}: {listed(found)}", remedy, otherwise)


def listed(names: Iterable[str]) -> str:
    """Names with commas, cut after SHOWN."""
    every = list(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def needs_changes(mode: str) -> bool:
    """Whether the mode reads or applies changes. Raises InvalidRequest for a mode that is none."""
    if mode not in MODES:
        raise InvalidRequest(f"mode: {mode!r} is none of {', '.join(MODES)}", field="mode")
    return mode != "data"


def schemas_of(tables: Sequence[TableName]) -> tuple[str, ...]:
    """The schemas named, each once, in order."""
    return tuple(dict.fromkeys(t.schema for t in tables))
