"""Deleting a migration with all it left: slot and publication on its source, working directory, rows."""

from __future__ import annotations

import shutil

from api import connectors
from api.services import Services
from api.threads import in_thread
from whimbrel.catalog.records import MigrationRecord, Mode
from whimbrel.catalog.store import Catalog
from whimbrel.errors import ConnectionRefused, WhimbrelError
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName

_CAPTURING = (Mode.CHANGE, Mode.CHANGE_QUEUE, Mode.DATA_REPLICATION)


async def delete_migration(services: Services, name: str, *, force: bool) -> None:
    """New operations are refused first, so that none starts on what is being removed; an API that dies in between
    leaves the migration in that state, and DELETE again goes on.

    Raises MigrationNotFound, OperationConflict; ConnectionRefused when the source holds a slot or may hold one and
    cannot be reached, unless ``force``.
    """
    catalog = services.catalog
    await in_thread(catalog.retire_migration, name)
    try:
        if not force and await in_thread(_has_captured, catalog, name):
            await services.slow.run(_remove_capture, catalog, name)
        await services.slow.run(_remove_workdir, catalog, name)
    except WhimbrelError as e:
        await in_thread(catalog.retire_migration, name, False)
        if isinstance(e, ConnectionRefused):
            e.how_to_fix += " Or DELETE with ?force=true, and drop slot and publication on the source by hand."
        raise
    await in_thread(catalog.delete_migration, name)


def _has_captured(catalog: Catalog, name: str) -> bool:
    return any(catalog.list_operations(name, mode=mode, limit=1)[1] for mode in _CAPTURING)


def _remove_capture(catalog: Catalog, name: str) -> None:
    migration = catalog.get_migration(name)
    connectors.remove_capture(catalog.get_source(migration.source), _job(catalog, migration))


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
    if workdir.exists():
        shutil.rmtree(workdir)
