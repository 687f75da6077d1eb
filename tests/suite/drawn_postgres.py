"""Values of every type of PostgreSQL, as its literals; the types of the suite are made by the test."""

from __future__ import annotations

from tests.suite.drawn import (
    CLOCKS,
    DAYS,
    JSONS,
    MOMENTS,
    SIZES,
    TEXTS,
    Drawn,
    blobs,
    decimals,
    doubles,
    each,
    integers,
    singles,
)


def text(value: str) -> str:
    return "convert_from('\\x" + value.encode().hex() + "', 'UTF8')"


def _bytea(value: bytes) -> str:
    return f"'\\x{value.hex()}'::bytea"


def _cast(type: str, *values: str) -> list[str]:
    return [f"'{v}'::{type}" for v in values]


_PG_TEXTS = [*TEXTS, "🐦" * 10]
_PG = ("postgres",)
_BEYOND = ("infinity", "-infinity", "0044-03-15 BC", "4713-01-01 BC")

POSTGRES = (
    *(Drawn(f"i{b}", t, integers(b)) for b, t in ((16, "smallint"), (32, "integer"), (64, "bigint"))),
    Drawn("flag", "boolean", ["true", "false"]),
    Drawn("d65", "numeric(65,30)", decimals(65, 30)),
    Drawn("d20", "numeric(20,6)", decimals(20, 6)),
    Drawn("numeric_", "numeric", ["0", "1.50", "-0.000000000000000000000000000001", "1" + "0" * 30]),
    Drawn(
        "free",
        "numeric",
        _cast("numeric", "NaN", "Infinity", "-Infinity", "1e-1000", "1.5000", "9" * 500 + "." + "9" * 500),
        _PG,
    ),
    Drawn("wide", "numeric(1000,500)", decimals(1000, 500), _PG),
    Drawn("single", "real", [f"'{s}'::real" for s in singles()]),
    Drawn("double_", "double precision", [f"'{d}'::float8" for d in doubles()]),
    Drawn("odd4", "real", _cast("real", "NaN", "Infinity", "-Infinity"), _PG),
    Drawn("odd8", "double precision", _cast("float8", "NaN", "Infinity", "-Infinity"), _PG),
    Drawn("letters", "text", each(text, _PG_TEXTS) + [f"repeat({text(c)}, {n})" for c in "a\\漢" for n in SIZES]),
    Drawn("limited", "varchar(80)", each(text, _PG_TEXTS)),
    Drawn("padded", "char(20)", each(text, ["", "a", "a ", " b", "ünï", "x" * 20])),
    Drawn(
        "raw",
        "bytea",
        [_bytea(b) for b in blobs(400)] + [f"decode(repeat('{h}', {n}), 'hex')" for h in ("00", "5c") for n in SIZES],
    ),
    Drawn("day", "date", [f"'{d}'::date" for d in DAYS]),
    Drawn("far_day", "date", _cast("date", *_BEYOND, "5874897-12-31"), _PG),
    Drawn("clock", "time", _cast("time", *CLOCKS)),
    Drawn("clock3", "time(3)", _cast("time", "00:00:00.001", "23:59:59.998")),
    Drawn("clock24", "time", _cast("time", "24:00:00"), _PG),
    Drawn("zoned", "timetz", _cast("timetz", "12:00:00+05:30", "23:59:59.999999-15:59", "00:00:00+00")),
    Drawn("moment", "timestamp", _cast("timestamp", *MOMENTS)),
    Drawn("moment3", "timestamp(3)", _cast("timestamp", "2000-01-01 00:00:00.123", "9999-12-31 23:59:59.999")),
    Drawn("far", "timestamp", _cast("timestamp", *_BEYOND, "294276-12-31 23:59:59.999999"), _PG),
    Drawn(
        "instant",
        "timestamptz",
        _cast(
            "timestamptz",
            "1970-01-01 00:00:00+00",
            "2025-10-26 02:30:00+01",
            "2025-10-26 02:30:00+02",
            "2025-10-26 02:30:00",
            "2025-03-30 02:30:00",
            "2025-03-30 01:59:59.999999+01",
            "1900-01-01 00:00:00",
            "2038-01-19 03:14:08.5+00",
        ),
    ),
    Drawn("far_instant", "timestamptz", _cast("timestamptz", *_BEYOND, "294276-12-31 23:59:59.999999+00"), _PG),
    Drawn(
        "span",
        "interval",
        _cast(
            "interval",
            "1 year 2 mons -3 days 04:05:06.789",
            "0",
            "-1 day",
            "-178000000 years",
            "1 mon -1 day",
            "-00:00:00.000001",
        ),
    ),
    Drawn("uid", "uuid", _cast("uuid", "00000000-0000-0000-0000-000000000000", "11111111-2222-4333-8444-555555555566")),
    Drawn("doc", "jsonb", [f"{text(j)}::jsonb" for j in JSONS]),
    Drawn("doc_text", "json", [f"{text(j)}::json" for j in JSONS]),
    Drawn("doc_spaced", "json", _cast("json", *['{ "a" : 1 , "a" : 2 }', "[1.50, 1E2]", ' "x" ']), _PG),
    Drawn("bits8", "bit(8)", ["B'00000000'", "B'10000001'"]),
    Drawn("bits64", "bit(64)", [f"B'{'1' * 64}'", f"B'{'0' * 63}1'"]),
    Drawn("varbits", "varbit(20)", ["B''", "B'1'", "B'00000'", "B'11111111111111111111'"], _PG),
    Drawn("ints", "int[]", _cast("int[]", "{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "{2147483647}")),
    Drawn("based", "int[]", _cast("int[]", "[5:6]={1,2}"), _PG),
    Drawn(
        "words",
        "text[]",
        ["array['', ' ', 'NULL', '\"', E'\\\\', 'a,b', '{}', null, E'\\t\\n', 'ünï']", "'{}'::text[]"],
    ),
    Drawn("bools", "boolean[]", _cast("boolean[]", "{t,f,NULL}")),
    Drawn("floats", "float8[]", _cast("float8[]", "{0.1,-0,1e300,5e-324}")),
    Drawn("days", "date[]", _cast("date[]", "{2000-01-01,NULL}"), _PG),
    Drawn("instants", "timestamptz[]", _cast("timestamptz[]", '{"2025-10-26 02:30:00+01",NULL}'), _PG),
    Drawn("uids", "uuid[]", _cast("uuid[]", "{11111111-2222-4333-8444-555555555566}"), _PG),
    Drawn("docs", "jsonb[]", ["array['{\"a\": 1}', null, '\"x\"']::jsonb[]"], _PG),
    Drawn("raws", "bytea[]", ["array['\\x00ff', '\\x5c', '']::bytea[]"], _PG),
    Drawn("range_", "int4range", _cast("int4range", "empty", "[1,5)", "(,)", "[3,)"), _PG),
    Drawn("periods", "tstzrange", _cast("tstzrange", "[2025-10-26 02:30:00+01,infinity)", "empty"), _PG),
    Drawn("many", "nummultirange", _cast("nummultirange", "{}", "{[1.50,2),[3,4)}"), _PG),
    Drawn("net", "inet", _cast("inet", "10.0.0.1", "10.0.0.1/8", "::1", "2001:db8::/32")),
    Drawn("block", "cidr", _cast("cidr", "10.0.0.0/8", "::/0")),
    Drawn("mac", "macaddr", _cast("macaddr", "08:00:2b:01:02:03")),
    Drawn("mac8", "macaddr8", _cast("macaddr8", "08:00:2b:01:02:03:04:05")),
    Drawn("mood", "suite.mood", _cast("suite.mood", "sad", "it''s", "ünï 漢")),
    Drawn("price", "money", _cast("money", "12.34", "-0.01"), _PG),
    Drawn("lexemes", "tsvector", _cast("tsvector", "fat:2 cat:3A", ""), _PG),
    Drawn("search", "tsquery", _cast("tsquery", "fat & !cat"), _PG),
    Drawn("spot", "point", _cast("point", "(0.1,-1e300)"), _PG),
    Drawn("round", "circle", _cast("circle", "<(0,0),0.3>"), _PG),
    Drawn("one", '"char"', ["'a'::\"char\"", "'\\200'::\"char\""], _PG),
    Drawn("pair", "suite.pair", ["row(1, 'a \"b\", c')::suite.pair", "row(null, '')::suite.pair"], _PG),
    Drawn("even", "suite.even", ["2", "-2147483648"]),
)
