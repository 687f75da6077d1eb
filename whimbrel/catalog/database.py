"""One database for the catalog: SQLite in the home folder, or PostgreSQL by URL."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, TimeoutError

from whimbrel.catalog.home import private_dir
from whimbrel.errors import CatalogUnreachable, InvalidRequest

HEAD = "0004"  # the newest file of migrations/versions
BUSY_SECONDS = 30
_MIGRATION_LOCK = 0x77686D62  # an advisory lock's number in PostgreSQL
_NOTICE_A_DEAD_HOST = {  # within half a minute, not when the kernel gives up
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}


# What a database or the way to it may do to us at any moment. Drivers raise errors of their own where SQLAlchemy does
# not stand between (taking a connection from the pool, giving it back), and OSError when the process has no file left.
_FAULTS = (DBAPIError, TimeoutError, sa.exc.DisconnectionError, OSError)


class Database:
    """Transactions on the catalog. Thread-safe; each process opens its own (never share one across a fork)."""

    def __init__(self, engine: sa.Engine, title: str) -> None:
        self._engine = engine
        self.title = title
        self._sqlite = engine.dialect.name == "sqlite"
        # SQLite's readers see one state by themselves.
        self._reading = engine if self._sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        # SQLite's own waiting for a writer is a sleep with growing gaps; within a process a queue is fairer.
        self._writer: Any = threading.Lock() if self._sqlite else nullcontext()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the catalog. Raises CatalogUnreachable."""
        with self._mapped(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end, or rolls back on any error. Raises CatalogUnreachable."""
        with self._mapped(), self._writer, self._engine.connect() as connection:
            writing = connection.execution_options(whimbrel_write=True)
            with writing.begin():
                yield writing

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (*_FAULTS, self._engine.dialect.loaded_dbapi.Error) as e:
            if isinstance(e, sa.exc.IntegrityError):
                raise
            cause = e.orig if isinstance(e, DBAPIError) else e
            raise CatalogUnreachable(f"the catalog ({self.title}) did not answer: {cause}") from e

    def close(self) -> None:
        """Close all connections; closing twice is no error."""
        self._engine.dispose()


def open_sqlite(file: Path) -> Database:
    """The SQLite catalog, made and brought up to date when needed. Raises CatalogUnreachable."""
    private_dir(file.parent)
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite would make it readable for all
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(file)),
        connect_args={"timeout": BUSY_SECONDS},
        pool_size=16,
        max_overflow=48,
        pool_timeout=BUSY_SECONDS,
        hide_parameters=True,
    )
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    database = Database(engine, f"SQLite, {file}")
    with database._mapped(), _file_lock(file.with_suffix(".lock")), engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")  # the journal mode can only be changed outside a transaction
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        _migrate(connection)
        connection.commit()
    return database


def open_postgres(url: str) -> Database:
    """A catalog on PostgreSQL, brought up to date when needed. Raises InvalidRequest, CatalogUnreachable."""
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError as e:
        raise InvalidRequest("WHIMBREL_CATALOG_URL is not a URL like postgresql://user@host:5432/database") from e
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise InvalidRequest(f"WHIMBREL_CATALOG_URL: {parsed.get_backend_name()} is not postgresql")
    engine = sa.create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_size=8,
        max_overflow=8,
        pool_timeout=BUSY_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 10, "application_name": "whimbrel:catalog", **_NOTICE_A_DEAD_HOST},
    )
    sa.event.listen(engine, "connect", _prepare_postgres)
    database = Database(engine, f"PostgreSQL, {parsed.host}:{parsed.port or 5432}/{parsed.database}")
    with database.write() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")  # another process's migration may take its time
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        _migrate(connection)
    return database


def upsert(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or overwrite all other columns of those whose primary key exists."""
    if not rows:
        return
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(table)
    others = {c.name: insert.excluded[c.name] for c in table.columns if not c.primary_key}
    connection.execute(insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=others), list(rows))


def _prepare_postgres(connection: Any, _record: object) -> None:
    """A lock that does not come must end in an error that is tried again, as in SQLite, and not hold its thread."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
    connection.commit()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later could find that another has written in between; taking the
    # write lock at once makes it wait instead of fail.
    writes = connection.get_execution_options().get("whimbrel_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _migrate(connection: Connection) -> None:
    """Bring the tables up to HEAD; the caller holds the lock and the transaction."""
    if _version(connection) == HEAD:
        return
    from alembic import command  # slow to import, and needed once in a catalog's life
    from alembic.config import Config
    from alembic.util import CommandError

    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every plugin it has
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as e:
        raise CatalogUnreachable(
            f"the catalog is at version {_version(connection)}, which this release (version {HEAD}) does not know",
            remedy="Use the release of Whimbrel that wrote this catalog, or a newer one.",
        ) from e


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)
