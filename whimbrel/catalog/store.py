"""The catalog: what must survive a restart, behind one synchronous, thread-safe object.

Any number of threads, processes and (on PostgreSQL) machines may use one catalog at once; every method is one
transaction. Methods raise CatalogUnreachable when the database does not answer, and what their docstrings say.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from whimbrel.catalog import definitions, endpoints, operations, progress, totals
from whimbrel.catalog import logs as log_rows
from whimbrel.catalog.database import Database, open_postgres, open_sqlite
from whimbrel.catalog.held import HeldLogs
from whimbrel.catalog.home import check_name, database_file, home, migration_dir, secret_key_file
from whimbrel.catalog.keyring import Rotated
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode, OperationRecord, Status
from whimbrel.catalog.rotation import rotate
from whimbrel.catalog.vault import Vault, open_vault
from whimbrel.errors import SecretsUnreadable
from whimbrel.model.progress import ChangeProgress, Earlier, TableChangeTotals, TableProgress

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Catalog:
    """Open it with ``Catalog.open``; ``home`` is the folder that working directories lie in.

    ``held`` knows what sources keep for migrations that nobody follows.
    """

    def __init__(self, database: Database, vault: Vault, folder: Path) -> None:
        self._database = database
        self._vault = vault
        self.home = folder
        self.held = HeldLogs(database)

    @classmethod
    def open(cls, home_folder: Path | None = None, url: str | None = None) -> Catalog:
        """Open the catalog, making it and bringing it up to date when needed.

        ``home_folder`` defaults to ``$WHIMBREL_HOME`` or ``~/.whimbrel``; ``url`` to ``$WHIMBREL_CATALOG_URL``
        (PostgreSQL), else SQLite in the home folder. Each process opens its own: never use one across a fork.
        Raises SecretsUnreadable when the key is not one.
        """
        folder = (home_folder or home()).absolute()
        url = url or os.environ.get("WHIMBREL_CATALOG_URL")
        database = open_postgres(url) if url else open_sqlite(database_file(folder))
        return cls(database, open_vault(secret_key_file(folder)), folder)

    def close(self) -> None:
        """Close all connections; closing twice is no error."""
        self._database.close()

    @property
    def title(self) -> str:
        """Which database this is, for people; without a password."""
        return self._database.title

    def ping(self) -> None:
        """Raises CatalogUnreachable unless the database answers."""
        with self._database.read() as connection:
            connection.execute(sa.select(1))

    def workdir(self, migration: str) -> Path:
        """The working directory of a migration; may not exist yet."""
        return migration_dir(migration, self.home)

    # --- sources and targets ---------------------------------------------------------------------------------------

    def put_source(self, record: EndpointRecord) -> tuple[endpoints.LeftSlot, ...]:
        """Create or replace; returns the slots that are held where it led before. A secret given as '***' keeps its
        stored value. Raises InvalidRequest."""
        return self._put_endpoint("source", record)

    def get_source(self, name: str) -> EndpointRecord:
        """With secrets in clear. Raises SourceNotFound."""
        return self._get_endpoint("source", name)

    def list_sources(self) -> list[EndpointRecord]:
        """All sources by name, with secrets in clear."""
        return self._list_endpoints("source")

    def delete_source(self, name: str) -> None:
        """Raises SourceNotFound; InvalidRequest while migrations refer to it."""
        with self._database.write() as connection:
            endpoints.delete(connection, "source", name)

    def put_target(self, record: EndpointRecord) -> None:
        """Create or replace. A secret given as '***' keeps its stored value. Raises InvalidRequest."""
        self._put_endpoint("target", record)

    def get_target(self, name: str) -> EndpointRecord:
        """With secrets in clear. Raises TargetNotFound."""
        return self._get_endpoint("target", name)

    def list_targets(self) -> list[EndpointRecord]:
        """All targets by name, with secrets in clear."""
        return self._list_endpoints("target")

    def delete_target(self, name: str) -> None:
        """Raises TargetNotFound; InvalidRequest while migrations refer to it."""
        with self._database.write() as connection:
            endpoints.delete(connection, "target", name)

    # --- migrations ------------------------------------------------------------------------------------------------

    def put_migration(self, record: MigrationRecord) -> None:
        """Create or replace. Raises SourceNotFound, TargetNotFound, OperationConflict while an operation runs."""
        check_name(record.name)
        with self._database.write() as connection:
            definitions.put(connection, record)

    def get_migration(self, name: str) -> MigrationRecord:
        """Raises MigrationNotFound."""
        with self._database.read() as connection:
            return definitions.get(connection, name)

    def list_migrations(self) -> list[MigrationRecord]:
        """All migrations by name."""
        with self._database.read() as connection:
            return definitions.listed(connection)

    def retire_migration(self, name: str, retiring: bool = True) -> None:
        """Refuse new operations from now on (or allow them again): the first step of deleting.

        Raises MigrationNotFound, OperationConflict while an operation runs.
        """
        with self._database.write() as connection:
            definitions.retire(connection, name, retiring)

    def delete_migration(self, name: str) -> None:
        """Remove it with its operations. Raises MigrationNotFound, OperationConflict while an operation runs."""
        with self._database.write() as connection:
            definitions.delete(connection, name)

    # --- operations ------------------------------------------------------------------------------------------------

    def begin_operation(
        self, migration: str, mode: Mode, operation_id: str, request_hash: str, body: dict[str, Any]
    ) -> tuple[OperationRecord, bool]:
        """Record a new running operation and return (it, True); a repeated request finds its own again (it, False).

        Atomic, also over processes. Raises MigrationNotFound, OperationConflict with the running operation's id in
        details, and InvalidRequest when the id was used for another request.
        """
        try:
            return self._begin(migration, mode, operation_id, request_hash, body)
        except sa.exc.IntegrityError:
            # Two requests with one id on different migrations wait for no common row in PostgreSQL. The loser of the
            # insert finds the winner's row now, or, if that has ended meanwhile, may insert.
            return self._begin(migration, mode, operation_id, request_hash, body)

    def repeated_operation(
        self, migration: str, mode: Mode, operation_id: str, request_hash: str
    ) -> OperationRecord | None:
        """What ``begin_operation`` would find without beginning anything; None when it would begin. Raises
        InvalidRequest when the id was used for another request."""
        with self._database.read() as connection:
            return operations.repeated(connection, migration, mode, operation_id, request_hash)

    def get_operation(self, id: str, *, detail: bool = True) -> OperationRecord:
        """Raises OperationNotFound. Without ``detail``: no progress, change and logs, which is cheap."""
        with self._database.read() as connection:
            found = operations.get(connection, id)
            return self._detailed(connection, [found], tables=True, logs=True)[0] if detail else found

    def figures(self, id: str) -> OperationRecord:
        """With progress and change, but no tables in it and no logs. Raises OperationNotFound."""
        with self._database.read() as connection:
            return self._detailed(connection, [operations.get(connection, id)], tables=False, logs=False)[0]

    def list_operations(
        self,
        migration: str | None = None,
        status: Status | None = None,
        mode: Mode | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[list[OperationRecord], int]:
        """One page, newest first, and the total; with progress and change, but no tables in it and no logs."""
        with self._database.read() as connection:
            page, total = operations.listed(connection, migration, status, mode, limit, offset)
            return self._detailed(connection, page, tables=False, logs=False), total

    def running_operation(self, migration: str) -> OperationRecord | None:
        """The running operation of this migration, without progress, change and logs."""
        with self._database.read() as connection:
            return operations.latest(connection, migration, running=True)

    def last_operation(self, migration: str) -> OperationRecord | None:
        """The newest operation of this migration that has ended, without progress, change and logs."""
        with self._database.read() as connection:
            return operations.latest(connection, migration, running=False)

    def status(self, migration: str) -> tuple[OperationRecord | None, OperationRecord | None]:
        """The running and the last ended operation of one moment, with progress and change, without logs.

        Tables stand in the running one, or in the last when none runs. Raises MigrationNotFound.
        """
        with self._database.read() as connection:
            definitions.require(connection, migration)
            running = operations.latest(connection, migration, running=True)
            last = operations.latest(connection, migration, running=False)
            shown = [
                self._detailed(connection, [r], tables=r is running or running is None, logs=False)[0] if r else None
                for r in (running, last)
            ]
            return shown[0], shown[1]

    def running_operations(self, older_than_seconds: float = 0.0) -> list[OperationRecord]:
        """Running operations recorded at least that long ago, oldest first, without progress, change and logs."""
        with self._database.read() as connection:
            return operations.running(connection, older_than_seconds)

    def unstarted(self, older_than_seconds: float) -> list[OperationRecord]:
        """Operations recorded at least that long ago whose workflow was never seen to start."""
        with self._database.read() as connection:
            return operations.unstarted(connection, older_than_seconds)

    def given_up(self, newer_than_seconds: float) -> list[OperationRecord]:
        """Operations that failed in that time because their workflow could not be started."""
        with self._database.read() as connection:
            return operations.given_up(connection, newer_than_seconds)

    def mark_started(self, id: str, run_id: str) -> bool:
        """Note that the workflow was started; False when the operation has ended meanwhile."""
        with self._database.write() as connection:
            return operations.mark_started(connection, id, run_id)

    def fail_unstarted(self, id: str, error: dict[str, Any]) -> bool:
        """End an operation whose workflow could not be started; False when it has started or ended meanwhile.

        The same request, sent again, takes it up again.
        """
        with self._database.write() as connection:
            return operations.fail_unstarted(connection, id, error)

    def finish_operation(
        self, id: str, status: Status, result: dict[str, Any] | None = None, error: dict[str, Any] | None = None
    ) -> OperationRecord:
        """End it; the first writer wins. Returns how it ended. Raises OperationNotFound."""
        with self._database.write() as connection:
            return operations.finish(connection, id, status, result, error)

    def request_pause(self, id: str, wanted: bool) -> None:
        """Ask a running operation to come to rest, or to go on. No error when it has ended."""
        with self._database.write() as connection:
            operations.change(connection, id, pause_wanted=wanted)

    def set_paused(self, id: str, paused: bool) -> None:
        """Note that a running operation has come to rest, or goes on. No error when it has ended."""
        with self._database.write() as connection:
            operations.change(connection, id, paused=paused)

    def pause_wanted(self, id: str) -> bool:
        """Whether a running operation was asked to rest. Cheap."""
        with self._database.read() as connection:
            return operations.pause_wanted(connection, id)

    def set_phase(self, id: str, phase: str) -> None:
        """Note what a running operation does now. No error when it has ended."""
        with self._database.write() as connection:
            operations.change(connection, id, phase=phase)

    # --- progress and logs -----------------------------------------------------------------------------------------

    def set_trouble(self, id: str, error: dict[str, Any] | None) -> None:
        """Show what a running operation waits for as its error; None when it goes on. No error when it has ended."""
        with self._database.write() as connection:
            operations.change(connection, id, error=sa.null() if error is None else error)

    def save_table_progress(self, id: str, changed: Sequence[TableProgress]) -> None:
        """Overwrite the figures of these tables; give only those that changed. Raises OperationNotFound."""
        with self._figures(id) as connection:
            progress.save_tables(connection, id, changed, operations.now_us(connection))

    def save_change(self, id: str, change: ChangeProgress | None, totals: Sequence[TableChangeTotals] = ()) -> None:
        """Overwrite the figures of the change phase and what was applied to these tables, at once, so that sums and
        tables agree for whoever goes on from them; give only what changed. Raises OperationNotFound."""
        with self._figures(id) as connection:
            progress.save_change_totals(connection, id, totals)
            if change is not None:
                progress.save_change(connection, id, change, operations.now_us(connection))

    def save_retained(self, id: str, bytes: int) -> None:
        """Note how much of its log the source keeps for a running operation. No error when it has ended."""
        with self._database.write() as connection:
            operations.change(connection, id, retained_bytes=bytes)

    def earlier(self, id: str) -> Earlier:
        """All figures that were saved last, which a new attempt goes on from."""
        with self._database.read() as connection:
            return progress.earlier(connection, id, operations.now_us(connection))

    def progress(self, id: str, *, with_tables: bool = True) -> dict[str, Any] | None:
        """The contract's ``progress`` object of a running operation; None when nothing was recorded."""
        with self._database.read() as connection:
            now = operations.now_us(connection)
            return progress.progress_of(connection, [id], {id}, now, with_tables=with_tables).get(id)

    def append_log(self, id: str, role: str, text: str) -> None:
        """Add whole lines to the log of a role: to its tail here and to its file in the working directory.

        A file that cannot be written is no error, as the disk may be full. Raises OperationNotFound.
        """
        check_name(role, "role")
        text = text if text.endswith("\n") else text + "\n"
        with self._figures(id) as connection:
            migration = operations.get(connection, id).migration
            log_rows.append_tail(connection, id, role, text)
        try:
            log_rows.append_file(self.workdir(migration), check_name(id, "operation"), role, text)
        except OSError as e:  # the tail has it; were this an error, the caller would write the tail again
            logger.warning("operation %s: its log file could not be written: %s", id, e)

    def logs(self, id: str) -> dict[str, str]:
        """The tails of an operation's logs by role."""
        with self._database.read() as connection:
            return log_rows.tails(connection, [id]).get(id, {})

    def totals(self) -> totals.Totals:
        """Sums over all operations, for monitoring."""
        with self._database.read() as connection:
            return totals.read(connection)

    # --- keys ------------------------------------------------------------------------------------------------------

    def rotate_secrets(self, *, prepare_only: bool = False, forget_lost: bool = False) -> Rotated | None:
        """See ``rotation.rotate``."""
        file = secret_key_file(self.home)
        return rotate(self._database, self._vault, file, prepare_only=prepare_only, forget_lost=forget_lost)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _put_endpoint(self, role: endpoints.Role, record: EndpointRecord) -> tuple[endpoints.LeftSlot, ...]:
        check_name(record.name)
        with self._database.write() as connection:
            return endpoints.put(connection, self._vault, role, record)

    def _get_endpoint(self, role: endpoints.Role, name: str) -> EndpointRecord:
        return self._reading_secrets(lambda connection: endpoints.get(connection, self._vault, role, name))

    def _list_endpoints(self, role: endpoints.Role) -> list[EndpointRecord]:
        return self._reading_secrets(lambda connection: endpoints.listed(connection, self._vault, role))

    def _reading_secrets(self, read: Callable[[sa.Connection], T]) -> T:
        """Once more when it fails: the secrets may have been sealed anew between reading them and reading the keys."""
        try:
            with self._database.read() as connection:
                return read(connection)
        except SecretsUnreadable:
            with self._database.read() as connection:
                return read(connection)

    def _begin(
        self, migration: str, mode: Mode, id: str, request_hash: str, body: dict[str, Any]
    ) -> tuple[OperationRecord, bool]:
        with self._database.write() as connection:
            return operations.begin(connection, migration, mode, id, request_hash, body)

    @contextmanager
    def _figures(self, id: str) -> Iterator[sa.Connection]:
        """A transaction that writes figures of an operation, which may have been deleted."""
        try:
            with self._database.write() as connection:
                yield connection
        except sa.exc.IntegrityError as e:
            raise operations.not_found(id) from e

    def _detailed(
        self, connection: sa.Connection, records: list[OperationRecord], *, tables: bool, logs: bool
    ) -> list[OperationRecord]:
        ids = [r.id for r in records]
        now = operations.now_us(connection)
        running = {r.id for r in records if r.status == Status.RUNNING}
        figures = progress.progress_of(connection, ids, running, now, with_tables=tables)
        changes = progress.change_of(connection, ids, running, now)
        tails = log_rows.tails(connection, ids) if logs else {}
        return [
            replace(r, progress=figures.get(r.id), change=changes.get(r.id), logs=tails.get(r.id, {})) for r in records
        ]
