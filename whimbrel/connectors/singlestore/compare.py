"""Comparing tables inside SingleStore: values in their normal forms, hashed and summed by the server."""

from __future__ import annotations

from typing import Final

from whimbrel.connectors.singlestore.connection import connect
from whimbrel.connectors.singlestore.dialect import DIALECT
from whimbrel.connectors.singlestore.target import SingleStoreTarget
from whimbrel.connectors.sql.comparison import SqlComparisonDialect, TargetComparison
from whimbrel.model.job import Endpoint, Role
from whimbrel.model.normal import HASH_DIGITS, split_form
from whimbrel.model.table import Annotation, Column

_TEXTS: Final = ("CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "ENUM", "SET")
_BINARIES: Final = ("BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB")
_INTEGERS: Final = tuple(f"{n}INT{sign}" for n in ("TINY", "SMALL", "MEDIUM", "", "BIG") for sign in ("", " UNSIGNED"))


class SingleStoreComparisonDialect(SqlComparisonDialect):
    """``native`` is a type as ``SingleStoreTarget.reflected`` has it: ``DECIMAL(12,2)``, ``BIGINT UNSIGNED``."""

    sql = DIALECT

    def value(self, column: str, native: str, form: str) -> str:
        name, digits = split_form(form)
        render = _RENDER.get(name)
        return render(column, native, digits) if render else _text(column, native)

    def operand(self, column: str, native: str, form: str) -> str | None:
        return column if _base(native) in _DIRECT.get(form, ()) else None

    def binary_constant(self, value: bytes) -> str:
        return f"UNHEX('{value.hex()}')"

    def measured(self, text: str) -> str:
        return f"CONCAT(LENGTH({text}), ':', {text})"

    def digest(self, text: str) -> str:
        return f"SHA2({text}, 256)"

    def number(self, text: str) -> str:
        return f"CAST(CONV(LEFT({self.digest(text)}, {HASH_DIGITS}), 16, 10) AS DECIMAL(20,0))"

    def quotient(self, number: str, divisor: int) -> str:
        return f"{number} DIV {divisor}"


# --- values in their normal forms -------------------------------------------------------------------------------------

_DIRECT: Final = {
    "integer": _INTEGERS,
    "decimal": ("DECIMAL",),
    "text": _TEXTS,
    "date": ("DATE",),
    "hex": _BINARIES,
}


def _base(native: str) -> str:
    return native.partition("(")[0]


def _text(column: str, native: str) -> str:
    return column if _base(native) in _TEXTS else f"CAST({column} AS CHAR)"


def _plain(column: str, native: str, digits: int) -> str:
    return f"CAST({column} AS CHAR)"


def _decimal(column: str, native: str, digits: int) -> str:
    text = _text(column, native)
    if _base(native) in _INTEGERS:
        return text
    return f"IF(LOCATE('.', {text}) > 0, {_trimmed(text)}, {text})"


def _trimmed(text: str) -> str:
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))"


def _number(column: str, native: str, digits: int) -> str:
    """As a double, which the driver reads; a single would be shown with six digits."""
    return column if _base(native) == "DOUBLE" else f"({column} + 0e0)"


def _rough(column: str, native: str, digits: int) -> str:
    """SingleStore's own text of a double; that it equals another engine's is not hoped for."""
    return f"CAST({_number(column, native, digits)} AS CHAR)"


def _padded(column: str, native: str, digits: int) -> str:
    return f"TRIM(TRAILING ' ' FROM {_text(column, native)})"


def _uuid(column: str, native: str, digits: int) -> str:
    if _base(native) in _BINARIES:
        return f"LOWER(HEX({column}))"
    return f"REPLACE(LOWER({column}), '-', '')"


def _bytes(column: str, native: str, digits: int) -> str:
    return f"SHA2({column}, 256)"


def _hex(column: str, native: str, digits: int) -> str:
    return f"LOWER(HEX({column}))"


def _date(column: str, native: str, digits: int) -> str:
    return f"CAST({column} AS CHAR)" if _base(native) == "DATE" else f"CAST(CAST({column} AS DATE) AS CHAR)"


def _time(column: str, native: str, digits: int) -> str:
    """In units of the last digit; durations that are kept as text may have a sign and more hours than a day."""
    clock = column if _base(native) == "TIME" else f"CAST({column} AS TIME(6))"
    micros = f"(TRUNCATE(TIME_TO_SEC({clock}), 0) * 1000000 + IF({clock} < 0, -1, 1) * MICROSECOND({clock}))"
    if _base(native) != "TIME":
        plain = f"TRIM(LEADING '-' FROM {column})"
        seconds = f"CAST(SUBSTRING_INDEX({plain}, ':', -1) AS DECIMAL(12,6))"
        minutes = f"CAST(SUBSTRING_INDEX(SUBSTRING_INDEX({plain}, ':', 2), ':', -1) AS SIGNED)"
        hours = f"CAST(SUBSTRING_INDEX({plain}, ':', 1) AS SIGNED)"
        whole = f"({hours} * 3600 + {minutes} * 60 + {seconds}) * 1000000"
        micros = f"(IF(LEFT({column}, 1) = '-', -1, 1) * {whole})"
    return f"CAST(CAST({micros} AS SIGNED) DIV {10 ** (6 - digits)} AS CHAR)"


def _timestamp(column: str, native: str, digits: int) -> str:
    if _base(native) == "DATE":
        return f"CONCAT({column}, ' 00:00:00')"
    text = f"CAST({column} AS CHAR)"
    if native not in ("DATETIME(6)", "TIMESTAMP(6)"):
        return text
    if digits == 0:
        return f"LEFT({text}, 19)"
    return _trimmed(f"LEFT({text}, {20 + digits})")


def _bit(column: str, native: str, digits: int) -> str:
    """Without leading zeros: '' is zero."""
    return f"TRIM(LEADING '0' FROM {column if _base(native) in _TEXTS else f'BIN({column})'})"


_RENDER: Final = {
    "integer": _plain,
    "decimal": _decimal,
    "float64": _rough,
    "float32": _rough,
    "float64-exact": _number,
    "float32-exact": _number,
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


class SingleStoreComparison(TargetComparison):
    """See ``protocols.Comparison``."""

    dialect = SingleStoreComparisonDialect()

    def canonical(self, column: Column) -> str:
        return _canonical(DIALECT.identifier(column.name), column)


def _canonical(name: str, column: Column) -> str:
    """A target column's value as the change plane would carry it."""
    base = _base(column.type.native)
    if column.type.annotation is Annotation.JSON:
        return f"CAST({name} AS CHAR)"
    if base in ("FLOAT", "DOUBLE"):
        return _number(name, column.type.native, 0)
    return name if base in (*_TEXTS, *_BINARIES) else f"CAST({name} AS CHAR)"


def open_comparison(endpoint: Endpoint, operation: str, role: Role = "target") -> SingleStoreComparison:
    """Connect for comparing. Raises a ConnectionRefused leaf."""
    target = SingleStoreTarget(endpoint, operation)
    session = connect(endpoint.parameters, operation, role)
    try:
        session.tell()
        # a default database is needed even by functions; every server has this one
        session.execute("USE information_schema")
    except BaseException:
        session.close()
        raise
    return SingleStoreComparison(target, session)
