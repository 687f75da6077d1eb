"""SingleStore writes to one database in a transaction: rows, staging tables and progress are all in the endpoint's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract.bench import Bench, table
from tests.engines import side_of
from tests.servers.singlestore import SingleStore
from whimbrel.connectors.protocols import CheckResult
from whimbrel.connectors.registry import engine
from whimbrel.errors import IdentifierRefused, LoaderFailed
from whimbrel.model.change import INSERT
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

_numbers = itertools.count(1)


@pytest.fixture
def bench(singlestore: SingleStore, tmp_path: Path) -> Iterator[Bench]:
    side = side_of(singlestore, "singlestore", "one", "one_database")
    made = Bench(side, [table("t")], tmp_path, f"one{next(_numbers)}")
    with closing(made):
        yield made
        made.drop_tables()


def checked(stand: SingleStore, database: str, **more: Any) -> dict[str, CheckResult]:
    endpoint = Endpoint("here", "singlestore", {**stand.parameters(database), **more})
    return {c.id: c for c in engine("singlestore").checks.run(endpoint, "target", "data+replication", [])}


def databases(stand: SingleStore) -> set[str]:
    return {str(row[0]) for row in stand.query("show databases")}


def test_schemas_become_the_endpoints_database_and_another_one_is_refused_by_name(bench: Bench) -> None:
    b = bench
    other = replace(b.tables[0], name=TableName("elsewhere", "u"))
    both = [*b.tables, other]
    for rename in ({}, {"elsewhere": "one_database"}):
        schemas = b.target.map_schemas(both, replace(b.job, schema_rename=rename), "postgres")
        assert schemas == {"contract": "one_database", "elsewhere": "one_database"}
        assert {t.name.schema for t in b.target.target_tables(both, schemas, "postgres")} == {"one_database"}
    with pytest.raises(IdentifierRefused, match="elsewhere -> another"):
        b.target.map_schemas(both, replace(b.job, schema_rename={"elsewhere": "another"}), "postgres")
    twin = replace(other, name=TableName("elsewhere", "t"))
    with pytest.raises(IdentifierRefused, match=r"elsewhere\.t"):
        b.target.target_tables([*b.tables, twin], schemas, "postgres")


@pytest.mark.parametrize("name", ["whimbrel_progress", "Whimbrel_Open", "whimbrel_changes_3", "whimbrel_rows_0"])
def test_a_table_that_is_called_like_one_of_ours_is_refused(bench: Bench, name: str) -> None:
    with pytest.raises(IdentifierRefused, match=name):
        bench.target.target_tables([table(name)], bench.schemas, "postgres")
    assert bench.target.target_tables([table("whimbrel_journeys")], bench.schemas, "postgres")


def test_all_of_ours_is_in_the_endpoints_database_and_found_there(bench: Bench, singlestore: SingleStore) -> None:
    b = bench
    before = databases(singlestore) - {"one_database"}
    b.apply_one("1|a|1")
    assert databases(singlestore) - {"one_database"} == before
    assert b.target.has_ledger()
    ours = {str(row[0]) for row in singlestore.query("show tables from one_database")} - {"t"}
    assert ours == {f"whimbrel_{n}" for n in ("progress", "tables", "chunks", "loaded", "owned", "open", "sessions")}
    where = f"where migration = '{b.job.migration}'"
    assert singlestore.query(f"select count(*) from one_database.whimbrel_progress {where}") == [(1,)]
    assert b.target.reset([t.name for t in b.targets], "drop") == (1, 0)
    assert b.target.has_ledger()
    b.target.cleanup(b.job)
    elsewhere = Endpoint("elsewhere", "singlestore", singlestore.parameters("nowhere_yet"))
    with closing(b.engine.target(elsewhere, "op")) as other:
        assert not other.has_ledger()


def test_the_check_tries_one_transaction_wherever_the_tables_will_be(singlestore: SingleStore) -> None:
    singlestore.query("drop database if exists not_yet")
    before = databases(singlestore)
    sent = len(singlestore.statements())
    assert checked(singlestore, "not_yet")["singlestore.one_transaction"].status == "ok"
    assert sum(s.startswith("LOAD DATA") for s in singlestore.statements()[sent:]) == 2
    assert databases(singlestore) == before
    singlestore.order(kind="refuse", match="^CREATE DATABASE", number=1044, text="Access denied", times=2)
    found = checked(singlestore, "not_yet")
    assert {found[f"singlestore.{id}"].status for id in ("one_transaction", "progress_schema")} == {"fail"}
    singlestore.create_database("a_lone")
    singlestore.order(kind="refuse", match="^LOAD DATA", number=1706, text="Writing to multiple databases")
    assert checked(singlestore, "a_lone")["singlestore.one_transaction"].status == "fail"
    assert checked(singlestore, "a_lone")["singlestore.one_transaction"].status == "ok"
    singlestore.query("drop database a_lone")


def test_a_database_that_may_lose_what_was_committed_is_told(bench: Bench, singlestore: SingleStore) -> None:
    assert checked(singlestore, "one_database")["singlestore.durability"].status == "ok", "it is made so by us"
    singlestore.create_database("a_sync")
    found = checked(singlestore, "a_sync")["singlestore.durability"]
    assert (found.status, "ASYNC" in found.message) == ("warn", True)
    singlestore.order(kind="refuse", match="DISTRIBUTED_DATABASES", number=1142, text="SELECT command denied")
    found = checked(singlestore, "one_database")["singlestore.durability"]
    assert (found.status, "cannot be seen" in found.message) == ("warn", True)
    singlestore.query("drop database a_sync")


def test_a_load_that_ends_the_transaction_is_noticed_though_the_server_does_not_say_that_one_is_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a second connection, which sees what was committed."""
    from whimbrel.connectors.singlestore.link import Link

    b, real = bench, Link.load
    (chunk,) = b.plan()
    monkeypatch.setattr(Link, "in_transaction", False)
    with closing(b.target.open_loader(b.job)) as loader:
        assert b.load(chunk, b.staged(("1", "a", None)), loader=loader) == 1
    b.apply(b.applier(), b.segment((INSERT, ("2", "b", None))))
    assert b.rows() == ["1|a|NULL", "2|b|NULL"]

    def ends(link: Link, *args: Any) -> Any:
        done = real(link, *args)
        link.query("COMMIT")
        return done

    monkeypatch.setattr(Link, "load", ends)
    with pytest.raises(LoaderFailed, match="has ended the transaction"):
        b.apply(b.applier(), b.segment((INSERT, ("3", "c", None))))


def test_who_may_make_no_database_needs_not_where_it_is_there(singlestore: SingleStore, tmp_path: Path) -> None:
    """As on a shared workspace, where CREATE DATABASE IF NOT EXISTS is denied too."""
    singlestore.create_database("given")
    singlestore.order(kind="refuse", match="^CREATE DATABASE", number=1044, text="Access denied", times=99)
    try:
        assert checked(singlestore, "given")["singlestore.one_transaction"].status == "ok"
        made = Bench(side_of(singlestore, "singlestore", "given", "given"), [table("t")], tmp_path, "given1")
        with closing(made):
            made.apply_one("1|a|1")
            made.drop_tables()
    finally:
        singlestore.clear_orders()
        singlestore.query("drop database given")


def test_a_database_may_be_called_as_our_schema_is_elsewhere(singlestore: SingleStore, tmp_path: Path) -> None:
    singlestore.query("drop database if exists whimbrel")
    singlestore.create_database("whimbrel")
    made = Bench(side_of(singlestore, "singlestore", "whimbrel", "whimbrel"), [table("t")], tmp_path, "named1")
    with closing(made):
        made.apply_one("1|a|1")
        made.drop_tables()
    singlestore.query("drop database whimbrel")
