"""Comparing tables of Firebolt: rows are read, and hashed by us.

A range of a key that both engines order alike is cut out by the database; what lies between two hashes, and what is in
a sample, only we can tell, so that these read the whole table.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from whimbrel.connectors.firebolt.connection import connect
from whimbrel.connectors.firebolt.dialect import DIALECT
from whimbrel.connectors.firebolt.target import FireboltTarget
from whimbrel.connectors.firebolt.values import canonical, normal, row_number
from whimbrel.connectors.protocols import Scope
from whimbrel.errors import ValidateFailed
from whimbrel.model.job import Endpoint, Role
from whimbrel.model.names import TableName
from whimbrel.model.normal import CLIENT_FORMS, DECIMAL_TEXT, client_text, key_forms, ordered, row_hash
from whimbrel.model.table import Column

_ORDER: Final[Mapping[str, Callable[[str], Any]]] = {
    "integer": int,
    "decimal": Decimal,
    "date": date.fromisoformat,
    "hex": bytes.fromhex,
}
_WHOLE: Final = {"INTEGER": 31, "INT": 31, "BIGINT": 63, "LONG": 63}


@dataclass(frozen=True)
class _Row:
    key: tuple[str | None, ...]
    place: int  # in the order of hashes
    hash: int
    part: int  # the hash of what other databases can hash themselves
    values: tuple[Any, ...]  # of what was asked for beside


class FireboltComparison:
    """See ``protocols.Comparison``. Each statement sees what was committed when it began."""

    def __init__(self, endpoint: Endpoint, operation: str, role: Role = "target") -> None:
        self._target = FireboltTarget(endpoint, operation)
        self._session = connect(endpoint.parameters, operation, role)
        self._natives: dict[TableName, Mapping[str, str]] = {}

    # --- what protocols.Comparison asks for ---------------------------------------------------------------------------

    def checksums(self, scope: Scope, cuts: Sequence[Sequence[str]] = ()) -> list[tuple[int, int]]:
        if not scope.columns and not cuts and scope.sample >= 100 and (ordered(scope.key) or _open(scope)):
            sql = f"SELECT COUNT(*) FROM {self._rows_of(scope.table)}{_where(self._bounds(scope))}"  # noqa: S608
            return [(int(self._session.query(sql)[0][0]), 0)]
        points = self._points(scope, cuts)
        rows, sums = [0] * (len(cuts) + 1), [0] * (len(cuts) + 1)
        by_key = ordered(scope.key)
        for row in self._read(scope):
            at = bisect_right(points, _order(row.key, scope) if by_key else row.place)
            rows[at] += 1
            sums[at] += row.hash
        return list(zip(rows, sums, strict=True))

    def cuts(self, scope: Scope, rows: int, parts: int) -> list[tuple[str, ...]]:
        """Each so many rows of the key's order."""
        step = max(1, -(-rows // parts))
        forms = key_forms(scope.key)
        names = DIALECT.identifiers(name for name, _ in forms)
        numbered = (
            f"SELECT {names}, ROW_NUMBER() OVER (ORDER BY {names}) AS place "  # noqa: S608
            f"FROM {self._rows_of(scope.table)}{_where(self._bounds(scope))}"
        )
        found = self._session.query(
            f"SELECT {names} FROM ({numbered}) AS q WHERE place > 1 AND place % {step} = {1 % step} ORDER BY {names}"  # noqa: S608
        )
        points = [tuple(str(normal(v, form)) for v, (_, form) in zip(row, forms, strict=True)) for row in found]
        return [point for point in dict.fromkeys(points) if scope.low is None or point != tuple(scope.low)]

    def hashes(self, scope: Scope, limit: int) -> pa.RecordBatch:
        return _told(scope, islice(self._read(scope), limit) if scope.key else self._read(scope), limit)

    def lookup(self, scope: Scope, keys: pa.RecordBatch) -> pa.RecordBatch:
        return _told(scope, self._found(scope.whole, keys), None, parts=bool(scope.by_us))

    def images(self, scope: Scope, loaded: Sequence[Column], keys: pa.RecordBatch) -> pa.RecordBatch:
        rows = list(self._found(scope.whole, keys, [c.name for c in loaded]))
        if scope.key:
            head = {f"k{n}": pa.array([row.key[n] for row in rows], pa.string()) for n in range(len(scope.key))}
        else:
            head = {"hash": pa.array([row.hash for row in rows], pa.int64())}
        body = [pa.array([canonical(row.values[n]) for row in rows], pa.binary()) for n in range(len(loaded))]
        return pa.RecordBatch.from_arrays([*head.values(), *body], [*head, *(c.name for c in loaded)])

    def holds_else(self, table: TableName, column: tuple[str, str], value: str | None) -> bool:
        name, form = column
        self._native(table, name)
        quoted, rows = DIALECT.identifier(name), self._rows_of(table)
        if value is None:
            return bool(self._session.query(f"SELECT 1 FROM {rows} WHERE {quoted} IS NOT NULL LIMIT 1"))  # noqa: S608
        wanted = client_text(form, value) if form in CLIENT_FORMS else value
        for block in self._session.stream(f"SELECT DISTINCT {quoted} FROM {rows}"):  # noqa: S608
            for (found,) in block:
                text = normal(found, form)
                if text is None or (client_text(form, text) if form in CLIENT_FORMS else text) != wanted:
                    return True
        return False

    def cancel(self) -> None:
        self._session.cancel()

    def close(self) -> None:
        self._session.close()
        self._target.close()

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _read(self, scope: Scope, condition: str = "", beside: Sequence[str] = ()) -> Iterator[_Row]:
        """The rows of the scope for which the condition holds, with the values of the columns ``beside``."""
        forms, ours = key_forms(scope.key), scope.by_us
        hashed = scope.in_database
        names = [name for name, _ in (*forms, *hashed, *ours)] + list(beside)
        for name in names:
            self._native(scope.table, name)
        columns = DIALECT.identifiers(dict.fromkeys(names)) or "1"
        at = {name: n for n, name in enumerate(dict.fromkeys(names))}
        sql = f"SELECT {columns} FROM {self._rows_of(scope.table)}{_where([*self._bounds(scope), condition])}"  # noqa: S608
        key_at, hashed_at = [at[n] for n, _ in forms], [at[n] for n, _ in hashed]
        key_as, hashed_as = [form for _, form in forms], [form for _, form in hashed]
        low, high = (int(p[0]) if p is not None and not ordered(scope.key) else None for p in (scope.low, scope.high))
        for block in self._session.stream(sql):
            for row in block:
                part = row_number([row[n] for n in hashed_at], hashed_as)
                place = row_number([row[n] for n in key_at], key_as) if forms else part
                if (
                    place % 100 >= scope.sample
                    or (low is not None and place < low)
                    or (high is not None and place >= high)
                ):
                    continue
                texts = [client_text(form, normal(row[at[name]], form)) for name, form in ours]
                yield _Row(
                    tuple(normal(row[n], form) for n, form in zip(key_at, key_as, strict=True)),
                    place,
                    row_hash(part, texts) if ours else part,
                    part,
                    tuple(row[at[name]] for name in beside),
                )

    def _found(self, scope: Scope, keys: pa.RecordBatch, beside: Sequence[str] = ()) -> Iterator[_Row]:
        """The rows with these keys."""
        if not scope.key:
            wanted = set(keys["hash"].to_pylist()) if "hash" in keys.schema.names else None
            parts = set(keys["part"].to_pylist()) if "part" in keys.schema.names else None
            for row in self._read(scope, beside=beside):
                if (row.part in parts) if parts is not None else wanted is not None and row.hash in wanted:
                    yield row
            return
        forms = key_forms(scope.key)
        asked = list(zip(*(keys[f"k{n}"].to_pylist() for n in range(len(forms))), strict=True))
        natives = [self._native(scope.table, name) for name, _ in forms]
        if all(_direct(native, form) for native, (_, form) in zip(natives, forms, strict=True)):
            condition = self._one_of(forms, natives, asked)
            if condition:
                yield from self._read(scope, condition, beside)
            return
        known = set(asked)
        for row in self._read(scope, beside=beside):
            if row.key in known:
                yield row

    def _one_of(self, forms: Sequence[tuple[str, str]], natives: Sequence[str], asked: Sequence[Sequence[str]]) -> str:
        possible = [
            row for row in asked if all(_possible(v, n, f) for v, n, (_, f) in zip(row, natives, forms, strict=True))
        ]
        columns = [_operand(name, form) for name, form in forms]
        constants = [[_constant(v, n, f) for v, n, (_, f) in zip(row, natives, forms, strict=True)] for row in possible]
        if len(columns) == 1:
            return f"{columns[0]} IN ({', '.join(row[0] for row in constants)})" if constants else ""
        return " OR ".join(
            f"({' AND '.join(f'{c} = {v}' for c, v in zip(columns, row, strict=True))})" for row in constants
        )

    def _bounds(self, scope: Scope) -> list[str]:
        """Of a key that both engines order alike; hashes are compared by us."""
        if not ordered(scope.key):
            return []
        forms = key_forms(scope.key)
        columns = [DIALECT.identifier(name) for name, _ in forms]
        natives = [self._native(scope.table, name) for name, _ in forms]
        found = []
        for sign, point in ((">=", scope.low), ("<", scope.high)):
            if point is not None:
                values = [_constant(v, n, f) for v, n, (_, f) in zip(point, natives, forms, strict=True)]
                found.append(_ordered(sign, columns, values))
        return found

    def _points(self, scope: Scope, cuts: Sequence[Sequence[str]]) -> list[Any]:
        return [_order(tuple(cut), scope) for cut in cuts] if ordered(scope.key) else [int(cut[0]) for cut in cuts]

    def _rows_of(self, table: TableName) -> str:
        self._known(table)
        return DIALECT.qualified(table)

    def _known(self, table: TableName) -> Mapping[str, str]:
        if table not in self._natives:
            found = self._target.reflected(self._session, [table]).get(table)
            if found is None:
                raise ValidateFailed(f"table {table} does not exist in Firebolt", remedy="Run schema/apply first.")
            self._natives[table] = {c.name: c.type.native for c in found.columns}
        return self._natives[table]

    def _native(self, table: TableName, column: str) -> str:
        try:
            return self._known(table)[column]
        except KeyError:
            raise ValidateFailed(f"table {table} has no column {column} to compare") from None


def _open(scope: Scope) -> bool:
    return scope.low is None and scope.high is None


def _order(key: Sequence[str | None], scope: Scope) -> tuple[Any, ...]:
    forms = key_forms(scope.key)
    return tuple(_ORDER[form](str(text)) for text, (_, form) in zip(key, forms, strict=True))


def _where(conditions: Sequence[str]) -> str:
    kept = [f"({c})" for c in conditions if c]
    return f" WHERE {' AND '.join(kept)}" if kept else ""


def _ordered(sign: str, columns: Sequence[str], values: Sequence[str]) -> str:
    if len(columns) == 1:
        return f"{columns[0]} {sign} {values[0]}"
    rest = _ordered(sign, columns[1:], values[1:])
    return f"{columns[0]} {sign[0]} {values[0]} OR ({columns[0]} = {values[0]} AND ({rest}))"


def _base(native: str) -> str:
    return native.partition("(")[0].strip().upper()


_TEXT: Final = frozenset({"TEXT", "STRING", "VARCHAR"})
_DIRECT: Final = {
    "integer": frozenset(_WHOLE),
    "decimal": frozenset({"NUMERIC", "DECIMAL"}),
    "text": _TEXT,
    "padded": _TEXT,
    "uuid": _TEXT,
    "date": frozenset({"DATE", "PGDATE"}),
    "hex": frozenset({"BYTEA"}),
    "timestamp(6)": frozenset({"TIMESTAMP", "TIMESTAMPNTZ", "TIMESTAMPTZ"}),
}


def _direct(native: str, form: str) -> bool:
    """Whether the database can look for values of the form."""
    return _base(native) in _DIRECT.get(form, ())


def _operand(name: str, form: str) -> str:
    """What is compared with a constant of the form."""
    column = DIALECT.identifier(name)
    if form == "uuid":
        return f"REPLACE(LOWER({column}), '-', '')"
    return f"RTRIM({column}, ' ')" if form == "padded" else column


def _possible(text: str, native: str, form: str) -> bool:
    """Whether a column can hold a value at all."""
    if form == "integer":
        return -(1 << _WHOLE.get(_base(native), 63)) <= int(text) < 1 << _WHOLE.get(_base(native), 63)
    if form == "decimal":
        type = DIALECT.types.read(native).arrow
        whole, _, fraction = text.lstrip("-").partition(".")
        return bool(len(whole.lstrip("0")) <= type.precision - type.scale and len(fraction) <= type.scale)
    return "\0" not in text


def _constant(text: str, native: str, form: str) -> str:
    """A value as a constant of the column's type."""
    if form == "integer":
        return str(int(text))
    if form == "decimal" and not DECIMAL_TEXT.match(text):
        raise ValidateFailed("a point in a key's order is no number")
    if form == "hex":
        return f"CAST({DIALECT.literal(chr(92) + 'x' + bytes.fromhex(text).hex())} AS BYTEA)"
    literal = DIALECT.literal(text)
    if form.startswith("timestamp"):
        literal = DIALECT.literal(f"{text}+00") if _base(native) == "TIMESTAMPTZ" else literal
    return literal if form in ("text", "padded", "uuid") else f"CAST({literal} AS {native})"


def _told(scope: Scope, rows: Iterator[_Row], limit: int | None, *, parts: bool = False) -> pa.RecordBatch:
    """What ``hashes`` and ``lookup`` give of rows."""
    if scope.key:
        found = [(row.key, row.hash) for row in rows]
        columns = [pa.array([key[n] for key, _ in found], pa.string()) for n in range(len(scope.key))]
        columns += [pa.array([h for _, h in found], pa.int64()), pa.array([1] * len(found), pa.int64())]
        return pa.RecordBatch.from_arrays(columns, [*(f"k{n}" for n in range(len(scope.key))), "hash", "rows"])
    counted = Counter((row.hash, row.part if parts else 0) for row in rows)
    kept = list(counted.items())[:limit]
    columns = [pa.array([h for (h, _), _ in kept], pa.int64()), pa.array([n for _, n in kept], pa.int64())]
    names = ["hash", "rows"]
    if parts:
        columns.append(pa.array([part for (_, part), _ in kept], pa.int64()))
        names.append("part")
    return pa.RecordBatch.from_arrays(columns, names)


def open_comparison(endpoint: Endpoint, operation: str, role: Role = "target") -> FireboltComparison:
    """Connect for comparing. Raises a ConnectionRefused leaf."""
    return FireboltComparison(endpoint, operation, role)
