"""Awkward values, loaded natively into each server, must have one normal form everywhere and a hash of their own."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal

import pytest

from tests.conftest import running_server
from tests.servers.fleet import Fleet
from tests.servers.mysql import MySQL
from tests.servers.postgres import Postgres
from whimbrel.connectors.comparison import SqlComparison
from whimbrel.connectors.mysql.compare import MySQLComparison
from whimbrel.connectors.postgres.compare import PostgresComparison
from whimbrel.connectors.protocols import Scope
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName
from whimbrel.model.normal import CLIENT_FORMS, client_text

SERVERS = ("postgres15", "postgres18", "mariadb", "mysql")
SCHEMA = "awkward"


@dataclass(frozen=True)
class Case:
    """One form: the column's type in PostgreSQL and in MySQL, and per value both literals and the expected text."""

    form: str
    postgres: str
    mysql: str
    values: tuple[tuple[str, str, str], ...]

    @property
    def id(self) -> str:
        return f"{self.form} {self.postgres}|{self.mysql}"


def same(*values: tuple[str, str]) -> tuple[tuple[str, str, str], ...]:
    """Values whose literal is the same on both."""
    return tuple((literal, literal, text) for literal, text in values)


def floats(count: int, seed: int) -> list[float]:
    """Doubles of every magnitude, short and long ones."""
    chosen = random.Random(seed)
    finite = [0.1, 0.1 + 0.2, 1e15, 123456789012345680.0, 5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 1e22]
    while len(finite) < count:
        candidate = struct.unpack("<d", chosen.randbytes(8))[0]
        if candidate == candidate and abs(candidate) != float("inf"):
            finite.append(candidate)
        finite.append(round(chosen.uniform(-1e6, 1e6), chosen.randrange(8)))
    return finite


def float_text(value: float) -> str:
    """The form, worked out with exact decimals from Python's own shortest text."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    return f"{'-' if sign else ''}{''.join(map(str, digits))}e{exponent}" if value else "e0"


DOUBLES = tuple((repr(v), repr(v) if "e" in repr(v) else f"{v!r}e0", float_text(v)) for v in floats(150, 7))
SINGLES = ("0.1", "-0.1", "16777216", "3.4028235e38", "1e-40", "1.17549435e-38", "0.3333333")
NASTY = "|N'\\\t\n\"%s🐦é\u200b"
NASTY_HEX = NASTY.encode().hex()

CASES = (
    Case("integer", "bigint", "bigint", same(("0", "0"), ("-9223372036854775808", "-9223372036854775808"))),
    Case("integer", "numeric(20)", "bigint unsigned", same(("18446744073709551615", "18446744073709551615"))),
    Case("integer", "boolean", "tinyint(1)", (("true", "1", "1"), ("false", "0", "0"))),
    Case("integer", "integer", "int(8) zerofill", same(("7", "7"), ("0", "0"))),
    Case("integer", "smallint", "year", same(("1970", "1970"), ("0", "0"))),
    Case(
        "decimal",
        "numeric",
        "decimal(65,30)",
        same(
            ("1.0", "1"), ("100", "100"), ("-0.50", "-0.5"), ("0.000", "0"), ("1.000000000000000000000000000001",) * 2
        ),
    ),
    Case("decimal", "numeric(65,0)", "decimal(65,0)", same(("9" * 65, "9" * 65), ("1000", "1000"))),
    Case(
        "decimal",
        "numeric",
        "text",
        (("12.3400", "'12.340'", "12.34"), ("1e20", "'1" + "0" * 20 + "'", "1" + "0" * 20)),
    ),
    Case("decimal", "integer", "decimal(12,2) zerofill", same(("120", "120"), ("0", "0"))),
    Case("float64", "double precision", "double", (*DOUBLES, ("'-0'", "-0e0", "e0"), ("100", "100", "1e2"))),
    Case("float64", "numeric", "double", same(("0.1", "1e-1"), ("-2.50", "-25e-1"))),
    Case(
        "float32",
        "real",
        "float",
        tuple((v, v, float_text(struct.unpack("f", struct.pack("f", float(v)))[0])) for v in SINGLES),
    ),
    Case("float32", "real", "double", (("0.1", "0.1e0", "10000000149011612e-17"), ("1e10", "1e10", "1e10"))),
    Case(
        "text",
        "varchar(200)",
        "varchar(200) CHARACTER SET utf8mb4",
        (
            ("''", "''", ""),
            ("'a  '", "'a  '", "a  "),
            ("'N'", "'N'", "N"),
            (f"convert_from('\\x{NASTY_HEX}', 'UTF8')", f"_utf8mb4 X'{NASTY_HEX}'", NASTY),
        ),
    ),
    Case("text", "text", "varchar(20) CHARACTER SET latin1", (("'café ÿ'", "'café ÿ'", "café ÿ"),)),
    Case("text", "text", "enum('a','B c','')", same(("'B c'", "B c"), ("''", ""))),
    Case(
        "text",
        "inet",
        "varchar(49)",
        same(("'10.0.0.1'", "10.0.0.1"), ("'10.0.0.1/8'", "10.0.0.1/8"), ("'fe80::1'", "fe80::1")),
    ),
    Case("padded", "char(5)", "char(5)", same(("'ab'", "ab"), ("''", ""), ("'  x'", "  x"))),
    Case("padded", "varchar(5)", "char(5)", same(("'ab   '", "ab"))),
    Case("set", "text", "set('a','b','c')", (("'a,c'", "'c,a'", "a,c"), ("''", "''", ""))),
    Case("set", "text[]", "set('a','b','c')", (("array['a','c']", "'a,c'", "a,c"), ("array[]::text[]", "''", ""))),
    Case(
        "bytes",
        "bytea",
        "varbinary(20)",
        (
            ("'\\x'", "''", hashlib.sha256(b"").hexdigest()),
            ("'\\x00ff00'", "X'00ff00'", hashlib.sha256(b"\0\xff\0").hexdigest()),
        ),
    ),
    Case("hex", "bytea", "binary(3)", (("'\\x00ff00'", "X'00ff00'", "00ff00"), ("'\\x410000'", "'A'", "410000"))),
    Case(
        "date",
        "date",
        "date",
        same(("'2026-11-23'", "2026-11-23"), ("'0044-03-15'", "0044-03-15"), ("'9999-12-31'", "9999-12-31")),
    ),
    Case(
        "time(6)",
        "time",
        "time(6)",
        same(("'13:00:00.5'", "46800500000"), ("'00:00:00'", "0"), ("'23:59:59.999999'", "86399999999")),
    ),
    Case(
        "time(3)",
        "time(6)",
        "time(3)",
        (("'13:00:00.0015'", "'13:00:00.002'", "46800002"), ("'00:00:00.0004'", "0", "0")),
    ),
    Case(
        "time(6)",
        "interval",
        "time(6)",
        same(
            ("'838:59:59'", "3020399000000"), ("'-00:00:00.500000'", "-500000"), ("'-838:59:58.25'", "-3020398250000")
        ),
    ),
    Case("time(0)", "timetz", "time", (("'13:00:00+05'", "'13:00:00'", "46800"),)),
    Case(
        "timestamp(6)",
        "timestamp",
        "datetime(6)",
        same(
            ("'2026-11-23 13:00:00.123456'", "2026-11-23 13:00:00.123456"),
            ("'2026-11-23 13:00:00.5'", "2026-11-23 13:00:00.5"),
            ("'1000-01-01 00:00:00'", "1000-01-01 00:00:00"),
        ),
    ),
    Case(
        "timestamp(0)",
        "timestamp(0)",
        "datetime",
        same(("'2026-11-23 13:00:00'", "2026-11-23 13:00:00"), ("'2026-01-01 10:00:10'", "2026-01-01 10:00:10")),
    ),
    Case(
        "timestamp(3)",
        "timestamp(6)",
        "datetime(3)",
        (
            ("'2026-11-23 13:00:00.1235'", "'2026-11-23 13:00:00.124'", "2026-11-23 13:00:00.124"),
            ("'2026-12-31 23:59:59.9999'", "'2027-01-01'", "2027-01-01 00:00:00"),
        ),
    ),
    Case(
        "timestamp(3)",
        "timestamp(3)",
        "datetime(6)",
        (("'2026-11-23 13:00:00.124'", "'2026-11-23 13:00:00.1235'", "2026-11-23 13:00:00.124"),),
    ),
    Case(
        "timestamp(6)",
        "timestamptz",
        "timestamp(6)",
        (("'2026-03-29 02:30:00.25+02'", "'2026-03-29 00:30:00.25'", "2026-03-29 00:30:00.25"),),
    ),
    Case("timestamp(0)", "date", "datetime", (("'2026-11-23'", "'2026-11-23'", "2026-11-23 00:00:00"),)),
    Case("timestamp(0)", "timestamp", "date", (("'2026-11-23'", "'2026-11-23'", "2026-11-23 00:00:00"),)),
    Case(
        "uuid", "uuid", "char(36)", same(("'6F1c1f8E-0000-4000-8000-00000000000a'", "6f1c1f8e00004000800000000000000a"))
    ),
    Case(
        "uuid",
        "uuid",
        "binary(16)",
        (
            (
                "'6f1c1f8e-0000-4000-8000-00000000000a'",
                "X'6f1c1f8e00004000800000000000000a'",
                "6f1c1f8e00004000800000000000000a",
            ),
        ),
    ),
    Case(
        "bit", "bit(10)", "bit(10)", same(("b'0000000101'", "101"), ("b'0000000000'", ""), ("b'1111111111'", "1" * 10))
    ),
    Case("bit", "bit(64)", "bit(64)", same((f"b'{'1' * 64}'", "1" * 64))),
    Case("bit", "boolean", "bit(1)", (("true", "b'1'", "1"), ("false", "b'0'", ""))),
    Case("bit", "bigint", "bit(8)", (("5", "b'101'", "101"), ("0", "0", ""))),
    Case(
        "json",
        "jsonb",
        "json",
        (
            (
                """'{"b": 1, "a": [1.0, 2.50, 1e2, null, true]}'""",
                """'{"a":[1,2.5,100,null,true],"b":1}'""",
                '={"a":[1,2.5,100,null,true],"b":1}',
            ),
            ("""'"é\\n\\"\\\\"'""", """'"é\\\\n\\\\"\\\\\\\\"'""", '="é\\n\\"\\\\"'),
            ("'1e17'", "'100000000000000000'", "=1e+17"),
            ("'18446744073709551615'", "'18446744073709551615'", "=18446744073709551615"),
            ("""'{"k": 1, "k": 2}'""", """'{"k": 2}'""", '={"k":2}'),
            ("'null'", "'null'", "=null"),
        ),
    ),
    Case(
        "json",
        "integer[]",
        "json",
        (("'{1,NULL,3}'", "'[1, null, 3]'", "=[1,null,3]"), ("'{{1,2},{3,4}}'", "'[[1,2],[3,4]]'", "=[[1,2],[3,4]]")),
    ),
    Case(
        "json", "text[]", "json", (("""array['a"b', NULL, '']""", """'["a\\\\"b", null, ""]'""", '=["a\\"b",null,""]'),)
    ),
    Case("float64-exact", "double precision", "double", (("1e23", "1e23", "1e+23"), ("-0.0", "-0e0", "0.0"))),
)


@pytest.fixture(scope="module", params=SERVERS)
def comparison(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[tuple[SqlComparison, Postgres | MySQL]]:
    server = running_server(fleet, request.param)
    opened: SqlComparison
    if isinstance(server, Postgres):
        server.psql(f"drop schema if exists {SCHEMA} cascade; create schema {SCHEMA}")
        opened = PostgresComparison(Endpoint("x", "postgres", server.parameters()), "normal-forms")
    else:
        server.create_database(SCHEMA)
        opened = MySQLComparison(Endpoint("x", server.flavor, server.parameters), "normal-forms")
    with closing(opened):
        yield opened, server


def load(server: Postgres | MySQL, case: Case, number: int) -> TableName:
    """A table of the case's values with a row of NULL behind them."""
    name = TableName(SCHEMA, f"t{number}")
    at = 0 if isinstance(server, Postgres) else 1
    rows = [f"({n}, {value[at]})" for n, value in enumerate(case.values)] + [f"({len(case.values)}, NULL)"]
    type = case.postgres if at == 0 else case.mysql
    sql = f"create table {SCHEMA}.t{number} (id int primary key, v {type} null);"
    sql += f"insert into {SCHEMA}.t{number} values {', '.join(rows)};"
    if isinstance(server, Postgres):
        server.psql(sql)
    else:
        server.client("SET sql_mode=''; SET time_zone='+00:00'; " + sql)
    return name


@pytest.mark.parametrize("case", CASES, ids=[c.id for c in CASES])
def test_every_server_writes_the_same_text(case: Case, comparison: tuple[SqlComparison, Postgres | MySQL]) -> None:
    engine, server = comparison
    table = load(server, case, CASES.index(case))
    column = engine.dialect.column("v")
    text = engine.dialect.value(column, engine.native_types(table)["v"], case.form)
    got = [row[0] for row in engine.rows(f"SELECT {text} FROM {engine.dialect.table(table)} ORDER BY id")]
    got = [v.decode() if isinstance(v, bytes) else v for v in got]
    if case.form in CLIENT_FORMS:
        got = [None if v is None else client_text(case.form, v) for v in got]
    assert got == [text for _, _, text in case.values] + [None]

    scope = Scope(table, [("id", "integer"), ("v", case.form)], [("id", "integer")])
    hashes = engine.hashes(scope, 10_000)
    assert sorted(int(k) for k in hashes["k0"].to_pylist()) == list(range(len(case.values) + 1))
    assert len(set(hashes["hash"].to_pylist())) == len(case.values) + 1
    rows, total = engine.checksums(scope)[0]
    assert (rows, total) == (len(case.values) + 1, sum(hashes["hash"].to_pylist()))
    EXPECTED.setdefault(case.id, (rows, total))
    assert EXPECTED[case.id] == (rows, total), "this server's checksum differs from the first one's"


EXPECTED: dict[str, tuple[int, int]] = {}
