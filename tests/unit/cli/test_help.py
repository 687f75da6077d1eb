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


@pytest.mark.parametrize(("said", "arguments", "asked"), [("n\n", [], True), ("", ["--yes"], False)])
def test_a_reset_asks_first(monkeypatch: pytest.MonkeyPatch, said: str, arguments: list[str], asked: bool) -> None:
    """Only on a terminal; a script that has none goes on."""
    done: list[str] = []
    monkeypatch.setenv("WHIMBREL_API_KEY", "k")
    monkeypatch.setattr(Contract, "reset", lambda self, name, body, id: done.append(name) or {"mode": "drop"})
    monkeypatch.setattr("whimbrel.cli.run.on_a_terminal", lambda: True)
    shown = CliRunner().invoke(cli, ["reset", "shop", *arguments], input=said)
    assert ("drop all tables" in shown.output) is asked
    assert done == ([] if asked else ["shop"])


def test_starting_is_quick() -> None:
    """The command line imports neither the API nor Temporal nor the data plane, which take a second and more."""
    code = "import sys, whimbrel.cli.main; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"fastapi", "temporalio", "pyarrow", "sqlalchemy", "uvicorn", "pydantic"} & set(loaded)
