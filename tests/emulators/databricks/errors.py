"""Refusals in the vendor's words: an error class in brackets, a text, and the SQLSTATE."""

from __future__ import annotations

import re


class Refused(Exception):
    """``str`` is what the client is told."""

    def __init__(self, name: str, text: str, state: str) -> None:
        super().__init__(f"[{name}] {text} SQLSTATE: {state}")
        self.state = state


_WORDS = (
    (r"Table with name|View with name|does not exist! Did you mean .*table", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    (r"schema .*(not exist|not found)|Schema with name .* does not exist", "SCHEMA_NOT_FOUND", "42704"),
    (r"NOT NULL constraint failed", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502"),
    (r"out of range|Could not cast value .* to DECIMAL", "NUMERIC_VALUE_OUT_OF_RANGE", "22003"),
    (r"Could not convert|Conversion Error", "CAST_INVALID_INPUT", "22018"),
    (r"Transaction conflict|TransactionContext Error", "DELTA_CONCURRENT_APPEND", "2D521"),
    (r"Referenced column|Binder Error", "UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703"),
    (r"No files found that match", "CF_PATH_DOES_NOT_EXIST_FOR_READ_FILES", "42K03"),
    (r"already exists", "TABLE_OR_VIEW_ALREADY_EXISTS", "42P07"),
    (r"Parser Error", "PARSE_SYNTAX_ERROR", "42601"),
)


def of_duckdb(error: Exception) -> Refused:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    for pattern, name, state in _WORDS:
        if re.search(pattern, text, re.IGNORECASE):
            return Refused(name, text, state)
    return Refused("INTERNAL_ERROR", text, "XX000")
