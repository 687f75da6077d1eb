"""Each test here runs on MariaDB and on MySQL, in databases of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import running_server
from tests.servers.fleet import Fleet
from tests.servers.mysql import MySQL
from whimbrel.connectors.mysql import config
from whimbrel.connectors.mysql.connection import Session, connect
from whimbrel.connectors.mysql.target.writing import MySQLTarget
from whimbrel.model.job import Endpoint, Job


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest, fleet: Fleet) -> MySQL:
    """A running server; the test is skipped, loudly, when it cannot be had."""
    found = running_server(fleet, request.param)
    assert isinstance(found, MySQL)
    return found


@pytest.fixture
def parameters(server: MySQL) -> dict[str, Any]:
    return config.parse(server.flavor, server.parameters)


@pytest.fixture
def opened(parameters: dict[str, Any]) -> Iterator[Callable[..., Session]]:
    """Opens sessions that are closed behind the test."""
    sessions: list[Session] = []

    def open_session(operation: str = "test", **options: Any) -> Session:
        sessions.append(connect(parameters, operation, **options))
        return sessions[-1]

    yield open_session
    for session in sessions:
        session.close()


@pytest.fixture
def job(server: MySQL, parameters: dict[str, Any], tmp_path: Path) -> Job:
    endpoint = Endpoint("here", server.flavor, parameters)
    return Job("m", "op-target", endpoint, endpoint, (), tmp_path)


@pytest.fixture
def target(server: MySQL, job: Job) -> Iterator[MySQLTarget]:
    """The writing side, with no progress of earlier tests."""
    server.client("DROP DATABASE IF EXISTS whimbrel")
    found = MySQLTarget(job.target, job.operation)
    yield found
    found.close()
