"""Deleting a migration with all it left: slot and publication on its source, position in its queue, progress on its
target, working directory, rows."""

from __future__ import annotations

import logging
import shutil

from api import connectors
from api.services import Services
from api.threads import in_thread
from whimbrel.catalog.records import MigrationRecord, Mode
from whimbrel.catalog.store import Catalog
from whimbrel.errors import ConnectionRefused, WhimbrelError
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName

_MOVING = (Mode.DATA, Mode.CHANGE, Mode.DATA_REPLICATION, Mode.VALIDATE, Mode.RESET)
_CAPTURING = (Mode.CHANGE, Mode.CHANGE_QUEUE, Mode.DATA_REPLICATION)
logger = logging.getLogger("api.deleting")


async def delete_migration(services: Services, name: str, *, force: bool) -> list[str]:
    """New operations are refused first, so that none starts on what is being removed; an API that dies in between
    leaves the migration in that state, and DELETE again goes on. Returns what had to be left in queue and target, and
    why.

    Raises MigrationNotFound, OperationConflict; ConnectionRefused when source or queue hold something of it or may
    hold it and cannot be reached, unless ``force``.
    """
    catalog = services.catalog
    left: list[str] = []
    await in_thread(catalog.retire_migration, name)
    try:
        if not force and await in_thread(has_captured, catalog, name):
            await services.slow.run(_remove_capture, catalog, name)
            left = await services.slow.run(_forget_in_queue, catalog, name)
        if not force and await in_thread(_has_moved, catalog, name):
            left += await services.slow.run(_forget_on_target, catalog, name)
        await services.slow.run(_remove_workdir, catalog, name)
    except WhimbrelError:
        await in_thread(catalog.retire_migration, name, False)
        raise
    await in_thread(catalog.delete_migration, name)
    return left


def has_captured(catalog: Catalog, name: str) -> bool:
    """Whether the migration's source may keep something for it."""
    return any(catalog.list_operations(name, mode=mode, limit=1)[1] for mode in _CAPTURING)


def _has_moved(catalog: Catalog, name: str) -> bool:
    """Whether its target may know of it."""
    return any(catalog.list_operations(name, mode=mode, limit=1)[1] for mode in _MOVING)


def remove_capture(catalog: Catalog, name: str) -> None:
    """Remove slot and publication of the migration from its source."""
    migration = catalog.get_migration(name)
    connectors.remove_capture(catalog.get_source(migration.source), _job(catalog, migration))


def _remove_capture(catalog: Catalog, name: str) -> None:
    try:
        remove_capture(catalog, name)
    except ConnectionRefused as e:
        e.how_to_fix += " Or DELETE with ?force=true, and drop slot and publication on the source by hand."
        raise


def _forget_on_target(catalog: Catalog, name: str) -> list[str]:
    """Last of all, and no reason to keep the migration: a target may be gone for good."""
    migration = catalog.get_migration(name)
    if migration.file_target is None:
        return []
    try:
        connectors.forget_progress(catalog.get_target(migration.file_target), _job(catalog, migration))
    except WhimbrelError as e:
        logger.warning("migration %s was deleted, but not on its target: %s", name, e.message)
        return [
            f"rows of migration {name} in the tables whimbrel.progress, tables, chunks, loaded and owned of target "
            f"{migration.file_target}, which could not be removed: {e.message}"
        ]
    return []


def _forget_in_queue(catalog: Catalog, name: str) -> list[str]:
    """After the source: as long as that may fail, the migration may go on, and needs its position."""
    migration = catalog.get_migration(name)
    if migration.queue_target is None:
        return []
    try:
        connectors.forget_in_queue(catalog.get_target(migration.queue_target), _job(catalog, migration))
    except ConnectionRefused as e:
        e.how_to_fix += " Or DELETE with ?force=true, and delete the topic of its position by hand."
        raise
    except WhimbrelError as e:
        logger.warning("migration %s was deleted, but not all of it: %s", name, e.message)
        return [f"{e.message}. {e.how_to_fix}"]
    return []


def _job(catalog: Catalog, migration: MigrationRecord) -> Job:
    source = catalog.get_source(migration.source)
    reading = Endpoint(source.name, source.type, source.parameters)
    return Job(
        migration=migration.name,
        operation="delete",
        source=reading,
        target=reading,  # removing a capture does not look at the target, which a queue-only migration lacks
        tables=tuple(TableName.parse(t) for t in migration.tables),
        workdir=catalog.workdir(migration.name),
        schema_rename=migration.schema_rename,
    )


def _remove_workdir(catalog: Catalog, name: str) -> None:
    workdir = catalog.workdir(name)
    if workdir.is_symlink():
        workdir.unlink()  # what it points to is none of ours
    elif workdir.exists():
        shutil.rmtree(workdir)
