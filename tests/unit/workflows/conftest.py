"""A Temporal server for the session and a house of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.servers.temporal import Temporal
from tests.unit.workflows.house import House, open_house


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Temporal]:
    # A new run after a hundred events, so that continue-as-new is seen within a test.
    server = Temporal.make(
        tmp_path_factory.mktemp("temporal"),
        ["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=100"],
    )
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture
async def house(temporal: Temporal, tmp_path: Path) -> AsyncIterator[House]:
    """With a worker."""
    async with open_house(temporal.address, tmp_path / "home") as house, house.worker():
        yield house


@pytest_asyncio.fixture
async def still_house(temporal: Temporal, tmp_path: Path) -> AsyncIterator[House]:
    """Without a worker: the test starts its own."""
    async with open_house(temporal.address, tmp_path / "home") as house:
        yield house
