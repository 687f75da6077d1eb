"""What tests know of one end of a migration, whatever its engine: an engine joins with one class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tests.servers.bigquery import BigQuery
from tests.servers.databricks import Databricks
from tests.servers.firebolt import Firebolt
from tests.servers.mysql import MySQL
from tests.servers.oracle import Oracle
from tests.servers.postgres import Postgres
from tests.servers.singlestore import SingleStore
from tests.servers.snowflake import Snowflake
from tests.servers.spanner import Spanner
from whimbrel.model.job import Endpoint

Server = Postgres | MySQL | Snowflake | Databricks | Firebolt | SingleStore | BigQuery | Oracle | Spanner
SCHEMA = "suite"
TABLES = ("parent", "item", "twokeys", "nokey")


@dataclass(frozen=True)
class Side(ABC):
    """One end: a server of the engine, what an endpoint of it is called, and where on it the tests are at home.

    Everything here speaks through the vendor's own client, never through our readers.
    """

    server: Server
    type: str
    database: str
    schema: str = SCHEMA

    family: ClassVar[str]
    """Which of the families of SQL it speaks that tests have texts for."""

    tables: ClassVar[str] = ""
    """SQL that makes the tables of the suite; empty for an engine that is no source: there our own schema step does."""

    fill: ClassVar[str] = ""
    """SQL that fills them, with ``:rows`` rows in ``item``."""

    numbers_rows: ClassVar[bool] = True
    """Whether columns that the source numbers are numbered there too; else new rows must bring their numbers."""

    follows_keyless: ClassVar[bool] = True
    """Whether changes of tables without a key can be applied to it."""

    @property
    def is_postgres(self) -> bool:
        return self.family == "postgres"

    @abstractmethod
    def endpoint(self, name: str) -> Endpoint:
        """It as the end of a job."""

    def nowhere(self) -> Endpoint:
        """The same where nobody answers."""
        here = self.endpoint("gone")
        return Endpoint("gone", self.type, {**here.parameters, "host": "127.0.0.1", "port": 1})

    @abstractmethod
    def run(self, sql: str) -> str:
        """Run a script with the server's own client; what it prints."""

    @abstractmethod
    def change(self, postgres: str, mysql: str | None = None) -> None:
        """Run a script in this side's schema; ``mysql`` where it must read differently there."""

    @abstractmethod
    def rows(self) -> dict[str, list[str]]:
        """All rows of all tables of the suite, as text that every engine prints alike; JSON is told by its members."""

    @abstractmethod
    def lines(self, table: str, columns: Sequence[str]) -> list[str]:
        """The rows of a table in this side's schema, sorted as text: ``1|a|NULL``."""

    @abstractmethod
    def drop_leftovers(self) -> None:
        """Make a shared server ready for the next test: nothing of the last one is there, the database is."""

    def make(self, rows: int) -> None:
        """The tables of the suite with so many rows in ``item``."""
        self.run(self.tables + self.fill.replace(":rows", str(rows)))
