"""What is made from /openapi.json is up to date and whole: the typed client, the examples, the table in the docs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI

from tests.api.test_reference import ENDPOINTS
from whimbrel.cli.contract import Contract

ROOT = Path(__file__).resolve().parents[2]
CLI = ROOT / "whimbrel" / "cli"
Json = dict[str, Any]
CODES = {
    "AUTH_FAILED": {401},
    "INVALID_REQUEST": {400},
    "MIGRATION_NOT_FOUND": {404},
    "SOURCE_NOT_FOUND": {404, 400},
    "TARGET_NOT_FOUND": {404, 400},
    "OPERATION_CONFLICT": {409},
    "OPERATION_NOT_FOUND": {404},
    "CONNECTION_REFUSED": {200, 500},
    "SCHEMA_APPLY_FAILED": {500},
    "OBJECTS_APPLY_FAILED": {500},
    "EXTRACTOR_FAILED": {500},
    "LOADER_FAILED": {500},
    "ORCHESTRATOR_FAILED": {500},
    "RESET_FAILED": {500},
    "VALIDATE_FAILED": {500},
    "DATA_FAILED": {500},
    "REPLICATION_FAILED": {500},
    "FIREBOLT_SCHEMA_PUBLIC_ONLY": {400},
    "NOT_FOUND": {404},  # from here on: added by us
    "METHOD_NOT_ALLOWED": {405},
    "OPERATION_TIMEOUT": {504},
    "INTERNAL_ERROR": {500},
}
_ROW = r"^\| \[`([A-Z_]+)`\]\(#[a-z_]+\) \| ([^|]+) \|"


def operation(openapi: Json, endpoint: str) -> Json:
    method, path = endpoint.split()
    found: Json = openapi["paths"][path][method.lower()]
    return found


def conforms(openapi: Json, schema: Json, value: Any) -> None:
    """Raises jsonschema_rs.ValidationError."""
    jsonschema_rs.validate({**schema, "components": openapi["components"]}, value)


def test_the_client_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_client.py"))
    for file, content in made["render"](made["document"]()).items():
        assert (ROOT / "whimbrel" / "cli" / file).read_text() == content, "run: python docs/make_client.py"


def test_the_client_has_a_method_for_each_endpoint() -> None:
    methods: dict[str, str] = runpy.run_path(str(ROOT / "docs" / "make_client.py"))["METHODS"]
    assert sorted(methods) == sorted(ENDPOINTS)
    assert all(callable(vars(Contract)[name]) for name in methods.values())
    assert len(set(methods.values())) == 36


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_examples_are_there_and_right(app: FastAPI, endpoint: str) -> None:
    openapi = app.openapi()
    content = operation(openapi, endpoint)["responses"]["200"]["content"]["application/json"]
    conforms(openapi, content["schema"], content["example"])
    body = operation(openapi, endpoint).get("requestBody")
    if body is None:
        return
    schema = body["content"]["application/json"]["schema"]
    names = [c["$ref"].rpartition("/")[2] for c in (schema, *schema.get("anyOf", ())) if "$ref" in c]
    examples = [e for name in names for e in openapi["components"]["schemas"][name].get("examples", ())]
    assert examples
    for example in examples:
        conforms(openapi, schema, example)


def test_one_registry_of_error_codes(app: FastAPI) -> None:
    """The reference's table and what was added to it: code, OpenAPI and docs have these and no others."""
    page = (ROOT / "docs" / "errors.md").read_text()
    documented = {c: {int(s) for s in re.findall(r"\b\d{3}\b", h)} for c, h in re.findall(_ROW, page, re.MULTILINE)}
    assert documented == CODES
    assert app.openapi()["components"]["schemas"]["ErrorBody"]["properties"]["code"]["enum"] == sorted(CODES)


@pytest.mark.parametrize("module", [f for f in CLI.glob("*.py") if f.name not in ("client.py", "contract.py")])
def test_the_command_line_calls_the_typed_client_alone(module: Path) -> None:
    text = module.read_text()
    assert not re.search(r"\b(ApiClient|path\(\"|\.call\()", text)


def test_the_table_of_the_docs_has_each_endpoint_once_with_its_proof() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    rows = re.findall(r"^\| `([A-Z]+ /v1/[^`]+)` \| (when done|at once) \| `(\w+\.py)::(\w+)` \|$", page, re.MULTILINE)
    assert sorted(endpoint for endpoint, *_ in rows) == sorted(ENDPOINTS)
    for endpoint, _, file, test in rows:
        text = (ROOT / "tests" / "api" / file).read_text()
        assert re.search(rf"^(async )?def {test}\(", text, re.MULTILINE), f"{endpoint}: {file}::{test}"
