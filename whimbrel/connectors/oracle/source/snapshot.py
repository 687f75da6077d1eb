"""Reading tables as of an SCN: cutting them at ROWIDs, and each part as text of the staged formats.

The snapshot is a number. Nothing is locked and no session is held: whoever has the SCN reads the same rows, from any
process, for as long as the database keeps undo of it ("Database Development Guide", Oracle Flashback Query).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.codecs.tablines import COPY_TEXT, TAB_TEXT, NotWritten, lines
from whimbrel.connectors.oracle.connection import connect, identifier, mapped, qualified, query
from whimbrel.connectors.oracle.types import LARGE, Asked, asked
from whimbrel.connectors.protocols import Buffer
from whimbrel.errors import SourceInterrupted, ValueRefused
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Column, Table

POINT: Final = "SELECT DBID, CURRENT_SCN, RESETLOGS_CHANGE# AS INCARNATION FROM V$DATABASE"
PLACE: Final = """
SELECT COUNT(DATA_OBJECT_ID) AS SEGMENTS, SUM(DATA_OBJECT_ID) AS TOTAL FROM ALL_OBJECTS
WHERE OWNER = :owner AND OBJECT_NAME = :name AND OBJECT_TYPE IN ('TABLE', 'TABLE PARTITION', 'TABLE SUBPARTITION')"""
KIND: Final = "SELECT IOT_TYPE FROM ALL_TABLES WHERE OWNER = :owner AND TABLE_NAME = :name"
SAMPLED: Final = 2000  # rows a chunk that its limit is found by
COUNTED: Final = 100_000  # rows of a table without statistics that are counted one by one
BATCH_ROWS: Final = 10_000
BATCH_BYTES: Final = 8 << 20
LARGE_BATCH_ROWS: Final = 200  # of tables with LOBs, of which each may have many megabytes


def position(connection: Any) -> Position:
    """The newest SCN. Raises SourcePermissionDenied without a right on V$DATABASE."""
    found = query(connection, POINT)[0]
    scn = int(found["CURRENT_SCN"])
    return Position("oracle", str(found["DBID"]), str(scn), (scn,), extra=str(found["INCARNATION"]))


# --- plan -----------------------------------------------------------------------------------------------------------


def plan(connection: Any, table: Table, rows_per_file: int, chunk_bytes: int) -> tuple[Chunk, ...]:
    """Cut a table at ROWIDs that a sample of its blocks gives, in the database's own order of them.

    Bounds are ``{"rowid": [low, high], "place": …}``, low inclusive and high exclusive, the first and the last open:
    a row is in exactly one of them wherever it lies. A table without physical ROWIDs is one chunk.
    """
    names = {"owner": table.name.schema, "name": table.name.table}
    rows = table.rows or _counted(connection, table.name)
    parts = max(-(-rows // rows_per_file), -(-table.bytes // chunk_bytes), 1)
    organized = [r["IOT_TYPE"] for r in query(connection, KIND, names)]
    limits = [] if parts == 1 or organized != [None] else _limits(connection, table.name, parts, rows)
    place = _place(connection, table.name)
    lows, highs = [None, *limits], [*limits, None]
    share, size = rows // len(lows), table.bytes // len(lows)
    return tuple(
        Chunk(table.name, number, {"rowid": [low, high], "place": place}, share, size)
        for number, (low, high) in enumerate(zip(lows, highs, strict=True))
    )


def _counted(connection: Any, table: TableName) -> int:
    """About how many rows a table has that was never analysed."""
    source = qualified(table)
    some = f"SELECT COUNT(*) AS N FROM (SELECT 1 AS ONE FROM {source} WHERE ROWNUM <= {COUNTED})"  # noqa: S608 - quoted
    found = int(query(connection, some)[0]["N"])
    if found < COUNTED:
        return found
    sampled = query(connection, f"SELECT COUNT(*) AS N FROM {source} SAMPLE BLOCK (1)")  # noqa: S608 - quoted
    return max(COUNTED, int(sampled[0]["N"]) * 100)


def _limits(connection: Any, table: TableName, parts: int, rows: int) -> list[str]:
    percent = min(99.0, max(0.0001, 100.0 * parts * SAMPLED / max(rows, 1)))
    sql = (
        f"SELECT ROWIDTOCHAR(MIN(R)) AS LIMIT_ROWID FROM (SELECT R, NTILE({parts}) OVER (ORDER BY R) AS G "  # noqa: S608
        f"FROM (SELECT ROWID AS R FROM {qualified(table)} SAMPLE BLOCK ({percent:.4f}))) GROUP BY G ORDER BY MIN(R)"
    )
    return [r["LIMIT_ROWID"] for r in query(connection, sql)][1:]


def _place(connection: Any, table: TableName) -> str:
    """What changes once a table's rows lie elsewhere: MOVE, TRUNCATE and SHRINK of it or of a partition."""
    found = query(connection, PLACE, {"owner": table.schema, "name": table.table})[0]
    return f"{found['SEGMENTS']}:{found['TOTAL']}"


def plan_holds(connection: Any, table: Table, chunks: Sequence[Chunk]) -> bool:
    """Whether the chunks' ROWIDs still cut the same segments."""
    return {(c.bounds or {}).get("place") for c in chunks} == {_place(connection, table.name)}


# --- snapshot -------------------------------------------------------------------------------------------------------


class OracleSnapshot:
    """An SCN; see ``protocols.Snapshot``. ``token`` is all that a reader needs, in whatever process."""

    def __init__(self, found: Position) -> None:
        self.position = found
        self.token: Any = {"scn": found.order[0], "dbid": found.server, "incarnation": found.extra}

    def lane_opened(self) -> None:
        return

    def release(self) -> None:
        return

    def keepalive(self) -> None:
        return

    def close(self) -> None:
        return


class OracleReader:
    """One session that reads chunks as of the token's SCN; see ``protocols.SnapshotReader``."""

    def __init__(self, parameters: Mapping[str, Any], name: str, token: Any) -> None:
        self._connection = connect(parameters, name)
        self._scn = int(token["scn"])
        found = position(self._connection)
        if (found.server, found.extra) != (token["dbid"], token["incarnation"]) or found.order[0] < self._scn:
            self._connection.close()
            raise SourceInterrupted("the source is not the database, or not the incarnation, that the snapshot is of")

    def extract(
        self, table: Table, columns: Sequence[Column], chunk: Chunk, format: Format, write: Callable[[Buffer], object]
    ) -> int:
        how = [asked(column.type) for column in columns]
        sql, binds = _select(table.name, columns, how, chunk.bounds, self._scn)
        style, rows, fetched = COPY_TEXT if format is Format.COPY_TEXT else TAB_TEXT, 0, _batch_rows(table, columns)
        name = str(table.name)
        with mapped(name):
            frames = self._connection.fetch_df_batches(sql, binds, size=fetched, fetch_decimals=True)
            while (batch := _next(frames, name, columns)) is not None:
                texts = [_value(name, c, h, a) for c, h, a in zip(columns, how, batch.columns, strict=True)]
                try:
                    text = lines(pa.record_batch(texts, [c.name for c in columns]), style)
                except NotWritten as e:
                    raise ValueRefused(f"{name}, column {e.column}: {e.reason}", column=e.column) from None
                rows += batch.num_rows
                if len(text):
                    write(text)
        return rows

    def close(self) -> None:
        with closing(self._connection):
            return


def _batch_rows(table: Table, columns: Sequence[Column]) -> int:
    if any(c.type.native in LARGE for c in columns):
        return LARGE_BATCH_ROWS
    width = table.bytes // table.rows if table.rows else 0
    return max(100, min(BATCH_ROWS, BATCH_BYTES // max(width, 1)))


def _select(
    table: TableName, columns: Sequence[Column], how: Sequence[Asked], bounds: Any, scn: int
) -> tuple[str, dict[str, Any]]:
    shown = ", ".join(
        h.sql.format(f"t.{identifier(c.name)}") + f" AS {identifier(f'C{n}')}"
        for n, (c, h) in enumerate(zip(columns, how, strict=True))
    )
    low, high = (bounds or {}).get("rowid", [None, None])
    binds: dict[str, Any] = {}
    conditions = []
    if low is not None:
        conditions.append("t.ROWID >= CHARTOROWID(:low)")
        binds["low"] = low
    if high is not None:
        conditions.append("t.ROWID < CHARTOROWID(:high)")
        binds["high"] = high
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {shown} FROM {qualified(table)} AS OF SCN {scn} t{where}", binds  # noqa: S608 - quoted


def _next(frames: Any, table: str, columns: Sequence[Column]) -> pa.RecordBatch | None:
    try:
        frame = next(frames, None)
    except (ValueError, OverflowError):
        times = [c.name for c in columns if pa.types.is_timestamp(c.type.arrow)]
        raise ValueRefused(
            f"{table}: a time lies before the year 1, in one of the columns {', '.join(times)}",
            remedy="Correct such values on the source, or leave the table out.",
            table=table,
        ) from None
    if frame is None:
        return None
    whole = pa.table(frame).combine_chunks()
    return whole.to_batches()[0] if whole.num_rows else pa.RecordBatch.from_pylist([], whole.schema)


# --- values ---------------------------------------------------------------------------------------------------------

_EXPONENT: Final = re.compile(r"(-?)([\d.]+)E([-+]\d+)")


def _value(table: str, column: Column, how: Asked, array: pa.Array) -> pa.Array:
    """A column as ``codecs.tablines`` writes it. Raises ValueRefused for what has more digits than are kept."""
    match how.kind:
        case "number":
            return _number(array)
        case "instant":
            return pc.assume_timezone(array.cast(pa.timestamp("us")), "UTC")
        case "time-text" | "instant-text":
            found = _time(table, column, array)
            return pc.assume_timezone(found, "UTC") if how.kind == "instant-text" else found
    if pa.types.is_timestamp(array.type):
        return array.cast(pa.timestamp("us"))
    return array


def _number(array: pa.Array) -> pa.Array:
    """TO_CHAR's text: no zero before the point, and beyond 64 characters an exponent, which has its digits here."""
    text = pc.replace_substring_regex(array, r"^(-?)\.", r"\10.")
    if pc.any(pc.match_substring(text, "E")).as_py():
        text = pa.array([v if v is None or "E" not in v else _digits(v) for v in text.to_pylist()], text.type)
    return text


def _digits(text: str) -> str:
    found = _EXPONENT.fullmatch(text)
    assert found is not None, "a number that TO_CHAR has written"
    whole, _, behind = found[2].partition(".")
    digits, point = whole + behind, len(whole) + int(found[3])
    if point <= 0:
        return f"{found[1]}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return found[1] + digits + "0" * (point - len(digits))
    return f"{found[1]}{digits[:point]}.{digits[point:]}"


def _time(table: str, column: Column, array: pa.Array) -> pa.Array:
    """Text with nine digits of a second, of which the last three must be zeros."""
    if pc.any(pc.starts_with(array, "-")).as_py():
        raise _refused(table, column, "a time lies before the year 1")
    short = pc.utf8_slice_codeunits(_six(table, column, array), 1)
    return short.cast(pa.timestamp("us"))


def _six(table: str, column: Column, array: pa.Array) -> pa.Array:
    if pc.any(pc.invert(pc.ends_with(array, "000"))).as_py():
        raise _refused(table, column, "a time has more than six digits of a second")
    return pc.utf8_slice_codeunits(array, 0, -3)


def _refused(table: str, column: Column, why: str) -> ValueRefused:
    return ValueRefused(
        f"{table}, column {column.name}: {why}, which is kept nowhere else",
        remedy="Correct such values on the source (nothing is rounded on the way), or leave the table out.",
        table=table,
        column=column.name,
    )
