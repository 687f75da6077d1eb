"""What Oracle's errors mean to us, by the numbers that its vendor gives them ("Database Error Messages"; those that
begin with DPY are the driver's own)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from whimbrel.errors import (
    AuthenticationFailed,
    ConnectionRefused,
    DatabaseMissing,
    ExtractorFailed,
    HostUnreachable,
    LayoutChanged,
    SnapshotLost,
    SourceInterrupted,
    SourcePermissionDenied,
    TlsFailed,
    ValueRefused,
    WhimbrelError,
)

_LOGIN: Final = {
    1005: "no password was given",
    1017: "the user or the password is wrong",
    1045: "the user lacks CREATE SESSION",
    28000: "the user is locked",
    28001: "the password has expired",
}
_NO_SERVICE: Final = frozenset({12504, 12505, 12514, "DPY-6001", "DPY-6003"})
_GONE: Final = frozenset(
    {
        *(
            28,
            600,
            1012,
            1013,
            1033,
            1034,
            1089,
            1092,
            3113,
            3114,
            3135,
            12150,
            12170,
            12537,
            12541,
            12547,
            12570,
            12571,
        ),
        *("DPY-1001", "DPY-4011", "DPY-4024", "DPY-6000", "DPY-6005"),
    }
)
_UNDO: Final = frozenset({1555, 8180, 22924})
_CHANGED: Final = frozenset({1410, 1466, 8103})
_DENIED: Final = frozenset({942, 1031, 1039, 41900})
_NOT_KEPT: Final = frozenset({"DPY-4033", "DPY-4036", "DPY-4037", "DPY-4038", "DPY-3035"})


def code_of(error: Any) -> tuple[int, str]:
    """(number of the server's, or 0; full code)."""
    found = error.args[0] if error.args else None
    return int(getattr(found, "code", 0) or 0), str(getattr(found, "full_code", "") or "")


def login_refusal(error: Any, parameters: Mapping[str, Any]) -> WhimbrelError:
    """Why a session could not be opened. ``error`` is the driver's."""
    where, (number, full) = place(parameters), code_of(error)
    if number in _LOGIN:
        return AuthenticationFailed(f"{where}: {_LOGIN[number]} ({full})")
    if number in _NO_SERVICE or full in _NO_SERVICE:
        return DatabaseMissing(f"{where}: the listener knows no such service or SID ({full})")
    words = str(error).lower()
    if "certificate" in words or "ssl" in words or "wallet" in words:
        return TlsFailed(f"{where}: the secure connection failed ({full})")
    if number in _GONE or full in _GONE or not number:
        return HostUnreachable(f"{where} cannot be reached ({full or type(error).__name__})")
    return ConnectionRefused(f"{where} refused the session ({full})")


def server_refusal(error: Any, table: str = "") -> WhimbrelError:
    """What a statement's error means. The vendor's words may quote values, so only the number is told."""
    number, full = code_of(error)
    of = f"{table}: " if table else ""
    if number in _UNDO:
        return SnapshotLost(f"{of}what its rows were when the snapshot was taken is no longer kept ({full})")
    if number in _CHANGED:
        return LayoutChanged(
            f"{of}the table was changed, moved or emptied since the snapshot ({full})",
            remedy="Start the load again, and let nobody alter, move or truncate its tables meanwhile.",
        )
    if number in _DENIED:
        return SourcePermissionDenied(
            f"{of}it does not exist, or the user may not read it as of an SCN ({full})",
            remedy="Grant the user what POST /v1/prereqs lists: SELECT and FLASHBACK on each table.",
        )
    if number in _GONE or full in _GONE:
        return SourceInterrupted(f"{of}the link to Oracle broke, or the session was ended ({full})")
    if full in _NOT_KEPT:
        return ValueRefused(f"{of}a number has more digits than its column is declared with ({full})")
    return ExtractorFailed(f"{of}Oracle refused a statement ({full or type(error).__name__})")


def place(parameters: Mapping[str, Any]) -> str:
    service = parameters.get("service_name") or parameters.get("sid")
    return f"{parameters['host']}:{parameters['port']}/{service}"
