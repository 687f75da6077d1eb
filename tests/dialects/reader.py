"""An engine's grammar as sqlfluff has it, asked in an environment that holds it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READ_SECONDS = 300
_ALIKE = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"'(?:[^'\\]|''|\\.)*'", "''"),
        (r'"(?:[^"]|"")*"', '"x"'),
        (r"`(?:[^`]|``)*`", "`x`"),
        (r"\b[0-9a-f]{32}\b", "0"),
        (r"(?<![A-Za-z])\d+(?:\.\d+)?\b", "0"),
        (r"\b(?:NULL|TRUE|FALSE|0)\b|''", "0"),
        (r"([^,()]+)(?:,\s*\1)+(?=[,)]|\s|$)", r"\1"),
        (r"(\([^()]*\))(?:,\s*\1)+", r"\1"),
    )
)


@dataclass(frozen=True)
class Exemption:
    """Statements that the engine takes and sqlfluff does not; ``example`` is one, which it must still refuse."""

    pattern: re.Pattern[str]
    example: str
    reason: str


def shape(sql: str) -> str:
    """The statement without its names and values, and with one of equal neighbours in a list: statements that are
    alike in this are read once."""
    for pattern, instead in _ALIKE:
        sql = pattern.sub(instead, sql)
    return " ".join(sql.split())


@dataclass(frozen=True)
class Reader:
    """``python`` is that of the environment which has sqlfluff."""

    dialect: str
    python: Path
    exempt: tuple[Exemption, ...]

    def read(self, statements: Iterable[str]) -> dict[str, str | None]:
        """What sqlfluff says of each of these statements; None where it understands it."""
        asked = list(statements)
        argv = [str(self.python), "-m", "tests.dialects.read", self.dialect]
        done = subprocess.run(
            argv, input=json.dumps(asked), capture_output=True, text=True, cwd=ROOT, timeout=READ_SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"sqlfluff could not be asked: {done.stderr}")
        return dict(zip(asked, json.loads(done.stdout), strict=True))

    def refused(self, statements: Iterable[str]) -> dict[str, str]:
        """Those that sqlfluff does not understand and that are not exempt, with the reason; the shortest of each
        shape."""
        shapes: dict[str, str] = {}
        for sql in statements:
            if not any(exemption.pattern.match(sql) for exemption in self.exempt):
                shapes[shape(sql)] = min(shapes.get(shape(sql), sql), sql, key=len)
        said = self.read(shapes.values()) if shapes else {}
        return {sql: reason for sql, reason in said.items() if reason is not None}
