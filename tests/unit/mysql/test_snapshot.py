"""The snapshot: one moment for all readers, key ranges that cover every row once, and finished lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from tests.servers.mysql import MySQL
from tests.unit.mysql.moving import SOURCE, captured, contents, make, now, reflected
from whimbrel.connectors.mysql.connection import connect, end_sessions, execute
from whimbrel.connectors.mysql.source import chunks, snapshot
from whimbrel.errors import ExtractorFailed, LogDisabled, SourceInterrupted, SourcePermissionDenied
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.table import Table


def _as_user(server: MySQL, job: Job, *grants: str) -> Job:
    parameters = {**job.source.parameters, **server.create_user("reader", "pw", *grants)}
    return replace(job, source=Endpoint("reader", server.flavor, parameters))


def _plan(job: Job, table: Table, rows: int) -> tuple[Chunk, ...]:
    with closing(connect(job.source.parameters, "plan")) as session:
        execute(session, f"ANALYZE TABLE `{table.name.schema}`.`{table.name.table}`")
        return chunks.plan(session, table, rows, 1 << 30)


def _extract(reader: snapshot.MySQLReader, table: Table, chunk: Chunk, format: Format = Format.TAB_TEXT) -> list[bytes]:
    got: list[bytes] = []
    count = reader.extract(table, table.loaded_columns, chunk, format, lambda block: got.append(bytes(block)))
    lines = b"".join(got).splitlines()
    assert count == len(lines)
    return lines


def _read(job: Job, tables: Sequence[Table], plans: Sequence[Sequence[Chunk]]) -> list[list[list[bytes]]]:
    """The lines of every chunk of every table, read by two readers in turn."""
    with (
        closing(snapshot.open_snapshot(job, tables, capture=False, lanes=2)) as view,
        closing(snapshot.open_reader(job, view.token)) as one,
        closing(snapshot.open_reader(job, view.token)) as two,
    ):
        readers = [one, two]
        return [
            [_extract(readers[n % 2], table, chunk) for n, chunk in enumerate(plan)]
            for table, plan in zip(tables, plans, strict=True)
        ]


def _covered(server: MySQL, job: Job, rows: int, at_least: int, *, most: float = 0) -> list[int]:
    """Cut the only table, read it, compare with the client; the rows of each chunk."""
    table = reflected(job, SOURCE)[0]
    plan = _plan(job, table, rows)
    parts = _read(job, [table], [plan])[0]
    assert len(plan) >= at_least, plan
    lines = [line.decode() for part in parts for line in part]
    assert sorted(lines) == [line for line in contents(server, SOURCE, table.name.table) if line]
    counts = [len(part) for part in parts]
    if most:
        assert max(counts) <= most * rows, counts
    return counts


# --- ranges -----------------------------------------------------------------------------------------------------------


def _numbers(server: MySQL, count: int, select: str, into: str = "t") -> None:
    """Insert one row per number, and let no estimate of the server be older than that."""
    digits = " UNION ALL ".join(f"SELECT {n} AS d" for n in range(10))
    source = f"({digits}) a, ({digits}) b, ({digits}) c, ({digits}) e"
    number = "(a.d + 10 * b.d + 100 * c.d + 1000 * e.d)"
    server.client(
        f"INSERT INTO {into} SELECT {select.replace('#', number)} FROM "
        + source.replace(" AS d", " AS d")
        + f" WHERE {number} < {count}; ANALYZE TABLE {into}",
        SOURCE,
    )


@pytest.mark.parametrize(
    ("column", "select"),
    [
        ("BIGINT", "# - 5000"),
        ("BIGINT UNSIGNED", "18446744073709551615 - #"),
        ("BIGINT", "IF(# < 9000, #, 4000000000000000000 + # * 100000000000)"),  # skewed, with a huge gap
        ("SMALLINT", "#"),
    ],
)
def test_integer_keys_are_cut_without_a_scan(server: MySQL, job: Job, column: str, select: str) -> None:
    make(server, f"CREATE TABLE t (id {column} PRIMARY KEY, v VARCHAR(20));")
    _numbers(server, 10_000, f"{select}, CONCAT('row ', #)")
    _covered(server, job, 1000, 6, most=2.5)


@pytest.mark.parametrize(
    ("column", "select"),
    [
        ("VARCHAR(20) COLLATE utf8mb4_general_ci", "CONCAT(IF(# % 2, 'k', 'K'), #, \"'\\\\\")"),
        ("VARCHAR(20) CHARACTER SET latin1", "CONCAT('é', #)"),
        ("BINARY(6)", "UNHEX(RPAD(LPAD(HEX(#), 4, '0'), 12, '0'))"),
        ("VARBINARY(9)", "UNHEX(CONCAT(LPAD(HEX(#), 4, '0'), '5C00'))"),
        ("DECIMAL(12,3)", "# / 8 - 100"),
        ("DOUBLE", "# / -7e15"),  # 23 characters and more, of which MySQL cuts all behind the 22nd if they are computed
        ("DATETIME(3)", "'2026-01-01' + INTERVAL # * 7001 MICROSECOND * 1000"),
        ("TIMESTAMP(2)", "'2026-01-01 00:00:00' + INTERVAL # SECOND"),
        ("DATE", "'1900-01-01' + INTERVAL # DAY"),
        ("BIT(20)", "#"),
    ],
)
def test_other_keys_are_stepped_through(server: MySQL, job: Job, column: str, select: str) -> None:
    make(server, f"CREATE TABLE t (id {column} PRIMARY KEY, v INT);")
    select = select.replace("* 7001 MICROSECOND * 1000", "* 7 SECOND")
    _numbers(server, 3000, f"{select}, #")
    shown = {
        "DOUBLE": "CONCAT(id), v",
        "BINARY(6)": "HEX(id), v",
        "VARBINARY(9)": "HEX(id), v",
        "BIT(20)": "LPAD(BIN(id + 0), 20, '0'), v",
    }
    table = reflected(job, SOURCE)[0]
    plan = _plan(job, table, 500)
    parts = _read(job, [table], [plan])[0]
    assert [len(p) for p in parts] == [500] * 6
    if "CHAR" not in column:  # escapes and collations: compared as sets of the second column below
        columns = shown.get(column, "id, v")
        expected = server.client(f"SET time_zone = '+00:00'; SELECT {columns} FROM t", SOURCE).splitlines()
        assert sorted(line.decode() for part in parts for line in part) == sorted(expected)
    assert sorted(int(line.split(b"\t")[1]) for part in parts for line in part) == list(range(3000))


def test_few_wide_rows_far_apart_are_cut_at_once(server: MySQL, job: Job) -> None:
    """Each is a chunk of its own, and no gap between them is halved on and on."""
    make(server, "CREATE TABLE t (id BIGINT PRIMARY KEY, v LONGTEXT);")
    server.client("INSERT INTO t VALUES (1, REPEAT('a', 3000000)), (4000000000000000000, REPEAT('b', 3000000))", SOURCE)
    table = reflected(job, SOURCE)[0]
    began = time.monotonic()
    plan = _plan(job, table, 1)
    assert time.monotonic() - began < 10
    assert [len(part) for part in _read(job, [table], [plan])[0]] == [1, 1]


def test_composite_keys(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (a INT, b VARCHAR(9), c DATE, v INT, PRIMARY KEY (a, b, c));")
    _numbers(server, 6000, "IF(# < 4000, 7, #), CONCAT('b', # % 50), '2000-01-01' + INTERVAL # DAY, #")
    counts = _covered(server, job, 500, 8, most=2.5)
    assert sum(counts) == 6000


def test_enum_keys_and_unique_keys(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (e ENUM('z','a','m') NOT NULL, n INT NOT NULL, v INT, UNIQUE KEY way (e, n));")
    _numbers(server, 3000, "1 + # % 3, #, #")
    _covered(server, job, 400, 7)


def test_years_are_not_taken_for_those_of_another_century(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (y YEAR, n INT, v INT, PRIMARY KEY (y, n));")
    _numbers(server, 2000, "IF(# % 4 = 0, 1900 + 1 + # % 255, '0000'), #, #")
    _covered(server, job, 50, 10)


def test_bytes_without_a_meaning_are_refused(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, g VARCHAR(9) CHARACTER SET greek, s TEXT CHARACTER SET sjis);")
    server.client("INSERT INTO t VALUES (1, 'Ω?', '日?本'), (2, NULL, NULL)", SOURCE)
    table = reflected(job, SOURCE)[0]
    assert _read(job, [table], [_plan(job, table, 9)]) == [[["1\tΩ?\t日?本".encode(), b"2\t\\N\t\\N"]]]
    server.client("INSERT INTO t VALUES (3, x'FF', x'81AD'), (4, x'D2', '?')", SOURCE)
    with pytest.raises(ExtractorFailed, match=r"move_src\.t: .* column g: 2, column s: 1"):
        _read(job, [table], [_plan(job, table, 9)])


def test_small_empty_and_keyless_tables_are_one_chunk(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b (x INT); CREATE TABLE c (id INT PRIMARY KEY);")
    server.client("INSERT INTO a VALUES (1),(2); INSERT INTO b VALUES (1),(1),(NULL)", SOURCE)
    tables = reflected(job, SOURCE)
    plans = [_plan(job, t, 1) if t.name.table != "a" else _plan(job, t, 1000) for t in tables]
    assert [[c.bounds for c in plan] for plan in plans] == [[None]] * 3
    assert [[len(p) for p in parts] for parts in _read(job, tables, plans)] == [[2], [3], [0]]


def test_rows_outside_of_what_was_planned_are_read(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, v INT);")
    _numbers(server, 2000, "#, #")
    table = reflected(job, SOURCE)[0]
    plan = _plan(job, table, 300)
    server.client("INSERT INTO t VALUES (-7, 0), (99999, 0)", SOURCE)
    parts = _read(job, [table], [plan])[0]
    assert sum(len(p) for p in parts) == 2002


# --- one moment -------------------------------------------------------------------------------------------------------


def test_all_readers_see_one_moment_and_writers_wait_no_longer_than_that(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);")
    tables = reflected(job, SOURCE)
    whole = Chunk(tables[0].name, 0, None, 0)
    with closing(snapshot.open_snapshot(job, tables, capture=True, lanes=2)) as view:
        with closing(connect(job.source.parameters, "writer")) as writer:
            execute(writer, "SET SESSION lock_wait_timeout = 1")
            with pytest.raises(Exception, match="Lock wait timeout"):
                execute(writer, f"INSERT INTO {SOURCE}.t VALUES (2)")
            readers = [snapshot.open_reader(job, view.token)]
            view.lane_opened()
            with pytest.raises(Exception, match="Lock wait timeout"):
                execute(writer, f"INSERT INTO {SOURCE}.t VALUES (2)")
            readers.append(snapshot.open_reader(job, view.token))
            view.lane_opened()  # the last one: thawed
            execute(writer, f"INSERT INTO {SOURCE}.t VALUES (3)")
        view.release()
        view.keepalive()
        for reader in readers:
            assert _extract(reader, tables[0], whole) == [b"1"]
            reader.close()
        with pytest.raises(SourceInterrupted, match="released"):
            snapshot.open_reader(job, view.token)
    rows = captured(job, tables, view.position)[-1].steps[0]
    assert rows.data.column("id").to_pylist() == [b"3"]  # type: ignore[union-attr]
    assert end_sessions(job.source.parameters, job.operation, "source") == 0


def test_without_the_global_lock_tables_are_locked(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);")
    monitor = "BINLOG MONITOR" if server.flavor == "mariadb" else "REPLICATION CLIENT"
    weak = _as_user(server, job, f"SELECT, LOCK TABLES ON {SOURCE}.*", f"{monitor} ON *.*")
    tables = reflected(job, SOURCE)
    with closing(snapshot.open_snapshot(weak, tables, capture=True, lanes=1)) as view:
        assert "RELOAD" in view.notes[0]
        with closing(connect(job.source.parameters, "writer")) as writer:
            execute(writer, "SET SESSION lock_wait_timeout = 1")
            with pytest.raises(Exception, match="Lock wait timeout"):
                execute(writer, f"INSERT INTO {SOURCE}.t VALUES (2)")
            with closing(snapshot.open_reader(weak, view.token)):
                view.lane_opened()
                execute(writer, f"INSERT INTO {SOURCE}.t VALUES (2)")
        assert view.position.order <= now(job).order


def test_without_any_lock_only_what_converges_is_read(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE nk (x INT); INSERT INTO t VALUES (1);")
    monitor = "BINLOG MONITOR" if server.flavor == "mariadb" else "REPLICATION CLIENT"
    weak = _as_user(server, job, f"SELECT ON {SOURCE}.*", f"{monitor} ON *.*")
    keyed, keyless = reflected(job, SOURCE, "t"), reflected(job, SOURCE)
    with closing(snapshot.open_snapshot(weak, keyed, capture=True, lanes=3)) as view:
        assert "without a lock" in view.notes[0]
    with pytest.raises(SourcePermissionDenied, match="LOCK TABLES"):
        snapshot.open_snapshot(weak, keyless, capture=True, lanes=3)
    with pytest.raises(SourcePermissionDenied, match="LOCK TABLES"):
        snapshot.open_snapshot(weak, keyed, capture=False, lanes=3)
    snapshot.open_snapshot(weak, keyless, capture=False, lanes=1).close()


def test_a_table_without_transactions_and_key_cannot_be_captured(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (x INT) ENGINE=MyISAM;")
    with pytest.raises(ExtractorFailed, match=r"move_src\.t"):
        snapshot.open_snapshot(job, reflected(job, SOURCE), capture=True, lanes=1)


# --- lines ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_packets(server: MySQL, job: Job) -> Iterator[Job]:
    """Sessions that are opened here may not make strings over 1 MiB."""
    before = server.client("SELECT @@global.max_allowed_packet").strip()
    server.client("SET GLOBAL max_allowed_packet = 1048576")
    yield job
    server.client(f"SET GLOBAL max_allowed_packet = {before}")


@pytest.mark.parametrize("format", [Format.TAB_TEXT, Format.COPY_TEXT])
def test_rows_that_are_too_long_for_one_string_are_not_lost(server: MySQL, small_packets: Job, format: Format) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB, s LONGTEXT, n INT NOT NULL, f FLOAT, x BIT(3));")
    server.client(
        "INSERT INTO t VALUES (1, REPEAT(0x5c, 400000), REPEAT('\\\\', 400000), 1, 0.1, 5), (2, 'b', 's', 2, NULL, 0),"
        "(3, REPEAT(0x00, 600000), NULL, 3, -0.5, 7), (4, NULL, REPEAT('é\\t', 300000), 4, 1e20, NULL)",
        SOURCE,
    )
    table = reflected(small_packets, SOURCE)[0]
    with (
        closing(snapshot.open_snapshot(small_packets, [table], capture=False, lanes=1)) as view,
        closing(snapshot.open_reader(small_packets, view.token)) as reader,
    ):
        lines = sorted(_extract(reader, table, Chunk(table.name, 0, {"low": ["1"], "high": ["9"]}, 0), format))
    prefix = b"\\\\x" if format is Format.COPY_TEXT else b""
    assert [line.split(b"\t") for line in lines] == [
        [b"1", prefix + b"5C" * 400_000, b"\\\\" * 400_000, b"1", b"0.10000000149011612", b"101"],
        [b"2", prefix + b"62", b"s", b"2", b"\\N", b"000"],
        [b"3", prefix + b"00" * 600_000, b"\\N", b"3", b"-0.5", b"111"],
        [b"4", b"\\N", "é\\t".encode() * 300_000, b"4", b"1.0000000200408773e20", b"\\N"],
    ]


def test_an_error_of_the_server_is_told(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);")
    table = reflected(job, SOURCE)[0]
    with (
        closing(snapshot.open_snapshot(job, [table], capture=False, lanes=1)) as view,
        closing(snapshot.open_reader(job, view.token)) as reader,
    ):
        view.release()
        gone = replace(table, columns=(replace(table.columns[0], name="nowhere"),))
        with pytest.raises(Exception, match="nowhere"):
            _extract(reader, gone, Chunk(table.name, 0, None, 0))
        assert _extract(reader, table, Chunk(table.name, 0, None, 0)) == [b"1"]
        end_sessions(job.source.parameters, job.operation, "source")
        with pytest.raises(SourceInterrupted):
            _extract(reader, table, Chunk(table.name, 0, None, 0))
        with pytest.raises(SourceInterrupted):
            view.keepalive()


def test_a_server_without_a_log_gives_rows_but_no_position(tmp_path_factory: pytest.TempPathFactory, job: Job) -> None:
    folder = tmp_path_factory.mktemp("nolog")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o711 if parent != folder else 0o755)
    flavor = "mariadb" if job.source.type == "mariadb" else "mysql"
    bare = MySQL(folder, flavor, log_bin="OFF").start()  # type: ignore[arg-type]
    try:
        here = replace(job, source=Endpoint("bare", flavor, {**job.source.parameters, **bare.parameters}))
        make(bare, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);")
        tables = reflected(here, SOURCE)
        with closing(snapshot.open_snapshot(here, tables, capture=False, lanes=1)) as view:
            assert view.position.order == (0, 0)
        with pytest.raises(LogDisabled):
            snapshot.open_snapshot(here, tables, capture=True, lanes=1)
    finally:
        bare.stop()
