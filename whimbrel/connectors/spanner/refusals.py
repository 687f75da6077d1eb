"""What Spanner's errors mean to us, by their codes, and by words of the vendor's where one code means several things.

Its messages quote keys and values, so none of it is told but names of tables, columns, indexes and constraints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from whimbrel.connectors.spanner.config import HOST
from whimbrel.errors import (
    AuthenticationFailed,
    ConnectionRefused,
    DatabaseMissing,
    HostUnreachable,
    LoaderFailed,
    SchemaFailed,
    TableMissing,
    TargetInterrupted,
    TargetPermissionDenied,
    TlsFailed,
    ValueRefused,
    WhimbrelError,
)

# Served later, or of a request whose answer was lost: nobody knows what a commit that ends so has done.
BUSY: Final = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "CANCELLED"})
_NAME = r"[A-Za-z][A-Za-z0-9_.]*"
_TOO_LARGE: Final = re.compile(
    r"(?i)too many mutations|(?:transaction|commit|request|message).{0,60}(?:too large|exceeds|larger than)|"
    r"larger than max|exceeds the maximum (?:commit|transaction|mutation)"
)
_SESSION: Final = re.compile(r"(?i)session not found|session does not exist")
_DATABASE: Final = re.compile(r"(?i)(?:database|instance|project)\b.{0,20} not found|database does not exist")
_ROW: Final = re.compile(rf"(?i)table ({_NAME}): row .* not found|row .* in table ({_NAME}) (?:not found|is missing)")
_EXISTS: Final = re.compile(rf"(?i)table ({_NAME}): row .* already exists|row .* in table ({_NAME}) already exists")
_UNIQUE: Final = re.compile(rf"(?i)unique (?:index )?violation (?:on|at) index ({_NAME})")
_FOREIGN: Final = re.compile(rf"(?i)foreign key (?:constraint )?`({_NAME})`? (?:constraint violation|is violated)")
_REFERRED: Final = re.compile(rf"(?i)foreign key constraint violation when .*? in (?:the )?table `?({_NAME})`?")
_CHECK: Final = re.compile(rf"(?i)check constraint `?({_NAME})`? is violated")
_TABLE: Final = re.compile(
    rf"(?i)table not found:? `?({_NAME})`?|unknown table `?({_NAME})`?|could not find table `?({_NAME})`?"
)
_COLUMN: Final = re.compile(rf"(?i)column not found in table `?({_NAME})`?: `?({_NAME})`?")
_VALUE: Final = re.compile(
    rf"(?i)(?:size limit for this column|null value for column|not specify a null|must not be null)[^:]*: ({_NAME})"
)
_LATER: Final = re.compile(
    r"(?i)schema change.{0,80}(?:concurrent|in progress|try again)|retry the (?:operation|transaction)"
)
_GRANT: Final = "Run the target statements that POST /v1/prereqs lists."
_WIDER: Final = "Give the target's column a wider type: STRING(MAX), BYTES(MAX), or STRING for numbers and documents."


def login_refusal(error: Any, parameters: Mapping[str, Any]) -> WhimbrelError:
    """Why nobody could log in. ``error`` is the driver's; nothing of the key is in what is told."""
    where, code, said, kind = place(parameters), code_of(error), words(error), type(error).__name__
    if kind == "DefaultCredentialsError":
        return AuthenticationFailed(
            f"{where}: this machine has no application default credentials",
            remedy="Give 'credentials_json', or set them up where the workers run (gcloud auth application-default "
            "login, a service account of the machine, or GOOGLE_APPLICATION_CREDENTIALS).",
        )
    if (
        code == "UNAUTHENTICATED"
        or kind in ("RefreshError", "MalformedError", "InvalidOperation")
        or "RefreshError" in said
    ):
        return AuthenticationFailed(
            f"{where} does not take the key: it is unknown, disabled or has expired",
            remedy="Give the text of a new key file of the service account as 'credentials_json'.",
        )
    if code == "PERMISSION_DENIED":
        return AuthenticationFailed(
            f"{where}: the account may not use the database {parameters['database']}, or Spanner is not enabled",
            remedy=_GRANT,
        )
    if code == "NOT_FOUND":
        return DatabaseMissing(
            f"{where}: the instance {parameters['instance']} has no database {parameters['database']}, or there is no "
            "such instance",
            remedy=f"Make it (gcloud spanner databases create {parameters['database']} --instance="
            f"{parameters['instance']} --project={parameters['project']}), or correct 'instance' and 'database'.",
        )
    if "certificate" in said.lower() or "ssl" in said.lower():
        return TlsFailed(f"{where}: the certificate was not taken")
    if code in BUSY:
        return HostUnreachable(f"{where} cannot be reached, or does not answer ({code})")
    if kind in ("ValueError", "KeyError"):
        return AuthenticationFailed(f"{where}: 'credentials_json' is no whole key")
    if code is None:
        return HostUnreachable(f"{where} cannot be reached: {kind}")
    return ConnectionRefused(f"{where} refused the login ({code})")


def wrong_dialect(parameters: Mapping[str, Any]) -> ConnectionRefused:
    return ConnectionRefused(
        f"the database {parameters['database']} is of the PostgreSQL dialect, and only GoogleSQL is written here",
        remedy=f"Make one of the other dialect (gcloud spanner databases create NAME "
        f"--instance={parameters['instance']} --database-dialect=GOOGLE_STANDARD_SQL), and name it in 'database'.",
    )


def server_refusal(error: Any, what: str = "") -> WhimbrelError:
    """What a request's error means; ``what`` says in our words what it was for."""
    code, said = code_of(error) or "UNKNOWN", words(error)
    of = f"{what}: " if what else ""
    if code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "OUT_OF_RANGE") and _TOO_LARGE.search(
        said
    ):
        return LoaderFailed(f"{of}Spanner takes no commit of this size", too_large=True)
    if code == "ABORTED" or (code == "NOT_FOUND" and _SESSION.search(said)):
        return TargetInterrupted(f"{of}a transaction was in another one's way, or its session is gone", aborted=code)
    if code in BUSY:
        return TargetInterrupted(f"{of}Spanner does not serve a request now ({code})", busy=code)
    if code == "FAILED_PRECONDITION" and _LATER.search(said):
        return TargetInterrupted(f"{of}another change of definitions is under way in the database", busy=code)
    if code == "UNAUTHENTICATED":
        return TargetPermissionDenied(
            f"{of}Spanner does not take the key any more",
            remedy="Give the target a new key as 'credentials_json', and resume.",
        )
    if code == "PERMISSION_DENIED":
        return TargetPermissionDenied(f"{of}the account may not do this", remedy=_GRANT)
    return _by_words(code, said, of)


def _by_words(code: str, said: str, of: str) -> WhimbrelError:
    if found := _ROW.search(said):
        return ValueRefused(f"{of}a row of {_first(found)} is not there", row_missing=True)
    if found := _EXISTS.search(said):
        return ValueRefused(
            f"{of}{_first(found)} has a row with the key of one that was to come",
            remedy="Something else has written to the target table: reset it and load it again.",
            exists=True,
        )
    if found := _UNIQUE.search(said):
        return ValueRefused(
            f"{of}the unique index {found[1]} has the values of a row already",
            remedy="Look for the row on the target, which something else has written, or drop the index there.",
            constraint=found[1],
        )
    for pattern, noun in ((_FOREIGN, "foreign key"), (_REFERRED, "foreign key of table"), (_CHECK, "check")):
        if found := pattern.search(said):
            return ValueRefused(
                f"{of}a row does not fit the {noun} {found[1]}",
                remedy="Correct these rows on the source, or drop it on the target.",
                constraint=found[1],
            )
    if found := _COLUMN.search(said):
        return SchemaFailed(f"{of}the table {found[1]} has no column {found[2]}")
    if found := _TABLE.search(said):
        return TableMissing(f"{of}there is no table {_first(found)}", remedy=f"Run schema/apply first. {_GRANT}")
    if _DATABASE.search(said):
        return TargetInterrupted(f"{of}the database is gone, or was replaced")
    if found := _VALUE.search(said):
        return ValueRefused(
            f"{of}Spanner cannot hold a value as it is, in column {found[1]}: too long, or NULL where none is taken",
            remedy=_WIDER,
        )
    if code in ("FAILED_PRECONDITION", "OUT_OF_RANGE"):
        return ValueRefused(f"{of}Spanner cannot hold a value as it is, or a statement fails on one", remedy=_WIDER)
    if code == "ALREADY_EXISTS":
        return ValueRefused(f"{of}what was to be made is there already", exists=True)
    if code in ("INVALID_ARGUMENT", "NOT_FOUND"):
        return SchemaFailed(f"{of}Spanner refuses a statement ({code})")
    return LoaderFailed(f"{of}Spanner refused a request ({code})")


def definition_refusal(error: Any, statements: Sequence[str]) -> WhimbrelError:
    """The same of statements that make or change definitions; there the vendor's words are about names, but for
    rows that a key does not fit."""
    found = server_refusal(error)
    if found.retryable or isinstance(found, TargetPermissionDenied | TableMissing):
        return found
    said = words(error)
    quoted = _EXISTS.search(said) or _UNIQUE.search(said) or _FOREIGN.search(said) or "violat" in said.lower()
    head = f"{' '.join(statements[0].split())[:80]}…: " if len(statements) == 1 else ""
    return SchemaFailed(f"{head}{found.message if quoted else said}")


def place(parameters: Mapping[str, Any]) -> str:
    host = parameters.get("emulator_host") or parameters.get("endpoint", HOST)
    return f"{host} (project {parameters['project']}, instance {parameters['instance']})"


def code_of(error: Any) -> str | None:
    """The name of the error's code; None where it has none."""
    code = getattr(error, "code", None)
    code = code() if callable(code) else code
    name = getattr(code, "name", None)
    return str(name) if name else None


def words(error: Any) -> str:
    """The vendor's own words in one line."""
    details = getattr(error, "details", None)
    said = details() if callable(details) else getattr(error, "message", None) or str(error)
    return " ".join(str(said or "").split())[:500]


def _first(found: re.Match[str]) -> str:
    return next((group for group in found.groups() if group), "a table")
