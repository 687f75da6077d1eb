"""The reader itself, in the stand-in's environment: a list of statements as JSON comes in, what sqlfluff says goes out.

``python -m tests.dialects.read DIALECT < statements.json``: null for each that it understands, else what it does not.
"""

from __future__ import annotations

import json
import logging
import sys

from sqlfluff.core import FluffConfig, Linter


def main(dialect: str) -> None:
    logging.disable(logging.WARNING)
    linter = Linter(config=FluffConfig(overrides={"dialect": dialect, "large_file_skip_byte_limit": 0}))
    json.dump([_refusal(linter, sql) for sql in json.load(sys.stdin)], sys.stdout)


def _refusal(linter: Linter, sql: str) -> str | None:
    parsed = linter.parse_string(sql)
    if parsed.violations:
        return str(parsed.violations[0].desc())
    tree = parsed.root_variant().tree if parsed.root_variant() else None
    if tree is None or "unparsable" in tree.type_set():
        return "cannot be parsed"
    return None


if __name__ == "__main__":
    main(sys.argv[1])
