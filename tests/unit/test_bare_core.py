"""The core without any extra, installed as a user would: its command starts, and each engine says what it lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from whimbrel import __version__

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("whimbrel", "workflows", "activities", "api", "worker")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
SECONDS = 900
ASKED = """
import importlib, importlib.util
from whimbrel.connectors.registry import engine, known_types
from whimbrel.errors import DriverMissing
from whimbrel.model.job import Endpoint

for module in ("api.app", "worker.main", "whimbrel.cli.main"):
    importlib.import_module(module)
for type in sorted(known_types()):
    found = engine(type)
    driver = getattr(found, "driver", "")
    if not driver:
        print(type, "is served")
        continue
    assert importlib.util.find_spec(driver.partition(".")[0]) is None or "." in driver, f"{driver} came with the core"
    try:
        found.test(Endpoint("t", type, {}))
    except DriverMissing as e:
        print(type, e.how_to_fix)
"""


def run(*argv: object, **more: str) -> str:
    """What it printed. Nothing of the environment that the tests run in is seen by it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "WHIMBREL", "COV"))}
    done = subprocess.run(
        [str(a) for a in argv], capture_output=True, text=True, timeout=SECONDS, env={**kept, **more}, cwd="/"
    )
    assert done.returncode == 0, f"{argv}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.long
def test_the_core_alone_starts(tmp_path: Path) -> None:
    source, environment = tmp_path / "source", tmp_path / "environment"
    source.mkdir()
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.c"))
    for file in FILES:
        shutil.copy(ROOT / file, source)
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    run(python, "-m", "pip", "install", "--quiet", "--constraint", constraints, source, WHIMBREL_COMPILE="0")
    home = {"WHIMBREL_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    whimbrel = environment / "bin" / "whimbrel"
    assert __version__ in run(whimbrel, "version", **home)
    assert "data-replication" in run(whimbrel, "--help", **home)
    told = run(python, "-c", ASKED, **home)
    for type in ("snowflake", "databricks", "firebolt", "singlestore", "bigquery"):
        assert f"{type} Install the extra for this engine: pip install 'whimbrel[{type}]'." in told
    for type in ("postgres", "mysql", "mariadb", "kafka"):
        assert f"{type} is served" in told
