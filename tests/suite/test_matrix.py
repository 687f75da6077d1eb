"""tests/matrix.yaml says what is proven on which pair; these tests compare it with the engines and with the suite."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.conftest import ENGINES as CONTRACT
from tests.servers.fleet import SERVERS, STANDS
from tests.suite import test_queue, test_warehouse
from tests.suite.conftest import DIAGONAL, PAIRS
from tests.suite.test_from_oracle import FIRST as FROM_ORACLE
from tests.suite.test_queue import PAIRS as QUEUES
from whimbrel.connectors.protocols import Capabilities, negotiate
from whimbrel.connectors.registry import engine, known_types
from whimbrel.errors import ConnectionRefused, InvalidRequest, ValidateFailed
from whimbrel.model.job import Endpoint

SUITE = Path(__file__).parent
STATES = {"test", "stand-in", "contract", "gap", "n/a"}
CONTRACTED = {"rows", "changes", "resume"}  # what tests/contract proves of a target, whatever the source
ON_A_PAIR = {"world", "following"}  # fixtures that run a test on every pair of the suite

CLAIMED: dict[str, Callable[[Capabilities, Capabilities], bool]] = {
    "schema": lambda source, target: source.source and target.target,
    "rows": lambda source, target: negotiate(source.reads, target.loads) is not None,
    "handoff": lambda source, target: source.follows and target.target,
    "changes": lambda source, target: source.follows and target.target,
    "resume": lambda source, target: source.follows and target.target,
    "validate": lambda source, target: source.compares and target.compares,
    "repair": lambda source, target: source.compares and target.compares,
}


@cache
def matrix() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((SUITE.parent / "matrix.yaml").read_text())
    return found


def chooses_its_pairs(test: Callable[..., None]) -> bool:
    """Whether it is parametrized with a few pairs of its own, which proves nothing of the others."""
    return any(mark.name == "parametrize" and mark.args[0] == "world" for mark in getattr(test, "pytestmark", ()))


def suite_tests() -> set[str]:
    """``module.py::test`` of every test that runs on every pair of the suite."""
    found = set()
    for file in SUITE.glob("test_*.py"):
        module = import_module(f"tests.suite.{file.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_") and function.__module__ == module.__name__:
                parameters = inspect.signature(function).parameters
                if ON_A_PAIR & parameters.keys() and not chooses_its_pairs(function):
                    found.add(f"{file.name}::{name}")
    return found


def test_every_pair_of_the_engines_is_listed() -> None:
    types = {type: engine(type).capabilities for type in known_types()}
    pairs = {f"{s} → {t}" for s, can in types.items() if can.source for t, may in types.items() if may.target}
    assert set(matrix()["pairs"]) == pairs


def test_every_engine_is_on_the_diagonal_and_the_families_both_ways() -> None:
    run = [(SERVERS[source], SERVERS[target]) for source, target in DIAGONAL]
    listed: Any = matrix()["diagonal"]
    assert listed == [f"{source} → {target}" for source, target in run]
    types = {type: engine(type).capabilities for type in known_types()}
    on_stands = [(SERVERS[source], SERVERS[target]) for source, target in (*test_warehouse.FIRST, *FROM_ORACLE)]
    stand_ins = {f"{source} → {target}" for source, target in on_stands}
    assert set(matrix()["stand-ins"]) == stand_ins
    assert {source for source, _ in (*run, *on_stands)} == {type for type, can in types.items() if can.source}
    targets = {target for _, target in run} | {pair.split(" → ")[1] for pair in stand_ins}
    assert targets == {type for type, can in types.items() if can.target}
    assert {("postgres", "mysql"), ("mysql", "postgres")} <= set(run)


def test_every_capability_is_answered_for_every_pair() -> None:
    assert set(matrix()["capabilities"]) == set(CLAIMED)
    for pair, states in matrix()["pairs"].items():
        assert set(states) == set(CLAIMED), pair
        assert set(states.values()) <= STATES, pair


@pytest.mark.parametrize("capability", CLAIMED)
def test_states_are_what_engines_claim_and_the_suite_runs(capability: str) -> None:
    run = {
        f"{SERVERS[source]} → {SERVERS[target]}": "stand-in" if {source, target} & STANDS else "test"
        for source, target in (*PAIRS, *test_warehouse.FIRST, *test_warehouse.LATER)
    }
    if capability in ("schema", "rows"):
        run |= {f"{SERVERS[source]} → {SERVERS[target]}": "stand-in" for source, target in FROM_ORACLE}
    by_contract = {SERVERS[name] for name in CONTRACT}
    for pair, states in matrix()["pairs"].items():
        source, target = pair.split(" → ")
        otherwise = "contract" if target in by_contract and capability in CONTRACTED else "gap"
        claimed = CLAIMED[capability](engine(source).capabilities, engine(target).capabilities)
        expected = run.get(pair, otherwise) if claimed else "n/a"
        assert states[capability] == expected, f"{pair}, {capability}"


def test_every_target_is_held_to_the_contract() -> None:
    held = {SERVERS[name]: "stand-in" if name in STANDS else "test" for name in CONTRACT}
    assert matrix()["contract"] == held
    assert set(held) == {type for type in known_types() if engine(type).capabilities.target}


def test_each_test_of_the_suite_proves_exactly_one_capability() -> None:
    listed = [test for tests in matrix()["capabilities"].values() for test in tests]
    assert sorted(listed) == sorted(suite_tests())


def test_every_source_and_queue_is_listed_as_the_suite_runs_it() -> None:
    types = {type: engine(type).capabilities for type in known_types()}
    pairs = {
        f"{s} → {q}" for s, can in types.items() if can.source and can.follows for q, may in types.items() if may.queue
    }
    run = {f"{SERVERS[source]} → {queue}" for source, queue in QUEUES}
    assert matrix()["queues"]["pairs"] == {pair: "test" if pair in run else "gap" for pair in pairs}
    on_all = {
        f"test_queue.py::{name}"
        for name, test in inspect.getmembers(test_queue, inspect.isfunction)
        if any(mark.args[1] is QUEUES for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize")
    }
    assert sorted(matrix()["queues"]["every pair"]) == sorted(on_all)


@pytest.mark.parametrize("type", sorted(known_types()))
def test_engines_have_what_they_claim(type: str) -> None:
    found, here = engine(type), Endpoint("here", type, {})
    has = found.capabilities
    assert _refuses(lambda: found.source(here, "op")) == (not has.source)
    assert _refuses(lambda: found.target(here, "op")) == (not has.target)
    compares = has.compares and (has.source or has.target)
    assert _refuses(lambda: found.open_comparison(here, "op", "source")) == (not compares)
    if has.target:
        assert (found.target(here, "op").finisher is not None) == has.finishes
    assert (found.queue is not None) == has.queue


def test_every_capability_is_read_by_the_product() -> None:
    """Not by the engine's list of them, and not by a test alone: what nobody asks is a claim that nothing holds."""
    top = SUITE.parent.parent
    files = [f for room in ("whimbrel", "api", "worker", "activities") for f in (top / room).rglob("*.py")]
    text = "\n".join(f.read_text() for f in files if f.name != "capabilities.py")
    own = inspect.getsource(Capabilities)
    for field in fields(Capabilities):
        read = re.search(rf"(?i)\bcapabilities\.{field.name}\b", text) or f"self.{field.name}" in own
        assert read, f"nobody reads {field.name}"


def _refuses(opener: Callable[[], object]) -> bool:
    """Whether the engine says that it has no such side, before it connects to anything."""
    try:
        opener()
    except (InvalidRequest, ValidateFailed):
        return True
    except (KeyError, ConnectionRefused):  # there is no server
        return False
    return False
