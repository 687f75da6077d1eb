"""Proof of equality that owes nothing to Whimbrel: each server sums up its own tables, asked by its own client.

Every row becomes one text (columns joined by ``|``, NULL as ``\\N``), its SHA-256 is cut into two whole numbers, and
the sums of both over all rows, with the number of rows, stand for the table whatever the order of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from demo.shop import DATABASE, SCHEMA, Columns, Shop
from tests.servers.postgres import Postgres

HEX_DIGITS = 12  # of each half: a sum of 2**48 times a million rows fits every engine's exact numbers
Family = Literal["postgres", "mysql"]


@dataclass(frozen=True)
class Sum:
    """A table as a number of rows and two sums of hashes."""

    rows: int
    first: int
    second: int


def as_text(name: str, kind: str, family: Family) -> str:
    """SQL for the text of a column that is the same on both sides whenever the values are equal."""
    if kind == "plain":
        return f"{name}::text" if family == "postgres" else f"cast({name} as char)"
    if kind == "boolean":
        return f"{name}::int::text" if family == "postgres" else f"cast({name} as char)"
    if kind == "bytes":
        return f"encode({name}, 'hex')" if family == "postgres" else f"lower(hex({name}))"
    if kind in ("timestamp", "instant"):
        if family == "mysql":
            return f"date_format({name}, '%Y-%m-%d %H:%i:%s.%f')"
        utc = f"{name} at time zone 'UTC'" if kind == "instant" else name
        return f"to_char({utc}, 'YYYY-MM-DD HH24:MI:SS.US')"
    if kind == "double":
        # All values of the shop have few digits, so one decimal text of each engine is exact.
        if family == "postgres":
            return f"case when abs({name}) < 1e15 then {name}::numeric(24, 6)::text else {name}::text end"
        number = f"cast(cast({name} as decimal(24, 6)) as char)"
        return f"case when {name} is null then null when abs({name}) < 1e15 then {number} else '1e+300' end"
    if kind.startswith("json:"):
        return json_text(name, kind.removeprefix("json:").split(","), family)
    raise ValueError(f"{name}: no text for values of kind {kind}")


def json_text(name: str, keys: list[str], family: Family) -> str:
    """The values of some keys of an object, without the spaces that one engine puts between elements."""
    if family == "postgres":
        values = [f"replace(({name}::jsonb ->> '{key}'), ', ', ',')" for key in keys]
    else:
        values = [f"replace(json_unquote(json_extract({name}, '$.{key}')), ', ', ',')" for key in keys]
    return "concat_ws('~', " + ", ".join(values) + f", case when {name} is null then 'null' end)"


def sum_query(table: str, columns: Columns, family: Family) -> str:
    """One row: rows, first sum, second sum, separated as the client separates columns."""
    texts = ", ".join(f"coalesce({as_text(name, kind, family)}, '\\N')" for name, kind in columns.items())
    row = f"concat_ws('|', {texts})"
    second = HEX_DIGITS + 1
    if family == "postgres":
        half = "sum(('x' || substr(h, {0}, {1}))::bit(48)::bigint)"
        hashed = f"encode(sha256(convert_to({row}, 'UTF8')), 'hex')"
    else:
        half = "sum(cast(conv(substr(h, {0}, {1}), 16, 10) as unsigned))"
        hashed = f"sha2({row}, 256)"
    sums = f"count(*), coalesce({half.format(1, HEX_DIGITS)}, 0), coalesce({half.format(second, HEX_DIGITS)}, 0)"
    return f"select {sums} from (select {hashed} as h from {SCHEMA}.{table}) hashes"


def sum_of(line: str) -> Sum:
    rows, first, second = (int(part) for part in line.replace("|", "\t").split("\t"))
    return Sum(rows, first, second)


def source_sums(shop: Shop) -> dict[str, Sum]:
    """Ask the source's own client."""
    if isinstance(shop.server, Postgres):
        return {table: postgres_sum(shop.server, table, columns) for table, columns in shop.tables.items()}
    # NO_BACKSLASH_ESCAPES, so that '\N' means the same text as in PostgreSQL.
    before = "set session time_zone = '+00:00', sql_mode = 'NO_BACKSLASH_ESCAPES';"
    return {t: sum_of(shop.sql(before + sum_query(t, columns, "mysql"))) for t, columns in shop.tables.items()}


def target_sums(target: Postgres, shop: Shop) -> dict[str, Sum]:
    """Ask the target's own psql."""
    return {table: postgres_sum(target, table, columns) for table, columns in shop.tables.items()}


def postgres_sum(server: Postgres, table: str, columns: Columns) -> Sum:
    before = "set time zone 'UTC'; set extra_float_digits = 1;"
    return sum_of(server.psql(before + sum_query(table, columns, "postgres"), DATABASE))
