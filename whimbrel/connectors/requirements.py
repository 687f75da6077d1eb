"""What must be true of a server, said once: the checks before an operation tell it, and the operation refuses by it.

A requirement is made of what was read already; nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from whimbrel.connectors.protocols import CheckResult
from whimbrel.connectors.verdicts import listed, verdict
from whimbrel.errors import WhimbrelError


@dataclass(frozen=True)
class Requirement:
    """``id`` is the check's; ``ok`` and ``problem`` are its messages, and ``problem`` the refusal's too. One that only
    warns (``otherwise``) refuses nothing."""

    id: str
    met: bool
    ok: str
    problem: str
    remedy: str
    error: type[WhimbrelError]
    otherwise: Literal["warn", "fail"] = "fail"
    details: Mapping[str, Any] = field(default_factory=dict)


def nothing_found(
    id: str, found: Sequence[str], ok: str, problem: str, remedy: str, error: type[WhimbrelError], detail: str
) -> Requirement:
    """One that is met when nothing was found; ``problem`` is followed by what was, which is the ``detail``."""
    return Requirement(
        id, not found, ok, f"{problem}: {listed(found)}", remedy, error, details={detail: list(found[:100])}
    )


def results(requirements: Iterable[Requirement]) -> Iterator[CheckResult]:
    """As checks."""
    for r in requirements:
        yield verdict(r.id, r.met, r.ok, r.problem, r.remedy, r.otherwise)


def require(requirements: Iterable[Requirement]) -> None:
    """Raise the error of the first that is not met; what comes behind it is not asked for."""
    for r in requirements:
        if not r.met and r.otherwise == "fail":
            raise r.error(r.problem, remedy=r.remedy, **r.details)
