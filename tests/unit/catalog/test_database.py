from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from whimbrel.catalog import database
from whimbrel.catalog.home import home, migration_dir
from whimbrel.catalog.store import Catalog
from whimbrel.catalog.tables import metadata
from whimbrel.errors import CatalogUnreachable, InvalidRequest


def test_head_is_the_newest_step() -> None:
    folder = Path(database.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == database.HEAD


def test_the_steps_make_the_tables_of_the_code(catalog: Catalog) -> None:
    with catalog._database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_opening_twice_changes_nothing(open_catalog: Callable[[], Catalog]) -> None:
    open_catalog()
    open_catalog().ping()


def test_a_catalog_of_a_newer_release_is_refused(open_catalog: Callable[[], Catalog]) -> None:
    with open_catalog()._database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(CatalogUnreachable, match="9999"):
        open_catalog()


def test_the_folder_is_private(tmp_path: Path) -> None:
    Catalog.open(tmp_path / "home").close()
    for folder in (tmp_path / "home", tmp_path / "home" / "catalog"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogUnreachable) as refused:
        Catalog.open(tmp_path, "postgresql://u:top-secret@127.0.0.1:1/db")
    assert "127.0.0.1:1/db" in refused.value.message
    assert "top-secret" not in str(refused.value.to_json())


@pytest.mark.parametrize("url", ["mysql://u:top-secret@h/db", "no url with top-secret"])
def test_what_is_no_url_of_postgres(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Catalog.open(tmp_path, url)
    assert "top-secret" not in str(refused.value.to_json())


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "whimbrel.db").write_bytes(b"not a database, " * 100)
    with pytest.raises(CatalogUnreachable, match=r"whimbrel\.db"):
        Catalog.open(tmp_path)


def test_home_is_the_environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WHIMBREL_HOME", str(tmp_path))
    assert home() == tmp_path
    assert migration_dir("shop") == tmp_path / "migrations" / "shop"
    monkeypatch.delenv("WHIMBREL_HOME")
    assert home() == Path.home() / ".whimbrel"
