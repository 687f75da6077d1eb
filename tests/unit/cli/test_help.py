"""What ``--help`` and a command line that asks first show."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from whimbrel.cli.contract import Contract
from whimbrel.cli.main import ORDER, cli


def test_the_commands_stand_in_the_order_of_the_work() -> None:
    shown = CliRunner().invoke(cli, ["--help"])
    assert shown.exit_code == 0
    listed = re.findall(r"^│ ([a-z][a-z-]+)  ", shown.output, re.MULTILINE)
    assert listed == list(ORDER)


@pytest.mark.parametrize("command", ORDER)
def test_each_command_explains_itself(command: str) -> None:
    shown = CliRunner().invoke(cli, [command, "--help"])
    assert (shown.exit_code, "Usage: " in shown.output) == (0, True)


@pytest.mark.parametrize(
    ("terminal", "said", "arguments", "shown", "sent"),
    [
        (True, "n\n", [], "drop the tables that it made or loaded", None),
        (True, "y\n", ["--force"], "drop all tables", {"mode": "drop", "force": True}),
        (True, "n\n", ["--mode", "metadata"], "forget the progress", None),
        (False, "y\n", [], "--yes", None),
        (False, "y\n", ["--mode", "metadata"], "--yes", None),
        (False, "", ["--yes"], "", {"mode": "drop"}),
    ],
)
def test_a_reset_asks_first(
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    said: str,
    arguments: list[str],
    shown: str,
    sent: dict[str, object] | None,
) -> None:
    done: list[object] = []
    monkeypatch.setenv("WHIMBREL_API_KEY", "k")
    monkeypatch.setattr(Contract, "reset", lambda self, name, body, id: done.append(body) or {"mode": "drop"})
    monkeypatch.setattr("whimbrel.cli.run.on_a_terminal", lambda: terminal)
    ran = CliRunner().invoke(cli, ["reset", "shop", *arguments], input=said)
    assert shown in ran.output
    assert done == ([] if sent is None else [sent])
    assert (ran.exit_code == 0) is (sent is not None)


def test_a_reset_that_left_tables_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    done = {"mode": "drop", "tables_dropped": 0, "drop_failed": 0, "tables_left": ["public.theirs"]}
    monkeypatch.setenv("WHIMBREL_API_KEY", "k")
    monkeypatch.setattr(Contract, "reset", lambda *_: done)
    ran = CliRunner().invoke(cli, ["reset", "shop", "--yes"])
    assert (ran.exit_code, "public.theirs" in ran.output) == (1, True)


def test_starting_is_quick() -> None:
    """The command line imports neither the API nor Temporal nor the data plane, which take a second and more."""
    code = "import sys, whimbrel.cli.main; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"fastapi", "temporalio", "pyarrow", "sqlalchemy", "uvicorn", "pydantic"} & set(loaded)
