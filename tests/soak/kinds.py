"""The kinds of value that the soak's tables hold: how each is declared, drawn, and written alike on both ends.

Texts are ASCII on both sides, so that a hash of them is the same wherever it is taken.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Family = Literal["postgres", "mysql"]
LETTERS = (
    "a",
    "Z",
    "é",
    "ß",
    "漢",
    "🐦",
    "'",
    '"',
    "\\",
    "\t",
    "\n",
    "\r",
    "|",
    "%",
    " ",
    "0",
    "\x7f",
    "Ω",
    "\u200d",
    "{",
)
LABELS = ("new", "half done", "it's", "Ünïcode")
MEMBERS = ("red", "green", "blue", "none of these")
BIG = (1, 90_000)  # characters of a big text; random ones, so that PostgreSQL keeps them apart from the row


def words(r: random.Random, most: int) -> str:
    return "".join(r.choices(LETTERS, k=r.randint(0, most)))


def big_text(r: random.Random) -> str:
    """Mostly short; one in twelve is beyond a page, and some beyond 64 KiB."""
    return words(r, 300) if r.randrange(12) else r.randbytes(r.randint(*BIG) // 2).hex()


def moment(r: random.Random, first: int = 1001, last: int = 9998) -> str:
    day = f"{r.randint(first, last):04}-{r.randint(1, 12):02}-{r.randint(1, 28):02}"
    return f"{day} {r.randint(0, 23):02}:{r.randint(0, 59):02}:{r.randint(0, 59):02}.{r.randint(0, 999999):06}"


def whole_number(r: random.Random) -> int:
    return r.choice((0, 2**64 - 1, r.randint(0, 2**64 - 1)))


def fraction(r: random.Random) -> str:
    return f"{r.randint(-(10**19), 10**19)}.{r.randint(0, 10**10 - 1):010}"


def identifier(r: random.Random) -> str:
    return str(uuid.UUID(bytes=r.randbytes(16), version=4))


def members(r: random.Random) -> str:
    return ",".join(m for m in MEMBERS if r.random() < 0.5)


def document(r: random.Random) -> str:
    deep = [r.randint(-9, 9), None, {"x": [True, words(r, 5)]}]
    return json.dumps({"n": r.randint(-(2**53), 2**53), "q": words(r, 12), "deep": deep}, ensure_ascii=r.random() < 0.5)


@dataclass(frozen=True)
class Kind:
    """``draw`` makes a value as a driver takes it. ``postgres`` and ``mysql`` declare the column in a source; the texts
    are SQL over ``{0}``, the column, for whatever type the target got."""

    postgres: str
    mysql: str
    draw: Callable[[random.Random], Any]
    postgres_text: str = "{0}::text"
    mysql_text: str = "cast({0} as char)"


_PLAIN = "{0}::text"
_HEX = "upper(encode(convert_to({0}::text, 'UTF8'), 'hex'))"
_MY_HEX = "hex(convert({0} using utf8mb4))"
_BYTES, _MY_BYTES = "upper(encode({0}, 'hex'))", "hex({0})"
_MICROS = "to_char({0}, 'YYYY-MM-DD HH24:MI:SS.US')"
_MY_MICROS = "date_format({0}, '%Y-%m-%d %H:%i:%s.%f')"
_CLOCK, _MY_CLOCK = "to_char({0}, 'HH24:MI:SS.US')", "time_format({0}, '%H:%i:%s.%f')"
_JSON = "concat_ws('~', {0}->>'n', upper(encode(convert_to({0}->>'q', 'UTF8'), 'hex')), {0}->'deep'->>0)"
_MY_JSON = (
    "concat_ws('~', json_unquote(json_extract({0}, '$.n')),"
    " hex(convert(json_unquote(json_extract({0}, '$.q')) using utf8mb4)), json_unquote(json_extract({0}, '$.deep[0]')))"
)
_ELEMENTS = "concat_ws('~', {0}[1], {0}[2], {0}[3])"
_MY_ELEMENTS = (
    "concat_ws('~', json_unquote(json_extract({0}, '$[0]')), json_unquote(json_extract({0}, '$[1]')),"
    " json_unquote(json_extract({0}, '$[2]')))"
)


def _enum(values: tuple[str, ...]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)


KINDS = {
    "tiny": Kind("smallint", "tinyint", lambda r: r.randint(-128, 127)),
    "small": Kind("smallint", "smallint", lambda r: r.choice((-32768, 32767, r.randint(-99, 99)))),
    "medium": Kind("integer", "mediumint", lambda r: r.randint(-(2**23), 2**23 - 1)),
    "int": Kind("integer", "int", lambda r: r.randint(-(2**31), 2**31 - 1)),
    "big": Kind("bigint", "bigint", lambda r: r.choice((-(2**63), 2**63 - 1, r.randint(-(10**6), 10**6)))),
    "unsigned": Kind("numeric(20,0)", "bigint unsigned", whole_number),
    "decimal": Kind("numeric(30,10)", "decimal(30,10)", fraction),
    "double": Kind("double precision", "double", lambda r: r.randint(-(2**30), 2**30) / 1024),
    # The digits of a double, because a float shows six in MySQL.
    "float": Kind("real", "float", lambda r: r.randint(-(2**20), 2**20) / 64, "{0}::float8::text",
                  "cast({0} + 0e0 as char)"),
    "bool": Kind("boolean", "tinyint(1)", lambda r: r.random() < 0.5, "{0}::int::text", "cast({0} + 0 as char)"),
    "bit": Kind("bit(8)", "bit(8)", lambda r: r.randrange(256), _PLAIN, "lpad(bin({0} + 0), 8, '0')"),
    "text": Kind("varchar(200)", "varchar(200)", lambda r: words(r, 60), _HEX, _MY_HEX),
    "char": Kind("char(8)", "char(8)", lambda r: words(r, 6).strip(" "), _HEX, _MY_HEX),
    "body": Kind("text", "longtext", big_text, _HEX, _MY_HEX),
    "bytes": Kind("bytea", "longblob", lambda r: r.randbytes(r.choice((0, 1, 40, 3000))), _BYTES, _MY_BYTES),
    "binary": Kind("bytea", "binary(8)", lambda r: r.randbytes(r.randint(5, 8)).ljust(8, b"\0"), _BYTES, _MY_BYTES),
    "date": Kind("date", "date", lambda r: moment(r)[:10]),
    "time": Kind("time(6)", "time(6)", lambda r: moment(r)[11:], _CLOCK, _MY_CLOCK),
    "timestamp": Kind("timestamp(6)", "datetime(6)", moment, _MICROS, _MY_MICROS),
    "instant": Kind("timestamptz(6)", "timestamp(6) null", lambda r: moment(r, 1971, 2037),
                    "to_char({0} at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')", _MY_MICROS),
    "year": Kind("smallint", "year", lambda r: r.randint(1901, 2155)),
    "json": Kind("jsonb", "json", document, _JSON, _MY_JSON),
    "uuid": Kind("uuid", "char(36)", identifier),
    "enum": Kind("mood", f"enum({_enum(LABELS)})", lambda r: r.choice(LABELS), _HEX, _MY_HEX),
    "set": Kind("", f"set({_enum(MEMBERS)})", members, _HEX, _MY_HEX),
    "array": Kind("integer[]", "", lambda r: [r.randint(-9, 9) for _ in range(3)], _ELEMENTS, _MY_ELEMENTS),
    "interval": Kind("interval", "", lambda r: f"{r.randint(-9, 9)} days 0{r.randint(0, 9)}:00:00"),
    "inet": Kind("inet", "", lambda r: f"10.{r.randrange(256)}.{r.randrange(256)}.7/{r.randint(8, 32)}",
                 "to_json({0}) #>> '{{}}'"),
    "number": Kind("numeric", "decimal(40,20)", lambda r: f"{r.randint(-(10**9), 10**9)}.{r.randint(1, 10**6)}1",
                   "rtrim({0}::text, '0')", "trim(trailing '0' from cast({0} as char))"),
    # keys and what refers to them
    "id": Kind("bigint generated by default as identity", "bigint auto_increment", lambda r: r.randint(10**6, 10**12)),
    "number_key": Kind("bigint", "bigint", lambda r: r.randint(1, 10**12)),
    "code": Kind("varchar(40)", "varchar(40) character set utf8mb4 collate utf8mb4_bin",
                 lambda r: r.randbytes(6).hex() + r.choice(("", "É", "'x", " y", "漢")), _HEX, _MY_HEX),
    "uuid_key": Kind("uuid", "char(36) character set ascii collate ascii_bin", identifier),
    "day_key": Kind("date", "date", lambda r: moment(r, 2000, 2040)[:10]),
}  # fmt: skip
