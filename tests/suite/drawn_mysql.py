"""Values of every type of MySQL and MariaDB, as literals that both read alike."""

from __future__ import annotations

from tests.suite.drawn import (
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


def quoted(text: str) -> str:
    """A literal of both servers that no escape can spoil."""
    return f"convert(0x{text.encode().hex()} using utf8mb4)" if text else "''"


def _hex(value: bytes) -> str:
    return f"0x{value.hex()}" if value else "''"


def _plain(value: str) -> str:
    return f"'{value}'"


_INSTANTS = [
    *("1970-01-01 01:00:01", "2038-01-19 03:14:07", "2001-09-09 01:46:40.5", "2025-03-30 01:59:59.999999"),
    *(
        "2025-03-30 03:00:00",
        "2025-10-26 01:59:59",
        "2025-10-26 02:30:00",
        "2025-10-26 03:00:00",
        "2024-02-29 12:00:00",
    ),
]
_TIMES = ["00:00:00", "-00:00:01", "23:59:59", "24:00:00", "100:00:00", "838:59:59", "-838:59:59", "-00:00:00.000001"]
_TIMES += ["838:59:58.999999", "-12:34:56.789012", "00:00:00.1", "-01:00:00.5"]
_ZEROS = ["0000-00-00", "2020-00-00", "2020-02-00", "0000-01-01"]
ENUM_LABELS = ["", "a", "it''s", "comma, in", "ünï 漢", "A b", "0", "NULL", "paren)", "x" * 60]
FAMILY = ("mysql", "mariadb")

MYSQL = (
    *(
        Drawn(f"i{b}", t, integers(b))
        for b, t in ((8, "tinyint"), (16, "smallint"), (24, "mediumint"), (32, "int"), (64, "bigint"))
    ),
    *(
        Drawn(f"u{b}", f"{t} unsigned", integers(b, signed=False))
        for b, t in ((8, "tinyint"), (16, "smallint"), (24, "mediumint"), (32, "int"), (64, "bigint"))
    ),
    Drawn("flag", "tinyint(1)", ["0", "1"]),
    Drawn("flag2", "tinyint(1)", ["0", "1", "2", "-1", "127", "-128"], FAMILY),
    Drawn("filled", "int(8) unsigned zerofill", ["0", "7", "99999999", "4294967295"]),
    Drawn("d65", "decimal(65,30)", decimals(65, 30)),
    Drawn("d9", "decimal(9,0)", decimals(9, 0)),
    Drawn("d5", "decimal(5,5)", list(decimals(5, 5))),
    Drawn("d20", "decimal(20,10) unsigned", [d for d in decimals(20, 10) if d[0] != "-"]),
    Drawn("single", "float", singles()),
    Drawn("double_", "double", doubles()),
    Drawn("bit1", "bit(1)", ["0", "1"]),
    Drawn("bit13", "bit(13)", ["0", "1", "b'1010101010101'", "8191"]),
    Drawn("bit64", "bit(64)", ["0", "1", "0x8000000000000000", "18446744073709551615"]),
    Drawn("year_", "year", ["0", "1901", "1970", "2155"]),
    Drawn("day", "date", each(_plain, DAYS)),
    Drawn("time0", "time", each(_plain, [t for t in _TIMES if "." not in t])),
    Drawn("time3", "time(3)", each(_plain, ["-00:00:00.001", "838:59:58.999", "-838:59:58.001", "01:02:03.450"])),
    Drawn("time6", "time(6)", each(_plain, _TIMES)),
    Drawn("moment0", "datetime", each(_plain, [m for m in MOMENTS if "." not in m])),
    Drawn(
        "moment1",
        "datetime(1)",
        each(_plain, ["1000-01-01 00:00:00.9", "9999-12-31 23:59:59.9", "2000-01-01 00:00:00.0"]),
    ),
    Drawn("moment6", "datetime(6)", each(_plain, MOMENTS)),
    Drawn("instant0", "timestamp null", each(_plain, [m for m in _INSTANTS if "." not in m])),
    Drawn("instant4", "timestamp(4) null", each(_plain, ["1970-01-01 01:00:01.0001", "2038-01-19 03:14:06.9999"])),
    Drawn(
        "instant6",
        "timestamp(6) null",
        [*each(_plain, _INSTANTS), "from_unixtime(1761438600)", "from_unixtime(1761442200.25)"],
    ),
    Drawn("zero_day", "date", each(_plain, _ZEROS), FAMILY),
    Drawn("zero_moment", "datetime(3)", [f"'{z} 00:00:00'" for z in _ZEROS], FAMILY),
    Drawn("zero_instant", "timestamp(2) null", ["'0000-00-00 00:00:00'"], FAMILY),
    Drawn("letters", "varchar(60)", each(quoted, TEXTS)),
    Drawn("padded", "char(20)", each(quoted, ["", " ", "a ", "  b", "ünï", "\t ", "x" * 20])),
    Drawn("folded", "varchar(60) character set utf8mb4 collate utf8mb4_bin", each(quoted, TEXTS)),
    Drawn("tiny_text", "tinytext", each(quoted, ["", "a ", "é" * 127])),
    Drawn(
        "text_",
        "text",
        [f"repeat({quoted(c)}, {n})" for c, n in (("a", 65535), ("é", 32767), ("\\", 65534), ("\n", 20000))],
    ),
    Drawn(
        "long_text",
        "longtext",
        [f"repeat({quoted(c)}, {n})" for c in "a\\\t漢🐦" for n in SIZES] + each(quoted, TEXTS),
    ),
    Drawn("bytes8", "binary(8)", [_hex(b) for b in blobs(8)] + ["0x0100", "0x0000000000000001"]),
    Drawn("bytes300", "varbinary(300)", [_hex(b) for b in blobs(300)]),
    Drawn("tiny_blob", "tinyblob", [_hex(b) for b in blobs(255)]),
    Drawn("blob_", "blob", ["repeat(0x5c, 65535)", "repeat(0x00, 65535)", "repeat(0xff0a, 32767)"]),
    Drawn("long_blob", "longblob", [f"repeat(0x{b}, {n})" for b in ("00", "5c", "0a") for n in SIZES]),
    Drawn(
        "label",
        f"enum({','.join(quoted_label for quoted_label in (chr(39) + x + chr(39) for x in ENUM_LABELS))})",
        [str(n + 1) for n in range(len(ENUM_LABELS))],
    ),
    Drawn("labels", "set('a','it''s','ünï','d e','')", ["0", "1", "2", "3", "7", "15", "16", "31"], FAMILY),
    Drawn("labels_", "set('a','it''s','ünï','d e')", ["0", "1", "2", "3", "7", "15"]),
    Drawn("latin_label", "enum('é','ß') character set latin1", ["1", "2"]),
    Drawn("doc", "json", each(quoted, JSONS)),
    Drawn(
        "made",
        "json",
        [
            "json_array(cast('2020-01-01 00:00:00.5' as datetime(6)), curdate(), cast('-12:00:00' as time))",
            "json_array(true, cast(18446744073709551615 as unsigned), 1e15, 1e16, 0.1e0, 123456789012345678e0)",
            "json_array(x'00ff', b'1010', cast('abc' as binary))",
            "json_object('a', cast(1.25 as decimal(10,2)))",
        ],
        only=("mysql",),
    ),
    Drawn(
        "shape",
        "geometry",
        [
            f"st_geomfromtext('{w}')"
            for w in (
                "POINT(1 2)",
                "LINESTRING(0 0,1 1.5)",
                "POLYGON((0 0,0 1,1 1,0 0))",
                "MULTIPOINT((0 0),(1 1))",
                "GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))",
            )
        ]
        + ["st_geomfromtext('POINT(1 2)', 4326)"],
        ("same",),
    ),
    Drawn("place", "point", ["st_geomfromtext('POINT(-0.0 1e300)')", "st_geomfromtext('POINT(1 2)')"], ("same",)),
    Drawn(
        "vector_",
        "vector(3)",
        ["string_to_vector('[1,2,3]')", "string_to_vector('[-0.0,1e-30,3.4e38]')"],
        ("same",),
        ("mysql",),
    ),
    Drawn(
        "uid",
        "uuid",
        [f"'11111111-2222-{v}333-{w}444-555555555566'" for v in "01467" for w in "089cf"]
        + ["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
        only=("mariadb",),
    ),
    Drawn(
        "six",
        "inet6",
        each(
            _plain,
            [
                "::",
                "::1",
                "::1.2.3.4",
                "::ffff:1.2.3.4",
                "1::",
                "fe80::1:0:0:2",
                "0:1:0:1:0:1:0:1",
                "1:0:2:3:4:5:6:7",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "::ffff:0:0",
                "0:0:0:0:0:1:2:3",
            ],
        ),
        only=("mariadb",),
    ),
    Drawn("four", "inet4", each(_plain, ["0.0.0.0", "255.255.255.255", "10.0.0.0", "1.2.3.4"]), only=("mariadb",)),
)
