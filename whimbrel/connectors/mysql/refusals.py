"""MySQL's and MariaDB's error numbers as leaves of our error tree. No message here ever carries a row's value."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any

import pymysql

from whimbrel import errors
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Role

_Side = tuple[type[WhimbrelError], type[WhimbrelError]]  # as seen on the source, on the target

_CONNECT: dict[type[WhimbrelError], tuple[int, ...]] = {
    errors.AuthenticationFailed: (1044, 1045, 1130, 1698, 1820, 1862, 2054, 2059, 3118, 3955, 4151),
    errors.DatabaseMissing: (1049,),
    errors.TlsFailed: (2026, 3159),
}

_INTERRUPTED: _Side = (errors.SourceInterrupted, errors.TargetInterrupted)
_FULL: _Side = (errors.SourceInterrupted, errors.TargetFull)
_DENIED: _Side = (errors.SourcePermissionDenied, errors.TargetPermissionDenied)
_VALUE: _Side = (errors.ExtractorFailed, errors.ValueRefused)
_MISSING: _Side = (errors.TableMissing, errors.TableMissing)
_OTHER: _Side = (errors.ExtractorFailed, errors.LoaderFailed)

_NUMBERS: dict[_Side, tuple[int, ...]] = {
    # gone away, lost, shutdown, packet errors, aborted, killed, idle too long, lock wait, deadlock, changed underneath
    _INTERRUPTED: (
        *(0, 1020, 1040, 1041, 1053, 1077, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1205, 1206, 1213, 1226),
        *(1317, 1412, 1613, 1614, 1927, 1969, 2002, 2003, 2006, 2013, 2014, 2055, 3024, 3058, 3168, 3169, 4031),
    ),
    _FULL: (1021, 1114),
    _DENIED: (1044, 1045, 1142, 1143, 1227, 1290, 1370, 1419, 1698, 1792, 1836, 3118, 3619),
    _MISSING: (1049, 1051, 1109, 1146),
    (errors.SchemaMismatch, errors.SchemaMismatch): (1054, 1072, 1136),
    _VALUE: (
        *(1048, 1062, 1169, 1216, 1217, 1261, 1262, 1263, 1264, 1265, 1292, 1300, 1364, 1366, 1367, 1406, 1411, 1416),
        *(1441, 1451, 1452, 1526, 1557, 1586, 1690, 1701, 1761, 1762, 3140, 3141, 3616, 3617, 3643, 3732, 3819, 4025),
        *(4038, 4079, 4161),
    ),
}
_BY_NUMBER: dict[int, _Side] = {number: side for side, numbers in _NUMBERS.items() for number in numbers}
LOCK_TIMEOUT = 1205
_LOCAL_INFILE_OFF = (1148, 3948, 4166)
_FILE_ERRORS = (3, 20, 1026, 1030)  # the disk is full when they carry errno 28

VALUE_CLASSES: dict[int, str] = {
    1048: "NULL in a column that is NOT NULL",
    1062: "a key that exists already",
    1169: "a key that exists already",
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
    1416: "a value that is not a geometry",
    1451: "a row that others refer to",
    1452: "a reference to a row that does not exist",
    1586: "a key that exists already",
    1690: "a number out of range",
    3140: "text that is not JSON",
    3819: "a row that a check refuses",
    4025: "a row that a check refuses",
}

_COLUMN = re.compile(r".* (?:for|in) column (?P<column>.+?)(?: at row (?P<row>\d+))?$", re.S)
_COLUMN_FIRST = re.compile(r"(?:Column|Field) '(?P<column>[^']*)' (?:cannot|doesn't)")
_KEY = re.compile(r".* for key '(?P<key>[^']*)'$", re.S)
_CONSTRAINT = re.compile(r"(?:CONSTRAINT|[Cc]heck constraint) [`'](?P<check>[^`']*)[`']")
_ROW = re.compile(r".* (?:at )?row (?P<row>\d+)", re.S)


def connection_refusal(error: pymysql.MySQLError, parameters: Mapping[str, Any]) -> WhimbrelError:
    """The leaf for a connection that could not be opened."""
    number, text = number_and_text(error)
    kind = next((kind for kind, numbers in _CONNECT.items() if number in numbers), errors.HostUnreachable)
    if isinstance(getattr(error, "original_exception", None), ssl.SSLError):
        kind = errors.TlsFailed
    host, port = parameters["host"], parameters.get("port", 3306)
    return kind(f"MySQL at {host}:{port}: {text}", host=host, port=port, errno=number)


def server_refusal(error: pymysql.MySQLError, role: Role, subject: str = "") -> WhimbrelError:
    """The leaf for an error of an open session, by error number. ``subject`` names the table at work, if any."""
    number, text = number_and_text(error)
    side = 0 if role == "source" else 1
    about = f"{subject}: " if subject else ""
    if number in _LOCAL_INFILE_OFF:
        return _OTHER[side](
            f"{about}the {role} server refuses LOAD DATA LOCAL (errno {number})",
            remedy="SET GLOBAL local_infile = ON; (and in the server's configuration, to keep it)",
            errno=number,
        )
    kinds = _BY_NUMBER.get(number, _OTHER)
    if number in _FILE_ERRORS and re.search(r"\b28\b", text):
        kinds = _FULL
    if kinds is _VALUE:
        return value_refusal(number, text, kinds[side], subject)
    return kinds[side](f"{about}{role} MySQL: {_without_values(number, text)}", errno=number)


def value_refusal(
    number: int, text: str, kind: type[WhimbrelError] = errors.ValueRefused, subject: str = ""
) -> WhimbrelError:
    """Names table, column or key, row and class of the value; the server's sentence may quote the value itself."""
    details: dict[str, Any] = {"errno": number}
    if subject:
        details["table"] = subject
    words = [subject or "a table"]
    for pattern, group in ((_COLUMN, "column"), (_COLUMN_FIRST, "column"), (_KEY, "key"), (_CONSTRAINT, "check")):
        found = pattern.match(text) if pattern is not _CONSTRAINT else pattern.search(text)
        if found and found[group]:
            details[group] = _last_name(found[group])
            words.append(f"{group} {details[group]}")
            break
    row = _ROW.match(text)
    if row:
        details["line"] = int(row["row"])
    return kind(f"{', '.join(words)}: {VALUE_CLASSES.get(number, 'a value that is refused')}", **details)


def number_and_text(error: BaseException) -> tuple[int, str]:
    """The server's number (0 when the driver raised it without one) and message."""
    first = error.args[0] if error.args else 0
    number = first if isinstance(first, int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(first)
    return number, " ".join(text.split()) or type(error).__name__


def _last_name(quoted: str) -> str:
    """``c`` from ``'c'``, ```db`.`t`.`c```, or ``c``. A longer text than a name can be is not one."""
    name = quoted.strip("'`.").rpartition("`.`")[2].rpartition(".")[2]
    return name if len(name) <= 64 else ""


def _without_values(number: int, text: str) -> str:
    """A syntax error quotes the statement, which may hold values."""
    return "syntax error" if number in (1064, 1149) else text
