"""Migrations: create, read, list, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.bodies import MigrationBody, Name
from api.deleting import delete_migration
from api.documented import responses
from api.envelope import answer
from api.migration_rules import check_targets, migration_record
from api.results import DeletedMigration, Migrations, MigrationSummary, MigrationView
from api.services import Deps
from api.threads import in_thread
from api.views import migration_summary, migration_view
from whimbrel.errors import (
    ConnectionRefused,
    FireboltSchemaPublicOnly,
    InvalidRequest,
    MigrationNotFound,
    OperationConflict,
    SourceNotFound,
    TargetNotFound,
)

router = APIRouter(prefix="/v1/migrations", tags=["Migrations"])
_SUMMARY = {"name": "shop", "source": "shop-old", "fileTarget": "shop-new", "queueTarget": None, "tables": 1}
_VIEW: dict[str, Any] = {
    "name": "shop",
    "source": "shop-old",
    "tables": ["public.*"],
    "fileTarget": "shop-new",
    "queueTarget": None,
    "threads": 5,
    "rows_per_file": 200000,
    "schema_rename": {},
    "case": "keep",
    "column_types": {},
    "value_policy": "refuse",
    "logDetail": "basic",
}
_PUT_ERRORS = (FireboltSchemaPublicOnly, OperationConflict)
_NAMED = (SourceNotFound, TargetNotFound)


@router.put("/{name}", responses=responses(MigrationSummary, _SUMMARY, *_PUT_ERRORS, in_body=_NAMED))
async def put_migration(name: Name, body: MigrationBody, request: Request, services: Deps) -> Response:
    """Create or replace a migration: one source, its tables, and a database, a queue or both to feed."""
    record = migration_record(name, body)
    await in_thread(check_targets, services.catalog, record)
    await in_thread(services.catalog.put_migration, record)
    return answer(request, migration_summary(record))


@router.get("/{name}", responses=responses(MigrationView, _VIEW, InvalidRequest, MigrationNotFound))
async def get_migration(name: Name, request: Request, services: Deps) -> Response:
    """The whole configuration of one migration."""
    return answer(request, migration_view(await in_thread(services.catalog.get_migration, name)))


@router.get("", responses=responses(Migrations, {"migrations": [_SUMMARY]}))
async def list_migrations(request: Request, services: Deps) -> Response:
    """All migrations by name, their tables counted."""
    found = await in_thread(services.catalog.list_migrations)
    return answer(request, {"migrations": [migration_summary(m) for m in found]})


@router.delete(
    "/{name}",
    responses=responses(
        DeletedMigration,
        {"name": "shop", "deleted": True},
        InvalidRequest,
        MigrationNotFound,
        OperationConflict,
        ConnectionRefused,
    ),
)
async def delete(
    name: Name,
    request: Request,
    services: Deps,
    force: Annotated[
        bool, Query(description="Leave what it made on a source or queue that cannot be reached.")
    ] = False,
) -> Response:
    """Delete a migration, its operations and files, and what it keeps on the source and in its queue."""
    left = await delete_migration(services, name, force=force)
    return answer(request, {"name": name, "deleted": True, **({"left": left} if left else {})})
