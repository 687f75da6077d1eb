"""POST /v1/prereqs and POST /v1/validate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import connectors
from api.bodies import EndpointBody, PrerequisitesBody
from api.documented import responses
from api.envelope import answer
from api.migration_rules import schema_renames
from api.results import Prerequisites, Validity
from api.services import Deps, Services
from api.threads import in_thread
from whimbrel.catalog.endpoints import not_found
from whimbrel.catalog.records import EndpointRecord
from whimbrel.errors import SourceNotFound, TargetNotFound
from whimbrel.model.names import TableName

router = APIRouter(prefix="/v1", tags=["Prerequisites"])
_NAMED = (SourceNotFound, TargetNotFound)

_STATEMENT = {"sql": "ALTER SYSTEM SET wal_level = logical;", "why": "changes are read from the log", "restart": True}
_STATEMENTS = {
    "source": {"type": "postgres", "statements": [_STATEMENT]},
    "target": {"type": "postgres", "statements": []},
}
_CHECK = {
    "id": "postgres.wal_level",
    "status": "fail",
    "message": "wal_level is replica",
    "remedy": "ALTER SYSTEM SET wal_level = logical; then restart the server.",
}
_CHECKS = {"valid": False, "source": {"checks": [_CHECK]}, "target": {"checks": []}}


@router.post("/prereqs", responses=responses(Prerequisites, _STATEMENTS, in_body=_NAMED))
async def prereqs(body: PrerequisitesBody, request: Request, services: Deps) -> Response:
    """The SQL to run on source and target before a migration works. Connects to nothing and executes nothing."""
    source, target, tables, renames = await _parts(services, body)
    there = connectors.on_target(source, target, tables, renames)
    result = {
        "source": {
            "type": source.type,
            "statements": await in_thread(connectors.statements, "source", source, body.mode, tables),
        },
        "target": {
            "type": target.type,
            "statements": await in_thread(connectors.statements, "target", target, body.mode, there),
        },
    }
    return answer(request, result)


@router.post("/validate", responses=responses(Validity, _CHECKS, in_body=_NAMED))
async def validate(body: PrerequisitesBody, request: Request, services: Deps) -> Response:
    """Connect to both sides and check every prerequisite, and whether the tables fit the target.

    A side that cannot be reached is a failed check.
    """
    source, target, tables, renames = await _parts(services, body)
    there = connectors.on_target(source, target, tables, renames)
    at_source = await services.slow.run_for(request, connectors.run_checks, "source", source, body.mode, tables)
    at_target = await services.slow.run_for(request, connectors.run_checks, "target", target, body.mode, there)
    if not any(c["id"] == "connection" and c["status"] == "fail" for c in (*at_source, *at_target)):
        at_target += await services.slow.run_for(
            request, connectors.run_pair_checks, source, target, body.mode, tables, renames
        )
    valid = all(c["status"] != "fail" for c in (*at_source, *at_target))
    return answer(request, {"valid": valid, "source": {"checks": at_source}, "target": {"checks": at_target}})


async def _parts(
    services: Services, body: PrerequisitesBody
) -> tuple[EndpointRecord, EndpointRecord, Sequence[TableName], Mapping[str, str]]:
    renames = schema_renames(body.schema_rename)
    tables = tuple(TableName.parse(t) for t in body.tables)
    source = await _endpoint(services, "source", body.source)
    return source, await _endpoint(services, "target", body.target), tables, renames


async def _endpoint(services: Services, role: connectors.Role, given: str | EndpointBody) -> EndpointRecord:
    """A saved one by name, or the one in the body. Raises SourceNotFound or TargetNotFound as a body's fault."""
    if isinstance(given, EndpointBody):
        record = connectors.parse(role, "inline", given.type, given.parameters)
        connectors.require_secrets(record)
        return record
    get = services.catalog.get_source if role == "source" else services.catalog.get_target
    try:
        return await in_thread(get, given)
    except (SourceNotFound, TargetNotFound) as e:
        raise not_found(role, given, role) from e
