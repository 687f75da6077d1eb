"""Values of every kind of type, as text: edges, and others drawn from a fixed seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Drawn:
    """A column: its type as DDL and its values as SQL literals. ``home`` names the engines it is for, if not for all
    targets; ``only`` the sources that have the type."""

    name: str
    type: str
    values: Sequence[str]
    home: tuple[str, ...] = ()
    only: tuple[str, ...] = field(default=("mysql", "mariadb", "postgres"))


def _rng() -> random.Random:
    return random.Random(20261127)


def integers(bits: int, *, signed: bool = True) -> list[str]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    rng = _rng()
    return [
        str(n)
        for n in (low, low + 1, -1 if signed else 1, 0, 1, high - 1, high, *(rng.randint(low, high) for _ in range(12)))
    ]


def decimals(precision: int, scale: int) -> list[str]:
    rng = _rng()
    top = 10**precision - 1
    drawn = (rng.randint(-top, top) // 10 ** rng.randrange(precision) for _ in range(12))
    return [_point(n, scale) for n in (0, 1, -1, top, -top, top // 2, *drawn)]


def _point(number: int, scale: int) -> str:
    digits = str(abs(number)).zfill(scale + 1)
    return (
        ("-" if number < 0 else "")
        + digits[: len(digits) - scale]
        + ("." + digits[len(digits) - scale :] if scale else "")
    )


def doubles() -> list[str]:
    """Finite ones, as text that reads back to the same."""
    rng = _rng()
    edges = [0.0, -0.0, 0.1, 1 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308]
    edges += [1e15, 1e16, 1e17, 123456789012345678.0, 1e22, 1e23, 1e-5, 9007199254740993.0, 0.30000000000000004]
    while len(edges) < 40:
        value = struct.unpack("<d", rng.randbytes(8))[0]
        edges += [value] if value == value and abs(value) < 1e308 else []
    return [repr(v) for v in edges]


def singles() -> list[str]:
    rng = _rng()
    edges = [0.0, -0.0, 0.1, 1 / 3, 16777216.0, 16777217.0, 1.17549435e-38, 3.4028234e38, -3.4028234e38, 1e10, 1e-10]
    edges += [1.4e-44, 9999999.0, 123456.79, 0.3]
    while len(edges) < 40:
        value = struct.unpack("<f", rng.randbytes(4))[0]
        edges += [value] if value == value and 1e-37 < abs(value) < 3.4e38 else []
    return [repr(struct.unpack("<f", struct.pack("<f", v))[0]) for v in edges]


def blobs(longest: int) -> list[bytes]:
    rng = _rng()
    edges = [b"", b"\0", b"\xff", b"\\", b"\t\n\r\0\x1a'\"\\", b"\0\0", b"a\0", bytes(range(256))]
    return [b[:longest] for b in (*edges, *(rng.randbytes(rng.randrange(1, 40)) for _ in range(12)))]


TEXTS = [
    "",
    " ",
    "  two  ",
    "\\",
    "\\N",
    "\t",
    "\n",
    "\r\n",
    "'",
    '"',
    "a\\tb",
    "NULL",
    "{}",
    "\x01\x1a\x7f",
    "ünï",
    "漢字",
]
TEXTS += ["é" * 40, "%s", "\u2028\ufeff\ufffe", "$1", "--", "\u0300a", "🐦", "end \\"]
SIZES = (65535, 65536, 65537)  # 64 KiB and a byte around it
DAYS = ["1000-01-01", "1582-10-04", "1582-10-15", "1899-12-31", "1970-01-01", "2000-02-29", "2038-01-19", "9999-12-31"]
CLOCKS = ["00:00:00", "00:00:00.000001", "12:34:56.789", "23:59:59.999999", "01:00:00.1", "02:30:00"]
MOMENTS = [f"{day} {clock}" for day in DAYS for clock in CLOCKS]
JSONS = [
    *(
        "null",
        "true",
        "{}",
        "[]",
        '""',
        "0",
        "-1",
        "1.5",
        "-0.0",
        "1e100",
        "18446744073709551615",
        "-9223372036854775808",
    ),
    *(
        '{"b": 1, "a": {"c": [1, [2, {"d": null}]]}}',
        '["\\\\ \\" \\n \\t \\u0001 \\u2028 é 🐦"]',
        '{"": "", "k ": " v "}',
    ),
    *("[0.1, 1e-7, 123456789.125, 1e15, 1e16, 5e-324]", '{"long": "' + "x" * 70000 + '"}', "[" + "1," * 30000 + "1]"),
    *("[32767, 32768, -32769, 65535, 65536, 2147483648, 4294967296]", '{"n": [[[[[[[[[[]]]]]]]]]]}'),
]


def each(literal: Callable[[str], str], values: Sequence[str]) -> list[str]:
    return [literal(v) for v in values]
