"""What every test may ask for: real servers, started once a session, and an honest word on those that were not here.

``--engines=postgres15,mariadb`` limits a run to some servers. A test that needs one that cannot be had is skipped, and
the summary ends with a section that names each such engine and the reason.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.dialects import bigquery as bigquery_dialect
from tests.dialects import databricks as databricks_dialect
from tests.dialects import snowflake as snowflake_dialect
from tests.emulators.kafka import EmulatorMissing, Kafka
from tests.servers.bigquery import BigQuery
from tests.servers.databricks import Databricks
from tests.servers.firebolt import Firebolt
from tests.servers.fleet import SERVERS, Fleet, Missing, Server
from tests.servers.mysql import MySQL
from tests.servers.oracle import Oracle
from tests.servers.postgres import Postgres
from tests.servers.singlestore import SingleStore
from tests.servers.snowflake import Snowflake
from tests.servers.spanner import Spanner
from whimbrel.connectors.registry import known_types

ROOT = Path(__file__).resolve().parents[1]
NOT_HERE = "NOT TESTED HERE: "
ON_CI = ("postgres15", "postgres18", "mariadb")  # servers that every machine can have
SERVER_MISSING = (
    NOT_HERE,
    "PostgreSQL ",
    "MariaDB:",
    "MySQL:",
    "Snowflake:",
    "Databricks:",
    "Firebolt:",
    "BigQuery:",
    "Oracle:",
    "Spanner:",
    "Kafka:",
)  # how reasons begin that name a missing server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engines",
        default=",".join(SERVERS),
        help=f"comma-separated servers that tests may start (default: {','.join(SERVERS)})",
    )


def pytest_configure(config: pytest.Config) -> None:
    unknown = chosen_engines(config) - set(SERVERS)
    if unknown:
        raise pytest.UsageError(f"--engines: no server named {', '.join(sorted(unknown))}; known: {', '.join(SERVERS)}")
    stale = stale_codecs()
    if stale:
        raise pytest.UsageError(
            f"compiled codecs older than their source: {', '.join(stale)}. Run 'make setup' (or delete the .so files): "
            "the tests would run yesterday's code"
        )
    missing = unknown_connectors()
    if missing:
        raise pytest.UsageError(
            f"the installed package does not know {', '.join(missing)} yet. Run 'make setup' (or '.venv/bin/python "
            "setup.py --quiet egg_info'): pyproject.toml is newer"
        )


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``make test`` shares the tests among processes; see tests/sharing.py."""
    from tests.sharing import by_module_and_pair

    return by_module_and_pair(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from tests.sharing import by_length

    items.sort(key=lambda item: by_length(item.nodeid))
    for item in items:
        if {"fleet", "kafka"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)


def chosen_engines(config: pytest.Config) -> frozenset[str]:
    return frozenset(name for name in config.getoption("--engines").split(",") if name)


def stale_codecs(folder: Path = ROOT / "whimbrel" / "codecs") -> list[str]:
    """Names of compiled modules whose source was edited since; Python would import the compiled one all the same."""
    sources = {built: built.with_name(built.name.partition(".")[0] + ".py") for built in folder.glob("*.so")}
    return sorted(
        source.name
        for built, source in sources.items()
        if not source.exists() or source.stat().st_mtime > built.stat().st_mtime
    )


def unknown_connectors() -> list[str]:
    """Connectors of pyproject.toml that the installed package's metadata lacks, as after a pull."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["whimbrel.connectors"]
    return sorted(set(declared) - known_types())


def reasons_of_setup(file: Path = ROOT / ".cache" / "servers-missing") -> dict[str, str]:
    """Why scripts/servers.sh could not get a server, by name; empty when it was not run or got them all."""
    if not file.exists():
        return {}
    lines = [line.partition("\t") for line in file.read_text().splitlines()]
    return {name: reason for name, _, reason in lines}


# --- servers --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def fleet(pytestconfig: pytest.Config) -> Iterator[Fleet]:
    """All servers of the session, by name; see ``running_server`` for one that skips when it is missing."""
    with Fleet(chosen_engines(pytestconfig), reasons_of_setup()) as servers:
        yield servers
        stand = servers.running("snowflake")
        if isinstance(stand, Snowflake):
            unknown = snowflake_dialect.READER.refused(sql for _, sql in stand.statements("whimbrel"))
            assert not unknown, f"sent to Snowflake, and not its SQL as sqlfluff knows it: {unknown}"
        stand = servers.running("databricks")
        if isinstance(stand, Databricks):
            unknown = databricks_dialect.READER.refused(stand.statements("whimbrel"))
            assert not unknown, f"sent to Databricks, and not its SQL as sqlfluff knows it: {unknown}"
        stand = servers.running("bigquery")
        if isinstance(stand, BigQuery) and bigquery_dialect.PYTHON.exists():
            unknown = bigquery_dialect.READER.refused(stand.statements("whimbrel-"))
            assert not unknown, f"sent to BigQuery, and not its SQL as sqlfluff knows it: {unknown}"


def running_server(fleet: Fleet, name: str) -> Postgres | MySQL:
    """The running server of that name; skips the test, loudly, when it cannot be had."""
    return cast("Postgres | MySQL", running_end(fleet, name))


def running_end(fleet: Fleet, name: str) -> Server:
    """The same, for a server or a stand-in. On continuous integration (``CI`` is set) those of ``ON_CI`` must be there,
    unless the run was told to leave them out."""
    try:
        return fleet.get(name)
    except Missing as e:
        if os.environ.get("CI") and name in ON_CI and fleet.chosen(name):
            pytest.fail(f"{NOT_HERE}{name}: {e}")
        pytest.skip(f"{NOT_HERE}{name}: {e}")


@pytest.fixture(scope="session")
def postgres15(fleet: Fleet) -> Postgres:
    return cast(Postgres, running_server(fleet, "postgres15"))


@pytest.fixture(scope="session")
def postgres18(fleet: Fleet) -> Postgres:
    return cast(Postgres, running_server(fleet, "postgres18"))


@pytest.fixture(scope="session")
def mariadb(fleet: Fleet) -> MySQL:
    return cast(MySQL, running_server(fleet, "mariadb"))


@pytest.fixture(scope="session")
def mysql(fleet: Fleet) -> MySQL:
    return cast(MySQL, running_server(fleet, "mysql"))


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """A broker for all tests that do not stop it; each makes topics of its own."""
    with tempfile.TemporaryDirectory(prefix="whimbrel-kafka-") as folder:
        yield from running_kafka(Path(folder) / "kafka")


def running_kafka(folder: Path) -> Iterator[Kafka]:
    """A broker with its data in ``folder``; skips the test, loudly, when it cannot be had."""
    try:
        broker = Kafka(folder)
    except EmulatorMissing as e:
        pytest.skip(f"{NOT_HERE}{e}")
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def snowflake(fleet: Fleet) -> Snowflake:
    """The stand-in for Snowflake; each test makes databases or schemas of its own."""
    return cast(Snowflake, running_end(fleet, "snowflake"))


@pytest.fixture(scope="session")
def singlestore(fleet: Fleet) -> SingleStore:
    """The stand-in for SingleStore (tests/emulators/singlestore)."""
    return cast(SingleStore, running_end(fleet, "singlestore"))


@pytest.fixture(scope="session")
def databricks(fleet: Fleet) -> Databricks:
    """The stand-in for Databricks; each test makes a catalog of its own."""
    return cast(Databricks, running_end(fleet, "databricks"))


@pytest.fixture(scope="session")
def firebolt(fleet: Fleet) -> Firebolt:
    """The stand-in for Firebolt; each test makes a database of its own."""
    return cast(Firebolt, running_end(fleet, "firebolt"))


@pytest.fixture(scope="session")
def bigquery(fleet: Fleet) -> BigQuery:
    """The stand-in for BigQuery; each test makes datasets of its own."""
    return cast(BigQuery, running_end(fleet, "bigquery"))


@pytest.fixture(scope="session")
def oracle(fleet: Fleet) -> Oracle:
    """The stand-in for Oracle; each test makes users, and so schemas, of its own."""
    return cast(Oracle, running_end(fleet, "oracle"))


@pytest.fixture(scope="session")
def spanner(fleet: Fleet) -> Spanner:
    """The emulator of Spanner; each test makes databases of its own."""
    return cast(Spanner, running_end(fleet, "spanner"))


# --- what was not tested --------------------------------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Repeat every missing server at the very end, where it is read."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        _, _, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, str(report.longrepr))
        reason = reason.removeprefix("Skipped: ")
        if reason.startswith(SERVER_MISSING):
            reasons[reason.removeprefix(NOT_HERE)] += 1
    if not reasons:
        return
    terminalreporter.section("NOT TESTED HERE", sep="=", red=True, bold=True)
    for reason, tests in sorted(reasons.items()):
        terminalreporter.line(f"{reason} ({tests} tests skipped)", red=True)
    terminalreporter.line(f"{sum(reasons.values())} tests skipped for want of {len(reasons)} servers", red=True)
