"""The internal stage that files are put on, in our own schema: PUT, COPY INTO, REMOVE."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from whimbrel.connectors.snowflake.dialect import DIALECT
from whimbrel.connectors.sql.session import Session

_STAGE: Final = DIALECT.own("files")
# Values as a file's own types have them: bytes are no text, and a time stamp knows whether it is an instant.
_FORMAT: Final = "TYPE = PARQUET BINARY_AS_TEXT = FALSE USE_LOGICAL_TYPE = TRUE"


class SnowflakeStage:
    """See ``sql.stage.Stage``. Each operation has a folder of its own, each file a name that is never used again: COPY
    INTO remembers the names of files that it has loaded, and passes over them."""

    def __init__(self, operation: str) -> None:
        self._folder = f"{_STAGE}/{_plain(operation)}"

    def put(self, session: Session, file: Path) -> str:
        name = uuid.uuid4().hex
        link = file.with_name(f"{name}.parquet")
        link.hardlink_to(file)  # PUT keeps a file's own name
        try:
            path = str(link).replace("\\", "\\\\").replace("'", "\\'")
            session.query(
                f"PUT 'file://{path}' @{self._folder} AUTO_COMPRESS = FALSE SOURCE_COMPRESSION = NONE OVERWRITE = TRUE"
            )
        finally:
            link.unlink(missing_ok=True)
        return link.name

    def load(self, session: Session, name: str, table: str, columns: Sequence[str]) -> int:
        rows = session.query(
            f"COPY INTO {table} FROM @{self._folder}/{name} FILE_FORMAT = ({_FORMAT}) "
            "MATCH_BY_COLUMN_NAME = CASE_SENSITIVE ON_ERROR = ABORT_STATEMENT"
        )
        # One line a file: name, status, rows parsed, rows loaded, …; a single column says that no file was loaded, as
        # one without rows is not. Whoever expects rows counts them.
        return int(rows[0][3]) if rows and len(rows[0]) > 3 else 0

    def remove(self, session: Session, name: str) -> None:
        session.query(f"REMOVE @{self._folder}/{name}")

    def clear(self, session: Session) -> None:
        session.query(f"REMOVE @{self._folder}")


def _plain(operation: str) -> str:
    """A folder's name of letters, digits and dashes."""
    return "".join(c if c.isascii() and (c.isalnum() or c == "-") else "_" for c in operation)
