"""Where a transaction is one script: killed after any request, and a script that runs when its owner is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest

from tests.contract.bench import MISSING, position
from tests.contract.scripts import Make, bench, stand
from tests.servers.bigquery import BigQuery
from whimbrel.errors import Fenced
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Segment

__all__ = ["bench", "stand"]  # fixtures


MOST = 40  # jobs of the longest story here
STEPS = [pytest.param(5, marks=pytest.mark.long), pytest.param(1, marks=pytest.mark.long)]


class Killed(BaseException):
    """What a worker does not survive."""


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """All sessions of this process die with their n-th request within the block: it is done, and nothing after it."""
    from google.cloud.bigquery import Client

    real_call, real_load = Client._call_api, Client.load_table_from_file

    @contextmanager
    def until(limit: int) -> Iterator[list[int]]:
        left = [limit]

        def counted(real: Any) -> Any:
            def request(*args: Any, **named: Any) -> Any:
                if left[0] <= 0:
                    raise Killed
                done = real(*args, **named)
                left[0] -= 1
                if left[0] <= 0:
                    raise Killed
                return done

            return request

        with monkeypatch.context() as patch:
            patch.setattr(Client, "_call_api", counted(real_call))
            patch.setattr(Client, "load_table_from_file", counted(real_load))
            yield left

    return until


@pytest.mark.parametrize("step", STEPS)
def test_rows_are_loaded_once(bench: Make, mortal: Callable[[int], Any], step: int) -> None:
    """Without a key, where nothing but the record stops a second load."""
    b = bench(())
    plan, number = b.plan(MOST), -1
    for number in range(MOST):
        file = b.staged((str(number), "a", None), name=f"rows{number}")
        with mortal(1 + number * step) as left, suppress(Killed), closing(b.target.open_loader(b.job)) as loader:
            b.load(plan[number], file, loader=loader)
        b.target.end_sessions(b.target.connect(), b.job)  # type: ignore[attr-defined]
        b.epoch = b.ledger.claim()
        b.load(plan[number], b.staged((str(number), "a", None), name=f"again{number}"), loader=b.another_loader())
        if left[0] > 0:
            break
    assert left[0] > 0
    assert number * step > 5, "the sweep has seen every request of a load"
    assert b.rows() == sorted(f"{n}|a|NULL" for n in range(number + 1))


@pytest.mark.parametrize("step", STEPS)
def test_changes_end_as_the_source_has_them(bench: Make, mortal: Callable[[int], Any], step: int) -> None:
    b = bench(("id",), ())
    b.at_source = {b"1": (b"1", b"two", b"2")}
    moves = b.segment(
        (UPDATE_BEFORE, ("1", None, None)),
        (UPDATE, ("9", MISSING, "1")),
        (UPDATE_BEFORE, ("2", None, None)),
        (UPDATE, ("1", MISSING, "2")),
        (DELETE, ("3", None, None)),
    )
    keyless = b.segment((DELETE, ("5", "x", None)), (INSERT, ("6", "y", None)), number=1)
    both = Segment(0, (*moves.steps, *keyless.steps), position(2), True, 1, 0, {}, 0)
    for limit in range(1, MOST * step, step):
        for name in ("t0", "t1"):
            b.side.change(f"delete from {name}")
        b.put(("1", "one", "1"), ("2", "two", "2"), ("3", "three", None))
        b.side.change("insert into t1 values (5, 'x', null), (5, 'x', null)")
        b.ledger.clear(b.epoch, "op")
        with mortal(limit) as left, suppress(Killed), closing(b.target.open_applier(b.job, b.tables, b.targets)) as one:
            b.apply(one, both)
        b.target.end_sessions(b.target.connect(), b.job)  # type: ignore[attr-defined]
        b.epoch = b.ledger.claim()
        if b.ledger.position() is None:
            b.apply(b.applier(), both)
        assert b.rows() == ["1|two|2", "9|one|1"], f"killed after request {limit}"
        assert b.rows(1) == ["5|x|NULL", "6|y|NULL"], f"killed after request {limit}"
        if left[0] > 0:
            return
    raise AssertionError("no attempt came through")


@pytest.mark.long
def test_a_late_script_of_an_older_owner_writes_nothing(bench: Make, stand: BigQuery) -> None:
    """It waits in the service, and runs after the migration was taken over."""
    b = bench()
    (chunk,) = b.plan()
    stand.order("job", holds="INSERT INTO `scripted`.`t0`", seconds=6)
    refused: list[BaseException] = []

    def late() -> None:
        try:
            b.load(chunk, b.staged(("1", "a", None)))
        except Fenced as e:
            refused.append(e)

    old = threading.Thread(target=late)
    old.start()
    old.join(3)
    with closing(b.target.ledger(b.job.migration)) as newer:
        epoch = newer.claim()
    old.join(60)
    assert len(refused) == 1
    assert b.rows() == []
    b.epoch = epoch
    assert b.load(chunk, b.staged(("1", "a", None), name="again"), loader=b.another_loader()) == 1
    assert b.rows() == ["1|a|NULL"]
