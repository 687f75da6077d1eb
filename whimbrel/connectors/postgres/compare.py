"""Comparing tables inside PostgreSQL: values in their normal forms, hashed and summed by the server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import psycopg

from whimbrel.connectors.comparison import BLOCK_ROWS, Dialect, SqlComparison
from whimbrel.connectors.postgres.connection import connect, identifier, literal, mapped, qualified
from whimbrel.connectors.postgres.locks import bound_waits
from whimbrel.connectors.postgres.refetch import canonical
from whimbrel.errors import ValidateFailed
from whimbrel.model.job import Endpoint, Role
from whimbrel.model.names import TableName
from whimbrel.model.normal import DECIMAL_TEXT, HASH_BITS, HASH_DIGITS, split_form
from whimbrel.model.table import Column

GROUP: Final = 40  # operands joined in one parenthesis, so that wide rows do not nest deeply

INTEGERS: Final = frozenset({"smallint", "integer", "bigint"})
TEXTS: Final = frozenset({"text", "character varying"})

# Settings beyond those of every session: the comparison must not depend on the database's own.
SETTINGS: Final = (
    "SET default_transaction_read_only = on",
    "SET lc_monetary = 'C'",
    "SET search_path = pg_catalog",
)

PARTITIONED: Final = (
    "select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname = %s and c.relname = %s and c.relkind = 'p'"
)
COLUMNS: Final = """
select a.attname, (
  with recursive t(oid, kind, base) as (
    select oid, typtype, typbasetype from pg_catalog.pg_type where oid = a.atttypid
    union all
    select b.oid, b.typtype, b.typbasetype from t join pg_catalog.pg_type b on b.oid = t.base where t.kind = 'd')
  select pg_catalog.format_type(oid, null) from t where kind <> 'd')
from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s and a.attnum > 0 and not a.attisdropped
"""


class PostgresDialect(Dialect):
    """``utf8`` says whether the database's encoding is UTF-8; elsewhere the bytes of a text are counted as UTF-8."""

    def __init__(self, utf8: bool = True) -> None:
        self._utf8 = utf8

    def table(self, name: TableName) -> str:
        return qualified(name)

    def column(self, name: str) -> str:
        return identifier(name)

    def value(self, column: str, native: str, form: str) -> str:
        name, digits = split_form(form)
        render = _RENDER.get(name)
        return render(column, native, digits) if render else f"{column}::text"

    def operand(self, column: str, native: str, form: str) -> str | None:
        if form == "integer" and native == "boolean":
            return f"{column}::integer"
        return column if native in _DIRECT.get(form, ()) else None

    def constant(self, text: str, form: str) -> str:
        if form == "integer":
            return str(int(text))
        if form == "hex":
            return f"'\\x{bytes.fromhex(text).hex()}'"
        if form == "decimal" and DECIMAL_TEXT.match(text):
            return text  # quoted, it would have to be of the column's type, which may be an integer
        if form == "date":
            return literal(_DAY_ZERO.sub("01", text).replace("0000-", "0001-"))
        return literal(text)

    def text_constant(self, text: str) -> str:
        return literal(text)

    def joined(self, parts: Sequence[str]) -> str:
        groups = [" || '|' || ".join(parts[at : at + GROUP]) for at in range(0, len(parts), GROUP)]
        return groups[0] if len(groups) == 1 else " || '|' || ".join(f"({group})" for group in groups)

    def measured(self, text: str) -> str:
        held = text if self._utf8 else f"convert_to({text}, 'UTF8')"
        return f"octet_length({held}) || ':' || {text}"

    def digest(self, text: str) -> str:
        return f"encode(sha256(convert_to({text}, 'UTF8')), 'hex')"

    def number(self, text: str) -> str:
        return f"('x' || left({self.digest(text)}, {HASH_DIGITS}))::bit({HASH_BITS})::bigint"

    def quotient(self, number: str, divisor: int) -> str:
        return f"{number} / {divisor}"

    def before(self, operands: Sequence[str], constants: Sequence[str]) -> str:
        return f"({', '.join(operands)}) < ({', '.join(constants)})"

    def not_before(self, operands: Sequence[str], constants: Sequence[str]) -> str:
        return f"({', '.join(operands)}) >= ({', '.join(constants)})"


# --- values in their normal forms -------------------------------------------------------------------------------------

_ANY: Final = re.compile("")
_DAY_ZERO: Final = re.compile(r"(?<=-)00")  # MySQL has months and days of that number, before the first ones
_POSSIBLE: Final = {
    "date": re.compile(r"(?!0000)\d+-(?!00)\d\d-(?!00)\d\d( BC)?\Z|-?infinity\Z"),
    "timestamp(6)": re.compile(r"(?!0000)\d+-(?!00)\d\d-(?!00)\d\d |-?infinity\Z"),
    "uuid": re.compile(r"[0-9a-f]{32}\Z"),
}

_DIRECT: Final = {
    "integer": INTEGERS,
    "decimal": {"numeric"},
    "text": TEXTS,
    "padded": {"character"},
    "date": {"date"},
    "hex": {"bytea"},
    "uuid": {"uuid"},
    "timestamp(6)": {"timestamp without time zone", "timestamp with time zone"},
}


def _integer(column: str, native: str, digits: int) -> str:
    return f"{column}::integer::text" if native == "boolean" else f"{column}::text"


def _decimal(column: str, native: str, digits: int) -> str:
    casts = {"boolean": "integer", "money": "numeric"}
    text = f"{column}::{casts[native]}::text" if native in casts else f"{column}::text"
    if native in INTEGERS or native == "boolean":
        return text
    return f"CASE WHEN strpos({text}, '.') > 0 THEN rtrim(rtrim({text}, '0'), '.') ELSE {text} END"


def _float64(column: str, native: str, digits: int) -> str:
    return _float_text(f"{column}::double precision")


def _float32(column: str, native: str, digits: int) -> str:
    return _float_text(f"{column}::real::double precision")


def _float_text(number: str) -> str:
    """Sign, significant digits, ``e`` and the exponent of the last of them: 1.5 is ``15e-1``; 0 and -0 are ``e0``."""
    text = f"({number})::text"
    mantissa = f"split_part(ltrim({text}, '-'), 'e', 1)"
    digits = f"replace({mantissa}, '.', '')"
    exponent = f"coalesce(nullif(split_part({text}, 'e', 2), ''), '0')::integer"
    last = f"({exponent} - length(split_part({mantissa}, '.', 2)) + length({digits}) - length(rtrim({digits}, '0')))"
    finite = f"CASE WHEN {number} < 0 THEN '-' ELSE '' END || trim('0' from {digits}) || 'e' || {last}"
    zero = f"WHEN {number} = 0 THEN 'e0'"
    return f"CASE WHEN {number} IN ('NaN', 'Infinity', '-Infinity') THEN {text} {zero} ELSE {finite} END"


def _text(column: str, native: str, digits: int) -> str:
    """As COPY and the log write it: a cast would add the mask of a whole address."""
    return f"(to_json({column}) #>> '{{}}')" if native == "inet" else f"{column}::text"


def _padded(column: str, native: str, digits: int) -> str:
    return f"rtrim({column}::text, ' ')"


def _set(column: str, native: str, digits: int) -> str:
    return f"array_to_string({column}, ',')" if native.endswith("[]") else f"{column}::text"


def _uuid(column: str, native: str, digits: int) -> str:
    return f"encode({column}, 'hex')" if native == "bytea" else f"replace(lower({column}::text), '-', '')"


def _bytes(column: str, native: str, digits: int) -> str:
    held = column if native == "bytea" else f"{column}::bytea"
    return f"encode(sha256({held}), 'hex')"


def _hex(column: str, native: str, digits: int) -> str:
    return f"encode({column}, 'hex')"


def _date(column: str, native: str, digits: int) -> str:
    return f"{column}::text" if native == "date" else f"{column}::date::text"


def _time(column: str, native: str, digits: int) -> str:
    """In units of the last digit, so that a day and more, and less than nothing, need no notation."""
    clock = f"{column}::interval" if native in TEXTS else column
    clock = f"{clock}::time" if native == "time with time zone" else clock
    return f"round(extract(epoch from {clock})::numeric * {10**digits})::bigint::text"


def _timestamp(column: str, native: str, digits: int) -> str:
    moment = f"({column} AT TIME ZONE 'UTC')" if native == "timestamp with time zone" else f"{column}::timestamp"
    return f"{moment}::timestamp({digits})::text" if digits < 6 else f"{moment}::text"


def _bit(column: str, native: str, digits: int) -> str:
    """Without leading zeros: '' is zero."""
    casts = {"boolean": "integer::text", **dict.fromkeys(INTEGERS, "bigint::bit(64)::text")}
    return f"ltrim({column}::{casts.get(native, 'text')}, '0')"


def _json(column: str, native: str, digits: int) -> str:
    return f"to_json({column})::text" if native.endswith("[]") else f"{column}::text"


def _float_exact(column: str, native: str, digits: int) -> str:
    return f"{column}::double precision::text"


_RENDER: Final = {
    "integer": _integer,
    "decimal": _decimal,
    "float64": _float64,
    "float32": _float32,
    "float64-exact": _float_exact,
    "float32-exact": _float_exact,  # as a double, which we round
    "text": _text,
    "padded": _padded,
    "set": _set,
    "uuid": _uuid,
    "bytes": _bytes,
    "hex": _hex,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "bit": _bit,
    "json": _json,
    "json-text": _json,
}


# --- running it -------------------------------------------------------------------------------------------------------


class PostgresComparison(SqlComparison):
    """See ``protocols.Comparison``. Each statement sees its own snapshot; none holds one longer than it runs."""

    def __init__(self, endpoint: Endpoint, operation: str, role: Role = "source") -> None:
        super().__init__()
        self._role: Role = role
        self._sources: dict[TableName, str] = {}
        self._connection = connect(endpoint.parameters, operation, role=role)
        with mapped(role):
            bound_waits(self._connection)
            for setting in SETTINGS:
                self._connection.pgconn.exec_(setting.encode())
        encoding = self._connection.info.parameter_status("server_encoding")
        self.dialect = PostgresDialect(utf8=encoding == "UTF8")

    def native_types(self, table: TableName) -> Mapping[str, str]:
        with mapped(self._role):
            found = self._connection.execute(COLUMNS, (table.schema, table.table)).fetchall()
        if not found:
            raise ValidateFailed(f"table {table} does not exist in PostgreSQL", remedy="Run schema/apply first.")
        return {str(name): str(native) for name, native in found}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with mapped(self._role):
            return self._connection.execute(sql.encode()).fetchall()

    def rows_within(self, sql: str, seconds: float) -> list[tuple[Any, ...]] | None:
        """The same as ``rows``; None when it was not done in time."""
        with mapped(self._role):
            try:
                with self._connection.transaction():
                    self._connection.execute(f"set local statement_timeout = {int(seconds * 1000)}".encode())
                    return self._connection.execute(sql.encode()).fetchall()
            except psycopg.errors.QueryCanceled:
                return None

    def stream(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        with (
            mapped(self._role),
            self._connection.transaction(),
            self._connection.cursor(name="whimbrel_compare") as cursor,
        ):
            cursor.execute(sql.encode())
            while block := cursor.fetchmany(BLOCK_ROWS):
                yield block

    def canonical(self, column: Column) -> str:
        return self.dialect.column(column.name)

    def canonical_rows(self, sql: str, columns: Sequence[Column | None]) -> list[tuple[bytes | None, ...]]:
        with mapped(self._role):
            result = self._connection.execute(sql.encode()).pgresult
        assert result is not None
        return [
            tuple(
                result.get_value(row, n) if column is None else canonical(column, result.get_value(row, n))
                for n, column in enumerate(columns)
            )
            for row in range(result.ntuples)
        ]

    def possible(self, key: Sequence[str], forms: Sequence[str]) -> bool:
        return not any("\0" in v or not _POSSIBLE.get(f, _ANY).match(v) for v, f in zip(key, forms, strict=True))

    def rows_of(self, table: TableName) -> str:
        """The table without those that inherit from it, unless they are its partitions: as its rows are copied."""
        if table not in self._sources:
            with mapped(self._role):
                partitioned = self._connection.execute(PARTITIONED, (table.schema, table.table)).fetchone()
            self._sources[table] = qualified(table) if partitioned else f"ONLY {qualified(table)}"
        return self._sources[table]

    def cancel(self) -> None:
        self._connection.cancel_safe(timeout=10)

    def close(self) -> None:
        self._connection.close()


def open_comparison(endpoint: Endpoint, operation: str, role: Role = "source") -> PostgresComparison:
    """Connect for comparing. Raises a ConnectionRefused leaf."""
    return PostgresComparison(endpoint, operation, role)
