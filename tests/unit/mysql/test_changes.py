"""The binlog read as changes: values as the snapshot writes them, transactions, positions."""

from __future__ import annotations

import random
from contextlib import closing

import numpy as np
import pytest

from tests.servers.mysql import MySQL
from tests.unit.mysql.moving import SOURCE, captured, make, now, reflected, rows_of, runs_of, tab_text
from whimbrel.connectors.mysql.connection import connect
from whimbrel.connectors.mysql.source import log, snapshot
from whimbrel.errors import (
    InvalidRequest,
    LogFormatRefused,
)
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Job
from whimbrel.model.table import Table

EVERY_TYPE = """
CREATE TABLE every_type (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, ti TINYINT, tu TINYINT UNSIGNED, b1 TINYINT(1),
 si SMALLINT, su SMALLINT UNSIGNED, mi MEDIUMINT, mu MEDIUMINT UNSIGNED, i INT, iu INT UNSIGNED, bi BIGINT,
 bu BIGINT UNSIGNED, de DECIMAL(20,6), d2 DECIMAL(65,30), d3 DECIMAL(5,0), bt BIT(13), b64 BIT(64), b_1 BIT(1),
 y YEAR, zf INT(8) UNSIGNED ZEROFILL, c CHAR(20), vc VARCHAR(40), l1 VARCHAR(60) CHARACTER SET latin1,
 u2 VARCHAR(30) CHARACTER SET ucs2, u16 VARCHAR(20) CHARACTER SET utf16, u32 VARCHAR(20) CHARACTER SET utf32,
 gb VARCHAR(20) CHARACTER SET gbk, sj VARCHAR(20) CHARACTER SET sjis, k8 VARCHAR(20) CHARACTER SET koi8r,
 cl CHAR(10) CHARACTER SET latin2, big CHAR(200), tx TEXT, lt LONGTEXT, bn BINARY(8), vb VARBINARY(300), bl BLOB,
 lb LONGBLOB, da DATE, ti0 TIME, ti3 TIME(3), ti6 TIME(6), ti1 TIME(1), dt DATETIME, dt2 DATETIME(2), dt6 DATETIME(6),
 ts TIMESTAMP NULL, ts5 TIMESTAMP(5) NULL, ts6 TIMESTAMP(6) NULL, en ENUM('a','b''c','ü','d,e'),
 st SET('x','y','ż','w'), js JSON, ge GEOMETRY, pt POINT, gv INT AS (i + 1) VIRTUAL, gs INT AS (z + 2) STORED, z INT)
"""
EVERY_VALUE = r"""
SET sql_mode = 'NO_ENGINE_SUBSTITUTION', time_zone = '+00:00';
INSERT INTO every_type (id,ti,tu,b1,si,su,mi,mu,i,iu,bi,bu,de,d2,d3,bt,b64,b_1,y,zf,c,vc,l1,u2,u16,u32,gb,sj,k8,cl,big,
 tx,lt,bn,vb,bl,lb,da,ti0,ti3,ti6,ti1,dt,dt2,dt6,ts,ts5,ts6,en,st,js,ge,pt,z) VALUES
(1,-128,255,2,-32768,65535,-8388608,16777215,-2147483648,4294967295,-9223372036854775808,18446744073709551615,
 -12345678901234.123456,0.000000000000000000000000000001,-99999,b'1010101010101',0xFFFFFFFFFFFFFFFF,1,2155,42,'ab  ',
 'tab\there\nnl\\bs\r\'q"','é€',0x00e9,'😀é','😀é','中文','テスト','Привет','łó','x','text\0nul','lo\tng',
 0x0102000000000000,0x00ff0a095c0d,0x00010203,'','2026-11-23','-838:59:59','-00:00:00.001','-12:34:56.789012',
 '11:22:33.4','2026-11-23 13:00:00','2026-11-23 13:00:00.12','2026-11-23 13:00:00.123456','2026-11-23 13:00:00',
 '2026-11-23 13:00:00.12345','2026-11-23 13:00:00.123456','b''c','x,ż',
 '{"b":1,"a":[1,2.5,"x\\n\\"é",null,true,-10000],"big":18446744073709551615,"neg":-9223372036854775808}',
 ST_GeomFromText('LINESTRING(0 0,1 1,2 2)'),ST_GeomFromText('POINT(1 2)'),7),
(2,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,'','','','','','','','','','','','','','','','','','0000-00-00','00:00:00',
 '00:00:00','00:00:00','0:0:0','0000-00-00','0000-00-00','0000-00-00','0000-00-00','0000-00-00 00:00:00',
 '1970-01-01 00:00:01','zzz','','"s"',NULL,NULL,0),
(9223372036854775808,127,1,1,32767,1,8388607,1,2147483646,1,9223372036854775807,1,99999999999999.999999,
 99999999999999999999999999999999999.999999999999999999999999999999,99999,1,1,0,1901,99999999,REPEAT('é',20),
 REPEAT('😀',40),'\\','\\','\\','\\','\\','表','ъ','ž',REPEAT('漢',200),REPEAT('t',60000),REPEAT('l',70000),
 REPEAT(0xff,8),REPEAT(0x00,300),REPEAT('b',300),REPEAT(0x5c,70000),'9999-12-31','838:59:59','838:59:58.999',
 '23:59:59.999999','-0:0:0.1','9999-12-31 23:59:59','1000-01-01 00:00:00.99','9999-12-31 23:59:59.999999',
 '2038-01-19 03:14:07','2038-01-19 03:14:07.99999','1970-01-01 00:00:01.000001','d,e','x,y,ż,w','[]',
 ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))'),NULL,-1);
INSERT INTO every_type (id, iu, da) VALUES (3, 1, '2020-00-00'),(18446744073709551615, 1, '2020-02-30');
UPDATE every_type SET z = 8, js = '{"k":{"n":[1,[2,[3,{}]]],"s":"日本","d":0.1},"t":true,"f":false,"n":null}'
 WHERE id = 2;
"""


def lines_of(job: Job, table: Table, format: Format = Format.TAB_TEXT) -> list[bytes]:
    """The table as the snapshot writes it."""
    got: list[bytes] = []
    with (
        closing(snapshot.open_snapshot(job, [table], capture=True, lanes=1)) as view,
        closing(snapshot.open_reader(job, view.token)) as reader,
    ):
        chunk = Chunk(table.name, 0, None, 0)
        reader.extract(table, table.loaded_columns, chunk, format, lambda block: got.append(bytes(block)))
    return b"".join(got).splitlines()


def test_every_type_reads_the_same_from_log_and_snapshot(server: MySQL, job: Job) -> None:
    make(server, EVERY_TYPE)
    table = reflected(job, SOURCE)[0]
    start = now(job)
    server.client(EVERY_VALUE, SOURCE)
    run = runs_of(captured(job, [table], start), "every_type")[0]
    last = {}
    for line in tab_text(table, run):
        last[line.split(b"\t", 1)[0]] = line
    expected = {line.split(b"\t", 1)[0]: line for line in lines_of(job, table)}
    for key, line in expected.items():
        for column, ours, theirs in zip(table.loaded_columns, last[key].split(b"\t"), line.split(b"\t"), strict=True):
            assert ours == theirs, (key, column.name, column.type.native)
    assert last.keys() == expected.keys()


def test_uuids_and_addresses_read_the_same_from_log_and_client(server: MySQL, job: Job) -> None:
    if server.flavor != "mariadb":
        pytest.skip("MySQL has no such types")
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, u UUID, six INET6, four INET4)")
    drawn = random.Random(5)
    uuids = [f"11111111-2222-{v:x}333-{w:x}444-5555555566{v:x}{w:x}" for v in range(8) for w in (0, 8, 9, 12, 15)]
    uuids += ["00000000-0000-0000-0000-000000000000", "11111111-2222-4333-8444-550000000000"]
    sixes = [f"{n:032x}" for n in (0, 1, 0xFFFF, 0x10000, 0x102030405, 0xFFFF01020304, 1 << 32, 1 << 48, 1 << 96)]
    sixes += ["".join(drawn.choice(("0000", "0000", "0001", "ffff", "abcd")) for _ in range(8)) for _ in range(200)]
    rows = [
        f"({n}, '{uuids[n % len(uuids)]}', UNHEX('{six}'), UNHEX('{drawn.randbytes(3).hex()}00'))"
        for n, six in enumerate(sixes)
    ]
    table, start = reflected(job, SOURCE)[0], now(job)
    server.client(f"INSERT INTO t VALUES {','.join(rows)}", SOURCE)
    expected = sorted(server.client("SELECT * FROM t", SOURCE).splitlines())
    run = runs_of(captured(job, [table], start))[0]
    assert sorted(line.decode() for line in tab_text(table, run)) == expected
    assert len(expected) == len(rows)


def test_every_value_is_what_the_client_shows(server: MySQL, job: Job) -> None:
    make(server, EVERY_TYPE)
    table = reflected(job, SOURCE)[0]
    start = now(job)
    server.client(EVERY_VALUE, SOURCE)
    rows = {row["id"]: row for row in runs_of(captured(job, [table], start), "every_type")[0].data.to_pylist()}
    hexed = {"bn", "vb", "bl", "lb", "ge", "pt", "tx", "lt", "vc"}
    for column in table.loaded_columns:
        name = column.name
        expression = name
        if name in hexed:
            expression = f"HEX({name})"
        elif name in ("bt", "b64", "b_1"):
            expression = f"LPAD(BIN({name} + 0), {column.type.length}, '0')"
        elif name == "zf":
            expression = "zf + 0"
        sql = f"SET time_zone = '+00:00'; SELECT id, {expression} FROM every_type"
        for line in server.client(sql, SOURCE).splitlines():
            key, shown = line.split("\t", 1)
            value = rows[key.encode()][name]
            if name in hexed and value is not None:
                value = value.hex().upper().encode()
            if name in ("ts", "ts5", "ts6") and value is not None:
                assert value.endswith(b"+00")
                value = value[:-3]
            assert ("NULL" if value is None else value.decode()) == shown, (key, name)


@pytest.mark.parametrize("metadata", ["MINIMAL", "NO_LOG"])
def test_without_names_in_the_log_reflection_serves(server: MySQL, job: Job, metadata: str) -> None:
    if metadata == "NO_LOG" and server.flavor == "mysql":
        pytest.skip("MySQL always logs some metadata")
    make(server, EVERY_TYPE)
    server.client(f"SET GLOBAL binlog_row_metadata = '{metadata}'")
    try:
        table = reflected(job, SOURCE)[0]
        start = now(job)
        server.client(EVERY_VALUE, SOURCE)
        run = runs_of(captured(job, [table], start), "every_type")[0]
    finally:
        server.client("SET GLOBAL binlog_row_metadata = 'FULL'")
    last = {line.split(b"\t", 1)[0]: line for line in tab_text(table, run)}
    assert last == {line.split(b"\t", 1)[0]: line for line in lines_of(job, table)}


def test_floats_are_shortest_and_exact(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, f FLOAT, d DOUBLE)")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    server.client(
        "SET sql_mode = ''; INSERT INTO t VALUES (1,0.1,0.1),(2,3.4028235e38,1.7976931348623157e308),"
        "(3,1.17549435e-38,4.9406564584124654e-324),(4,16777216,0.30000000000000004),(5,-1e20,1e15)",
        SOURCE,
    )
    rows = {row[1]: row[2:] for row in rows_of(captured(job, [table], start))}
    snap = [line.decode().split("\t") for line in lines_of(job, table)]
    assert rows["1"] == ("0.1", "0.1")
    for key, single, double in snap:
        assert np.float32(rows[key][0]) == np.float32(single)
        assert float(rows[key][1]) == float(double)


def test_doubles_in_json_are_spelled_as_the_server_spells_them(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, j JSON)")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    chance = random.Random(7)
    doubles = [m * 10.0**e for e in range(-19, 24) for m in (1, -1.5, 9.999999999999999, chance.uniform(1, 10))]
    doubles += [0.1, -0.0, 5e-324, 1.7976931348623157e308, 123456789012345.6, 2**53 + 0.0]
    texts = ",".join(map(repr, doubles)).replace("e+", "e")
    server.client(f"INSERT INTO t VALUES (1, '[{texts}]')", SOURCE)
    run = runs_of(captured(job, [table], start))[0]
    assert run.data.column("j")[0].as_py().decode() == server.client("SELECT j FROM t", SOURCE).strip()


def test_operations_and_key_changes(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9)); INSERT INTO t VALUES (1,'a'),(2,'b');")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    server.client(
        "UPDATE t SET v = 'c' WHERE id = 1; UPDATE t SET id = 5 WHERE id = 2; DELETE FROM t WHERE id = 1;"
        "INSERT INTO t VALUES (3, NULL)",
        SOURCE,
    )
    assert rows_of(captured(job, [table], start)) == [
        (UPDATE, "1", "c"),
        (UPDATE_BEFORE, "2", None),
        (UPDATE, "5", "b"),
        (DELETE, "1", None),
        (INSERT, "3", None),
    ]


def test_a_table_without_a_key_gives_whole_rows(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (a INT, b INT); INSERT INTO t VALUES (1,2);")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    server.client("UPDATE t SET b = 3; DELETE FROM t", SOURCE)
    assert rows_of(captured(job, [table], start)) == [(UPDATE_BEFORE, "1", "2"), (UPDATE, "1", "3"), (DELETE, "1", "3")]


def test_only_what_was_committed_comes(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, v INT);")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    server.client(
        "BEGIN; INSERT INTO t VALUES (1,1); ROLLBACK; BEGIN; INSERT INTO t VALUES (2,2); SAVEPOINT s;"
        "INSERT INTO t VALUES (3,3); ROLLBACK TO s; INSERT INTO t VALUES (4,4); COMMIT",
        SOURCE,
    )
    segments = captured(job, [table], start)
    assert [row[1] for row in rows_of(segments)] == ["2", "4"]
    assert segments[-1].transactions == 1


def test_positions_follow_the_log_over_rotations(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY);")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    for n in range(3):
        server.client(f"INSERT INTO t VALUES ({n}); FLUSH BINARY LOGS", SOURCE)
    end = now(job)
    segments = captured(job, [table], start)
    # MariaDB may write an event of its own, a checkpoint, at any moment after a rotation.
    assert end.order <= segments[-1].position.order <= now(job).order
    assert segments[-1].position.extra == end.extra != ""
    assert segments[-1].position.order[0] == start.order[0] + 3
    assert [row[1] for row in rows_of(segments)] == ["0", "1", "2"]
    # and each position can be started from again
    server.client("INSERT INTO t VALUES (9)", SOURCE)
    assert [row[1] for row in rows_of(captured(job, [table], segments[-1].position))] == ["9"]


def test_starting_from_a_gtid_set(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);")
    table = reflected(job, SOURCE)[0]
    here = now(job)
    with closing(connect(job.source.parameters, "parse")) as session:
        start = log.parse_position(session, here.extra)
        assert log.parse_position(session, here.text).order == here.order
        for wrong in ("", "binlog.1:4", "nonsense", "binlog.000001", "1-2"):
            with pytest.raises(InvalidRequest):
                log.parse_position(session, wrong)
    server.client("INSERT INTO t VALUES (2)", SOURCE)
    segments = captured(job, [table], start)
    assert [row[1] for row in rows_of(segments)] == ["2"]
    assert segments[-1].position.extra == now(job).extra


def test_rows_larger_than_a_packet(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB, s LONGTEXT);")
    server.client("INSERT INTO t VALUES (0, NULL, 'small')", SOURCE)
    table = reflected(job, SOURCE)[0]
    start = now(job)
    server.client("INSERT INTO t VALUES (1, REPEAT(0x5c00, 10000000), 'after'), (2, NULL, 'next')", SOURCE)
    run = runs_of(captured(job, [table], start))[0]
    assert [len(v or b"") for v in run.data.column("b").to_pylist()] == [20_000_000, 0]
    assert run.data.column("s").to_pylist() == [b"after", b"next"]
    lines = {line.split(b"\t")[0]: line for line in lines_of(job, table)}
    assert lines[b"1"] == b"1\t" + b"5C00" * 10_000_000 + b"\tafter"
    assert lines[b"2"] == b"2\t\\N\tnext"


def test_compressed_events(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT);")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    setting = {"mysql": "SESSION binlog_transaction_compression = ON", "mariadb": "GLOBAL log_bin_compress = ON"}
    server.client(f"SET {setting[server.flavor]}; INSERT INTO t VALUES (1, REPEAT('a', 5000)),(2, REPEAT('b', 5000));"
                  "UPDATE t SET v = CONCAT(v, 'c') WHERE id = 2; DELETE FROM t WHERE id = 1", SOURCE)  # fmt: skip
    if server.flavor == "mariadb":
        server.client("SET GLOBAL log_bin_compress = OFF")
    segments = captured(job, [table], start)
    assert [(row[0], row[1], len(row[2] or "")) for row in rows_of(segments)] == [
        (INSERT, "1", 5000),
        (INSERT, "2", 5000),
        (UPDATE, "2", 5001),
        (DELETE, "1", 0),
    ]
    assert segments[-1].position.order == now(job).order


def test_compressed_columns_and_versioned_tables_of_mariadb(server: MySQL, job: Job) -> None:
    if server.flavor != "mariadb":
        pytest.skip("MariaDB alone has them")
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(200) COMPRESSED, b TEXT COMPRESSED, "
         "c VARBINARY(3000) COMPRESSED, d LONGBLOB COMPRESSED, e VARCHAR(300) CHARACTER SET latin1 COMPRESSED, f INT);"
         "CREATE TABLE history (id INT PRIMARY KEY) WITH SYSTEM VERSIONING;")  # fmt: skip
    table, versioned = (reflected(job, SOURCE, name)[0] for name in ("t", "history"))
    start = now(job)
    server.client(
        "INSERT INTO t VALUES (1, REPEAT('é', 200), REPEAT('漢字', 9000), REPEAT(0xff00, 1500), REPEAT('x', 70000),"
        " REPEAT('é', 300), 1), (2, '', '', '', '', '', 2), (3, NULL, NULL, NULL, NULL, NULL, NULL),"
        " (4, 'é', 'a', 0x00, 0x8101, 'é', 4); SET column_compression_zlib_wrap = 1;"
        "INSERT INTO t VALUES (5, REPEAT('a', 200), REPEAT('漢', 300), REPEAT('b', 300), REPEAT('c', 300), 'é', 5);"
        "UPDATE t SET b = REPEAT('new', 100) WHERE id = 1",
        SOURCE,
    )
    last = {line.split(b"\t", 1)[0]: line for line in tab_text(table, runs_of(captured(job, [table], start))[0])}
    assert sorted(last.values()) == sorted(lines_of(job, table))
    with pytest.raises(LogFormatRefused, match=r"history: move_src\.history"):
        log.check_capture(job.source.parameters, "test", [table, versioned])
