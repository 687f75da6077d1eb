"""The volume that files are put into: PUT, COPY INTO, REMOVE."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from whimbrel.connectors.databricks.connection import DatabricksSession
from whimbrel.connectors.databricks.dialect import DIALECT
from whimbrel.connectors.sql.session import Session
from whimbrel.errors import TableMissing

# Its reader of Parquet takes days before 1582 in a file that Spark did not write for days of the Julian calendar.
_AS_WRITTEN = "'datetimeRebaseMode' = 'CORRECTED'"


class DatabricksStage:
    """See ``sql.per_table.ReadableStage``. Each operation has a folder of its own; an announced file belongs to its
    migration, so that another operation finds it under the same path."""

    def __init__(self, volume: str, operation: str) -> None:
        self._volume, self._folder = volume, f"{volume}/{_plain(operation)}"

    def new_name(self) -> str:
        return f"{self._folder}/{uuid.uuid4().hex}.parquet"

    def put(self, session: Session, file: Path) -> str:
        name = self.new_name()
        self.put_as(session, file, name)
        return name

    def put_as(self, session: Session, file: Path, name: str) -> None:
        assert isinstance(session, DatabricksSession)
        session.put(file, f"PUT '__input_stream__' INTO {DIALECT.literal(name)} OVERWRITE")

    def load(self, session: Session, name: str, table: str, columns: Sequence[str]) -> int:
        """COPY INTO remembers the paths of files that it has loaded into a table, and passes over them."""
        folder, _, file = name.rpartition("/")
        assert isinstance(session, DatabricksSession)
        return session.written(
            f"COPY INTO {table} FROM {DIALECT.literal(folder)} FILEFORMAT = PARQUET FILES = ({DIALECT.literal(file)}) "
            f"FORMAT_OPTIONS ({_AS_WRITTEN}) COPY_OPTIONS ('mergeSchema' = 'false')"
        )

    def rows(self, name: str) -> str:
        return f"READ_FILES({DIALECT.literal(name)}, format => 'parquet', datetimeRebaseMode => 'CORRECTED')"

    def remove(self, session: Session, name: str) -> None:
        assert isinstance(session, DatabricksSession)
        session.remove_file(f"REMOVE {DIALECT.literal(name)}")

    def clear(self, session: Session) -> None:
        found: list[tuple[str, ...]] = []
        with suppress(TableMissing):  # no file was ever put there
            found = session.query(f"LIST {DIALECT.literal(self._folder)}")
        for path, *_ in found:
            self.remove(session, str(path).removeprefix("dbfs:"))


def _plain(operation: str) -> str:
    """A folder's name of letters, digits and dashes."""
    return "".join(c if c.isascii() and (c.isalnum() or c == "-") else "_" for c in operation)
