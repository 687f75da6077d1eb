"""A validation may run beside a replication, and beside nothing else."""

from __future__ import annotations

import pytest

from tests.unit.catalog.test_operations import begin
from whimbrel.catalog.records import REPLICATING, Mode
from whimbrel.catalog.store import Catalog
from whimbrel.errors import OperationConflict


@pytest.mark.parametrize("mode", sorted(REPLICATING))
def test_a_replication_is_validated_while_it_runs(shop: Catalog, mode: Mode) -> None:
    begin(shop, "moving", mode)
    begin(shop, "checking", Mode.VALIDATE)
    running = shop.running_operation("shop")
    assert running is not None
    assert running.id == "moving"
    with pytest.raises(OperationConflict) as refused:
        begin(shop, "checking twice", Mode.VALIDATE)
    assert refused.value.extra["operation_id"] == "checking"


def test_a_replication_may_begin_while_a_validation_runs(shop: Catalog) -> None:
    begin(shop, "checking", Mode.VALIDATE)
    begin(shop, "moving", Mode.CHANGE)
    with pytest.raises(OperationConflict):
        begin(shop, "moving twice", Mode.DATA_REPLICATION)


@pytest.mark.parametrize("mode", sorted(set(Mode) - REPLICATING))
def test_nothing_else_runs_beside_a_validation(shop: Catalog, mode: Mode) -> None:
    begin(shop, "checking", Mode.VALIDATE)
    with pytest.raises(OperationConflict):
        begin(shop, "other", mode)
