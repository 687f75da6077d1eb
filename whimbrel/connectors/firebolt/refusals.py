"""What Firebolt's errors mean to us. Its documentation has no numbers for them, so that they are told apart by HTTP
status and by words; what is not known is neither retried nor taken for harmless."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import httpx

from whimbrel.errors import (
    AuthenticationFailed,
    ConnectionRefused,
    DatabaseMissing,
    HostUnreachable,
    InternalError,
    LoaderFailed,
    SchemaFailed,
    SchemaMismatch,
    TableMissing,
    TargetFull,
    TargetInterrupted,
    TargetPermissionDenied,
    TlsFailed,
    ValueRefused,
    WhimbrelError,
)

_CONFLICT: Final = re.compile(r"detected \d+ conflicts?|write.write conflict|transaction conflict", re.IGNORECASE)
_ENDED: Final = re.compile(
    r"transaction \S+ (does not exist|is not|has|was)|no transaction is in progress|transaction .*(expired|timed out)",
    re.IGNORECASE,
)
_TWICE: Final = re.compile(r"cannot affect row a second time|more than one (source )?row", re.IGNORECASE)
_VALUES: Final = (
    (re.compile(r"null mismatch|not.null", re.IGNORECASE), "NULL in a column that takes none"),
    (re.compile(r"byte sequence|0x00|utf-?8", re.IGNORECASE), "a text with NUL, or that is no UTF-8"),
    (re.compile(r"out of range|overflow", re.IGNORECASE), "a number or a day beyond its type"),
    (re.compile(r"unable to cast|cannot (cast|parse|convert)", re.IGNORECASE), "not a value of its column's type"),
)
_SHAPE: Final = re.compile(r"is of type .* but", re.IGNORECASE)
_ENGINE: Final = re.compile(r"\bengine\b.*(not running|stopped|stopping|starting|resuming|draining)", re.IGNORECASE)
_NO_ENGINE: Final = re.compile(r"\bengine\b.*(does not exist|not found)", re.IGNORECASE)
_NO_DATABASE: Final = re.compile(r"\bdatabase\b.*(does not exist|not found)", re.IGNORECASE)
_NO_LOCATION: Final = re.compile(r"\blocation\b.*(does not exist|not found)", re.IGNORECASE)
_NO_FILE: Final = re.compile(r"file .*(does not exist|not found)|no (files|objects) (found|match)", re.IGNORECASE)
_NO_UPLOAD: Final = re.compile(r"multipart|upload://", re.IGNORECASE)
_DENIED: Final = re.compile(r"not authorized|permission denied|privilege|access denied", re.IGNORECASE)
_MISSING: Final = re.compile(r"does not exist|not found|unknown (table|relation|object)", re.IGNORECASE)
_FULL: Final = re.compile(r"no space left|disk (is )?full|quota", re.IGNORECASE)
_BUSY: Final = re.compile(r"cancel+ed|interrupt|out of memory|memory limit|timed? ?out|unavailable|shutting down", re.I)
_SYNTAX: Final = re.compile(r"syntax error|compilation error|unsupported|primary index|already exists", re.IGNORECASE)
_QUOTED: Final = re.compile(r"'[^']*'")  # in words that nobody knows it may be a value
_LIMIT: Final = re.compile(r"limit exceeded|too many requests|rate limit", re.IGNORECASE)
_SILENT: Final = frozenset({408, 425, 500, 502, 504})
_WORDS_END: Final = 300

START: Final = "Start the engine (START ENGINE), or let it start by itself: ALTER ENGINE … SET AUTO_START = TRUE."
STAGE: Final = "Give the target a bucket: 'staging' (s3://bucket/folder), and 'staging_location', a LOCATION over it."


def login_refusal(error: BaseException, parameters: Mapping[str, Any]) -> WhimbrelError:
    """Why a session could not be opened. ``error`` is the driver's, or what ``server_refusal`` made of it."""
    where, text, status = place(parameters), _said(error), _status(error)
    name = type(error).__name__
    if status == 429 or (status or 0) >= 500 or _LIMIT.search(text):
        why = "the engine does not run yet, or the service is busy"
        return HostUnreachable(f"{where}: {why}: {text}", remedy=START)
    if name in ("AuthenticationError", "AuthorizationError") or status in (400, 401, 403):
        return AuthenticationFailed(
            f"{where}: the client id or the secret is wrong, or the service account has no user in the account"
        )
    if name == "AccountNotFoundOrNoAccessError":
        return ConnectionRefused(
            f"{where}: there is no such account, or the service account has no user in it",
            remedy="Correct 'account_name', or give the service account a user: CREATE USER … WITH SERVICE_ACCOUNT.",
        )
    if _NO_ENGINE.search(text):
        return ConnectionRefused(
            f"{where}: there is no engine {parameters.get('engine', '')}, or the user may not use it",
            remedy="Correct 'engine', or grant USAGE on it.",
        )
    if _NO_DATABASE.search(text):
        return DatabaseMissing(
            f"{where} has no database {parameters['database']}, or the user does not see it",
            remedy="Create the database, or grant the user USAGE on it, or correct the 'database' parameter.",
        )
    if _ENGINE.search(text):
        return HostUnreachable(f"{where}: the engine does not run yet: {text}", remedy=START)
    if isinstance(error, httpx.ConnectError) and ("certificate" in text.lower() or "ssl" in text.lower()):
        return TlsFailed(f"{where}: {text}")
    if isinstance(error, httpx.HTTPError | OSError) or name == "QueryTimeoutError":
        return HostUnreachable(f"{where} cannot be reached: {text}")
    # A login that nobody can explain may be a service that is not well, and no step should end by it for good.
    return HostUnreachable(f"{where} refused the session: {text}")


def server_refusal(error: BaseException) -> WhimbrelError:
    """What a statement's error means. Where a value may stand in the vendor's words, they do not enter the message."""
    raw, status = _said(error), _status(error)
    if _CONFLICT.search(raw):
        return TargetInterrupted("another transaction has written the same rows before this one", conflict=True)
    if found := _of_stage(raw):
        return found
    text = _QUOTED.sub("'…'", raw)  # what stands in quotes is a name or a value, and decides nothing
    if _ENDED.search(text):
        return transaction_ended()
    if isinstance(error, httpx.HTTPError) and status is None:
        return TargetInterrupted(f"the link to Firebolt broke: {text}")
    if _TWICE.search(text):
        return ValueRefused(
            "Firebolt found two rows of one batch for one row of a table",
            remedy="Look for rows with equal keys on the source or the target, and report it if there are none.",
        )
    for pattern, why in _VALUES:
        if pattern.search(text):
            return ValueRefused(f"Firebolt cannot hold a value as it is: {why}")
    return _of_status(status, text) or _of_words(text) or _unknown(error, text)


def _of_stage(text: str) -> WhimbrelError | None:
    for pattern, what in ((_NO_LOCATION, "location"), (_NO_FILE, "file")):
        if pattern.search(_QUOTED.sub("'…'", text)):
            return LoaderFailed(
                f"Firebolt does not find what was staged: {text}",
                remedy=f"Look whether the {what} is there: the LOCATION must be over the folder in 'staging'.",
            )
    return None


def _of_status(status: int | None, text: str) -> WhimbrelError | None:
    if status == 401:
        return AuthenticationFailed("Firebolt takes the token no longer: the secret was changed, or the user removed")
    if status == 403:
        return TargetPermissionDenied(text)
    if status == 413:
        return LoaderFailed("a file is larger than Firebolt takes with a statement", remedy=f"{STAGE} Or lower 'rows'.")
    if status == 429:
        return TargetInterrupted("Firebolt turns statements away, as there are too many")
    if status == 503 or _ENGINE.search(text):
        return TargetInterrupted(f"the engine does not run: {text}", remedy=START)
    if status in _SILENT and not _of_words(text):
        return TargetInterrupted(f"Firebolt did not answer the statement ({status})")
    return None


def _of_words(text: str) -> WhimbrelError | None:
    if _SHAPE.search(text):
        return SchemaMismatch("a column of the target has another type than the migration would give it")
    if _NO_UPLOAD.search(text):
        return LoaderFailed("the engine takes no files with a statement", remedy=STAGE)
    if _NO_DATABASE.search(text):
        return DatabaseMissing(text)
    if _MISSING.search(text):
        return TableMissing(text, remedy="Run schema/apply first, and grant the user what POST /v1/prereqs lists.")
    if _DENIED.search(text):
        return TargetPermissionDenied(text)
    if _FULL.search(text):
        return TargetFull(text)
    if _BUSY.search(text):
        return TargetInterrupted(f"Firebolt interrupted the statement: {text}")
    return SchemaFailed(text) if _SYNTAX.search(text) else None


def _unknown(error: BaseException, text: str) -> WhimbrelError:
    if isinstance(error, httpx.HTTPError | OSError):
        return TargetInterrupted(f"the link to Firebolt broke: {text}")
    if type(error).__name__ in ("OperationalError", "DataError"):  # of a status 500, or an answer that was cut
        return TargetInterrupted(f"Firebolt did not answer the statement: {text}")
    if type(error).__module__.startswith("firebolt."):
        return LoaderFailed(f"Firebolt refused a statement: {text}")
    return InternalError(f"Firebolt's driver failed: {type(error).__name__}")


def transaction_ended() -> TargetInterrupted:
    return TargetInterrupted("Firebolt has ended a transaction before its time")


def is_conflict(error: WhimbrelError) -> bool:
    """Whether a transaction left nothing because another one came before it."""
    return bool(error.details.get("conflict"))


def is_throttled(error: BaseException) -> float | None:
    """The seconds to wait before a statement that was turned away unread is sent again; None for any other error."""
    if _status(error) != httpx.codes.TOO_MANY_REQUESTS:
        return None
    response = getattr(error, "response", None)
    told = response.headers.get("Retry-After", "") if response is not None else ""
    return float(told) if told.isdigit() else 0.0


def told_in(response: httpx.Response) -> str:
    """The vendor's words in an answer that was read."""
    try:
        found = response.json()
        return "; ".join(str(e.get("description") or e.get("name") or "") for e in found["errors"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.text


def place(parameters: Mapping[str, Any]) -> str:
    return str(parameters.get("url") or f"firebolt://{parameters['account_name']}/{parameters['engine']}")


def _status(error: BaseException) -> int | None:
    for told in (error, error.__cause__):
        response = getattr(told, "response", None)
        if response is not None:
            return int(response.status_code)
    return None


def _said(error: BaseException) -> str:
    """The vendor's own words on one line, without addresses, which hold settings of the session."""
    structured = getattr(error, "errors", None)
    if isinstance(structured, list) and structured:
        text = "; ".join(str(e.get("description") or e.get("name") or "") for e in structured if isinstance(e, dict))
    else:
        text = str(error)
    text = re.sub(r"https?://\S+", "<address>", text)
    return " ".join(text.split())[:_WORDS_END] or type(error).__name__
