"""One migration between two servers, and the comparison of its ends (tests/engines) by their own clients."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from tests.engines import SCHEMA, TABLES, Side
from whimbrel.model.job import Job
from whimbrel.model.names import TableName


@dataclass(frozen=True)
class World:
    """A source with data, an empty target, and a working directory."""

    source: Side
    target: Side
    home: Path
    name: str

    @property
    def on_one_server(self) -> bool:
        """Whether what is written to the target moves the log of the source."""
        return self.source.server is self.target.server

    @property
    def followed(self) -> tuple[str, ...]:
        """The tables of the suite that can be followed here."""
        return tuple(t for t in TABLES if t != "nokey" or self.target.follows_keyless)

    def job(self, operation: str, *, threads: int = 2, rows_per_file: int = 200_000) -> Job:
        return Job(
            migration=self.name,
            operation=operation,
            source=self.source.endpoint("source"),
            target=self.target.endpoint("target"),
            tables=tuple(TableName(SCHEMA, t) for t in self.followed),
            workdir=self.home / "migrations" / self.name,
            threads=threads,
            rows_per_file=rows_per_file,
            schema_rename={} if self.target.schema == SCHEMA else {SCHEMA: self.target.schema},
        )

    def make(self, rows: int) -> None:
        """Fill the source; the target's database exists and is empty."""
        self.source.make(rows)

    def differing(self) -> list[str]:
        """The tables whose rows differ between the two ends."""
        source, target = self.source.rows(), self.target.rows()
        return [t for t in self.followed if source[t] != target[t]]

    def differences(self, most: int = 5) -> list[tuple[str, str]]:
        """The first rows that differ, as (source, target); for messages of failed tests."""
        source, target = self.source.rows(), self.target.rows()
        pairs = [p for t in self.followed for p in itertools.zip_longest(source[t], target[t], fillvalue="(none)")]
        return [pair for pair in pairs if pair[0] != pair[1]][:most]
