"""An orchestrator without Temporal, whose workflows tests end themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from api.orchestrator import Workflow
from whimbrel.catalog.records import Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import OperationNotFound, OrchestratorFailed
from worker.polling import Workers
from workflows.messages import OperationRequest

Behaviour = Callable[[OperationRequest], object]


@dataclass
class FakeOrchestrator:
    """``behaviour`` runs when a workflow starts; without one it stays open. ``down``: Temporal does not answer.
    ``seen``: what workers do."""

    catalog: Catalog
    behaviour: Behaviour | None = None
    down: bool = False
    seen: Workers = Workers.POLL
    states: dict[str, Workflow] = field(default_factory=dict)
    started: list[OperationRequest] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    cleaned: list[str] = field(default_factory=list)
    pauses: list[tuple[str, bool]] = field(default_factory=list)

    async def start(self, request: OperationRequest) -> str:
        await self._call()
        state = self.states.get(request.operation)
        if state not in (None, Workflow.OPEN):
            raise OrchestratorFailed("has run and ended before")
        if state is None:
            self.states[request.operation] = Workflow.OPEN
            self.started.append(request)
            if self.behaviour is not None:
                self.behaviour(request)
                self.states[request.operation] = Workflow.COMPLETED
        return f"run-{request.operation}"

    async def set_pause(self, operation: str, wanted: bool, seconds: float) -> None:
        await self._call()
        if self.states.get(operation) is not Workflow.OPEN:
            raise OperationNotFound("has ended")
        self.pauses.append((operation, wanted))
        self.catalog.request_pause(operation, wanted)
        self.catalog.set_paused(operation, wanted)

    async def cancel(self, operation: str) -> bool:
        await self._call()
        if self.states.get(operation) is not Workflow.OPEN:
            return False
        self.states[operation] = Workflow.CANCELLED
        self.catalog.finish_operation(operation, Status.CANCELLED)
        return True

    async def terminate(self, operation: str) -> bool:
        await self._call()
        if self.states.get(operation) is not Workflow.OPEN:
            return False
        self.states[operation] = Workflow.TERMINATED
        return True

    async def clean_up(self, request: OperationRequest) -> None:
        await self._call()
        self.cleaned.append(request.operation)
        self.catalog.finish_operation(request.operation, Status.STOPPED)

    async def state(self, operation: str) -> Workflow:
        await self._call()
        return self.states.get(operation, Workflow.MISSING)

    async def failure(self, operation: str) -> str | None:
        await self._call()
        return self.failures.get(operation)

    async def reachable(self) -> bool:
        return not self.down

    async def workers(self) -> Workers:
        return Workers.UNKNOWN if self.down else self.seen

    def url(self, operation: str) -> str | None:
        return f"http://temporal/workflows/{operation}"

    async def _call(self) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise OrchestratorFailed("Temporal does not answer")


def completing(catalog: Catalog, result: dict[str, object]) -> Behaviour:
    """A behaviour: the workflow writes a log line and completes."""

    def run(request: OperationRequest) -> None:
        catalog.append_log(request.operation, "extractor", "one line")
        catalog.finish_operation(request.operation, Status.COMPLETED, result)

    return run
