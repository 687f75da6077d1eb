"""A worker that stood still long enough to be replaced wakes up: what it writes is refused, and the other goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.plant import Plant
from tests.faults.test_refusals import Case, made_case, side
from tests.pairs import first
from tests.servers.fleet import Fleet
from tests.servers.process import wait_until
from whimbrel.cli.children import Child

__all__ = ["made_case"]  # a fixture


def family(root: int) -> list[int]:
    """A process and all below it."""
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        for task in Path(f"/proc/{found[-1]}/task").iterdir():
            waiting += [int(p) for p in (task / "children").read_text().split()]
    return found


@contextmanager
def frozen(child: Child) -> Iterator[None]:
    assert child.pid is not None
    everyone = family(child.pid)
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("pair", first([("mariadb", "postgres18")], [("postgres15", "mariadb")]))
def test_the_one_that_was_replaced_writes_nothing(
    fleet: Fleet, plant: Plant, made_case: Callable[..., Case], pair: tuple[str, str]
) -> None:
    made = made_case(side(fleet, pair[0], "source"), side(fleet, pair[1], "target"))
    source, target = made.world.source, made.world.target
    operation = made.start()
    made.wait_following(operation)
    epoch = f"select epoch from whimbrel.progress where migration = '{made.name}'"
    before = int(target.run(epoch))
    old = plant.worker
    second = Child("second worker", old.argv, plant.home / "logs" / "second.log", old.healthy, old.grace, dict(old.env))
    with frozen(old):
        source.change("update item set title = 'while the first one stood still' where id < 100")
        second.start()
        try:
            wait_until(lambda: int(target.run(epoch)) > before, 100, "the second worker to take over", every=0.5)
            made.wait_equal(operation, 100)
        except BaseException:
            second.stop()
            raise
    try:
        source.change(
            "delete from item where id between 20 and 40; update item set title = 'afterwards' where id > 200"
        )
        for n in range(5):  # both are awake; what both wrote would be there twice, as the table has no key
            source.change(f"insert into nokey values ({n}, 'once')")
        made.wait_equal(operation)
        assert made.end(operation)["status"] == "cancelled"
    finally:
        second.stop()
