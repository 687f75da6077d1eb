"""Cuts a table into ranges of its key.

Integer keys are bisected by the optimizer's row estimates for ranges, which it reads from a few index pages, so that
skew and gaps cost nothing and no table is scanned. Other keys are stepped through in their index, which reads it once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from whimbrel.connectors.mysql.connection import Session, mapped, qualified, query, quote_identifier
from whimbrel.connectors.mysql.source.bounds import condition, index_of, readable
from whimbrel.model.chunk import Chunk
from whimbrel.model.table import Column, Table

_ROW_BYTES = 64  # taken for a row when the server has no statistics
_LEAST_ROW = 20  # bytes that InnoDB needs for a row of one small key, at the least
_HALF = 0.45  # of the server's row count: an estimate of more may mean any number, see _explained
_ENOUGH = 1.3  # a range is not cut while the estimate is within that of the wanted rows
_FEW = 20  # rows counted: any range is estimated at one row at least, so halves of so few would be cut without end
_ATTEMPTS = 3  # at a plan during which the server did not count the table anew


@dataclass(frozen=True)
class _Range:
    low: tuple[str, ...] | None
    high: tuple[str, ...] | None
    rows: int

    @property
    def bounds(self) -> dict[str, Any]:
        return {"low": self.low and list(self.low), "high": self.high and list(self.high)}


def plan(session: Session, table: Table, rows_per_file: int, chunk_bytes: int) -> tuple[Chunk, ...]:
    """Chunks of about ``chunk_bytes``, at most about ``rows_per_file`` rows; one whole chunk without a key."""
    width = max(table.bytes // table.rows, 1) if table.rows and table.bytes else _ROW_BYTES
    wanted = max(min(rows_per_file, chunk_bytes // width), 1)
    if not table.key:
        return (Chunk(table.name, 0, None, table.rows, table.bytes),)
    with mapped("source", str(table.name)):
        ranges = list(_ranges(session, table, wanted))
    if len(ranges) <= 1:
        return (Chunk(table.name, 0, None, table.rows, table.bytes),)
    return tuple(Chunk(table.name, n, r.bounds, r.rows, r.rows * width) for n, r in enumerate(ranges))


def _ranges(session: Session, table: Table, wanted: int) -> Iterator[_Range]:
    first = table.column(table.key[0])
    if not pa.types.is_integer(first.type.arrow):
        yield from _stepped(session, table, _Range(None, None, 0), wanted)
        return
    low, high = _extremes(session, table, first)
    if low is None or high is None:
        return
    if table.bytes and table.bytes // _LEAST_ROW <= wanted:
        return  # so few pages cannot hold more
    inner = _cut(session, table, _Range((str(low),), (str(high + 1),), 0), wanted)
    for n, found in enumerate(inner):
        # rows may appear beyond what was smallest and greatest a moment ago
        yield _Range(found.low if n else None, found.high if n < len(inner) - 1 else None, found.rows)


def _cut(session: Session, table: Table, whole: _Range, wanted: int) -> list[_Range]:
    """Bisect by estimates; walk the index where the server does not estimate, or counts few rows.

    The server may count the table anew at any moment, from twenty pages of it, and come to an eighth of the rows or to
    double. Estimates of before and after do not go together, so the plan is made again then.
    """
    counted = _explained(session, table, whole)
    for _ in range(_ATTEMPTS):
        if counted <= _FEW:
            break
        found = list(_bisected(session, table, whole, wanted, counted))
        before, counted = counted, _explained(session, table, whole)
        if before / 2 <= counted <= before * 2:
            return found
    return list(_stepped(session, table, whole, wanted))


def _extremes(session: Session, table: Table, column: Column) -> tuple[int | None, int | None]:
    name = quote_identifier(column.name)
    sql = f"SELECT MIN({name}), MAX({name}) FROM {qualified(table.name)}"  # noqa: S608 - quoted
    low, high = query(session, sql)[0]
    return (None, None) if low is None else (int(low), int(high))


def _bisected(session: Session, table: Table, whole: _Range, wanted: int, counted: int) -> Iterator[_Range]:
    """Halve until a range holds few enough rows; neighbours that are small together are one."""
    waiting: list[_Range] = [whole]
    gathered: _Range | None = None
    while waiting:
        part = waiting.pop()
        assert part.low is not None
        assert part.high is not None
        low, high = int(part.low[0]), int(part.high[0])
        rows = _explained(session, table, part)
        many = rows > wanted * _ENOUGH or rows > counted * _HALF
        if many and high - low > 1:
            middle = (str((low + high) // 2),)
            waiting += [_Range(middle, part.high, 0), _Range(part.low, middle, 0)]
            continue
        if gathered is not None and gathered.rows + rows > wanted * _ENOUGH:
            yield gathered
            gathered = None
        if many and len(table.key) > 1:  # one value of the first column has too many rows
            if gathered is not None:
                yield gathered
                gathered = None
            yield from _stepped(session, table, part, wanted)
        elif gathered is None:
            gathered = _Range(part.low, part.high, rows)
        else:
            gathered = _Range(gathered.low, part.high, gathered.rows + rows)
    if gathered is not None:
        yield gathered


def _explained(session: Session, table: Table, part: _Range) -> int:
    """The optimizer's guess. With a forced index MySQL says 1 without looking, so the index is only offered.

    InnoDB never guesses more than half of what it counted for the table, or all of that. As the count itself may be an
    eighth of the truth, such a guess says only that there are many.
    """
    source = f"{qualified(table.name)} USE INDEX ({quote_identifier(index_of(table))})"
    sql = f"SELECT 1 FROM {source} WHERE {condition(table, part.bounds)}"  # noqa: S608 - quoted
    with session.cursor() as cursor:
        cursor.execute(f"EXPLAIN FORMAT=TRADITIONAL {sql}")  # MySQL 9 would draw a tree
        titles = [d[0] for d in cursor.description or ()]
        return sum(int(row[titles.index("rows")] or 0) for row in cursor.fetchall())


def _stepped(session: Session, table: Table, part: _Range, wanted: int) -> Iterator[_Range]:
    """Walk the key's index in steps of ``wanted`` rows."""
    columns = [table.column(name) for name in table.key]
    chosen = ", ".join(readable(c) for c in columns)
    order = ", ".join(quote_identifier(c.name) for c in columns)
    source = f"{qualified(table.name)} FORCE INDEX ({quote_identifier(index_of(table))})"
    low = part.low
    while True:
        where = condition(table, {"low": low, "high": part.high})
        rest = f"{f'WHERE {where} ' if where else ''}ORDER BY {order} LIMIT 1 OFFSET {wanted}"
        sql = f"SELECT {chosen} FROM {source} {rest}"  # noqa: S608 - quoted
        found = query(session, sql)
        if not found:
            yield _Range(low, part.high, wanted)
            return
        bound = tuple(_text(value) for value in found[0])
        yield _Range(low, bound, wanted)
        low = bound


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
