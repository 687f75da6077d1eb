"""A target that tells fewer rows apart than the source: each row is put in its own place, or refused by name."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.servers.postgres import Postgres
from tests.unit.postgres.moving import Move
from tests.unit.postgres.rig import Rig
from tests.unit.postgres.test_apply import segment, target_rows
from whimbrel.errors import ValueRefused
from whimbrel.model.change import DELETE, INSERT, UPDATE
from whimbrel.model.chunk import Format
from whimbrel.pipeline.fitting import check_fit

USERS = "create table t (id int primary key, email text, v int);"
BOTH = "create table t (id int primary key, email text unique, v int);"
WORDS = "create table t (k text primary key, v int);"
FOLDED = "create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
CITEXT = "create extension citext;"

# By name: both sides' table, what makes the target's stricter, its rows, a change, and the key that is named.
STRICTER = {
    "a unique key of the target's own": (
        USERS,
        "create unique index by_email on t (email)",
        "(1, 'bob', 1), (2, 'alice', 2)",
        (INSERT, [b"3", b"bob", b"3"]),
        "by_email",
    ),
    "the same, met by an update": (
        USERS,
        "alter table t add constraint by_email unique (email)",
        "(1, 'bob', 1), (2, 'alice', 2)",
        (UPDATE, [b"2", b"bob", b"3"]),
        "by_email",
    ),
    "a unique key of both, folded by the target": (
        BOTH,
        CITEXT + "alter table t alter email type citext",
        "(1, 'bob', 1)",
        (INSERT, [b"3", b"BOB", b"3"]),
        "t_email_key",
    ),
    "an expression": (
        USERS,
        "create unique index begins on t (left(email, 3))",
        "(1, 'bob@x', 1)",
        (INSERT, [b"3", b"bob@y", b"3"]),
        "begins",
    ),
    "a collation that folds": (
        WORDS,
        FOLDED + "alter table t alter k type text collate folded",
        "('abc', 1)",
        (INSERT, [b"ABC", b"2"]),
        "t_pkey",
    ),
    "a key of a type that folds": (
        WORDS,
        CITEXT + "alter table t alter k type citext",
        "('abc', 1)",
        (INSERT, [b"ABC", b"2"]),
        "t_pkey",
    ),
}


@pytest.mark.parametrize("case", STRICTER)
def test_a_row_that_the_target_takes_for_another_is_refused_by_name(server: Postgres, case: str) -> None:
    ddl, stricter, rows, change, key = STRICTER[case]
    if stricter.startswith(FOLDED) and server.version == "18":
        pytest.skip("the PostgreSQL 18 of the tests is built without ICU")
    with Rig(server, ddl, "t") as rig:
        rig.target_sql(f"{stricter}; insert into t values {rows}")
        before = target_rows(rig)
        columns = [c.name for c in rig.tables[0].columns]
        with pytest.raises(ValueRefused, match=rf"public\.t: .*{key}") as refused:
            rig.apply(rig.applier(), [segment(rig, [change], columns)])
        assert refused.value.details["key"] == key
        assert "on the target" in refused.value.how_to_fix
        assert target_rows(rig) == before


@pytest.mark.parametrize("case", STRICTER)
def test_the_check_names_what_makes_a_target_stricter(server: Postgres, case: str) -> None:
    ddl, stricter, _, _, key = STRICTER[case]
    if stricter.startswith(FOLDED) and server.version == "18":
        pytest.skip("the PostgreSQL 18 of the tests is built without ICU")
    with Rig(server, ddl + "create unique index whole on t (lower(v::text));", "t") as rig:
        found = {c.id: c for c in check_fit(replace(rig.job, target=rig.target_endpoint), data=True, changes=True)}
        assert found["target.keys"].status == "ok", found
        rig.target_sql(stricter)
        found = {c.id: c for c in check_fit(replace(rig.job, target=rig.target_endpoint), data=True, changes=True)}
        assert found["target.keys"].status == "warn"
        assert re.search(rf"public\.t\b.* unique key {key}\b", found["target.keys"].message)


def test_what_is_deleted_is_the_row_itself_and_none_that_the_target_takes_for_it(server: Postgres) -> None:
    with Rig(server, WORDS, "t") as rig:
        rig.target_sql(CITEXT + "alter table t alter k type citext; insert into t values ('abc', 1)")
        rig.apply(rig.applier(), [segment(rig, [(DELETE, [b"ABC", None])], ["k", "v"])])
        assert target_rows(rig) == "(abc,1)"
        spelled: list[tuple[int, list[bytes | None]]] = [(DELETE, [b"abc", None]), (INSERT, [b"ABC", b"2"])]
        rig.apply(rig.applier(), [segment(rig, spelled, ["k", "v"])])
        assert target_rows(rig) == "(ABC,2)"


def test_rows_that_the_target_leaves_out_are_missed(server: Postgres) -> None:
    """A trigger that is not silenced turns an insert into nothing and no error."""
    with Rig(server, BOTH, "t") as rig:
        rig.target_sql(
            "create function away() returns trigger language plpgsql as $$ begin return null; end $$;"
            "create trigger away before insert on t for each row when (new.v = 2) execute function away();"
            "alter table t enable always trigger away"
        )
        rows = [(INSERT, [b"1", b"a", b"1"]), (INSERT, [b"2", b"b", b"2"])]
        with pytest.raises(ValueRefused, match="of 2 rows that the source has, 1 came"):
            rig.apply(rig.applier(), [segment(rig, rows, ["id", "email", "v"])])
        assert target_rows(rig) == ""


@pytest.mark.parametrize("binary", [True, False])
def test_rows_of_a_second_snapshot_are_put_over_none_but_their_own(move: Move, binary: bool) -> None:
    """Keys are compared as the source has them, and rows that are another's to the target only are refused."""
    form = Format.COPY_BINARY if binary else Format.COPY_TEXT
    old, new = move.plan("id <= 100", "id = 100 or id = 101")
    move.load(old, move.staged(old, form), form)
    move.server.psql("create unique index folded on t (left(name, 3)) where id > 99", move.second)
    file = move.staged(new, form)
    with pytest.raises(ValueRefused, match="folded"):
        move.load(new, file, form, upsert=True)
    assert move.server.psql("select count(*) from t", move.second) == "100"
    move.server.psql("drop index folded", move.second)
    assert move.load(new, file, form, upsert=True) == 2
    assert move.server.psql("select count(*) from t", move.second) == "101"
