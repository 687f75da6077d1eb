"""Oracle as source, on the stand-in: schema and rows, by the databases' own clients; and what is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import oracledb
import pytest

from tests.conftest import running_end
from tests.engines import side_of
from tests.engines.oracle import POSTGRES
from tests.pairs import first
from tests.servers.fleet import SERVERS, Fleet
from tests.servers.oracle import Oracle
from tests.suite.running import Watch
from tests.suite.world import World
from whimbrel.connectors.registry import engine
from whimbrel.errors import (
    LayoutChanged,
    ReplicationFailed,
    SnapshotLost,
    SourceInterrupted,
    SourcePermissionDenied,
    ValidateFailed,
    ValueRefused,
)
from whimbrel.model.chunk import Format
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.changes.replication import replicate
from whimbrel.pipeline.fitting import check_fit
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.schema import apply_schema, extract_schema
from whimbrel.pipeline.validation.tables import validate_data

FIRST = (("oracle", "postgres18"),)
ROWS = 1000


@pytest.fixture(params=first(FIRST))
def moving(request: pytest.FixtureRequest, fleet: Fleet, tmp_path: Path) -> Iterator[World]:
    """An empty source and target."""
    source, target = (
        side_of(running_end(fleet, name), SERVERS[name], f"oracle_{role}")
        for name, role in zip(request.param, ("source", "target"), strict=True)
    )
    for side in (source, target):
        side.drop_leftovers()
    yield World(source, target, tmp_path, "fromoracle")
    assert isinstance(source.server, Oracle)
    source.server.clear_orders()
    for side in (source, target):
        side.drop_leftovers()


def prepare(moving: World, rows: int = ROWS) -> None:
    """Source filled, schema on the target."""
    moving.make(rows)
    assert extract_schema(moving.job("schema"), Watch()).tables == 4
    assert apply_schema(moving.job("schema"), Watch(), None) == 4


def printed(moving: World) -> dict[str, list[str]]:
    """What the target has, as its own client shows it."""
    queries = {table: query.format(moving.target.schema) for table, query in POSTGRES.items()}
    return {table: sorted(moving.target.run(query).splitlines()) for table, query in queries.items()}


def test_schema_and_rows_arrive_exactly(moving: World) -> None:
    prepare(moving)
    found = check_fit(moving.job("checks"), data=True, changes=False)
    assert [c for c in found if c.status == "fail"] == []
    watch = Watch()
    result = copy_data(moving.job("data", rows_per_file=300), watch, capture=False, resume=False)
    assert (result.tables, result.rows) == (4, 50 + ROWS + 400 + 60)
    assert watch.tables["suite.item"].files_total > 3
    assert printed(moving) == moving.source.rows()
    types = moving.target.run(
        "select string_agg(column_name || ' ' || data_type, ', ' order by ordinal_position) "
        "from information_schema.columns where table_schema = 'suite' and table_name = 'item'"
    )
    assert types == (
        "id bigint, parent_id integer, small smallint, amount numeric, title character varying, body text, "
        "flag smallint, score double precision, ratio real, born timestamp without time zone, "
        "made timestamp without time zone, seen timestamp with time zone, raw bytea, uid character, open numeric"
    )
    assert moving.target.run("select count(*) from pg_constraint where conrelid = 'suite.item'::regclass "
                             "and contype in ('p', 'f', 'c')") == "3"  # fmt: skip
    moving.target.run("insert into suite.item (parent_id, amount) values (1, 1)")  # numbered behind what came
    assert moving.target.run(f"select title from suite.item where id > {ROWS}") == "none"


def test_rows_are_those_of_the_snapshots_moment(moving: World) -> None:
    class Meddling(Watch):
        def phase(self, name: str) -> None:
            if name == "data":
                moving.source.change(
                    'DELETE FROM "suite"."item" WHERE "id" < 100\n/\n'
                    'UPDATE "suite"."item" SET "title" = \'later\'\n/\n'
                    "INSERT INTO \"suite\".\"parent\" VALUES (99, 'later', 'later')"
                )
            super().phase(name)

    prepare(moving)
    before = moving.source.rows()
    copy_data(moving.job("data", rows_per_file=300), Meddling(), capture=False, resume=False)
    assert printed(moving) == before
    assert moving.source.rows() != before


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "error", "code": 1555, "match": "AS OF SCN", "times": 1}, SnapshotLost),
        ({"kind": "cut", "match": 'FROM "suite"."item" AS OF SCN', "times": 1}, SourceInterrupted),
    ],
)
def test_a_load_that_lost_its_snapshot_or_link_is_tried_again(
    moving: World, fault: dict[str, Any], error: type[Exception]
) -> None:
    prepare(moving)
    assert isinstance(moving.source.server, Oracle)
    moving.source.server.order(**fault)
    job = moving.job("data", rows_per_file=300)
    with pytest.raises(error) as lost:
        copy_data(job, Watch(), capture=False, resume=False)
    assert getattr(lost.value, "retryable", False)
    copy_data(job, Watch(), capture=False, resume=False)
    assert printed(moving) == moving.source.rows()


def test_a_table_that_was_altered_meanwhile_is_named(moving: World) -> None:
    prepare(moving, rows=10)
    assert isinstance(moving.source.server, Oracle)
    moving.source.server.order(kind="error", code=1466, match='FROM "suite"."twokeys" AS OF SCN')
    with pytest.raises(LayoutChanged, match=r"suite\.twokeys"):
        copy_data(moving.job("data"), Watch(), capture=False, resume=False)


def test_what_cannot_be_done_yet_is_refused_by_name(moving: World) -> None:
    prepare(moving, rows=10)
    with pytest.raises(ReplicationFailed, match="changes of oracle are not read yet") as refused:
        copy_data(moving.job("both"), Watch(), capture=True, resume=False)
    assert "operation data" in refused.value.how_to_fix
    with pytest.raises(ReplicationFailed, match="changes of oracle are not read yet"):
        replicate(moving.job("follow"), Watch(), resume=False, position=None, handoff=False)
    with pytest.raises(ValidateFailed, match="rows on oracle are not compared yet"):
        validate_data(moving.job("validate"), Watch(), 100)
    assert moving.target.run("select count(*) from suite.item") == "0"


# --- the source alone -------------------------------------------------------------------------------------------------

USER = "EDGES"


@pytest.fixture(scope="module")
def edges(oracle: Oracle) -> Endpoint:
    given = oracle.create_user(USER, "pw", "CREATE SESSION")
    oracle.query(f"GRANT SELECT ON V_$DATABASE TO {USER}")
    return Endpoint("edges", "oracle", engine("oracle").parse("oracle", given))


def read(endpoint: Endpoint, table: str, format: Format = Format.TAB_TEXT) -> str:
    """All rows of a table, as staged."""
    source = engine("oracle").source(endpoint, "edges")
    job = Job("edges", "edges", endpoint, endpoint, (), Path("/nowhere"))
    with closing(source):
        (found,) = source.reflect([TableName(USER, table)])
        out: list[bytes] = []
        snapshot = source.open_snapshot(job, [found], capture=False, lanes=1)
        with closing(source.open_reader(job, snapshot.token)) as reader:
            for chunk in source.plan(found, 1000, 1 << 20):
                reader.extract(found, found.loaded_columns, chunk, format, lambda block: out.append(bytes(block)))
        return b"".join(out).decode()


def test_numbers_keep_all_their_digits(oracle: Oracle, edges: Endpoint) -> None:
    """What the driver makes a double of (no precision), and scales beyond the precision or below zero."""
    oracle.run(f"CREATE TABLE {USER}.N (ID NUMBER(2), A NUMBER, B NUMBER(5,7), C NUMBER(5,-2), D NUMBER(*,3), E FLOAT)")
    rows = [
        (1, "0.1", "0.0012345", "1234500", "123456789012345678901234567890.125", "0.3"),
        (2, "1E125", "-0.0000001", "-100", "-0.001", "-1E-100"),
        (3, "-1.5E-100", None, None, None, None),
        (4, "1234567890123456789012345678901234567890", "0", "0", "0", "0"),
    ]
    for row in rows:
        shown = ", ".join("NULL" if v is None else str(v) for v in row)
        oracle.query(f"INSERT INTO {USER}.N VALUES ({shown})")
    found = [line.split("\t") for line in sorted(read(edges, "N").splitlines())]
    assert found[0] == ["1", "0.1", "0.0012345", "1234500", "123456789012345678901234567890.125", "0.3"]
    assert found[1] == ["2", "1" + "0" * 125, "-0.0000001", "-100", "-0.001", "-0." + "0" * 99 + "1"]
    assert found[2] == ["3", "-0." + "0" * 99 + "15", "\\N", "\\N", "\\N", "\\N"]
    assert found[3] == ["4", "1234567890123456789012345678901234567890", "0", "0", "0", "0"]


def test_texts_floats_and_intervals_as_staged(oracle: Oracle, edges: Endpoint) -> None:
    oracle.run(
        f"""CREATE TABLE {USER}.V (ID NUMBER(2), F BINARY_DOUBLE, S VARCHAR2(40 CHAR), NV NVARCHAR2(9), R RAW(4),
        YM INTERVAL YEAR TO MONTH, DS INTERVAL DAY TO SECOND, LZ TIMESTAMP(6) WITH LOCAL TIME ZONE, CL CLOB)"""
    )
    with oracle.session() as connection, connection.cursor() as cursor:
        cursor.setinputsizes(None, oracledb.DB_TYPE_BINARY_DOUBLE)
        cursor.executemany(
            f"INSERT INTO {USER}.V (ID, F, S, NV) VALUES (:1, :2, :3, :4)",
            [(1, float("nan"), "a\tb\n\\c\r", "漢"), (2, float("-inf"), "", None), (3, -0.0, "\\N", "é")],
        )
        connection.commit()
    oracle.query(
        f"UPDATE {USER}.V SET R = HEXTORAW('00FF'), YM = INTERVAL '-1-2' YEAR TO MONTH, CL = 'c', "
        "DS = INTERVAL '-1 02:03:04.5' DAY TO SECOND, LZ = TIMESTAMP '1969-12-31 23:59:59.999999' WHERE ID = 1"
    )
    found = sorted(read(edges, "V").splitlines())
    assert found == [
        "1\tNaN\ta\\tb\\n\\\\c\\r\t漢\t00FF\t-01-02\t-01 02:03:04.500000\t1969-12-31 23:59:59.999999\tc",
        "2\t-Infinity" + "\t\\N" * 7,
        "3\t-0\t\\\\N\té" + "\t\\N" * 5,
    ]


@pytest.mark.parametrize(
    ("table", "type", "value", "why"),
    [
        (
            "FINE",
            "TIMESTAMP(9)",
            "TIMESTAMP '2024-01-02 03:04:05.123456789'",
            "column T: a time has more than six digits",
        ),
        ("OLD", "DATE", "DATE '0044-03-15 BC'", "before the year 1"),
    ],
)
def test_times_that_nobody_else_keeps_are_refused(
    oracle: Oracle, edges: Endpoint, table: str, type: str, value: str, why: str
) -> None:
    oracle.run(f"CREATE TABLE {USER}.{table} (T {type})\n/\nINSERT INTO {USER}.{table} VALUES ({value})")
    with pytest.raises(ValueRefused, match=rf"{USER}\.{table}.*{why}"):
        read(edges, table)


def test_a_type_that_only_oracle_has_is_told(oracle: Oracle, edges: Endpoint) -> None:
    oracle.run(f"CREATE TABLE {USER}.OWN (ID NUMBER(1) PRIMARY KEY, X XMLTYPE)")
    found = engine("oracle").checks.run(edges, "source", "data", [TableName(USER, "OWN")])
    (told,) = [c for c in found if c.id == "oracle.types"]
    assert (told.status, "EDGES.OWN.X (XMLTYPE)" in told.message) == ("warn", True)


def test_a_table_whose_rows_a_policy_may_hide_is_refused(oracle: Oracle, edges: Endpoint) -> None:
    oracle.run(f"CREATE TABLE {USER}.SECRET (ID NUMBER(1))")
    oracle.run(f"BEGIN DBMS_RLS.ADD_POLICY('{USER}', 'SECRET', 'ONLY_MINE'); END;")
    tables = [TableName(USER, "SECRET")]
    failed = [c for c in engine("oracle").checks.run(edges, "source", "data", tables) if c.status == "fail"]
    assert [c.id for c in failed] == ["oracle.row_policies"]
    with closing(engine("oracle").source(edges, "edges")) as source:
        with pytest.raises(SourcePermissionDenied, match=rf"{USER}\.SECRET"):
            source.reflect(tables)
        oracle.query(f"GRANT EXEMPT ACCESS POLICY TO {USER}")
        assert len(source.reflect(tables)) == 1


def test_views_code_and_triggers_are_kept_with_their_bodies(oracle: Oracle, edges: Endpoint) -> None:
    oracle.run(
        f"""CREATE TABLE {USER}.WATCHED (ID NUMBER(1))
/
CREATE VIEW {USER}.SEEN AS SELECT ID FROM {USER}.WATCHED
/
CREATE OR REPLACE PROCEDURE {USER}.DO_IT AS
BEGIN
  NULL;
END;
/
CREATE OR REPLACE TRIGGER {USER}.GUARD BEFORE INSERT ON {USER}.WATCHED FOR EACH ROW BEGIN NULL; END;"""
    )
    with closing(engine("oracle").source(edges, "edges")) as source:
        found = {o.name.table: o for o in source.objects([TableName(USER, "WATCHED")])}
    assert {name: found[name].kind for name in ("SEEN", "DO_IT", "GUARD")} == {
        "SEEN": "view", "DO_IT": "procedure", "GUARD": "trigger",
    }  # fmt: skip
    assert found["SEEN"].text == f"SELECT ID FROM {USER}.WATCHED"
    assert "BEGIN\n  NULL;\nEND;" in str(found["DO_IT"].text)
    assert str(found["GUARD"].text).endswith("BEGIN NULL; END;")


def test_missing_rights_are_named_with_what_grants_them(oracle: Oracle, edges: Endpoint) -> None:
    given = oracle.create_user("READER", "pw", "CREATE SESSION")
    oracle.run(f"CREATE TABLE {USER}.GUARDED (ID NUMBER(1))")
    oracle.query(f"GRANT SELECT ON {USER}.GUARDED TO READER")
    reader = Endpoint("reader", "oracle", engine("oracle").parse("oracle", given))
    tables = [TableName(USER, "GUARDED")]
    checks = engine("oracle").checks
    assert {c.id for c in checks.run(reader, "source", "data", tables) if c.status == "fail"} == {"oracle.scn"}
    with pytest.raises(SourcePermissionDenied):
        engine("oracle").source(reader, "x").current_position()
    oracle.query("GRANT SELECT ON V_$DATABASE TO READER")
    failed = [c for c in checks.run(reader, "source", "data", tables) if c.status == "fail"]
    assert [(c.id, f"{USER}.GUARDED" in c.message) for c in failed] == [("oracle.flashback", True)]
    for statement in checks.statements(reader, "source", "data", tables):
        if "UNDO_RETENTION" not in statement.sql:
            oracle.query(statement.sql)
    assert [c for c in checks.run(reader, "source", "data", tables) if c.status == "fail"] == []
    followed = checks.run(reader, "source", "data+replication", tables)
    assert [c.id for c in followed if c.status == "fail"] == ["oracle.changes"]
