"""An independent grammar of Oracle's SQL (npm antlr4ts-sql, of 2021), asked in a process of node's."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
_ALIKE: Final = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"'(?:[^']|'')*'", "'x'"),
        (r'"[^"]*"', '"X"'),
        (r":\w+", ":b"),
        (r"(?<![\w.])\d+(?:\.\d+)?\b", "0"),
        (r"([^,()]+)(?:,\s*\1)+(?=[,)]|\s|$)", r"\1"),
    )
)


@dataclass(frozen=True)
class Exemption:
    """Statements that Oracle takes and the grammar does not; ``example`` is one, which it must still refuse."""

    pattern: re.Pattern[str]
    example: str
    reason: str
    page: str


EXEMPT: Final = (
    Exemption(
        re.compile(r"ALTER SESSION SET (?:NLS_NUMERIC_CHARACTERS|TIME_ZONE) = '[^']*'\Z"),
        "ALTER SESSION SET TIME_ZONE = '+00:00'",
        "it takes only names and numbers as values of session parameters",
        "SQL Language Reference, ALTER SESSION: alter_session_set_clause; TIME_ZONE",
    ),
    Exemption(
        re.compile(r"ALTER SYSTEM KILL SESSION '\d+,\d+' IMMEDIATE\Z"),
        "ALTER SYSTEM KILL SESSION '1,2' IMMEDIATE",
        "it does not know ALTER SYSTEM",
        "SQL Language Reference, ALTER SYSTEM: end_session_clauses",
    ),
    Exemption(
        re.compile(r"JSON_SERIALIZE\([^()]* RETURNING CLOB\)"),
        'SELECT JSON_SERIALIZE(t."J" RETURNING CLOB) AS "C0" FROM "S"."T" t',
        "it is older than JSON_SERIALIZE",
        "SQL Language Reference, JSON_SERIALIZE",
    ),
)


def exempt(sql: str) -> bool:
    return any(e.pattern.search(sql) for e in EXEMPT)


def shape(sql: str) -> str:
    """The statement without its names and values: statements that are alike in this are read once."""
    for pattern, instead in _ALIKE:
        sql = pattern.sub(instead, sql)
    return " ".join(sql.split())


class Grammar:
    """``refusal`` may be called by several threads."""

    def __init__(self, node: str, folder: str) -> None:
        self._argv = [node, str(HERE / "grammar.cjs"), folder]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._known: dict[str, str | None] = {}

    def refusal(self, sql: str) -> str | None:
        """What the grammar says against a statement; None if it knows it."""
        form = shape(sql)
        with self._lock:
            if form not in self._known:
                self._known[form] = self._ask(sql)
            return self._known[form]

    def _ask(self, sql: str) -> str | None:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(sql) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the grammar's process has ended")
        found: str | None = json.loads(line)
        return found

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
