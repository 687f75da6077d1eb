"""What others have done with the progress since a transaction began is no error of its owner."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import running_end
from tests.contract.bench import Bench, position, table
from tests.engines import Side, side_of
from tests.servers.fleet import SERVERS, Fleet
from whimbrel.model.change import DELETE


@pytest.fixture(scope="module", params=["mariadb"])
def side(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Side]:
    """Set up as MariaDB is from 11.6 on, unless told otherwise."""
    found = side_of(running_end(fleet, request.param), SERVERS[request.param], "held", "held")
    found.drop_leftovers()
    found.run("SET GLOBAL innodb_snapshot_isolation = ON")
    yield found
    found.run("SET GLOBAL innodb_snapshot_isolation = DEFAULT")


def test_changes_that_were_read_before_a_repair_held_the_target_commit_behind_it(bench: Callable[..., Bench]) -> None:
    b = bench(table("t", key=()))
    b.put(("1", "a", None), ("2", "b", None))
    applier, repair = b.applier(), b.holder()
    applier.apply(b.segment((DELETE, ("1", "a", None))), b.refetch)  # of rows without a key, it is asked what was found
    repair.hold()
    repair.release()
    applier.commit(b.epoch, position(2))
    assert (b.rows(), b.ledger.position()) == (["2|b|NULL"], position(2))
