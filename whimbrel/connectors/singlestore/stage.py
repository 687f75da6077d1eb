"""Files of ours into tables: read here, written as tab text, and sent by LOAD DATA LOCAL."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from whimbrel.codecs.tablines import NotWritten, lines
from whimbrel.connectors.singlestore.connection import SingleStoreSession
from whimbrel.connectors.singlestore.dialect import DIALECT
from whimbrel.connectors.singlestore.link import STREAM_NAME
from whimbrel.connectors.sql.session import Session
from whimbrel.errors import StagingDamaged, ValueRefused
from whimbrel.model.table import Annotation, Column

_ROWS: Final = 65_536  # that are text at once, at most
_HALF_PATTERN: Final = r"\\u[dD][89a-fA-F]"
_PAIR: Final = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\.", re.DOTALL)
_HALF: Final = re.compile(r"\\u([dD][89a-fA-F])|\\.", re.DOTALL)
_FIRST_DAY: Final = date(1000, 1, 1)  # of DATE and DATETIME ("Time and Date")


class SingleStoreStage:
    """See ``sql.stage.Stage``. Nothing is put anywhere: a file stays in the working directory, under a name of its own,
    until it is loaded or removed. ``expect`` says into which columns the next ones go."""

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}
        self._lengths: Mapping[str, int] = {}
        self._documents: frozenset[str] = frozenset()

    def expect(self, columns: Sequence[Column]) -> None:
        self._documents = frozenset(c.name for c in columns if c.type.annotation is Annotation.JSON)
        self._lengths = {c.name: c.type.length for c in columns if c.type.length and _is_text(c)}

    def put(self, session: Session, file: Path) -> str:
        name = uuid.uuid4().hex
        link = file.with_name(f"{name}.parquet")
        link.hardlink_to(file)  # the file itself is its owner's to remove
        self._files[name] = link
        return name

    def load(self, session: Session, name: str, table: str, columns: Sequence[str]) -> int:
        assert isinstance(session, SingleStoreSession)
        try:
            with pq.ParquetFile(self._files[name]) as file:
                if file.metadata.num_rows == 0:
                    return 0
                types = [(name, file.schema_arrow.field(name).type) for name in columns]
                return session.load(loading(table, types), self._blocks(file, columns, table), table)
        except (FileNotFoundError, pa.ArrowInvalid) as e:
            raise StagingDamaged(f"{table}: a staged file cannot be read: {e}", table=table) from e
        finally:
            self.remove(session, name)

    def _blocks(self, file: pq.ParquetFile, columns: Sequence[str], table: str) -> Iterator[memoryview]:
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(_ROWS, row_groups=[group], columns=None):
                chosen = batch.select(list(columns))
                held = [self._held(table, name, c) for name, c in zip(columns, chosen.columns, strict=True)]
                try:
                    yield lines(pa.RecordBatch.from_arrays(held, names=list(columns)))
                except NotWritten as e:
                    raise ValueRefused(
                        f"{table}, column {e.column}: {e.reason}", table=table, column=e.column
                    ) from None

    def _held(self, table: str, name: str, column: pa.Array) -> pa.Array:
        _require_held(table, name, column, self._lengths.get(name))
        return _spelled_out(table, name, column) if name in self._documents else column

    def remove(self, session: Session, name: str) -> None:
        file = self._files.pop(name, None)
        if file is not None:
            file.unlink(missing_ok=True)

    def clear(self, session: Session) -> None:
        """The working directory is the operation's, and goes with it."""


def loading(table: str, columns: Sequence[tuple[str, pa.DataType]]) -> str:
    """The statement that loads ``lines`` of these columns."""
    names, sets = [], []
    for number, (column, type) in enumerate(columns):
        quoted = DIALECT.identifier(column)
        is_bytes = pa.types.is_binary(type) or pa.types.is_large_binary(type)
        names.append(f"@v{number}" if is_bytes else quoted)
        sets += [f"{quoted} = UNHEX(@v{number})"] if is_bytes else []
    return (
        f"LOAD DATA LOCAL INFILE '{STREAM_NAME}' INTO TABLE {table} CHARACTER SET utf8mb4 FIELDS TERMINATED BY '\\t' "
        f"ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({', '.join(names)})"
        + (f" SET {', '.join(sets)}" if sets else "")
    )


def _is_text(column: Column) -> bool:
    return bool(pa.types.is_string(column.type.arrow) or pa.types.is_binary(column.type.arrow))


def _require_held(table: str, name: str, column: pa.Array, length: int | None) -> None:
    """Raise ValueRefused for what the server might cut or replace: it is not asked what it makes of it."""
    why = ""
    if pa.types.is_date32(column.type) or pa.types.is_timestamp(column.type):
        first = pa.scalar(_FIRST_DAY).cast(column.type)
        if column.null_count < len(column) and pc.less(pc.min(column), first).as_py():
            why = "a day before the year 1000, which SingleStore does not hold"
    elif length is not None:
        measure = pc.binary_length if pa.types.is_binary(column.type) else pc.utf8_length
        if (pc.max(measure(column)).as_py() or 0) > length:
            why = f"a value is longer than the {length} that the column takes"
    if why:
        raise _refused(table, name, why)


def _spelled_out(table: str, name: str, column: pa.Array) -> pa.Array:
    """Documents with their characters beyond U+FFFF as themselves: SingleStore reads no pair of escapes for one."""
    escaped = pc.fill_null(pc.match_substring_regex(column, _HALF_PATTERN), False)
    if not pc.any(escaped, min_count=0).as_py():
        return column
    texts = [_PAIR.sub(_character, text) for text in column.filter(escaped).to_pylist()]  # rare, and only these
    if any(_half(text) for text in texts):
        raise _refused(table, name, "a document has half of a character, which is no text")
    return pc.replace_with_mask(column, escaped, pa.array(texts, column.type))


def _character(found: re.Match[str]) -> str:
    if found[1] is None:
        return found[0]  # a backslash that stands for itself, with what follows
    high, low = int(found[1], 16), int(found[2], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def _half(text: str) -> bool:
    return any(found[1] for found in _HALF.finditer(text))


def _refused(table: str, column: str, why: str) -> ValueRefused:
    return ValueRefused(f"{table}, column {column}: {why}", table=table, column=column)
