"""One server of each version for a module; a test that needs a clean slate makes a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.postgres import Postgres, ServerMissing, running
from tests.unit.postgres.moving import Move

# The suite moves from 15; what both versions answer alike is asked of 18 here, and of 15 by `make test-pairs`.
VERSIONS = (pytest.param("15", marks=pytest.mark.pairs), "18")


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A running server, trusting everybody."""
    try:
        with running(request.param) as started:
            yield started
    except ServerMissing as e:
        pytest.skip(str(e))


@pytest.fixture
def move(server: Postgres, tmp_path: Path) -> Iterator[Move]:
    with closing(Move(server, tmp_path)) as made:
        yield made
