"""Staged files into tables: exact values, all or nothing, once, and fenced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.mysql import MySQL
from tests.staged import staged
from whimbrel.connectors.mysql.connection import connect, execute, query
from whimbrel.connectors.mysql.source.schema import reflect
from whimbrel.connectors.mysql.target.load import MySQLLoader
from whimbrel.connectors.mysql.target.writing import MySQLTarget
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import DataFailed, LoaderFailed, StagingDamaged, TargetPermissionDenied, ValueRefused
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

DATABASE = "load_here"
NAME = TableName(DATABASE, "t")
COLUMNS = (
    "id INT PRIMARY KEY, txt VARCHAR(20), num DECIMAL(5,2), bin BLOB, bits BIT(10), doc JSON, d DATE,"
    " ts TIMESTAMP(6) NULL, dt DATETIME(6), du TIME(3), l ENUM('a','b c'), s SET('x','y'), f DOUBLE, y YEAR,"
    " g GEOMETRY, twice INT AS (id * 2) STORED, lat VARCHAR(9) CHARACTER SET latin1, UNIQUE KEY by_txt (txt)"
)
POSITION = Position("mysql", "srv", "binlog.000001:4", (1, 4))


@pytest.fixture
def table(server: MySQL, target: MySQLTarget) -> Table:
    server.create_database(DATABASE)
    server.client(f"CREATE TABLE t ({COLUMNS})", DATABASE)
    return reflect(target.session, [NAME])[0]


@pytest.fixture
def loader(parameters: dict[str, object], job: Job) -> Iterator[MySQLLoader]:
    with closing(MySQLLoader(parameters, job)) as found:
        yield found


class Loading:
    """A claimed migration with one table planned, and files to load into it."""

    def __init__(self, target: MySQLTarget, table: Table, folder: Path, chunks: int = 3) -> None:
        self.table, self.folder = table, folder
        self.ledger = target.ledger("m")
        self.epoch = self.ledger.claim()
        self.ledger.clear(self.epoch, "op-target")
        self.chunks = [Chunk(table.name, n, [n, None], 10, 100) for n in range(chunks)]
        self.ledger.save_plan(self.epoch, table, self.chunks)

    def load(self, loader: MySQLLoader, rows: bytes, chunk: int = 0, *, upsert: bool = False) -> int:
        file = self.folder / f"{chunk}.tab"
        file.write_bytes(rows)
        return self.load_file(loader, staged(file, rows.count(b"\n")), chunk, upsert=upsert)

    def load_file(self, loader: MySQLLoader, file: StagedFile, chunk: int = 0, *, upsert: bool = False) -> int:
        columns = self.table.loaded_columns
        return loader.load(
            self.epoch, self.table, self.table, columns, self.chunks[chunk], Format.TAB_TEXT, file, upsert=upsert
        )


@pytest.fixture
def loading(target: MySQLTarget, table: Table, tmp_path: Path) -> Iterator[Loading]:
    found = Loading(target, table, tmp_path)
    yield found
    found.ledger.close()


def row(number: int, **values: str) -> bytes:
    """A staged row of nulls but for ``values``."""
    names = ["txt", "num", "bin", "bits", "doc", "d", "ts", "dt", "du", "l", "s", "f", "y", "g", "lat"]
    return "\t".join([str(number), *(values.get(name, r"\N") for name in names)]).encode() + b"\n"


def test_every_kind_of_value(server: MySQL, loading: Loading, loader: MySQLLoader) -> None:
    point = "E6100000" + "0101000000" + "0000000000000040" + "0000000000000840"
    full = {"txt": r"é😀\t\n\\N'", "num": "-1.50", "bin": "00FF5C0A09", "bits": "1000000001", "doc": r'{"a": "\\n"}'}
    full |= {"d": "0000-00-00", "ts": "2026-11-23 13:00:00.000001", "dt": "9999-12-31 23:59:59.999999"}
    full |= {"du": "-838:59:59.000", "l": "b c", "s": "x,y", "f": "0.1", "y": "1999", "lat": "é", "g": point}
    assert loading.load(loader, row(0, **full) + row(1) + row(2, txt="", bin="", s="", bits="0000000000")) == 3
    shown = server.client(
        "SELECT id, HEX(txt), num, HEX(bin), HEX(bits), doc, d, ts, dt, du, l, s, f, y, HEX(lat), twice, HEX(g)"
        " FROM t ORDER BY id",
        DATABASE,
    ).splitlines()
    assert shown[0].split("\t") == [
        *("0", "é😀\t\n\\N'".encode().hex().upper(), "-1.50", "00FF5C0A09", "201", '{"a": "\\n"}', "0000-00-00"),
        *("2026-11-23 13:00:00.000001", "9999-12-31 23:59:59.999999", "-838:59:59.000", "b c", "x,y", "0.1", "1999"),
        *("E9", "0", point),
    ]
    assert shown[1].split("\t") == ["1", *["NULL"] * 14, "2", "NULL"]
    assert shown[2].split("\t") == ["2", "", "NULL", "", "0", *["NULL"] * 6, "", *["NULL"] * 3, "4", "NULL"]


@pytest.mark.parametrize(
    ("bad", "column"),
    [
        ({"txt": "secretsecretsecretsecret"}, "txt"),
        ({"num": "secret"}, "num"),
        ({"num": "1.239"}, "num"),
        ({"num": "10000"}, "num"),
        ({"doc": "{secret"}, None),
        ({"d": "2026-02-32"}, "d"),
        ({"dt": "infinity"}, "dt"),
        ({"ts": "0044-03-15 BC"}, "ts"),
        ({"l": "secret"}, "l"),
        ({"s": "x,secret"}, "s"),
        ({"f": "NaN"}, "f"),
        ({"y": "3000"}, "y"),
        ({"lat": "漢"}, "lat"),
        ({"du": "900:00:00"}, "du"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(
    server: MySQL, loading: Loading, loader: MySQLLoader, bad: dict[str, str], column: str | None
) -> None:
    with pytest.raises(ValueRefused) as caught:
        loading.load(loader, row(1) + row(2, **bad) + row(3))
    assert "secret" not in str(caught.value.to_json())
    assert caught.value.message.startswith("load_here.t")
    if column:
        assert caught.value.details["column"] == column
    assert server.client("SELECT COUNT(*) FROM t", DATABASE) == "0\n"
    assert loading.ledger.state().tables[NAME].loaded == {}
    assert loading.load(loader, row(1)) == 1


@pytest.mark.parametrize(
    "rows",
    [
        row(1) + row(1),
        row(1, txt="same") + row(2, txt="same"),
        row(1) + b"2\n",
        row(1)[:-1] + b"\ttoo much\n",
        row(1) + b"\\N" + row(2)[1:],
        row(1, txt="a")[:2] + b"\xff\xfe" + row(1, txt="a")[3:],
    ],
)
def test_rows_that_would_be_lost_or_changed(server: MySQL, loading: Loading, loader: MySQLLoader, rows: bytes) -> None:
    with pytest.raises(ValueRefused):
        loading.load(loader, rows)
    assert server.client("SELECT COUNT(*) FROM t", DATABASE) == "0\n"


def test_loaders_work_side_by_side(
    parameters: dict[str, object], job: Job, loading: Loading, loader: MySQLLoader
) -> None:
    """Who commits just now holds the epoch shared: another loader passes, and a claim waits."""
    with closing(connect(parameters, "beside")) as beside:
        execute(beside, "START TRANSACTION")
        query(beside, "SELECT epoch FROM whimbrel.progress WHERE migration = 'm' LOCK IN SHARE MODE")
        assert loading.load(loader, row(1)) == 1


def test_truncate_forgets_the_chunks(server: MySQL, loading: Loading, loader: MySQLLoader) -> None:
    server.client("CREATE TABLE child (id INT, FOREIGN KEY (id) REFERENCES t (id))", DATABASE)
    loading.load(loader, row(1))
    loading.ledger.table_finished(loading.epoch, NAME)
    loader.truncate(loading.epoch, NAME, NAME)
    state = loading.ledger.state().tables[NAME]
    assert (state.loaded, state.finished, len(state.chunks)) == ({}, False, 3)
    assert server.client("SELECT COUNT(*) FROM t", DATABASE) == "0\n"


def test_what_is_not_there(loading: Loading, loader: MySQLLoader, tmp_path: Path) -> None:
    arguments = (loading.epoch, loading.table, loading.table, loading.table.loaded_columns)
    with pytest.raises(StagingDamaged):
        loader.load(
            *arguments, loading.chunks[0], Format.TAB_TEXT, StagedFile(tmp_path / "gone", 0, 0, 0), upsert=False
        )
    (tmp_path / "x").write_bytes(b"")
    empty = staged(tmp_path / "x", 0)
    with closing(MySQLLoader(loader.parameters, loader.job)) as fresh:
        with pytest.raises(LoaderFailed):
            fresh.load(*arguments, Chunk(NAME, 9, None, 0), Format.TAB_TEXT, empty, upsert=False)
        with pytest.raises(DataFailed):
            fresh.load(*arguments, loading.chunks[0], Format.COPY_TEXT, empty, upsert=False)


def test_no_right_to_make_the_database(server: MySQL, job: Job) -> None:
    server.client("DROP DATABASE IF EXISTS whimbrel")
    low = server.create_user("no_create", "pw-low", "SELECT ON *.*")
    limited = MySQLTarget(Endpoint("x", server.flavor, {**job.target.parameters, **low}), "op")
    with pytest.raises(TargetPermissionDenied) as caught:
        limited.ledger("m")
    assert "GRANT ALL ON whimbrel.*" in caught.value.details["remedy"]
