"""Staged files into tables: exact values, all or nothing, once, and fenced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers.mysql import MySQL
from tests.staged import staged
from whimbrel.connectors.mysql import log
from whimbrel.connectors.mysql.connection import connect, execute, query
from whimbrel.connectors.mysql.load import MySQLLoader
from whimbrel.connectors.mysql.schema import reflect
from whimbrel.connectors.mysql.target import MySQLTarget
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import DataFailed, Fenced, StagingDamaged, TargetPermissionDenied, ValueRefused
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
        self.checkpoint = target.checkpoint("m")
        self.epoch = self.checkpoint.claim()
        self.checkpoint.clear(self.epoch, "op-target")
        self.chunks = [Chunk(table.name, n, [n, None], 10, 100) for n in range(chunks)]
        self.checkpoint.save_plan(self.epoch, table, self.chunks)

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
    found.checkpoint.close()


def row(number: int, **values: str) -> bytes:
    """A staged row of nulls but for ``values``."""
    names = ["txt", "num", "bin", "bits", "doc", "d", "ts", "dt", "du", "l", "s", "f", "y", "g", "lat"]
    return "\t".join([str(number), *(values.get(name, r"\N") for name in names)]).encode() + b"\n"


def test_layouts_are_stored_beside_plans_and_are_none(loading: Loading, loader: MySQLLoader) -> None:
    loading.load(loader, row(1), chunk=1)
    changed, other = replace(loading.table, primary_key=()), loading.table.on_target(TableName("s", "other"))
    loading.checkpoint.save_layouts(loading.epoch, [changed, other])
    state = loading.checkpoint.state()
    assert state.layouts == {t.name: t.fingerprint for t in (changed, other)}
    assert list(state.tables) == [changed.name]
    assert state.tables[changed.name].loaded == {1: 1}
    with pytest.raises(Fenced):
        loading.checkpoint.save_layouts(loading.epoch - 1, [other])


def test_tables_are_forgotten_alone_and_all_with_a_new_beginning(loading: Loading, loader: MySQLLoader) -> None:
    loading.load(loader, row(1), chunk=1)
    other, checkpoint = loading.table.on_target(TableName("s", "other")), loading.checkpoint
    checkpoint.save_layouts(loading.epoch, [other])
    checkpoint.forget(loading.epoch, [loading.table.name])
    state = checkpoint.state()
    assert (dict(state.tables), state.layouts, state.unknown([loading.table.name])) == (
        {},
        {other.name: other.fingerprint},
        (loading.table.name,),
    )
    checkpoint.snapshot_opened(loading.epoch, log.no_position("uuid"), keep_older=False)
    assert (checkpoint.state().snapshots, checkpoint.position()) == (1, None)
    checkpoint.restart(loading.epoch, "afresh", POSITION, [loading.table])
    state = checkpoint.state()
    assert (state.operation, state.position, state.snapshots, state.data_complete) == ("afresh", POSITION, 0, False)
    assert (dict(state.tables), list(state.layouts)) == ({}, [loading.table.name])
    for write in (
        lambda: checkpoint.forget(loading.epoch - 1, [loading.table.name]),
        lambda: checkpoint.restart(loading.epoch - 1, "late", POSITION, []),
    ):
        with pytest.raises(Fenced):
            write()
    assert checkpoint.state() == state


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
    assert loading.checkpoint.state().tables[NAME].loaded == {}
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


def test_a_chunk_is_loaded_once(server: MySQL, loading: Loading, loader: MySQLLoader) -> None:
    assert loading.load(loader, row(1) + row(2)) == 2
    assert loading.load(loader, row(1) + row(2)) == 2
    assert loading.load(loader, b"", chunk=1) == 0
    assert server.client("SELECT COUNT(*) FROM t", DATABASE) == "2\n"
    state = loading.checkpoint.state()
    assert state.tables[NAME].loaded == {0: 2, 1: 0}
    assert [c.bounds for c in state.tables[NAME].chunks] == [[0, None], [1, None], [2, None]]


@pytest.mark.parametrize("upsert", [False, True])
def test_a_file_that_is_not_what_was_written_is_not_loaded(
    server: MySQL, loading: Loading, parameters: dict[str, object], job: Job, upsert: bool
) -> None:
    """Lost lines, one changed byte, and a reader that counted more: nothing of it stays, and no record of the chunk."""
    path = loading.folder / "0.tab"
    whole = row(1, txt="a") + row(2, txt="b")
    path.write_bytes(whole)
    file = staged(path, 2)
    for changed in (row(1, txt="a"), whole.replace(b"b", b"c"), b"", whole + row(3)):
        path.write_bytes(changed)
        with closing(MySQLLoader(parameters, job)) as loader, pytest.raises(StagingDamaged, match="not what was"):
            loading.load_file(loader, file, upsert=upsert)
    path.write_bytes(whole)
    with closing(MySQLLoader(parameters, job)) as loader:
        with pytest.raises(DataFailed, match="3 rows were read, but the target counts 2"):
            loading.load_file(loader, replace(file, rows=3), upsert=upsert)
        assert server.client("SELECT COUNT(*) FROM t", DATABASE) == "0\n"
        assert loading.checkpoint.state().tables[NAME].loaded == {}
        assert loading.load_file(loader, file, upsert=upsert) == 2
        assert loading.load_file(loader, replace(file, rows=3)) == 2, "recorded as loaded"


def test_upsert_replaces(server: MySQL, loading: Loading, loader: MySQLLoader) -> None:
    loading.load(loader, row(1, txt="old") + row(2, txt="kept"))
    assert loading.load(loader, row(1, txt="new") + row(3), chunk=1, upsert=True) == 2
    assert server.client("SELECT id, txt FROM t ORDER BY id", DATABASE) == "1\tnew\n2\tkept\n3\tNULL\n"


def test_an_older_epoch_is_fenced(server: MySQL, target: MySQLTarget, loading: Loading, loader: MySQLLoader) -> None:
    with closing(target.checkpoint("m")) as newer:
        assert newer.claim() == loading.epoch + 1
    with pytest.raises(Fenced):
        loading.load(loader, row(1))
    with pytest.raises(Fenced):
        loading.checkpoint.clear(loading.epoch, "x")
    with pytest.raises(Fenced):
        loading.checkpoint.data_complete(loading.epoch)
    with pytest.raises(Fenced):
        loading.checkpoint.set_position(loading.epoch, POSITION)
    with pytest.raises(Fenced):
        loader.truncate(loading.epoch, NAME, NAME)
    assert server.client("SELECT COUNT(*) FROM t", DATABASE) == "0\n"
    assert loading.checkpoint.state().operation == "op-target"


def test_a_namesake_of_a_deleted_migration_never_comes_to_its_epochs(
    server: MySQL, target: MySQLTarget, loading: Loading, loader: MySQLLoader
) -> None:
    with closing(target.checkpoint("m")) as deleted:
        deleted.own([NAME])
        deleted.remove()
    with closing(target.checkpoint("m")) as namesake:
        assert namesake.owned() == frozenset(), "or its reset would drop what the other one has made"
        epochs = [namesake.claim() for _ in range(3)]
        namesake.save_plan(epochs[-1], loading.table, loading.chunks)
        assert min(epochs) > loading.epoch
    with pytest.raises(Fenced):
        loading.load(loader, row(1))
    with pytest.raises(Fenced):
        loading.checkpoint.set_position(loading.epoch, POSITION)
    assert server.client("SELECT COUNT(*) FROM t", DATABASE) == "0\n"


def test_loaders_work_side_by_side(
    parameters: dict[str, object], job: Job, loading: Loading, loader: MySQLLoader
) -> None:
    """An open load holds the epoch shared: another loader passes, and a claim waits."""
    with closing(connect(parameters, "beside")) as beside:
        execute(beside, "START TRANSACTION")
        query(beside, "SELECT epoch FROM whimbrel.progress WHERE migration = 'm' LOCK IN SHARE MODE")
        assert loading.load(loader, row(1)) == 1


def test_truncate_forgets_the_chunks(server: MySQL, loading: Loading, loader: MySQLLoader) -> None:
    server.client("CREATE TABLE child (id INT, FOREIGN KEY (id) REFERENCES t (id))", DATABASE)
    loading.load(loader, row(1))
    loading.checkpoint.table_finished(loading.epoch, NAME)
    loader.truncate(loading.epoch, NAME, NAME)
    state = loading.checkpoint.state().tables[NAME]
    assert (state.loaded, state.finished, len(state.chunks)) == ({}, False, 3)
    assert server.client("SELECT COUNT(*) FROM t", DATABASE) == "0\n"


def test_state_remembers(target: MySQLTarget, loading: Loading) -> None:
    checkpoint, epoch = loading.checkpoint, loading.epoch
    assert checkpoint.position() is None
    checkpoint.snapshot_opened(epoch, POSITION, keep_older=False)
    newer = Position("mysql", "srv", "binlog.000002:4", (2, 4))
    checkpoint.snapshot_opened(epoch, newer, keep_older=True)
    assert checkpoint.position() == POSITION
    checkpoint.set_position(epoch, newer)
    checkpoint.table_finished(epoch, NAME)
    checkpoint.data_complete(epoch)
    with closing(target.checkpoint("m")) as again:
        state = again.state()
    assert (state.epoch, state.operation, state.position, state.data_complete, state.snapshots) == (
        *(epoch, "op-target", newer, True, 2),
    )
    assert state.tables[NAME].finished
    checkpoint.clear(epoch, "")
    assert checkpoint.state().tables == {}
    assert checkpoint.state().epoch == epoch
    with closing(target.checkpoint("another")) as other:
        assert other.state().epoch == 0


def test_what_is_not_there(loading: Loading, loader: MySQLLoader, tmp_path: Path) -> None:
    arguments = (loading.epoch, loading.table, loading.table, loading.table.loaded_columns)
    with pytest.raises(StagingDamaged):
        loader.load(
            *arguments, loading.chunks[0], Format.TAB_TEXT, StagedFile(tmp_path / "gone", 0, 0, 0), upsert=False
        )
    (tmp_path / "x").write_bytes(b"")
    empty = staged(tmp_path / "x", 0)
    with closing(MySQLLoader(loader.parameters, loader.job)) as fresh:
        with pytest.raises(DataFailed):
            fresh.load(*arguments, Chunk(NAME, 9, None, 0), Format.TAB_TEXT, empty, upsert=False)
        with pytest.raises(DataFailed):
            fresh.load(*arguments, loading.chunks[0], Format.COPY_TEXT, empty, upsert=False)


def test_no_right_to_make_the_database(server: MySQL, job: Job) -> None:
    server.client("DROP DATABASE IF EXISTS whimbrel")
    low = server.create_user("no_create", "pw-low", "SELECT ON *.*")
    limited = MySQLTarget(Endpoint("x", server.flavor, {**job.target.parameters, **low}), "op")
    with pytest.raises(TargetPermissionDenied) as caught:
        limited.checkpoint("m")
    assert "GRANT ALL ON whimbrel.*" in caught.value.details["remedy"]
