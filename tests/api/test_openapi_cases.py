"""Requests made from /openapi.json, right and wrong ones, against every endpoint: thousands by `make test-long`.

No answer may be a 5xx that is not registered, and none may differ from what the document promises, down to the error
codes that it lists for a status. What was drawn is sent twice, as it is and naming what exists, because made-up names
find nothing, and because drawing costs more than sending. Far ends are not asked: their drivers are replaced.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.openapi.checks import UndefinedStatusCode
from schemathesis.specs.openapi import checks

from api import connectors, logins
from api.app import create_app
from api.auth import create_key
from tests.api.fake import FakeOrchestrator
from tests.api.test_reference import ENDPOINTS
from whimbrel.catalog.home import api_keys_file
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import HostUnreachable, leaves
from workflows.messages import OperationRequest

# Drawn of each kind, right and wrong, for each endpoint, each sent twice; and how many cases that makes at least.
FEW, CASES_OF_FEW = 8, 1000
MANY, CASES_OF_MANY = 38, 5000
POSTGRES = {"host": "h", "port": 1, "user": "u", "password": "p", "database": "d"}
NAMES = ("shop", "events", "old", "new", "queue", "old-2")
BODIES: tuple[dict[str, Any], ...] = (
    {"type": "postgres", "parameters": POSTGRES},
    {"type": "postgres", "parameters": {**POSTGRES, "password": "***"}},
    {"source": "old", "tables": ["public.*"], "fileTarget": "new"},
    {"source": "old", "tables": ["public.*"], "queueTarget": "queue"},
    {"source": "old", "target": "new", "mode": "data+replication"},
    {"resume": True},
    {"mode": "truncate"},
    {},
)
RESULTS: dict[Mode, dict[str, Any]] = {
    Mode.SCHEMA_EXTRACT: {"sql_file": "f.sql", "tables": 1},
    Mode.SCHEMA_APPLY: {"tables_created": 1},
    Mode.OBJECTS_APPLY: {"objects_succeeded": 1, "objects_failed": 0, "objects": []},
    Mode.RESET: {"mode": "drop", "tables_dropped": 1, "drop_failed": 0},
    Mode.VALIDATE: {"valid": True, "sample_percent": 100, "tables": []},
}
CHECKS = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
REGISTERED = {(kind.code, kind.status) for kind in leaves()} - {("INTERNAL_ERROR", 500)}


def without_keys(openapi: dict[str, Any]) -> dict[str, Any]:
    """The document without keys, which we send ourselves: no case is to be wrong in its key alone."""
    paths = copy.deepcopy(openapi["paths"])
    for operation in (operation for methods in paths.values() for operation in methods.values()):
        operation.pop("security", None)
    return {**openapi, "paths": paths}


class Target:
    """The application on an event loop of its own, and what came of the cases."""

    def __init__(self, home: Path) -> None:
        self.catalog = Catalog.open(home)
        self.temporal = FakeOrchestrator(self.catalog, self._work)
        self.app: FastAPI = create_app(self.catalog, self.temporal, sync_seconds=0.05)
        self.key = create_key("cases", api_keys_file(home))
        self.loop = asyncio.new_event_loop()
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://api")
        self.seen: Counter[tuple[str, int]] = Counter()
        self.document = schemathesis.openapi.from_dict(without_keys(self.app.openapi()))
        self._turns = itertools.count()
        self.catalog.put_source(EndpointRecord("old", "postgres", POSTGRES))
        self.catalog.put_target(EndpointRecord("new", "postgres", POSTGRES))
        self.catalog.put_target(EndpointRecord("queue", "kafka", {}))
        self.refill()

    def refill(self) -> None:
        """Make again what cases have deleted, and end what they have left running."""
        for record in self.catalog.running_operations():
            self.catalog.finish_operation(record.id, Status.STOPPED)
        for name, target in (("shop", "new"), ("events", None)):
            queue = None if target else "queue"
            self.catalog.put_migration(MigrationRecord(name, "old", ("public.*",), target, queue))

    def operations(self) -> list[str]:
        return [r.id for r in self.catalog.list_operations(limit=5)[0]] or ["6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10"]

    def send(self, case: Case[Any]) -> httpx.Response:
        given = case.as_transport_kwargs(base_url="http://api")
        known = {k: given[k] for k in ("params", "content", "data", "json", "headers", "cookies") if given.get(k)}
        if isinstance(known.get("data"), bytes):
            known["content"] = known.pop("data")
        known["headers"] = {**dict(known.get("headers", {})), "Authorization": f"Bearer {self.key}"}
        request = self.http.build_request(given["method"], given["url"], **known)
        return self.loop.run_until_complete(self.http.send(request))

    def _work(self, request: OperationRequest) -> None:
        """What a worker would do: most operations end at once, some fail, some stay running."""
        mode, turn = Mode(request.mode), next(self._turns)
        if mode in RESULTS and turn % 5:
            self.catalog.finish_operation(request.operation, Status.COMPLETED, RESULTS[mode])
        elif turn % 2:
            error = HostUnreachable("h:1 does not answer", host="h").to_json()
            self.catalog.finish_operation(request.operation, Status.FAILED, None, error)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    def answers(*_: object) -> str:
        return "connected to PostgreSQL"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logins, "FIRST_SECONDS", 0.0)
        patch.setattr(connectors, "test", answers)
        patch.setattr(connectors, "run_checks", lambda *_: [])
        patch.setattr(connectors, "remove_capture", lambda *_: None)
        made = Target(tmp_path_factory.mktemp("cases") / "home")
        yield made
        made.loop.run_until_complete(made.http.aclose())
        made.loop.close()
        made.catalog.close()


def check(target: Target, case: Case[Any]) -> None:
    answer = target.send(case)
    envelope = answer.json()
    code = envelope["error"] and envelope["error"]["code"]
    target.seen[code or "ok", answer.status_code] += 1
    if answer.status_code >= 500:
        assert (code, answer.status_code) in REGISTERED, envelope
    try:
        case.validate_response(answer, checks=CHECKS)
        listed = case.operation.definition.raw["responses"][str(answer.status_code)]["description"]
        assert code is None or code in re.findall(r"[A-Z_]{4,}", listed), envelope
    except* UndefinedStatusCode:
        # A name with a slash in it is another path.
        assert code in ("NOT_FOUND", "METHOD_NOT_ALLOWED"), envelope


def known_things(target: Target) -> st.SearchStrategy[Callable[[Case[Any], bool], None]]:
    """Changes to a case that make it name what exists, and may give it one of BODIES."""

    def change(name: str, body: dict[str, Any] | None, operation: int) -> Callable[[Case[Any], bool], None]:
        def apply(case: Case[Any], with_body: bool) -> None:
            if "name" in (case.path_parameters or {}):
                case.path_parameters["name"] = name
            if "id" in (case.path_parameters or {}):
                ids = target.operations()
                case.path_parameters["id"] = ids[operation % len(ids)]
            if with_body and body is not None and case.operation.body:
                case.body, case.media_type = body, "application/json"

        return apply

    bodies = st.one_of(st.none(), st.sampled_from(BODIES))
    return st.builds(change, st.sampled_from(NAMES), bodies, st.integers(0, 4))


@pytest.mark.parametrize("each", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_cases_of_the_document(target: Target, endpoint: str, each: int) -> None:
    method, path = endpoint.split()
    operation = target.document[path][method]
    quick = settings(
        max_examples=each,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    target.refill()

    def send_all(kind: GenerationMode) -> None:
        @quick
        @given(operation.as_strategy(generation_mode=kind), known_things(target))
        def drawn(case: Case[Any], change: Callable[[Case[Any], bool], None]) -> None:
            check(target, case)
            change(case, kind is GenerationMode.POSITIVE)
            check(target, case)

        drawn()

    send_all(GenerationMode.POSITIVE)
    if operation.definition.raw.get("parameters") or operation.body:  # else nothing can be wrong
        send_all(GenerationMode.NEGATIVE)


@pytest.mark.parametrize("cases", [CASES_OF_FEW, pytest.param(CASES_OF_MANY, marks=pytest.mark.long)])
def test_there_were_enough_cases_of_many_kinds(target: Target, cases: int) -> None:
    assert target.seen.total() >= cases, target.seen
    rare = {"OPERATION_CONFLICT"} if cases == CASES_OF_MANY else set()  # it takes a case while another one runs
    assert {"ok", "INVALID_REQUEST", "MIGRATION_NOT_FOUND", *rare} <= {code for code, _ in target.seen}
