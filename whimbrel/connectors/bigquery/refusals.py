"""What BigQuery's errors mean to us, by the reasons that its vendor gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from whimbrel.errors import (
    AuthenticationFailed,
    ConnectionRefused,
    DatabaseMissing,
    HostUnreachable,
    InternalError,
    LoaderFailed,
    SchemaFailed,
    TableMissing,
    TargetFull,
    TargetInterrupted,
    TargetPermissionDenied,
    TlsFailed,
    ValueRefused,
    WhimbrelError,
)

# What our own scripts end with, which code reads; never a sentence, never a value. Only where the vendor's words begin:
# further in they may quote one.
_RAISED: Final = re.compile(r"(?:Query error: )?(whimbrel:([a-z]+)((?::-?\d+)*))(?![\w:])")
_THROTTLED: Final = frozenset(
    {
        *("rateLimitExceeded", "jobRateLimitExceeded", "tableUnavailable", "jobBackendError", "backendError"),
        *("internalError", "jobInternalError", "badGateway"),
    }
)
# A script that ends so has not begun. Of the others nobody knows whether they failed before their commit or behind it.
_NOT_BEGUN: Final = frozenset({"rateLimitExceeded", "jobRateLimitExceeded"})
_CONFLICT: Final = re.compile(r"(?i)concurrent update|concurrent transaction|could not serialize")
_DENIED: Final = frozenset({"accessDenied", "forbidden", "insufficientPermissions"})
_FULL: Final = frozenset({"quotaExceeded", "billingTierLimitExceeded", "bytesBilledLimitExceeded"})
_BILLING: Final = frozenset({"billingNotEnabled", "blocked", "accountDisabled"})
_DUPLICATES: Final = re.compile(r"(?i)must match at most one source row")
_SYNTAX: Final = re.compile(r"(?i)syntax error|unrecognized name|function not found|no matching signature|not found in")
_NULL: Final = re.compile(r"(?i)required field|cannot be null|NOT NULL constraint|null value")
_VALUE: Final = re.compile(
    r"(?i)out of range|overflow|invalid|bad (?:int64|double|bool|numeric|bignumeric)|too long|exceeds|maximum length|"
    r"has maximum (?:length|precision)|could not (?:cast|convert|parse)|wide number|cannot round|precision|"
    r"conversion error"
)
_GRANT: Final = "Run the target statements that POST /v1/prereqs lists."


def raised(error: WhimbrelError) -> tuple[str, tuple[int, ...]] | None:
    """What one of our scripts has ended itself with, and its numbers; None where something else did."""
    found = _RAISED.match(str(error.details.get("raised", "")))
    return (found[2], tuple(int(n) for n in found[3].split(":") if n)) if found else None


def login_refusal(error: Any, parameters: Mapping[str, Any]) -> ConnectionRefused:
    """Why nobody could log in. ``error`` is the driver's; nothing of the key is in what is told."""
    where, text, status, kind = place(parameters), _said(error), _status(error), type(error).__name__
    if kind == "DefaultCredentialsError":
        return AuthenticationFailed(
            f"{where}: this machine has no application default credentials",
            remedy="Give 'credentials_json', or set them up where the workers run (gcloud auth application-default "
            "login, a service account of the machine, or GOOGLE_APPLICATION_CREDENTIALS).",
        )
    if kind in ("RefreshError", "MalformedError", "InvalidOperation") or status == 401:
        return AuthenticationFailed(
            f"{where} does not take the key: it is unknown, disabled or has expired",
            remedy="Give the text of a new key file of the service account as 'credentials_json'.",
        )
    if status == 403:
        return AuthenticationFailed(
            f"{where}: the account may not use the dataset {parameters['dataset']}, or BigQuery is not enabled: {text}",
            remedy=_GRANT,
        )
    if "certificate" in text.lower() or "ssl" in text.lower():
        return TlsFailed(f"{where}: {text}")
    if kind in ("ValueError", "KeyError"):
        return AuthenticationFailed(f"{where}: 'credentials_json' is no whole key")
    if status is None or status >= 500 or status == 429:
        return HostUnreachable(f"{where} cannot be reached, or does not answer: {text}")
    return ConnectionRefused(f"{where} refused the login: {text} (HTTP {status})")


def server_refusal(error: Any, *, done_nothing: bool = False) -> WhimbrelError:
    """What a job's or a request's error means. Values never enter the message: where one may stand, only what kind of
    error it is does. ``done_nothing``: it is that of a job which is over, and so may be sent again."""
    reason, text, status = _reason(error), _said(error), _status(error)
    if found := _RAISED.match(text):
        return LoaderFailed("a transaction has ended itself", raised=found[1])
    if _CONFLICT.search(text) and (reason in ("invalidQuery", "invalid", "aborted", "") or status in (400, 409, 412)):
        return TargetInterrupted(
            f"another transaction changes a table of this one: {_plain(text)}",
            for_a_moment=done_nothing,
            conflict=True,
        )
    if reason in _THROTTLED or status in (429, 500, 502, 503, 504):
        return TargetInterrupted(
            f"BigQuery does not serve a request now ({reason or status})",
            for_a_moment=done_nothing and reason in _NOT_BEGUN,
        )
    if reason in ("stopped", "cancelled"):
        return TargetInterrupted("the job was cancelled")
    if reason in _BILLING:
        return TargetFull(f"the project cannot be billed ({reason})", remedy="Enable billing for the project.")
    if reason in _FULL:
        return TargetFull(
            f"a quota of the project is used up: {_plain(text)}",
            remedy="Wait until it is renewed, or ask for a higher one (IAM and admin, quotas).",
        )
    if status == 401 or type(error).__name__ == "RefreshError":
        return TargetPermissionDenied(
            "BigQuery does not take the key any more",
            remedy="Give the target a new key as 'credentials_json', and resume.",
        )
    if reason in _DENIED or status == 403:
        return TargetPermissionDenied(_plain(text), remedy=_GRANT)
    if reason == "notFound" or status == 404:
        return TableMissing(_plain(text), remedy=f"Run schema/apply first. {_GRANT}")
    if _DUPLICATES.search(text):
        return ValueRefused(
            "BigQuery found two rows for one row of a table",
            remedy="Look for rows with equal keys on the source or the target, and report it if there are none.",
        )
    if _NULL.search(text):
        return ValueRefused("BigQuery cannot hold a value as it is: NULL in a column that takes none")
    if reason == "invalidQuery" and _SYNTAX.search(text):
        return SchemaFailed(_plain(text))
    if reason in ("responseTooLarge", "resourcesExceeded"):
        return LoaderFailed(f"a statement needs more than BigQuery gives it ({reason})")
    if reason in ("invalid", "invalidQuery") and _VALUE.search(text):
        return ValueRefused(
            "BigQuery cannot hold a value as it is: too long for its column, out of its type's range, or a document "
            "with a number that it would round",
            remedy="Give the target's column a wider type: STRING without a length, BIGNUMERIC, or STRING for JSON.",
        )
    if reason == "duplicate":
        return SchemaFailed(_plain(text))
    if reason:
        return LoaderFailed(f"BigQuery refused a job ({reason}): {_plain(text)}")
    if isinstance(error, OSError) or type(error).__module__.split(".")[0] in ("requests", "urllib3", "google"):
        return TargetInterrupted(f"the link to BigQuery broke: {type(error).__name__}")
    return InternalError(f"BigQuery's driver failed: {type(error).__name__}")


def missing_dataset(parameters: Mapping[str, Any]) -> DatabaseMissing:
    where = parameters.get("location", "<location>")
    return DatabaseMissing(
        f"the project {parameters['project']} has no dataset {parameters['dataset']}, or the account does not see it",
        remedy=f"Make it (bq mk --location={where} --dataset {parameters['project']}:{parameters['dataset']}), or "
        "correct 'project' and 'dataset'.",
    )


def other_location(parameters: Mapping[str, Any], there: str) -> ConnectionRefused:
    return ConnectionRefused(
        f"the dataset {parameters['dataset']} is in {there}, not in {parameters['location']}",
        remedy="Correct 'location', or leave it out: jobs run where the dataset is.",
    )


def place(parameters: Mapping[str, Any]) -> str:
    return f"{parameters.get('endpoint', 'bigquery.googleapis.com')} (project {parameters['project']})"


def _reason(error: Any) -> str:
    """The vendor's word for what is wrong; '' where there is none."""
    cause = getattr(error, "cause", None) or error
    found = next((e for e in getattr(cause, "errors", None) or () if isinstance(e, Mapping) and e.get("reason")), {})
    return str(found.get("reason", ""))


def _status(error: Any) -> int | None:
    cause = getattr(error, "cause", None) or error
    code = getattr(cause, "code", None)
    return int(code) if isinstance(code, int) else None


def _said(error: Any) -> str:
    """The first line of the vendor's own words, without the request's address."""
    cause = getattr(error, "cause", None) or error
    errors = [e for e in getattr(cause, "errors", None) or () if isinstance(e, Mapping)]
    whole = str(errors[0].get("message", "")) if errors else str(getattr(cause, "message", None) or cause)
    lines = [line.strip() for line in whole.splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def _plain(text: str) -> str:
    """Without what stands in quotes of a text, which may be a value."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "…", text)
