"""What SingleStore's errors mean to us, by number. No message here ever carries a row's value."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any, Final

from whimbrel import errors
from whimbrel.errors import WhimbrelError

_LOGIN: Final = frozenset({1044, 1045, 1130, 1698, 1862, 2054, 2059, 3118, 3955})
_TLS: Final = frozenset({2026, 3159})
_NO_DATABASE: Final = 1049
# Gone away, lost, shutting down, packet errors, killed, lock wait, deadlock, memory and queue limits that pass, a
# database or node that is not there for the moment.
_INTERRUPTED: Final = frozenset(
    {
        *(0, 1040, 1041, 1053, 1077, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1205, 1206, 1213, 1226, 1317),
        *(1712, 1720, 1735, 1777, 1804, 1815, 1821, 1839, 1862, 1927, 1970, 2002, 2003, 2006, 2013, 2014, 2055),
    }
)
# What it was, where the server's words cannot be passed on: they may quote a row, or the statement that holds a lock.
_WORDS: Final = {
    1040: "there are too many connections",
    1053: "it shuts down",
    1205: "somebody else's transaction holds a lock: see information_schema.MV_PROCESSLIST",
    1213: "two transactions waited for each other",
    1226: "there are too many connections",
    1317: "the statement was killed",
    1712: "there is not enough memory for it",
    1927: "the connection was killed",
}
_CLIENT: Final = range(2000, 2100)  # the driver's own
_ONLY_HERE: Final = range(1700, 2000)  # SingleStore's own: an error of a node is told in the node's words
_FULL: Final = frozenset({1021, 1114, 1696})
_READ_ONLY: Final = frozenset({1290, 1792, 1836, 2245})
_DENIED: Final = frozenset({1044, 1045, 1142, 1143, 1227, 1370, 1396, 1419})
_MISSING: Final = frozenset({1049, 1051, 1109, 1146})
_COLUMNS: Final = frozenset({1054, 1072, 1136})
_DUPLICATE: Final = frozenset({1062, 1169, 1586})
_VALUES: Final = {
    1048: "NULL in a column that is NOT NULL",
    1261: "a row with too few values",
    1262: "a row with too many values",
    1263: "NULL in a column that is NOT NULL",
    1264: "a number out of range",
    1265: "a value that does not fit",
    1292: "a value of the wrong kind",
    1300: "text that is not valid UTF-8",
    1364: "no value for a column without a default",
    1366: "a value of the wrong kind",
    1367: "a value of the wrong kind",
    1406: "a value that is too long",
    1411: "a value of the wrong kind",
    1690: "a number out of range",
    2242: "a value of the wrong kind",
    3140: "text that is not JSON",
    3141: "text that is not JSON",
}
_NOT_SUPPORTED: Final = 1706
_SYNTAX: Final = frozenset({1064, 1149})
_DEFINITIONS: Final = frozenset({1050, 1059, 1060, 1061, 1064, 1068, 1071, 1074, 1075, 1170, 1305, 1706, 1744})
_LOCAL_OFF: Final = frozenset({1148, 3948, 4166})

_COLUMN: Final = re.compile(r"[Cc]olumn '?`?([^'`]{1,64})'?`?")
_ROW: Final = re.compile(r"\b(?:row|line) (\d+)")


def number_and_text(error: BaseException) -> tuple[int, str]:
    """The server's number (0 when the driver raised it without one) and message."""
    first = error.args[0] if error.args else 0
    number = first if isinstance(first, int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(first)
    return number, " ".join(text.split())[:300] or type(error).__name__


def login_refusal(error: BaseException, parameters: Mapping[str, Any]) -> WhimbrelError:
    """Why a session could not be opened. ``error`` is the driver's."""
    number, text = number_and_text(error)
    where = place(parameters)
    original = getattr(error, "original_exception", error)
    if isinstance(original, ssl.SSLError) or number in _TLS:
        return errors.TlsFailed(
            f"SingleStore at {where}: {text}",
            remedy="Give ssl_ca, the file with the certificate of the authority, or another ssl_mode.",
        )
    if number in _LOGIN:
        return errors.AuthenticationFailed(f"SingleStore at {where}: {text}")
    if number == _NO_DATABASE:
        return errors.DatabaseMissing(f"SingleStore at {where}: {text}")
    return errors.HostUnreachable(
        f"SingleStore at {where}: {text}",
        remedy="Look whether the workspace or the cluster runs, and whether its firewall lets this address in.",
    )


def server_refusal(error: BaseException) -> WhimbrelError:
    """What a statement's error means, by its number. Values never enter the message, as the server may quote them."""
    number, text = number_and_text(error)
    if number in _LOCAL_OFF:
        return errors.LoaderFailed(
            f"SingleStore refuses LOAD DATA LOCAL (errno {number})",
            remedy="SET GLOBAL local_infile = ON; on self-managed clusters, which have it on by default.",
            errno=number,
        )
    if number in _DUPLICATE:
        return errors.ValueRefused(
            "a key that exists already: the target takes two rows for one that the source tells apart",
            remedy="Give the target's key the collation utf8mb4_bin and the source's length, or empty the table.",
            errno=number,
        )
    if number in _VALUES:
        return value_refusal(number, text)
    if number in _READ_ONLY:
        return errors.TargetInterrupted(
            f"the target takes no writes just now (errno {number})",
            remedy="Resume the workspace, or wait until its database is writable again; it is tried again by itself.",
            errno=number,
        )
    if number in _FULL:
        return errors.TargetFull(f"SingleStore has no room (errno {number})", errno=number)
    if number in _INTERRUPTED or isinstance(error, OSError):
        of_line = number == 0 or number in _CLIENT or isinstance(error, OSError)
        told = text if of_line else f"{_WORDS.get(number, 'what it was is in its log')} (errno {number})"
        return errors.TargetInterrupted(f"SingleStore interrupted the statement: {told}", errno=number)
    if number in _DENIED:
        return errors.TargetPermissionDenied(f"SingleStore: {text}", errno=number)
    if number in _MISSING:
        return errors.TableMissing(f"SingleStore: {text}", errno=number)
    if number in _COLUMNS:
        return errors.SchemaMismatch(f"SingleStore: {text}", errno=number)
    if number in _DEFINITIONS:
        if number in _SYNTAX:
            text = "syntax error"  # which would quote the statement
        elif number in _ONLY_HERE and number != _NOT_SUPPORTED:
            text = f"a definition is refused (errno {number})"
        return errors.SchemaFailed(f"SingleStore: {text}", errno=number)
    return errors.LoaderFailed(f"SingleStore refused a statement (errno {number})", errno=number)


def value_refusal(number: int, text: str, subject: str = "") -> errors.ValueRefused:
    """Names table, column, row and class of the value; the server's sentence may quote the value itself."""
    details: dict[str, Any] = {"errno": number}
    words = [subject or "a table"]
    column, row = _COLUMN.search(text), _ROW.search(text)
    if column:
        details["column"] = column[1]
        words.append(f"column {column[1]}")
    if row:
        details["line"] = int(row[1])
    if subject:
        details["table"] = subject
    return errors.ValueRefused(f"{', '.join(words)}: {_VALUES.get(number, 'a value that is refused')}", **details)


def place(parameters: Mapping[str, Any]) -> str:
    return f"{parameters['host']}:{parameters.get('port', 3306)}"
