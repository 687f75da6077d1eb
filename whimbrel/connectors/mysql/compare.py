"""Comparing tables inside MySQL and MariaDB: values in their normal forms, hashed and summed by the server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from pymysql.cursors import SSCursor

from whimbrel.connectors.comparison import BLOCK_ROWS, Dialect, SqlComparison
from whimbrel.connectors.mysql.connection import connect, execute, mapped, qualified, query, quote_identifier
from whimbrel.connectors.mysql.locks import bound_waits
from whimbrel.connectors.mysql.rowtext import separate
from whimbrel.errors import ValidateFailed
from whimbrel.model.chunk import Format
from whimbrel.model.job import Endpoint, Role
from whimbrel.model.names import TableName
from whimbrel.model.normal import DECIMAL_TEXT, HASH_DIGITS, split_form
from whimbrel.model.table import Column

TEXTS: Final = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
BINARIES: Final = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
INTEGERS: Final = ("tinyint", "smallint", "mediumint", "int", "bigint")

COLUMNS: Final = (
    "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
)


class MySQLDialect(Dialect):
    """``native`` is COLUMN_TYPE: ``decimal(10,2) unsigned zerofill``."""

    def table(self, name: TableName) -> str:
        return qualified(name)

    def column(self, name: str) -> str:
        return quote_identifier(name)

    def value(self, column: str, native: str, form: str) -> str:
        name, digits = split_form(form)
        return _RENDER.get(name, _text)(column, native.lower(), digits)

    def operand(self, column: str, native: str, form: str) -> str | None:
        return column if _base(native.lower()) in _DIRECT.get(form, ()) else None

    def constant(self, text: str, form: str) -> str:
        if form == "integer":
            return str(int(text))
        if form == "decimal" and DECIMAL_TEXT.match(text):
            return text
        if form == "hex":
            return f"X'{bytes.fromhex(text).hex()}'"
        return self.text_constant(text)

    def text_constant(self, text: str) -> str:
        return f"_utf8mb4 X'{text.encode().hex()}'"

    def joined(self, parts: Sequence[str]) -> str:
        return f"concat_ws('|', {', '.join(parts)})"

    def measured(self, text: str) -> str:
        return f"concat(length({text}), ':', {text})"

    def digest(self, text: str) -> str:
        return f"sha2({text}, 256)"

    def number(self, text: str) -> str:
        return f"CAST(conv(left({self.digest(text)}, {HASH_DIGITS}), 16, 10) AS SIGNED)"

    def quotient(self, number: str, divisor: int) -> str:
        return f"{number} DIV {divisor}"

    def before(self, operands: Sequence[str], constants: Sequence[str]) -> str:
        return _ordered("<", operands, constants)

    def not_before(self, operands: Sequence[str], constants: Sequence[str]) -> str:
        return _ordered(">=", operands, constants)


def _ordered(sign: str, operands: Sequence[str], constants: Sequence[str]) -> str:
    """Row comparison spelled out: the optimizer finds no range of an index in ``(a, b) < (1, 2)``."""
    if len(operands) == 1:
        return f"{operands[0]} {sign} {constants[0]}"
    rest = _ordered(sign, operands[1:], constants[1:])
    first, constant, strict = operands[0], constants[0], sign[0]
    return f"{first} {strict}= {constant} AND ({first} {strict} {constant} OR {rest})"


# --- values in their normal forms -------------------------------------------------------------------------------------

_DIRECT: Final = {
    "integer": INTEGERS,
    "decimal": ("decimal",),
    "text": TEXTS,
    "padded": ("char",),
    "date": ("date",),
    "hex": BINARIES,
    "timestamp(6)": ("datetime", "timestamp"),
}


def _base(native: str) -> str:
    return re.split(r"[ (]", native, maxsplit=1)[0]


def _fraction(native: str) -> int:
    """Fractional digits of a time type."""
    found = re.match(r"\w+\((\d)\)", native)
    return int(found[1]) if found else 0


def _text(column: str, native: str, digits: int) -> str:
    if _base(native) in (*TEXTS, "enum", "set"):
        return f"CONVERT({column} USING utf8mb4)"
    return f"CAST({column} AS CHAR)"


def _number(column: str, native: str) -> str:
    """A number without the zeros that ZEROFILL puts in front, a bit string or a year as one."""
    shown_otherwise = "zerofill" in native or _base(native) in ("bit", "year")
    return f"({column} + 0)" if shown_otherwise else column


def _integer(column: str, native: str, digits: int) -> str:
    return f"CAST({_number(column, native)} AS CHAR)"


def _decimal(column: str, native: str, digits: int) -> str:
    text = f"CAST({_number(column, native)} AS CHAR)"
    if _base(native) in INTEGERS:
        return text
    return f"IF(locate('.', {text}) > 0, {_trimmed(text)}, {text})"


def _trimmed(text: str) -> str:
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))"


def _float64(column: str, native: str, digits: int) -> str:
    return _float_text(column, _double(column, native))


def _float32(column: str, native: str, digits: int) -> str:
    single = column if _base(native) == "float" else f"CAST({column} AS FLOAT)"
    return _float_text(column, f"CAST(abs({single} + 0e0) AS CHAR)")


def _double(column: str, native: str) -> str:
    """The shortest text of a number as double, with or without its sign.

    MySQL cuts the text of a computed double at 22 characters; without a sign, and with the exponents that FLOAT and
    DECIMAL allow, it fits. The text of a DOUBLE column itself is never cut.
    """
    return f"CAST({column} AS CHAR)" if _base(native) == "double" else f"CAST(abs({column} + 0e0) AS CHAR)"


def _float_text(column: str, text: str) -> str:
    """Sign, significant digits, ``e`` and the exponent of the last of them: 1.5 is ``15e-1``; 0 and -0 are ``e0``."""
    mantissa = f"TRIM(LEADING '-' FROM substring_index({text}, 'e', 1))"
    digits = f"replace({mantissa}, '.', '')"
    exponent = f"IF(locate('e', {text}) > 0, CAST(substring_index({text}, 'e', -1) AS SIGNED), 0)"
    fraction = f"IF(locate('.', {mantissa}) > 0, length(substring_index({mantissa}, '.', -1)), 0)"
    zeros = f"CAST(length({digits}) AS SIGNED) - length(TRIM(TRAILING '0' FROM {digits}))"
    last = f"{exponent} - {fraction} + {zeros}"
    finite = f"concat(IF({column} < 0, '-', ''), TRIM(BOTH '0' FROM {digits}), 'e', {last})"
    return f"IF(TRIM(BOTH '0' FROM {digits}) = '', 'e0', {finite})"


def _padded(column: str, native: str, digits: int) -> str:
    return f"TRIM(TRAILING ' ' FROM {_text(column, native, digits)})"


def _uuid(column: str, native: str, digits: int) -> str:
    if _base(native) in BINARIES:
        return f"lower(hex({column}))"
    return f"replace(lower({_text(column, native, digits)}), '-', '')"


def _bytes(column: str, native: str, digits: int) -> str:
    return f"sha2({column}, 256)"


def _hex(column: str, native: str, digits: int) -> str:
    return f"lower(hex({column}))"


def _date(column: str, native: str, digits: int) -> str:
    return f"CAST({column} AS CHAR)" if _base(native) == "date" else f"CAST(CAST({column} AS DATE) AS CHAR)"


def _time(column: str, native: str, digits: int) -> str:
    """In units of the last digit, so that a day and more, and less than nothing, need no notation."""
    clock = column if _base(native) == "time" else f"CAST({column} AS TIME(6))"
    micros = f"(truncate(time_to_sec({clock}), 0) * 1000000 + IF({clock} < 0, -1, 1) * microsecond({clock}))"
    return f"CAST(CAST(round({micros}, {digits - 6}) AS SIGNED) DIV {10 ** (6 - digits)} AS CHAR)"


def _timestamp(column: str, native: str, digits: int) -> str:
    if _base(native) == "date":
        return f"concat({column}, ' 00:00:00')"
    held = _fraction(native) if _base(native) in ("datetime", "timestamp") else 7
    moment = f"CAST({column} AS DATETIME({digits}))" if held > digits else column
    text = f"CAST({moment} AS CHAR)"
    return _trimmed(text) if min(held, digits) else text


def _bit(column: str, native: str, digits: int) -> str:
    """Without leading zeros: '' is zero."""
    text = _text(column, native, digits) if _base(native) in TEXTS else f"bin({column} + 0)"
    return f"TRIM(LEADING '0' FROM {text})"


def _float_exact(column: str, native: str, digits: int) -> str:
    return f"concat(IF({column} < 0, '-', ''), TRIM(LEADING '-' FROM {_double(column, native)}))"


_RENDER: Final = {
    "integer": _integer,
    "decimal": _decimal,
    "float64": _float64,
    "float32": _float32,
    "float64-exact": _float_exact,
    "float32-exact": _float_exact,  # as a double, which we round
    "padded": _padded,
    "uuid": _uuid,
    "bytes": _bytes,
    "hex": _hex,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "bit": _bit,
}


# --- running it -------------------------------------------------------------------------------------------------------


class MySQLComparison(SqlComparison):
    """See ``protocols.Comparison``. Each statement sees its own snapshot; none holds one longer than it runs."""

    def __init__(self, endpoint: Endpoint, operation: str, role: Role = "source") -> None:
        super().__init__()
        self._role: Role = role
        self._parameters, self._operation = endpoint.parameters, operation
        # A default database is needed even by functions; every server has this one.
        self._session = connect(endpoint.parameters, operation, role=role, database="information_schema")
        with mapped(role):
            bound_waits(self._session)
            execute(self._session, f"SET SESSION sql_mode = '{self._sql_mode}'")
            execute(self._session, "SET SESSION TRANSACTION READ ONLY")
            self._thread = int(query(self._session, "SELECT CONNECTION_ID()")[0][0])
        self.dialect = MySQLDialect()

    @property
    def _sql_mode(self) -> str:
        """Zero dates must pass casts, and fractions be rounded as other servers do, where MariaDB would cut them."""
        rounds = self._session.mariadb and self._session.version >= (10, 4, 1)
        return "TIME_ROUND_FRACTIONAL" if rounds else ""

    def native_types(self, table: TableName) -> Mapping[str, str]:
        with mapped(self._role):
            found = query(self._session, COLUMNS, (table.schema, table.table))
        if not found:
            raise ValidateFailed(f"table {table} does not exist in MySQL", remedy="Run schema/apply first.")
        return {str(name): str(native) for name, native in found}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with mapped(self._role):
            return query(self._session, sql)

    def stream(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        with mapped(self._role), closing(SSCursor(self._session)) as cursor:
            cursor.execute(sql)
            while block := cursor.fetchmany(BLOCK_ROWS):
                yield list(block)

    def canonical(self, column: Column) -> str:
        return separate([column], Format.COPY_TEXT)[0][0]

    def canonical_rows(self, sql: str, columns: Sequence[Column | None]) -> list[tuple[bytes | None, ...]]:
        return [tuple(None if v is None else _raw(v) for v in row) for row in self.rows(sql)]

    def cancel(self) -> None:
        with mapped(self._role), closing(connect(self._parameters, self._operation, role=self._role)) as other:
            execute(other, f"KILL QUERY {self._thread}")

    def close(self) -> None:
        self._session.close()


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def open_comparison(endpoint: Endpoint, operation: str, role: Role = "source") -> MySQLComparison:
    """Connect for comparing. Raises a ConnectionRefused leaf."""
    return MySQLComparison(endpoint, operation, role)
