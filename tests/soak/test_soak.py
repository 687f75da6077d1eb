"""Two minutes of the soak, in a process of its own: it is a whole installation, whose parts are killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, running_server
from tests.servers.fleet import Fleet
from tests.soak.plan import KINDS, plan

RATE = 500  # rows changed a second; on a busy machine the writers reach less, which the report says


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_two_minutes_from_postgres_to_mysql(fleet: Fleet, tmp_path: Path) -> None:
    for name in ("postgres18", "mysql"):
        running_server(fleet, name)  # skips where there is none
    file = tmp_path / "report.json"
    argv = [sys.executable, "-m", "tests.soak", "--minutes", "2", "--seed", "1", "--rate", str(RATE)]
    done = subprocess.run([*argv, "--report", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]
    report = json.loads(file.read_text())
    assert (report["equal"], report["valid"]) == (True, True)
    assert set(report["faults"]) == set(KINDS)
    assert all(kind["survived"] == kind["came"] for kind in report["faults"].values()), report["faults"]
    assert report["slot_compared_with_target"] > 20
    assert report["operations"] > 10_000, report["operations_a_second"]


@pytest.mark.parametrize(("minutes", "faults"), [(2, 8), (10, 22), (60, 140)])
def test_every_kind_of_fault_is_planned(minutes: int, faults: int) -> None:
    for seed in range(5):
        planned = plan(seed, minutes * 60)
        assert {fault.kind for fault in planned} == set(KINDS)
        assert len(planned) >= faults
        assert planned[-1].at < minutes * 60
        assert planned == plan(seed, minutes * 60)
