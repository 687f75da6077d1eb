from __future__ import annotations

from typing import Any

import pytest

from api.results import Prerequisites, Validity
from tests.api.conftest import MARKER, POSTGRES, Client
from tests.servers.postgres import Postgres
from whimbrel.catalog.store import Catalog
from whimbrel.connectors.postgres import ENGINE
from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.errors import AuthenticationFailed

BODY = {"source": "old", "target": {"type": "postgres", "parameters": POSTGRES}, "mode": "data", "tables": ["a.*"]}


class Checks:
    """Knows one statement and one check a side."""

    def __init__(self) -> None:
        self.status: Any = "ok"
        self.calls: list[tuple[str, str, str, list[str], object]] = []
        self.run_on: list[tuple[str, list[str]]] = []

    def statements(self, endpoint: Any, role: str, mode: str, tables: Any) -> tuple[Statement, ...]:
        self.calls.append((endpoint.name, role, mode, [str(t) for t in tables], endpoint.parameters["password"]))
        return (Statement(f"GRANT {role}", "because", True),)

    def run(self, endpoint: Any, role: str, mode: str, tables: Any) -> tuple[CheckResult, ...]:
        if self.status == "down":
            raise AuthenticationFailed(f"no login with {MARKER}")
        self.run_on.append((role, [str(t) for t in tables]))
        return (CheckResult(f"x.{role}", self.status, "as it is"),)


@pytest.fixture
def checks(shop: Catalog, monkeypatch: pytest.MonkeyPatch) -> Checks:
    made = Checks()
    monkeypatch.setattr(type(ENGINE), "checks", made, raising=False)
    return made


async def test_statements_of_both_sides(client: Client, checks: Checks) -> None:
    result = await client.ok("POST", "/v1/prereqs", BODY)
    Prerequisites.model_validate(result)
    assert result["source"]["statements"] == [{"sql": "GRANT source", "why": "because", "restart": True}]
    assert checks.calls == [
        ("old", "source", "data", ["a.*"], MARKER),
        ("inline", "target", "data", ["a.*"], MARKER),
    ]


@pytest.mark.parametrize("renames", [{"a": "b"}, "a:b"])
async def test_the_target_is_asked_about_its_own_names(client: Client, checks: Checks, renames: object) -> None:
    body = {**BODY, "schema_rename": renames}
    await client.ok("POST", "/v1/prereqs", body)
    await client.ok("POST", "/v1/validate", body)
    assert [(call[1], call[3]) for call in checks.calls] == [("source", ["a.*"]), ("target", ["b.*"])]
    assert checks.run_on == [("source", ["a.*"]), ("target", ["b.*"])]


@pytest.mark.parametrize(("status", "valid"), [("ok", True), ("warn", True), ("fail", False)])
async def test_checks_of_both_sides(client: Client, checks: Checks, status: str, valid: bool) -> None:
    checks.status = status
    result = Validity.model_validate(await client.ok("POST", "/v1/validate", BODY))
    assert (result.valid, result.target.checks[0].id) == (valid, "x.target")


async def test_a_side_that_cannot_be_reached_is_a_failed_check(client: Client, checks: Checks) -> None:
    checks.status = "down"
    result = Validity.model_validate(await client.ok("POST", "/v1/validate", BODY))
    assert not result.valid
    assert (result.source.checks[0].id, result.source.checks[0].message) == ("connection", "no login with ***")


@pytest.mark.parametrize("name", ["a\0b", "../x", "", "a" * 65])
async def test_what_is_no_name(client: Client, checks: Checks, name: str) -> None:
    status, code, error = await client.refused("POST", "/v1/prereqs", {**BODY, "source": name})
    assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", "source")


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"source": "nope"}, "SOURCE_NOT_FOUND", "source"),
        ({"target": "nope"}, "TARGET_NOT_FOUND", "target"),
        ({"target": {"type": "postgres"}}, "INVALID_REQUEST", "target.parameters"),
        ({"target": 5}, "INVALID_REQUEST", "target"),
        ({"mode": "both"}, "INVALID_REQUEST", "mode"),
        ({"tables": ["x"]}, "INVALID_REQUEST", "tables"),
        ({"schema_rename": "a-b"}, "INVALID_REQUEST", "schema_rename"),
        ({"schema_rename": {"a": ""}}, "INVALID_REQUEST", "schema_rename"),
    ],
)
async def test_bad_bodies(client: Client, checks: Checks, change: dict[str, Any], code: str, field: str) -> None:
    status, found, error = await client.refused("POST", "/v1/prereqs", {**BODY, **change})
    assert (status, found, error["details"]["field"]) == (400, code, field)


async def test_a_real_server(client: Client, postgres15: Postgres) -> None:
    here = {"type": "postgres", "parameters": postgres15.parameters()}
    nowhere = {"type": "postgres", "parameters": POSTGRES}
    body = {"source": here, "target": here, "mode": "data+replication", "tables": ["pg_catalog.pg_class"]}
    listed = Prerequisites.model_validate(await client.ok("POST", "/v1/prereqs", body))
    assert listed.source.statements
    found = Validity.model_validate(await client.ok("POST", "/v1/validate", body))
    ids = [check.id for check in found.source.checks]
    assert len(set(ids)) == len(ids) > 2
    found = Validity.model_validate(await client.ok("POST", "/v1/validate", {**body, "target": nowhere}))
    assert not found.valid
    assert [c.status for c in found.target.checks] == ["fail"]


async def test_tables_of_somebody_else_under_the_old_name_are_nobodys_business(
    client: Client, postgres15: Postgres
) -> None:
    for name in ("renamed_source", "renamed_target"):
        postgres15.create_database(name)
    postgres15.psql("create schema shop; create table shop.t (id int primary key, v text)", "renamed_source")
    postgres15.psql("create schema shop; create table shop.t (other uuid); insert into shop.t values (null)",
                    "renamed_target")  # fmt: skip
    try:
        body = {
            "source": {"type": "postgres", "parameters": postgres15.parameters("renamed_source")},
            "target": {"type": "postgres", "parameters": postgres15.parameters("renamed_target")},
            "mode": "data",
            "tables": ["shop.t"],
            "schema_rename": {"shop": "moved"},
        }

        async def looked_at() -> tuple[bool, dict[str, str]]:
            found = Validity.model_validate(await client.ok("POST", "/v1/validate", body))
            return found.valid, {c.id: c.message for c in found.target.checks}

        valid, fit = await looked_at()
        assert valid, fit
        assert fit["target.tables_exist"].endswith(": moved.t")
        assert "shop" not in "".join(fit.values())
        postgres15.psql("create schema moved; create table moved.t (id int primary key)", "renamed_target")
        valid, fit = await looked_at()
        assert not valid
        assert fit["target.table_shape"].endswith("moved.t.v: is missing")
    finally:
        for name in ("renamed_source", "renamed_target"):
            postgres15.psql(f"drop database {name} with (force)")
