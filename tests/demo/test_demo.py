"""The demo keeps its word: it ends equal, notices when it does not, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.proof import source_sums, target_sums
from demo.shop import DATABASE, make_shop
from demo.story import Moved
from tests.conftest import ROOT, running_server
from tests.servers.fleet import Fleet
from tests.servers.postgres import Postgres

SMALL = 0.02


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own: every session of pytest closes those to the accounts that servers run under."""
    with tempfile.TemporaryDirectory(prefix="whimbrel-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.parametrize(
    ("source", "server"), [("postgres", "postgres18"), pytest.param("mariadb", "mariadb", marks=pytest.mark.pairs)]
)
def test_the_whole_story(source: str, server: str, fleet: Fleet, folder: Path) -> None:
    running_server(fleet, server)  # skips where there is none
    argv = [sys.executable, "-m", "demo", "--source", source, "--scale", str(SMALL)]
    env = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DIFFERENT" not in done.stdout
    assert "killed the worker" in done.stdout
    assert list(folder.iterdir()) == []
    assert str(folder) not in command_lines()


def test_the_proof_bites(postgres18: Postgres, postgres15: Postgres) -> None:
    shop = make_shop(postgres18, "postgres", SMALL)
    make_shop(postgres15, "postgres", SMALL)
    moved = Moved(source=source_sums(shop), target=target_sums(postgres15, shop))
    assert moved.unequal == []
    postgres15.psql("update shop.visits set millis = millis + 1 where ctid = '(0,1)'", DATABASE)
    postgres15.psql("update shop.customers set city = '' where id = 7", DATABASE)
    moved.target = target_sums(postgres15, shop)
    assert moved.unequal == ["customers", "visits"]


def test_a_table_that_validation_finds_different_is_named() -> None:
    moved = Moved(validation={"shop.orders": {"status": "different"}, "shop.visits": {"status": "equal"}})
    assert moved.unequal == ["orders"]


def command_lines() -> str:
    """Of every process that can be looked at."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has ended meanwhile
    return "\n".join(found)
