"""What we send to Snowflake, read by sqlfluff's grammar of it: at the end of a run all that the stand-in was asked.

The stand-in takes what sqlglot can translate for DuckDB, which is more than Snowflake does; sqlfluff refuses what is
not Snowflake's. It knows neither tables nor types of expressions: those only Snowflake can judge.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from tests.servers.snowflake import PYTHON, ROOT

READ_SECONDS = 300


@dataclass(frozen=True)
class Exemption:
    """Statements that Snowflake takes and sqlfluff does not; ``example`` is one, which it must still refuse."""

    pattern: re.Pattern[str]
    example: str
    reason: str


EXEMPT = (
    Exemption(
        re.compile(r"SHOW (PRIMARY|UNIQUE|IMPORTED) KEYS IN (TABLE|SCHEMA) "),
        'SHOW PRIMARY KEYS IN SCHEMA "suite"',
        "sqlfluff knows these without IN only; docs: SHOW PRIMARY KEYS [ IN { ACCOUNT | DATABASE | SCHEMA | TABLE } ]",
    ),
)


def shape(sql: str) -> str:
    """The statement without its values, by which those that are alike are read once."""
    sql = re.sub(r"'(?:[^'\\]|''|\\.)*'", "''", sql)
    sql = re.sub(r"\b[0-9a-f]{32}\b", "0", sql)
    sql = re.sub(r"\b\d+(?:\.\d+)?\b", "0", sql)
    sql = re.sub(r"(\b0|'')(?:\s*,\s*(?:0\b|''))+", r"\1", sql)
    return " ".join(sql.split())


def read(statements: Iterable[str]) -> dict[str, str | None]:
    """What sqlfluff says of each of these statements; None where it understands it."""
    asked = list(statements)
    argv = [str(PYTHON), "-m", "tests.dialects.read", "snowflake"]
    done = subprocess.run(
        argv, input=json.dumps(asked), capture_output=True, text=True, cwd=ROOT, timeout=READ_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"sqlfluff could not be asked: {done.stderr}")
    return dict(zip(asked, json.loads(done.stdout), strict=True))


def refused(statements: Iterable[str]) -> dict[str, str]:
    """Those that sqlfluff does not understand and that are not exempt, with the reason; the shortest of each shape."""
    shapes: dict[str, str] = {}
    for sql in statements:
        if not any(exemption.pattern.match(sql) for exemption in EXEMPT):
            shapes[shape(sql)] = min(shapes.get(shape(sql), sql), sql, key=len)
    said = read(shapes.values()) if shapes else {}
    return {sql: reason for sql, reason in said.items() if reason is not None}
