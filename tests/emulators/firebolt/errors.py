"""Refusals, as the JSON that the driver reads; the words follow PostgreSQL's where Firebolt's are not documented."""

from __future__ import annotations

import re
from typing import Any


class Refused(Exception):
    def __init__(self, text: str, name: str = "Execution Error", status: int = 200) -> None:
        super().__init__(text)
        self.name, self.status = name, status

    def body(self) -> dict[str, Any]:
        error = {"description": str(self), "name": self.name, "severity": "ERROR", "code": "", "source": "ENGINE"}
        return {"errors": [error], "query": {"query_id": ""}, "statistics": {"elapsed": 0.0}}


CONFLICT = (
    "Failed to commit transaction, error: 'detected 1 conflicts with 1 transactions on transaction commit', code: 9"
)
_WORDS = (
    (r"write-write conflict|Transaction conflict|Conflict on", CONFLICT),
    (r"NOT NULL constraint failed", "null mismatch: cannot insert NULL into a NOT NULL column"),
    (r"Catalog Error: (Table|View|Schema) with name (\S+) does not exist", r"Object \2 does not exist"),
    (r"out of range|Could not cast value", "numeric value out of range"),
    (r"Conversion Error|Could not convert", "Unable to cast text to the type of the column"),
)


def of_duckdb(error: Exception) -> Refused:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    for pattern, words in _WORDS:
        if found := re.search(pattern, text, re.IGNORECASE):
            return Refused(found.expand(words))
    if "Parser Error" in text:
        return Refused(f"syntax error: {text}", "Compilation Error")
    return Refused(text)
