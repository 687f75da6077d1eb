"""Lines of tab text into a table: LOAD DATA, and INSERT for documents with numbers that a JSON text would lose there.

MySQL makes a double of every number in a text that it reads as JSON and that is no integer of 64 bits. A number that is
an SQL expression stays a DECIMAL, so rows with such documents are left out of what LOAD DATA is sent, and inserted
behind it, in the same transaction, by a statement that puts the numbers into the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whimbrel.codecs.jsonnumbers import DIGITS, SCALE, Exact, Fate, exact_numbers, rows_to_visit
from whimbrel.connectors.mysql.connection import Session, query, quote_identifier, quote_literal
from whimbrel.connectors.mysql.refusals import value_refusal
from whimbrel.connectors.mysql.target.infile import BLOCK_BYTES, Loaded, conversion, infile_clause, load_local
from whimbrel.connectors.mysql.types import base_of
from whimbrel.connectors.protocols import Buffer
from whimbrel.errors import ValueRefused
from whimbrel.model.table import Column, Table

INSERT_BYTES: Final = 512 * 1024

_ESCAPE: Final = re.compile(rb"\\(.)", re.S)
_ESCAPED: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"0": b"\0"}


@dataclass(frozen=True)
class Field:
    """Where a field of a line goes: ``name`` is quoted; the value of a source ``column`` may need a conversion."""

    name: str
    column: Column | None = None

    def read(self, expression: str) -> str | None:
        """How the text becomes the value; None where the server reads it as it is."""
        return None if self.column is None else conversion(self.column, expression)


def fields_of(columns: Iterable[Column]) -> tuple[Field, ...]:
    """Each column into the one of its name."""
    return tuple(Field(quote_identifier(c.name), c) for c in columns)


@dataclass(frozen=True)
class Loading:
    """Which fields of a line go into which columns of ``table`` (quoted); ``unset`` columns become NULL.

    ``documents`` are the places of the fields that the table holds as JSON.
    """

    table: str
    fields: tuple[Field, ...]
    documents: tuple[int, ...] = ()
    unset: tuple[str, ...] = ()

    @cached_property
    def statement(self) -> str:
        """For ``load_local``."""
        read = [(f.name, f"@v{n}", f.read(f"@v{n}")) for n, f in enumerate(self.fields)]
        assignments = [f"{name} = {written}" for name, _, written in read if written]
        assignments += [f"{name} = NULL" for name in self.unset]
        names = ", ".join(variable if written else name for name, variable, written in read)
        return (
            f"LOAD DATA {infile_clause()} INTO TABLE {self.table} CHARACTER SET utf8mb4"
            f" FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({names})"
            + (f" SET {', '.join(assignments)}" if assignments else "")
        )

    @cached_property
    def insert(self) -> bytes:
        """What stands before the rows."""
        names = ", ".join([*(f.name for f in self.fields), *self.unset])
        return f"INSERT INTO {self.table} ({names}) VALUES ".encode()  # noqa: S608 - quoted

    @cached_property
    def around(self) -> list[tuple[bytes, bytes]]:
        """For each field what stands before and behind its text."""
        parts = [(f.read("\0") or "\0").partition("\0") for f in self.fields]
        return [(before.encode(), behind.encode()) for before, _, behind in parts]


def documents_of(columns: Sequence[Column], target: Table) -> tuple[int, ...]:
    """The places of those that the target holds as JSON."""
    return tuple(n for n, c in enumerate(columns) if base_of(target.column(c.name).type.native) == "json")


def load_rows(
    session: Session, loading: Loading, blocks: Callable[[], Iterable[Buffer]], lines: int, table: str
) -> int:
    """Load all the lines or raise; how many rows the server counts. ``blocks`` gives them anew at each call.

    LOAD DATA LOCAL only warns where other statements fail, so a warning raises ValueRefused. So does a number that no
    document of the server can hold. Raises pymysql's errors.
    """
    if session.mariadb or not loading.documents:  # MariaDB keeps JSON as it is written
        return _load(session, loading, blocks(), lines, table)
    apart = _Apart(loading)
    count = _load(session, loading, apart.others(blocks()), lines, table)
    return count + (_insert(session, loading, apart.lines(blocks()), table) if apart.any else 0)


def _load(session: Session, loading: Loading, blocks: Iterable[Buffer], lines: int, table: str) -> int:
    loaded = load_local(session, loading.statement, blocks)
    if loaded.warnings or loaded.skipped:
        raise load_refusal(session, loaded, lines, table)
    return loaded.records


def load_refusal(session: Session, loaded: Loaded, lines: int, table: str) -> ValueRefused:
    """The first warning that says why, as an error. A note alone (a digit cut off) is a lost value too."""
    warnings = query(session, "SHOW WARNINGS LIMIT 64") if loaded.warnings else []
    ranked = sorted(warnings, key=lambda w: w[0] == "Note")
    if ranked:
        refusal = value_refusal(int(ranked[0][1]), str(ranked[0][2]), ValueRefused, table)
        assert isinstance(refusal, ValueRefused)
        return refusal
    return ValueRefused(
        f"{table}: the server took {loaded.records} of {lines} rows and left out {loaded.skipped}", table=table
    )


# --- which lines --------------------------------------------------------------------------------------------------


@dataclass
class _Apart:
    """Lines with documents that LOAD DATA would change, told from all others."""

    loading: Loading
    rows: list[NDArray[np.int64]] = field(default_factory=list)  # for each block of whole lines

    @property
    def any(self) -> bool:
        return any(len(rows) for rows in self.rows)

    def others(self, blocks: Iterable[Buffer]) -> Iterator[Buffer]:
        """What LOAD DATA is sent; notes on the way which lines it is not sent."""
        for block in _whole_lines(blocks):
            rows = rows_to_visit(block, self.loading.documents, len(self.loading.fields))
            self.rows.append(rows)
            if len(rows):
                block = b"".join(_without(block, rows))
            for at in range(0, len(block), BLOCK_BYTES):
                yield memoryview(block)[at : at + BLOCK_BYTES]

    def lines(self, blocks: Iterable[Buffer]) -> Iterator[bytes]:
        """The other lines, of the same blocks again."""
        for block, rows in zip(_whole_lines(blocks), self.rows, strict=True):
            if len(rows):
                starts, ends = _bounds(block)
                for row in rows.tolist():
                    yield block[starts[row] : ends[row]]


def _whole_lines(blocks: Iterable[Buffer]) -> Iterator[bytes]:
    parts: list[bytes] = []
    for block in map(bytes, blocks):
        end = block.rfind(b"\n") + 1
        if end:
            yield b"".join((*parts, block[:end]))
            parts = []
        if end < len(block):
            parts.append(block[end:])
    if parts:
        yield b"".join(parts)


def _bounds(block: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the lines begin and end, without their newlines."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 0x0A)
    return np.concatenate(([0], ends[:-1] + 1)), ends


def _without(block: bytes, rows: NDArray[np.int64]) -> Iterator[memoryview]:
    view, at = memoryview(block), 0
    starts, ends = _bounds(block)
    for start, end in zip(starts[rows].tolist(), ends[rows].tolist(), strict=True):
        yield view[at:start]
        at = end + 1
    yield view[at:]


# --- how they are inserted ----------------------------------------------------------------------------------------


def _insert(session: Session, loading: Loading, lines: Iterable[bytes], table: str) -> int:
    count, size = 0, 0
    rows: list[bytes] = []
    most = int(query(session, "SELECT @@max_allowed_packet")[0][0])
    for line in lines:
        row = _row(loading, line, table)
        if len(row) + len(loading.insert) >= most:
            raise ValueRefused(
                f"{table}: a row with a document takes a statement of {len(row)} bytes, and the target's "
                f"max_allowed_packet is {most}",
                remedy="Raise max_allowed_packet on the target, then resume.",
                table=table,
            )
        if rows and size + len(row) > min(INSERT_BYTES, most - len(loading.insert)):
            count += _insert_rows(session, loading, rows, table)
            rows, size = [], 0
        rows.append(row)
        size += len(row) + 1
    return count + (_insert_rows(session, loading, rows, table) if rows else 0)


def _insert_rows(session: Session, loading: Loading, rows: Sequence[bytes], table: str) -> int:
    with session.cursor() as cursor:
        count: int = cursor.execute(loading.insert + b",".join(rows))  # type: ignore[call-overload]
        if count != len(rows) or cursor.warning_count:
            raise load_refusal(session, Loaded(count, 0, len(rows) - count, cursor.warning_count), len(rows), table)
    return count


def _row(loading: Loading, line: bytes, table: str) -> bytes:
    values, texts = [], line.split(b"\t")
    if len(texts) != len(loading.fields):
        raise ValueRefused(f"{table}: a line of {len(texts)} fields, not {len(loading.fields)}", table=table)
    for place, (text, (before, behind)) in enumerate(zip(texts, loading.around, strict=True)):
        if text == b"\\N":
            values.append(b"NULL")
            continue
        literal = _literal(text)
        if place in loading.documents:
            literal = _document(literal, exact_numbers(text), loading.fields[place], table)
        values.append(before + literal + behind)
    return b"(" + b",".join([*values, *(b"NULL" for _ in loading.unset)]) + b")"


def _literal(text: bytes) -> bytes:
    """A string constant of what the field says: its escapes are read and written anew, so that none is trusted."""
    if b"\\" in text:
        text = _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]), text).replace(b"\\", b"\\\\")
    return b"_utf8mb4'" + text.replace(b"'", b"''").replace(b"\0", b"\\0") + b"'"


def _document(literal: bytes, numbers: Sequence[Exact], where: Field, table: str) -> bytes:
    for number in numbers:
        if number.fate is Fate.LOST:
            name = where.column.name if where.column else where.name
            raise ValueRefused(
                f"{table}, column {name}: a number in a document has more digits than MySQL's JSON can hold: {DIGITS}, "
                f"of which {SCALE} behind the point",
                remedy="Round the number in the source, or write it as a string there; then resume.",
                table=table,
                column=name,
            )
    if not numbers:
        return literal
    pairs = "".join(f",{quote_literal(_path(n.path))},{n.text}" for n in numbers)
    return b"JSON_REPLACE(" + literal + pairs.encode() + b")"


def _path(path: Sequence[str | int]) -> str:
    """MySQL's path of a value; a key in it is a JSON string."""
    return "$" + "".join(f"[{leg}]" if isinstance(leg, int) else f".{json.dumps(leg)}" for leg in path)
