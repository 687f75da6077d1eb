"""Progress that cannot be written is kept; the newest figures win."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from activities.journal import Journal
from tests.catalogs import new_catalog
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode
from whimbrel.catalog.store import Catalog
from whimbrel.errors import CatalogUnreachable
from whimbrel.model.progress import ChangeProgress, TableChangeTotals, TableProgress

CHANGE = ChangeProgress("0/10", "0/20", 1.5, 16, 3, 4, 5, 6, 1, 0, 12.5, 1_763_888_400_000_000)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = new_catalog(tmp_path)
    endpoint = {"host": "h", "user": "u", "password": "p", "database": "d"}
    opened.put_source(EndpointRecord("s", "postgres", endpoint))
    opened.put_target(EndpointRecord("t", "postgres", endpoint))
    opened.put_migration(MigrationRecord("m", "s", ("public.a",), file_target="t"))
    opened.begin_operation("m", Mode.DATA, "op", "hash", {})
    yield opened
    opened.close()


def progress(rows: int, table: str = "public.a") -> TableProgress:
    return TableProgress(table, "copying", 100, rows, rows)


def test_all_of_it_arrives(catalog: Catalog) -> None:
    journal = Journal("op", catalog)
    journal.phase("data")
    journal.resting(True)
    journal.tables([progress(1)])
    journal.tables([progress(2)])
    journal.change_totals(TableChangeTotals("public.a", inserts=3))
    journal.line("loader", "one")
    journal.line("loader", "two")
    journal.write()
    record = catalog.get_operation("op")
    assert (record.phase, record.paused, record.logs) == ("data", True, {"loader": "one\ntwo\n"})
    assert record.progress is not None
    table = record.progress["tables"][0]
    assert (table["rows_loaded"], table["inserts"]) == (2, 3)


@pytest.mark.parametrize(
    "method", ["set_phase", "set_paused", "save_table_progress", "save_change", "save_retained", "append_log"]
)
def test_what_fails_is_written_later_unless_something_newer_came(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def refuse(*_: object) -> None:
        raise CatalogUnreachable("database is locked")

    journal = Journal("op", catalog)
    journal.phase("data")
    journal.resting(True)
    journal.tables([progress(1), progress(1, "public.b")])
    journal.change(CHANGE)
    journal.retained(77)
    journal.change_totals(TableChangeTotals("public.a", inserts=3))
    journal.line("loader", "one")
    with monkeypatch.context() as broken:
        broken.setattr(catalog, method, refuse)
        with pytest.raises(CatalogUnreachable):
            journal.write()
    journal.tables([progress(5)])
    journal.line("loader", "two")
    journal.write()
    record = catalog.get_operation("op")
    assert (record.phase, record.paused, record.logs) == ("data", True, {"loader": "one\ntwo\n"})
    assert record.progress is not None
    assert catalog.earlier("op").change == CHANGE
    assert catalog.totals().retained == {"m": 77}
    assert {t["table"]: t["rows_loaded"] for t in record.progress["tables"]} == {"public.a": 5, "public.b": 1}
