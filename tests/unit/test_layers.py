"""The table of docs/design.md says what each folder may import; these tests hold the code to it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("whimbrel", "activities", "workflows", "worker", "api")
PROTOCOLS = ("whimbrel.connectors.protocols", "whimbrel.connectors.registry", "whimbrel.connectors.queues")
SHARED = ("whimbrel.connectors.live_sessions", "whimbrel.connectors.staged", "whimbrel.connectors.verdicts")
# What looks at the user's servers before an operation begins runs in the API: passwords never enter Temporal.
CHECKED = ("whimbrel.pipeline.cleanup", "whimbrel.pipeline.fitting")
BOUNDED = ("whimbrel.connectors.deadline", "whimbrel.connectors.live_sessions")
POLLED = ("worker.settings", "worker.polling")
MESSAGES = ("workflows.messages", "workflows.options")

# folder -> what of ours it may import beside itself and whimbrel.errors
MAY: dict[str, tuple[str, ...]] = {
    "whimbrel/errors.py": (),
    "whimbrel/model": (),
    "whimbrel/codecs": ("whimbrel.model",),
    "whimbrel/connectors": ("whimbrel.model", "whimbrel.codecs"),
    "whimbrel/pipeline": ("whimbrel.model", "whimbrel.codecs", *PROTOCOLS, *SHARED),
    "whimbrel/catalog": ("whimbrel.model",),
    "activities": ("whimbrel", *MESSAGES),
    "workflows": ("activities", "whimbrel.model"),
    "worker": ("whimbrel", "activities", "workflows"),
    "api": ("whimbrel.catalog", "whimbrel.model", *PROTOCOLS, *BOUNDED, *CHECKED, "workflows", *POLLED),
    "whimbrel/cli": ("whimbrel.catalog", "api", "worker"),
}


def folder_of(file: Path) -> str:
    """The longest folder of ``MAY`` that a module is in."""
    place = file.relative_to(ROOT).as_posix()
    return max((f for f in MAY if place == f or place.startswith(f"{f}/")), key=len, default="")


def modules() -> Iterator[Path]:
    for package in OURS:
        yield from sorted((ROOT / package).rglob("*.py"))


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every import of ours, those inside functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            names = [f"{node.module}.{a.name}" for a in node.names]
        else:
            continue
        yield from ((node.lineno, n) for n in names if n.partition(".")[0] in OURS)


def within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


@pytest.mark.parametrize("folder", MAY)
def test_no_arrow_points_up(folder: str) -> None:
    own = folder.removesuffix(".py").replace("/", ".")
    allowed = ("whimbrel.errors", "whimbrel.__version__", own, *MAY[folder])
    wrong = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in modules()
        if folder_of(file) == folder
        for line, name in imports(file)
        if not any(within(name, place) for place in allowed)
    ]
    assert wrong == []


def test_the_rule_bites() -> None:
    file = ROOT / "whimbrel" / "model" / "table.py"
    assert folder_of(file) == "whimbrel/model"
    assert folder_of(ROOT / "whimbrel" / "cli" / "main.py") == "whimbrel/cli"
    assert not any(within("whimbrel.pipeline.pair", place) for place in MAY["whimbrel/connectors"])


def test_no_room_but_an_engines_own_names_an_engine() -> None:
    """By import: engines are found by entry point."""
    engines = [p.name for p in (ROOT / "whimbrel" / "connectors").iterdir() if (p / "__init__.py").exists()]
    engines = [name for name in engines if name not in ("protocols", "sql")]
    wrong = []
    for file in modules():
        for line, name in imports(file):
            for engine in engines:
                home = f"whimbrel/connectors/{engine}/"
                if within(name, f"whimbrel.connectors.{engine}") and home not in file.as_posix():
                    wrong.append(f"{file.relative_to(ROOT)}:{line}: {name}")
    assert wrong == []


def test_every_folder_stands_in_the_page() -> None:
    page = (ROOT / "docs" / "design.md").read_text()
    for folder in MAY:
        assert f"| `{folder if folder.endswith('.py') else folder + '/'}` |" in page, folder


def test_what_is_imported_is_declared() -> None:
    """No library comes in only because another one needs it."""
    declared = {
        line.strip().strip('",').partition(">")[0].partition("[")[0].lower().replace("-", "_")
        for line in (ROOT / "pyproject.toml").read_text().splitlines()
        if line.startswith('    "')
    }
    named = {
        "prometheus_client": "prometheus_client",
        "snowflake": "snowflake_connector_python",
        "databricks": "databricks_sql_connector",
        "firebolt": "firebolt_sdk",
        "google": "google_cloud_bigquery",
        "grpc": "grpcio",
    }
    found = set()
    for file in modules():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {a.name.partition(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    foreign = found - sys.stdlib_module_names - set(OURS) - {"cython"}
    assert {named.get(n, n).lower() for n in foreign} <= declared
