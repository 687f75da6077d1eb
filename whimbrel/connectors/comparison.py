"""The SQL that comparing needs, the same for every engine but for its dialect.

An engine's ``compare.py`` renders values in their normal forms (``Dialect``) and runs statements; what is selected,
filtered, hashed and grouped is decided here once, so that both sides of a pair cannot drift apart.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from whimbrel.connectors.protocols import Scope
from whimbrel.errors import ValidateFailed
from whimbrel.model.names import TableName
from whimbrel.model.normal import CLIENT_FORMS, Columns, client_text, key_forms, ordered, row_hash
from whimbrel.model.table import Column

BLOCK_ROWS = 5000  # that ``stream`` gives at once
SAMPLED_PER_PART = 64  # keys read for each cut, so that parts differ by some tens of percent at most
FREE_TEXT = frozenset({"text", "padded", "set"})  # forms in which any character may stand, the separator too
DIGESTED = frozenset({"long-text", "json-text", "own"})  # free too, and long: their own SHA-256 enters the row's text


class Dialect(ABC):
    """How one engine writes things. ``native`` is a column's type as the engine's own catalog names it."""

    @abstractmethod
    def table(self, name: TableName) -> str: ...

    @abstractmethod
    def column(self, name: str) -> str: ...

    @abstractmethod
    def value(self, column: str, native: str, form: str) -> str:
        """A column as text in a form; NULL stays NULL. CLIENT_FORMS: the engine's own text, to be read by us."""

    @abstractmethod
    def operand(self, column: str, native: str, form: str) -> str | None:
        """What a ``constant`` of this form is compared with so that an index serves; None if only ``value`` will do."""

    @abstractmethod
    def constant(self, text: str, form: str) -> str: ...

    @abstractmethod
    def text_constant(self, text: str) -> str: ...

    @abstractmethod
    def joined(self, parts: Sequence[str]) -> str:
        """Text expressions, none of them NULL, with ``|`` between them."""

    @abstractmethod
    def measured(self, text: str) -> str:
        """A text behind its length in bytes and a colon."""

    @abstractmethod
    def digest(self, text: str) -> str: ...

    @abstractmethod
    def number(self, text: str) -> str:
        """The first ``HASH_DIGITS`` hex digits of a text's SHA-256 as a whole number."""

    def total(self, number: str) -> str:
        """The sum of a column of such numbers, exactly."""
        return f"sum({number})"

    def remainder(self, number: str, divisor: int) -> str:
        return f"{number} % {divisor}"

    @abstractmethod
    def quotient(self, number: str, divisor: int) -> str: ...

    @abstractmethod
    def before(self, operands: Sequence[str], constants: Sequence[str]) -> str: ...

    @abstractmethod
    def not_before(self, operands: Sequence[str], constants: Sequence[str]) -> str: ...


class SqlComparison(ABC):
    """``protocols.Comparison`` over a dialect. Subclasses open the connection and run statements."""

    dialect: Dialect

    def __init__(self) -> None:
        self._natives: dict[TableName, Mapping[str, str]] = {}

    @abstractmethod
    def native_types(self, table: TableName) -> Mapping[str, str]:
        """Column name -> type as the catalog has it. Raises ValidateFailed when there is no such table."""

    @abstractmethod
    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement whose result is small."""

    @abstractmethod
    def stream(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        """Run a statement whose result is large, a bounded number of rows at a time."""

    @abstractmethod
    def canonical(self, column: Column) -> str:
        """An expression that ``canonical_rows`` turns into the column's canonical text."""

    @abstractmethod
    def canonical_rows(self, sql: str, columns: Sequence[Column | None]) -> list[tuple[bytes | None, ...]]:
        """Run a statement with one output for each of ``columns``; None stands for one that is text already."""

    # --- what protocols.Comparison asks for -------------------------------------------------------------------------

    def checksums(self, scope: Scope, cuts: Sequence[Sequence[str]] = ()) -> list[tuple[int, int]]:
        inner = self._select(scope, {"s": self._segment_number(scope, cuts), "h": self._hash(scope)})
        sums = [(0, 0)] * (len(cuts) + 1)
        if not scope.by_us:
            sql = f"{_select('s', 'count(*)', self.dialect.total('h'))} FROM ({inner}) AS q GROUP BY s"
            for segment, rows, total in self.rows(sql):
                sums[int(segment)] = (int(rows), int(total))
            return sums
        for block in self.stream(inner):
            for row in block:
                rows, total = sums[int(row[0])]
                sums[int(row[0])] = (rows + 1, total + _whole_hash(scope, row[1], row[2:]))
        return sums

    def cuts(self, scope: Scope, rows: int, parts: int) -> list[tuple[str, ...]]:
        scope = replace(scope, columns=(), sample=100)
        every = max(1, rows // (parts * SAMPLED_PER_PART))
        names = ", ".join(self.dialect.column(name) for name, _ in scope.key)
        sql = self._select(scope, self._key_values(scope), f"{self._remainder(scope, every)} = 0")
        found = self.rows(f"{sql} ORDER BY {names}")
        step = max(1, -(-len(found) // parts))
        points = dict.fromkeys(tuple(map(str, row)) for row in found[step::step])
        return [point for point in points if scope.low is None or point != tuple(scope.low)]

    def hashes(self, scope: Scope, limit: int) -> pa.RecordBatch:
        return self._hashes(scope, "", f" LIMIT {int(limit)}")

    def lookup(self, scope: Scope, keys: pa.RecordBatch) -> pa.RecordBatch:
        scope = scope.whole
        if not scope.key and scope.by_us:
            return self._found(scope, keys)
        condition = self._one_of(scope, keys)
        return self._hashes(scope, condition, "") if condition else _batch([], len(scope.key))

    def images(self, scope: Scope, loaded: Sequence[Column], keys: pa.RecordBatch) -> pa.RecordBatch:
        scope = scope.whole
        known = self._key_values(scope) if scope.key else {"h": self._hash(scope), **self._ours(scope)}
        outputs = {**known, **{f"v{n}": self.canonical(column) for n, column in enumerate(loaded)}}
        condition = self._one_of(scope, keys)
        named = (f"{expression} AS {name}" for name, expression in outputs.items())
        sql = f"{_select(*named)} FROM {self.rows_of(scope.table)} WHERE {condition}"
        found = self.canonical_rows(sql, [*(None for _ in known), *loaded]) if condition else []
        values = list(zip(*found, strict=True)) or [()] * len(outputs)
        head = {n: pa.array(v, pa.binary()).cast(pa.string()) for n, v in zip(known, values, strict=False)}
        if not scope.key:
            texts = zip(*(column.to_pylist() for column in head.values()), strict=True)
            head = {"hash": pa.array([_whole_hash(scope, text[0], text[1:]) for text in texts], pa.int64())}
        body = [pa.array(v, pa.binary()) for v in values[len(known) :]]
        return pa.RecordBatch.from_arrays([*head.values(), *body], [*head, *(c.name for c in loaded)])

    def holds_else(self, table: TableName, column: tuple[str, str], value: str | None) -> bool:
        name, form = column
        rows = self.rows_of(table)
        if value is None:
            return bool(self.rows(f"{_select('1')} FROM {rows} WHERE {self.dialect.column(name)} IS NOT NULL LIMIT 1"))
        text = self._value(table, name, form)
        if form in CLIENT_FORMS:
            first = self.rows(f"{_select(text)} FROM {rows} LIMIT 1")
            if not first:
                return False
            if first[0][0] is None or client_text(form, first[0][0]) != client_text(form, value):
                return True
            value = str(first[0][0])  # what one ALTER TABLE has written is spelled alike
        digest = self.dialect.digest(text)
        other = f"{digest} <> '{hashlib.sha256(value.encode()).hexdigest()}' OR {digest} IS NULL"
        return bool(self.rows(f"{_select('1')} FROM {rows} WHERE {other} LIMIT 1"))

    # --- rows and their hashes --------------------------------------------------------------------------------------

    def _hashes(self, scope: Scope, condition: str, limit: str) -> pa.RecordBatch:
        outputs = {**self._key_values(scope), "h": self._hash(scope)}
        sql = self._select(scope, outputs, condition)
        if scope.key:
            return _joined((_batch(rows, len(scope.key)) for rows in self._hashed(scope, sql + limit)), len(scope.key))
        if not scope.by_us:
            return _batch(self.rows(f"{_select('h', 'count(*)')} FROM ({sql}) AS q GROUP BY h{limit}"), 0)
        counted = Counter(row[0] for rows in self._hashed(scope, sql) for row in rows)
        return _batch(((hash, rows) for hash, rows in counted.items()), 0)

    def _found(self, scope: Scope, keys: pa.RecordBatch) -> pa.RecordBatch:
        """Of rows without a key that we must hash: those with these hashes, each with the database's part of it."""
        wanted = set(keys["hash"].to_pylist())
        counted: Counter[tuple[int, int]] = Counter()
        for block in self.stream(self._select(scope, {"h": self._hash(scope)})):
            for row in block:
                whole = _whole_hash(scope, row[0], row[1:])
                if whole in wanted:
                    counted[whole, int(row[0])] += 1
        columns = list(zip(*((whole, rows, part) for (whole, part), rows in counted.items()), strict=True)) or [()] * 3
        return pa.RecordBatch.from_arrays([pa.array(c, pa.int64()) for c in columns], ["hash", "rows", "part"])

    def _hashed(self, scope: Scope, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        """Key texts, hash, 1: with what we must render ourselves already in the hash."""
        width = len(scope.key)
        for block in self.stream(sql):
            yield [(*row[:width], _whole_hash(scope, row[width], row[width + 1 :]), 1) for row in block]

    def _hash(self, scope: Scope) -> str:
        return self._hash_of(scope.table, scope.in_database)

    def _segment_hash(self, scope: Scope) -> str:
        return self._hash_of(scope.table, key_forms(scope.key) or scope.in_database)

    def _hash_of(self, table: TableName, columns: Columns) -> str:
        if not columns:
            return "0"
        return self.dialect.number(self.dialect.joined([self._part(table, *column) for column in columns]))

    def _part(self, table: TableName, column: str, form: str) -> str:
        """One value as it stands in the row's text: never NULL, and no separator in it can be taken for one."""
        text = self._value(table, column, form)
        if form in FREE_TEXT:
            text = self.dialect.measured(text)
        elif form in DIGESTED:
            text = self.dialect.digest(text)
        return f"coalesce({text}, 'N')"

    def _value(self, table: TableName, column: str, form: str) -> str:
        return self.dialect.value(self.dialect.column(column), self._native(table, column), form)

    def _native(self, table: TableName, column: str) -> str:
        if table not in self._natives:
            self._natives[table] = self.native_types(table)
        try:
            return self._natives[table][column]
        except KeyError:
            raise ValidateFailed(f"table {table} has no column {column} to compare") from None

    def _remainder(self, scope: Scope, divisor: int) -> str:
        return self.dialect.remainder(self._segment_hash(scope), divisor)

    def _key_values(self, scope: Scope) -> dict[str, str]:
        forms = key_forms(scope.key)
        return {f"k{n}": self._value(scope.table, *column) for n, column in enumerate(forms)}

    def _ours(self, scope: Scope) -> dict[str, str]:
        """The texts that we render ourselves."""
        return {f"c{n}": self._value(scope.table, *column) for n, column in enumerate(scope.by_us)}

    # --- which rows -------------------------------------------------------------------------------------------------

    def _select(self, scope: Scope, outputs: Mapping[str, str], condition: str = "") -> str:
        """Select ``outputs`` and the texts that we render ourselves from the rows of the scope."""
        named = (f"{expression} AS {name}" for name, expression in {**outputs, **self._ours(scope)}.items())
        conditions = [f"({c})" for c in (*self._bounds(scope), condition) if c]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"{_select(*named)} FROM {self.rows_of(scope.table)}{where}"

    def _bounds(self, scope: Scope) -> Iterable[str]:
        if scope.sample < 100:
            yield f"{self._remainder(scope, 100)} < {int(scope.sample)}"
        if scope.low is not None:
            yield self._beyond(scope, scope.low)
        if scope.high is not None:
            yield self._before(scope, scope.high)

    def _before(self, scope: Scope, point: Sequence[str]) -> str:
        if ordered(scope.key):
            return self.dialect.before(*self._at(scope, point))
        return f"{self._segment_hash(scope)} < {int(point[0])}"

    def _beyond(self, scope: Scope, point: Sequence[str]) -> str:
        if ordered(scope.key):
            return self.dialect.not_before(*self._at(scope, point))
        return f"{self._segment_hash(scope)} >= {int(point[0])}"

    def _at(self, scope: Scope, point: Sequence[str]) -> tuple[list[str], list[str]]:
        """The key's columns, and the point's values as constants of their forms."""
        forms = key_forms(scope.key)
        operands = [self._operand(scope.table, *column) or self.dialect.column(column[0]) for column in forms]
        return operands, [self.dialect.constant(text, form) for text, (_, form) in zip(point, forms, strict=True)]

    def _operand(self, table: TableName, column: str, form: str) -> str | None:
        return self.dialect.operand(self.dialect.column(column), self._native(table, column), form)

    def _segment_number(self, scope: Scope, cuts: Sequence[Sequence[str]]) -> str:
        if not cuts:
            return "0"
        if ordered(scope.key):
            cases = " ".join(f"WHEN {self._before(scope, cut)} THEN {n}" for n, cut in enumerate(cuts))
            return f"CASE {cases} ELSE {len(cuts)} END"
        low = int(scope.low[0]) if scope.low is not None else 0
        return self.dialect.quotient(f"({self._segment_hash(scope)} - {low})", int(cuts[0][0]) - low)

    def _one_of(self, scope: Scope, keys: pa.RecordBatch) -> str:
        """A condition that holds for the rows with these keys; '' when no row can have any of them."""
        if not scope.key:
            if not len(keys):
                return ""
            known = keys["part" if scope.by_us else "hash"].to_pylist()
            return f"{self._segment_hash(scope)} IN ({', '.join(str(int(h)) for h in known)})"
        left, write = [], []
        for column, form in key_forms(scope.key):
            operand = self._operand(scope.table, column, form)
            left.append(operand or self._value(scope.table, column, form))
            write.append(partial(self.dialect.constant, form=form) if operand else self.dialect.text_constant)
        columns = [keys[f"k{n}"].to_pylist() for n in range(len(left))]
        forms = [form for _, form in key_forms(scope.key)]
        possible = (row for row in zip(*columns, strict=True) if self.possible(row, forms))
        tuples = [", ".join(w(v) for w, v in zip(write, row, strict=True)) for row in possible]
        if not tuples:
            return ""
        if len(left) == 1:
            return f"{left[0]} IN ({', '.join(tuples)})"
        return f"({', '.join(left)}) IN ({', '.join(f'({t})' for t in tuples)})"

    def possible(self, key: Sequence[str], forms: Sequence[str]) -> bool:
        """Whether this engine can hold such a key at all, in columns of these forms."""
        return True

    def rows_of(self, table: TableName) -> str:
        """What stands behind FROM."""
        return self.dialect.table(table)


def _select(*outputs: str) -> str:
    return "SELECT " + ", ".join(outputs)


def _whole_hash(scope: Scope, hashed: Any, texts: Sequence[Any]) -> int:
    if not scope.by_us:
        return int(hashed)
    read = [client_text(form, text) for (_, form), text in zip(scope.by_us, texts, strict=True)]
    return row_hash(int(hashed), read)


def _joined(batches: Iterable[pa.RecordBatch], width: int) -> pa.RecordBatch:
    """One batch of many: a block of rows is an Arrow batch before the next one is read, which takes far less room."""
    table = pa.Table.from_batches([_batch([], width), *batches]).combine_chunks()
    return table.to_batches()[0] if len(table) else _batch([], width)


def _batch(rows: Iterable[tuple[Any, ...]], width: int) -> pa.RecordBatch:
    """Rows of ``width`` key texts, hash and count as Arrow."""
    columns = list(zip(*rows, strict=True)) or [()] * (width + 2)
    arrays = [pa.array(column, pa.string()) for column in columns[:width]]
    arrays += [pa.array([int(v) for v in column], pa.int64()) for column in columns[width:]]
    return pa.RecordBatch.from_arrays(arrays, [*(f"k{n}" for n in range(width)), "hash", "rows"])
