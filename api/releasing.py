"""Letting go of what a source keeps for a migration that nobody follows."""

from __future__ import annotations

from api.deleting import has_captured, remove_capture
from api.services import Services
from api.threads import in_thread
from whimbrel.catalog.records import REPLICATING, OperationRecord
from whimbrel.errors import ConnectionRefused, OperationConflict


async def require_releasable(services: Services, operation: str) -> None:
    """Raise OperationConflict while another operation than this one follows its migration's source."""
    record = await in_thread(services.catalog.get_operation, operation, detail=False)
    running = await in_thread(services.catalog.running_operation, record.migration)
    if running is not None and running.id != record.id and running.mode in REPLICATING:
        raise OperationConflict(
            f"operation {running.id} follows the source of migration {record.migration!r}, and needs what it keeps",
            remedy=f"POST /v1/operations/{running.id}/cancel with release instead.",
            operation_id=running.id,
            mode=running.mode,
        )


async def release_held(services: Services, record: OperationRecord) -> None:
    """Remove slot and publication of an ended operation's migration. Doing it twice is no error.

    Raises OperationConflict when an operation has begun meanwhile that follows the source, ConnectionRefused when it
    cannot be reached.
    """
    await require_releasable(services, record.id)
    if not await in_thread(has_captured, services.catalog, record.migration):
        return
    try:
        await services.slow.run(remove_capture, services.catalog, record.migration)
    except ConnectionRefused as e:
        e.message = f"operation {record.id} is {record.status}, but what its source keeps was not let go: {e.message}"
        e.args = (e.message,)
        raise
    await in_thread(services.catalog.held.forget, record.migration, let_go=True)
