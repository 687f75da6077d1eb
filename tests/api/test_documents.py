"""Documents that are made from code say what the code says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
REFERENCE_CODES = {
    "AUTH_FAILED": 401,
    "INVALID_REQUEST": 400,
    "MIGRATION_NOT_FOUND": 404,
    "SOURCE_NOT_FOUND": 404,
    "TARGET_NOT_FOUND": 404,
    "OPERATION_CONFLICT": 409,
    "OPERATION_NOT_FOUND": 404,
    "CONNECTION_REFUSED": 500,
    "SCHEMA_APPLY_FAILED": 500,
    "OBJECTS_APPLY_FAILED": 500,
    "EXTRACTOR_FAILED": 500,
    "LOADER_FAILED": 500,
    "ORCHESTRATOR_FAILED": 500,
    "RESET_FAILED": 500,
    "VALIDATE_FAILED": 500,
    "DATA_FAILED": 500,
    "REPLICATION_FAILED": 500,
    "FIREBOLT_SCHEMA_PUBLIC_ONLY": 400,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "OPERATION_TIMEOUT": 504,
    "INTERNAL_ERROR": 500,
}


def test_the_page_of_errors_is_up_to_date() -> None:
    made = runpy.run_path(str(DOCS / "make_errors.py"))["render"]()
    assert (DOCS / "errors.md").read_text() == made, "run: python docs/make_errors.py"


def test_the_tables_of_types_are_up_to_date() -> None:
    found = dict(runpy.run_path(str(DOCS / "make_types.py"))["pages"]())
    assert {page.stem for page in found} >= {"snowflake", "databricks", "bigquery", "firebolt", "singlestore"}
    assert [page.name for page, made in found.items() if page.read_text() != made] == [], (
        "run: python docs/make_types.py"
    )


def test_the_registry_has_the_codes_of_the_contract_and_no_others() -> None:
    from whimbrel.errors import leaves

    assert {kind.code: kind.status for kind in leaves()} == REFERENCE_CODES


def test_every_endpoint_stands_in_the_table() -> None:
    from tests.api.test_reference import ENDPOINTS

    page = (DOCS / "api.md").read_text()
    assert [e for e in ENDPOINTS if "`{} {}`".format(*e.split()) not in page] == []


def test_every_proof_in_the_table_exists() -> None:
    page = (DOCS / "api.md").read_text()
    named = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", page))
    folder = Path(__file__).parent
    assert len(named) > 10
    assert [f"{f}::{t}" for f, t in sorted(named) if f"def {t}(" not in (folder / f).read_text()] == []
