"""One budget of lanes for all loads of a worker: bounded, fair, and given back however a load ends."""

from __future__ import annotations

import random
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from whimbrel.pipeline.load.budget import LaneBudget, Share


@dataclass
class Load:
    """The coordinator's side of a load: chunks in the hands of each of its lanes, and how many are left."""

    budget: LaneBudget
    share: Share
    left: int
    hands: list[int] = field(default_factory=list)
    paused: bool = False

    def working(self, most: int) -> int:
        return sum(1 for number, hand in enumerate(self.hands) if number < most or hand)

    def turn(self) -> None:
        """Begin if it may; else give work to the lanes that may have it."""
        if not self.hands:
            self.hands = [0] * self.budget.begin(self.share, wants=not self.paused)
            return
        most = self.budget.settle(self.share, wants=self.left > 0 and not self.paused, working=self.working)
        for number in range(most):
            while self.left and self.hands[number] < 2:
                self.left -= 1
                self.hands[number] += 1

    def finish_a_chunk(self, dice: random.Random) -> None:
        busy = [number for number, hand in enumerate(self.hands) if hand]
        if busy:
            self.hands[dice.choice(busy)] -= 1

    @property
    def at_work(self) -> int:
        return sum(1 for hand in self.hands if hand)

    @property
    def done(self) -> bool:
        return self.left == 0 and self.at_work == 0


class Worker:
    """Loads of one budget, each in its place in the line."""

    def __init__(self, total: int) -> None:
        self.budget = LaneBudget(total)
        self.loads: list[Load] = []
        self._leaving: dict[int, ExitStack] = {}

    def load(self, size: int, chunks: int = 100) -> Load:
        stack = ExitStack()
        load = Load(self.budget, stack.enter_context(self.budget.share(size)), chunks)
        self._leaving[id(load)] = stack
        self.loads.append(load)
        return load

    def end(self, load: Load) -> None:
        self.loads.remove(load)
        self._leaving.pop(id(load)).close()


def emptied(load: Load, turns: int = 20) -> None:
    """Let all chunks in its hands end, looking after each."""
    dice = random.Random(1)
    for _ in range(turns):
        load.finish_a_chunk(dice)
        load.turn()


def test_one_alone_has_all_that_it_can_use() -> None:
    worker = Worker(4)
    load = worker.load(3)
    load.turn()
    load.turn()
    assert (len(load.hands), load.at_work) == (3, 3)


def test_a_second_one_gets_its_part_as_hands_get_empty_and_the_first_has_it_back_afterwards() -> None:
    worker = Worker(4)
    first = worker.load(4)
    first.turn()
    first.turn()
    assert first.at_work == 4
    second = worker.load(4)
    second.turn()
    assert second.hands == []
    emptied(first)
    second.turn()
    second.turn()
    assert (first.at_work, second.at_work) == (2, 2)
    worker.end(second)
    first.turn()
    assert first.at_work == 4


def test_beyond_the_budget_they_wait_in_the_order_in_which_they_came() -> None:
    worker = Worker(2)
    loads = [worker.load(5) for _ in range(4)]
    for _ in range(3):
        for load in loads:
            load.turn()
    assert [load.at_work for load in loads] == [1, 1, 0, 0]
    assert worker.budget.others(loads[2].share) == 2
    worker.end(loads[0])
    for _ in range(3):
        for load in reversed(worker.loads):
            load.turn()
    assert [load.at_work for load in loads[1:]] == [1, 1, 0]


def test_a_paused_load_keeps_no_lane_and_has_its_part_again() -> None:
    worker = Worker(1)
    first, second = worker.load(1), worker.load(1)
    for load in (first, first, second):
        load.turn()
    assert (first.at_work, second.hands) == (1, [])
    first.paused = True
    emptied(first)
    for _ in range(2):
        second.turn()
    assert (first.at_work, second.at_work) == (0, 1)
    first.paused = False
    first.turn()
    assert first.at_work == 0  # until the second's hands are empty
    emptied(second)
    first.turn()
    assert (first.at_work, second.at_work) == (1, 0)


def test_what_ends_by_an_error_gives_back_what_it_has() -> None:
    budget = LaneBudget(2)

    def lost() -> None:
        with budget.share(2) as share:
            assert budget.begin(share) == 2
            raise RuntimeError("cancelled, or a lane was lost")

    with pytest.raises(RuntimeError):
        lost()
    with budget.share(2) as share:
        assert budget.begin(share) == 2


@pytest.mark.parametrize("seed", range(30))
def test_whatever_comes_and_goes_it_is_bounded_and_everyone_gets_to_the_end(seed: int) -> None:
    dice = random.Random(seed)
    worker = Worker(dice.randint(1, 6))
    came, ended = 0, 0
    for _ in range(6000):
        what = dice.random()
        if what < 0.02 and came < 25:
            worker.load(dice.randint(1, 8), dice.randint(1, 40))
            came += 1
        elif what < 0.03 and came < 25 and worker.loads:
            dice.choice(worker.loads).paused ^= True
        elif came == 25:
            for load in worker.loads:
                load.paused = False
        if worker.loads:
            load = dice.choice(worker.loads)
            load.finish_a_chunk(dice)
            load.turn()
            if load.done or (what > 0.999 and came < 25):
                worker.end(load)
                ended += 1
        assert sum(load.at_work for load in worker.loads) <= worker.budget.total
        assert sum(load.share.held for load in worker.loads) <= worker.budget.total
    assert came == ended == 25
