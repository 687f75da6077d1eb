"""Comparing tables inside a server that takes files and SQL: what its ``compare.py`` need not say again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from whimbrel.connectors.comparison import Dialect, SqlComparison
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.sql.target import SqlTarget
from whimbrel.errors import ValidateFailed
from whimbrel.model.names import TableName
from whimbrel.model.normal import DECIMAL_TEXT
from whimbrel.model.table import Column


class SqlComparisonDialect(Dialect):
    """``native`` is a type as ``SqlTarget.reflected`` has it."""

    sql: ClassVar[SqlDialect]

    def table(self, name: TableName) -> str:
        return self.sql.qualified(name)

    def column(self, name: str) -> str:
        return self.sql.identifier(name)

    def constant(self, text: str, form: str) -> str:
        if form == "integer":
            return str(int(text))
        if form == "decimal" and DECIMAL_TEXT.match(text):
            return text
        if form == "hex":
            return self.binary_constant(bytes.fromhex(text))
        return self.text_constant(text)

    @abstractmethod
    def binary_constant(self, value: bytes) -> str: ...

    def text_constant(self, text: str) -> str:
        return self.sql.literal(text)

    def joined(self, parts: Sequence[str]) -> str:
        return f"CONCAT_WS('|', {', '.join(parts)})"

    def before(self, operands: Sequence[str], constants: Sequence[str]) -> str:
        return _ordered("<", operands, constants)

    def not_before(self, operands: Sequence[str], constants: Sequence[str]) -> str:
        return _ordered(">=", operands, constants)


def _ordered(sign: str, operands: Sequence[str], constants: Sequence[str]) -> str:
    """One row against another, column by column: engines differ in what they make of rows in parentheses."""
    if len(operands) == 1:
        return f"{operands[0]} {sign} {constants[0]}"
    rest = _ordered(sign, operands[1:], constants[1:])
    first, constant, strict = operands[0], constants[0], sign[0]
    return f"{first} {strict} {constant} OR ({first} = {constant} AND ({rest}))"


class TargetComparison(SqlComparison):
    """See ``protocols.Comparison``. Each statement sees what was committed when it began."""

    def __init__(self, target: SqlTarget, session: Session) -> None:
        """Takes the session over."""
        super().__init__()
        self._target, self._session = target, session

    def native_types(self, table: TableName) -> Mapping[str, str]:
        found = self._target.reflected(self._session, [table]).get(table)
        if found is None:
            title = self._target.dialect.title
            raise ValidateFailed(f"table {table} does not exist in {title}", remedy="Run schema/apply first.")
        return {c.name: c.type.native for c in found.columns}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._session.query(sql)

    def stream(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        yield from self._session.stream(sql)

    def canonical_rows(self, sql: str, columns: Sequence[Column | None]) -> list[tuple[bytes | None, ...]]:
        return [tuple(None if v is None else _raw(v) for v in row) for row in self.rows(sql)]

    def cancel(self) -> None:
        self._session.cancel()

    def close(self) -> None:
        self._session.close()


def _raw(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    return (repr(value) if isinstance(value, float) else str(value)).encode()
