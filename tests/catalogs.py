"""New catalogs for tests: made once a process and copied, as making one takes longer than most tests of it."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.servers.postgres import Postgres
from whimbrel.catalog.home import database_file, private_dir
from whimbrel.catalog.store import Catalog

TEMPLATE = "catalog_template"


def new_catalog(home: Path) -> Catalog:
    """A catalog on SQLite in this folder; one that is there already is opened."""
    file = database_file(home)
    if not file.exists():
        private_dir(file.parent)
        shutil.copy2(_blank(), file)
    return Catalog.open(home)


def new_database(server: Postgres, name: str) -> str:
    """The URL of an empty catalog in a new database."""
    if not server.psql(f"select 1 from pg_database where datname = '{TEMPLATE}'").strip():
        server.create_database(TEMPLATE)
        with tempfile.TemporaryDirectory() as home:
            Catalog.open(Path(home), _url(server, TEMPLATE)).close()
    server.psql(f'create database "{name}" template {TEMPLATE}')
    return _url(server, name)


@cache
def _blank() -> Path:
    with tempfile.TemporaryDirectory() as home:
        Catalog.open(Path(home)).close()
        kept = Path(tempfile.mkdtemp(prefix="whimbrel-catalog-")) / "catalog"
        return Path(shutil.copy2(database_file(Path(home)), kept))


def _url(server: Postgres, name: str) -> str:
    return f"postgresql://postgres:unused@127.0.0.1:{server.port}/{name}"
