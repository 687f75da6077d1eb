"""A whole house but for the databases: real Temporal, workflows, activities and catalog around a pipeline of actors."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError

from activities import jobs
from tests.catalogs import new_catalog
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode, OperationRecord, Status
from whimbrel.catalog.store import Catalog
from whimbrel.connectors.protocols import Retained
from whimbrel.errors import Interrupted
from whimbrel.model.job import Job
from whimbrel.model.progress import TableChangeTotals, TableProgress
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.load.data import DataResult
from whimbrel.pipeline.schema import ObjectsApplied, SchemaExtract
from worker.main import activity_threads, build_workers
from worker.settings import Settings
from workflows.messages import CLEANUP_WORKFLOW, CONTROL_QUEUE, WORKFLOWS, OperationRequest, Title
from workflows.titles import workflow_title

MIGRATION = "shop"
SECRET = "hunter2-hunter2"
TITLE = Title("s (postgres) → t (postgres), 1 table", "s", "t")
Act = Callable[[Job, Control], Any]


def at_once(job: Job, control: Control) -> None:
    """A step with nothing to do."""


def until_told(job: Job, control: Control) -> None:
    """A step that works until it is told to leave, and rests when asked, as the real ones do."""
    while True:
        control.check()
        control.at_rest(control.pause_wanted())
        time.sleep(0.02)


def until_told_and_done(job: Job, control: Control) -> None:
    """A step that is done in the moment in which it is told to leave."""
    with suppress(Interrupted):
        until_told(job, control)


def failing(error: Exception) -> Act:
    def act(job: Job, control: Control) -> None:
        raise error

    return act


@dataclass
class Actors:
    """What each pipeline function does, attempt by attempt; the last act repeats. ``calls`` has what they were told."""

    acts: dict[str, list[Act]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    complete: bool = False
    kept: Retained | None = None  # by the source, of its log

    def called(self, name: str) -> list[dict[str, Any]]:
        return [told for called, told in self.calls if called == name]

    def _play(self, name: str, job: Job, control: Control, **told: Any) -> None:
        assert job.source.parameters["password"] == SECRET
        script = self.acts.get(name) or [at_once]
        turn = len(self.called(name))
        self.calls.append((name, told))
        script[min(turn, len(script) - 1)](job, control)

    def extract_schema(self, job: Job, control: Control) -> SchemaExtract:
        self._play("extract_schema", job, control)
        return SchemaExtract(str(job.workdir / "tables-schema.sql"), 2, ("public.a.c: timetz -> time",))

    def apply_schema(self, job: Job, control: Control, sql_file: Path | None) -> int:
        self._play("apply_schema", job, control, sql_file=sql_file)
        return 2

    def apply_objects(self, job: Job, control: Control) -> ObjectsApplied:
        self._play("apply_objects", job, control)
        return ObjectsApplied(1, 0, ({"name": "i", "kind": "index", "status": "applied", "error": None},))

    def copy_data(self, job: Job, control: Control, *, capture: bool, resume: bool) -> DataResult:
        self._play("copy_data", job, control, capture=capture, resume=resume)
        control.table(TableProgress("public.a", "done", 10, 10, 10, 100, 1, 1))
        self.complete = True
        return DataResult(1, 10, 100, 0.5)

    def replicate(self, job: Job, control: Control, *, resume: bool, position: str | None, handoff: bool) -> None:
        control.change_totals(TableChangeTotals("public.a", inserts=3))
        self._play("replicate", job, control, resume=resume, position=position, handoff=handoff)

    def data_is_complete(self, job: Job) -> bool:
        return self.complete

    def reset_target(self, job: Job, control: Control, mode: str, *, force: bool = False) -> dict[str, Any]:
        self._play("reset_target", job, control, mode=mode)
        return {"mode": mode, "tables_dropped": 1, "drop_failed": 0}

    def validate_data(self, job: Job, control: Control, sample_percent: int) -> dict[str, Any]:
        self._play("validate_data", job, control, sample_percent=sample_percent)
        return {"valid": True, "sample_percent": sample_percent, "tables": []}

    def repair_data(self, job: Job, control: Control, report: dict[str, Any], comparison: str) -> dict[str, Any]:
        self._play("repair_data", job, control, report=report, comparison=comparison)
        return {"valid": True, "sample_percent": report["sample_percent"], "repaired": 1, "tables": []}

    def clean_up(self, job: Job, *, moved: bool, tell: Callable[[str], None]) -> Retained | None:
        self.calls.append(("clean_up", {}))
        for act in self.acts.get("clean_up", ()):
            act(job, None)  # type: ignore[arg-type]  # the real one gets no control either
        return self.kept

    def held(self, job: Job) -> Retained | None:
        return self.kept

    def let_go(self, job: Job) -> None:
        self._play("let_go", job, None)  # type: ignore[arg-type]  # gets none
        self.kept = None

    @contextmanager
    def on_stage(self) -> Iterator[None]:
        """Stand in for the pipeline's own functions."""
        places = {
            "schema": ("extract_schema", "apply_schema", "apply_objects"),
            "load.data": ("copy_data",),
            "changes.replication": ("replicate",),
            "packet": ("data_is_complete",),
            "reset": ("reset_target",),
            "validation.tables": ("validate_data",),
            "validation.repair": ("repair_data",),
            "cleanup": ("clean_up", "held", "let_go"),
        }
        with ExitStack() as stack:
            for module, names in places.items():
                for name in names:
                    stack.enter_context(patch(f"whimbrel.pipeline.{module}.{name}", getattr(self, name)))
            yield


class House:
    """One migration, ready for operations. The worker runs inside this process, between ``open`` and its end."""

    def __init__(self, client: Client, catalog: Catalog, actors: Actors) -> None:
        self.client, self.catalog, self.actors = client, catalog, actors
        self.attributes = True  # whether the cluster knows ours
        self._begun: list[WorkflowHandle[Any, Any]] = []

    async def begin(self, mode: str, /, migration: str = MIGRATION, **body: Any) -> WorkflowHandle[Any, Any]:
        """Record an operation and start its workflow, as the API does."""
        id = str(uuid.uuid4())
        self.catalog.begin_operation(migration, Mode(mode), id, "hash", body)
        resume, position = bool(body.get("resume", False)), body.get("position")
        request = OperationRequest(id, migration, mode, resume, position, TITLE)
        named = {"WhimbrelMigration": migration, "WhimbrelMode": mode, "WhimbrelStatus": "running"}
        pairs = [SearchAttributePair(SearchAttributeKey.for_keyword(k), v) for k, v in named.items()]
        handle = await self.client.start_workflow(
            WORKFLOWS[mode],
            request,
            id=id,
            task_queue=CONTROL_QUEUE,
            static_summary=workflow_title(request),
            search_attributes=TypedSearchAttributes(pairs if self.attributes else []),
        )
        self._begun.append(handle)
        return handle

    def migrations(self, count: int) -> list[str]:
        """So many more like the first, as each can have one operation at a time."""
        first = self.catalog.get_migration(MIGRATION)
        made = [replace(first, name=f"{MIGRATION}{number}") for number in range(count)]
        for migration in made:
            self.catalog.put_migration(migration)
        return [migration.name for migration in made]

    def opened(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Have it ended with the house."""
        self._begun.append(handle)

    async def vacate(self) -> None:
        """Leave nothing open that the next house's worker would take up."""
        for handle in self._begun:
            with suppress(RPCError):
                await handle.terminate()

    async def stop(self, handle: WorkflowHandle[Any, Any], mode: str) -> None:
        """Terminate and clean up, as the API does."""
        await handle.terminate()
        request = OperationRequest(handle.id, self.operation(handle).migration, mode)
        id = f"{handle.id}-cleanup"
        await self.client.execute_workflow(CLEANUP_WORKFLOW, request, id=id, task_queue=CONTROL_QUEUE)

    def operation(self, handle: WorkflowHandle[Any, Any]) -> OperationRecord:
        return self.catalog.get_operation(handle.id)

    async def ended(self, handle: WorkflowHandle[Any, Any], seconds: float = 30) -> OperationRecord:
        """Wait for the workflow, however it ends, and return what the catalog says about it."""
        await until(lambda: self.operation(handle).status is not Status.RUNNING, seconds, "the operation to end")
        history = handle.fetch_history_events(wait_new_event=True)
        async for _ in history:  # ends when the workflow has closed
            pass
        return self.operation(handle)

    async def reached(self, name: str, times: int = 1, seconds: float = 20) -> None:
        """Wait until a pipeline function was called so many times."""
        await until(lambda: len(self.actors.called(name)) >= times, seconds, f"{name} to be called")

    @asynccontextmanager
    async def worker(self, grace_seconds: float = 5, **settings: Any) -> AsyncIterator[None]:
        chosen = Settings(grace_seconds=grace_seconds, **{"activities": 16, **settings})
        async with AsyncExitStack() as stack:
            threads = stack.enter_context(activity_threads(chosen))
            for worker in build_workers(self.client, chosen, threads):
                await stack.enter_async_context(worker)
            yield


@asynccontextmanager
async def open_house(address: str, home: Path) -> AsyncIterator[House]:
    """A house with no worker yet."""
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"WHIMBREL_HOME": str(home)}))
        jobs._catalog.cache_clear()
        stack.callback(jobs._catalog.cache_clear)
        catalog = new_catalog(home)
        stack.callback(catalog.close)
        parameters = {"host": "127.0.0.1", "user": "u", "password": SECRET, "database": "d"}
        catalog.put_source(EndpointRecord("s", "postgres", parameters))
        catalog.put_target(EndpointRecord("t", "postgres", parameters))
        catalog.put_migration(MigrationRecord(MIGRATION, "s", ("public.a",), file_target="t"))
        actors = Actors()
        stack.enter_context(actors.on_stage())
        house = House(await Client.connect(address), catalog, actors)
        try:
            yield house
        finally:
            await house.vacate()


async def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        await asyncio.sleep(0.05)
