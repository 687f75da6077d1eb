"""How a prerequisite is judged; shared by the ``checks.py`` of all engines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from whimbrel.connectors.protocols import CheckResult
from whimbrel.errors import InvalidRequest, ReplicaIdentityMissing, ReplicationFailed, ValidateFailed
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Table

MODES = ("data", "replication", "data+replication")
SHOWN = 20  # names in one message
_OWN = (Annotation.NATIVE, Annotation.SPATIAL)


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


def definitions(engine: str, only: str, family: str, tables: Sequence[Table]) -> Iterator[CheckResult]:
    """What a source's definitions mean for a migration. ``only``: who has the engine's own types; ``family``: who takes
    them."""
    yield offenders(
        f"{engine}.tables_without_key",
        [str(t.name) for t in tables if not t.key],
        "every table has a key",
        "tables without a primary key or a unique key of NOT NULL columns",
        "Add a key. Without one an interrupted load starts the table again, changes are found by the whole row, which "
        "is slow, and validation compares rows as multisets.",
        otherwise="warn",
    )
    yield offenders(
        f"{engine}.types",
        [f"{t.name}.{c.name} ({c.type.native})" for t in tables for c in t.loaded_columns if c.type.annotation in _OWN],
        "every column type travels to other engines",
        f"columns of types that only {only} has",
        f"They are copied to {family} targets only; leave the tables out, or change the types, for any other.",
        otherwise="warn",
    )


def keyless(tables: Sequence[str]) -> ReplicaIdentityMissing:
    """What is raised of tables without a key where the target may write a batch in several transactions."""
    return ReplicaIdentityMissing(
        f"tables without a key: {listed(tables)}; the target may write a batch in several transactions, so that "
        "their changes might come twice",
        remedy="Give these tables a primary key, or leave them out of what is replicated; they can be loaded.",
        tables=list(tables[:100]),
    )


def unfollowed(type: str) -> ReplicationFailed:
    """What is raised where changes of a source are asked for that cannot be read from its log yet."""
    return ReplicationFailed(
        f"changes of {type} are not read yet: its rows can be moved, and what is changed afterwards cannot be followed",
        remedy="Move the rows only (operation data) while nobody writes to the source, or stop its applications first.",
    )


def uncompared(type: str) -> ValidateFailed:
    """What is raised where rows of an engine are to be compared that cannot be compared yet."""
    return ValidateFailed(
        f"rows on {type} are not compared yet",
        remedy="Compare counts and sums with a tool of your own.",
    )


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
