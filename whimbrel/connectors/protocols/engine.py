"""The front door of a connector, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from whimbrel.connectors.protocols.checks import Checks
from whimbrel.connectors.protocols.comparison import Comparison
from whimbrel.connectors.protocols.source import Source
from whimbrel.connectors.protocols.target import Target
from whimbrel.model.chunk import Format
from whimbrel.model.job import Endpoint, Role


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do, as data. Suites and matrix are driven by it."""

    source: bool
    target: bool
    reads: tuple[Format, ...] = ()  # what its snapshot readers can write, best first
    loads: tuple[Format, ...] = ()  # what its loaders take, best first
    changes: bool = False  # can be captured
    layouts_in_log: bool = False  # the log says what a table looked like when its rows were written
    apply: bool = False  # changes can be applied to it, with the position in the same transaction
    compare: bool = False  # checksums can be made inside it
    prints_floats: bool = True  # its SQL can write a binary float's shortest exact text
    finishes: bool = False  # keys, indexes and numbering are taken off and built around a load
    queue: bool = False  # changes can be written to it as messages, see connectors/queues.py
    transactional_ddl: bool = False
    identifier_bytes: int = 63
    parallel_snapshot: bool = True


@dataclass(frozen=True)
class ServerInfo:
    """``identity`` is stable across restarts; ``version`` comparable; ``title`` is for people: 'PostgreSQL 15.18'."""

    title: str
    version: tuple[int, ...]
    identity: str
    flavor: str = ""  # 'mariadb' or 'mysql' where one folder serves both


class Engine(Protocol):
    """The front door of a connector. Cheap to import: drivers are imported by the methods that need them."""

    types: tuple[str, ...]  # the endpoint types it serves: ("mysql", "mariadb")
    capabilities: Capabilities
    secret_parameters: frozenset[str]
    preload: tuple[str, ...]  # modules of its own that every lane and capture needs, and that are cheap enough for all

    @property
    def checks(self) -> Checks:
        """What is looked at before an operation begins, and the statements that put it right."""

    def parse(self, type: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Check and normalise parameters (aliases, defaults, ports as text). Raises InvalidRequest naming the field."""

    def test(self, endpoint: Endpoint) -> ServerInfo:
        """Connect, read version and identity, disconnect. Raises a ConnectionRefused leaf."""

    def check_position(self, text: str) -> None:
        """Raise InvalidRequest for what cannot be a position in this engine's log, without asking any server."""

    def source(self, endpoint: Endpoint, operation: str) -> Source:
        """The reading side. Opens nothing yet."""

    def target(self, endpoint: Endpoint, operation: str) -> Target:
        """The writing side. Opens nothing yet."""

    def open_comparison(self, endpoint: Endpoint, operation: str, role: Role) -> Comparison:
        """Connect for comparing. Raises a ConnectionRefused leaf."""


@dataclass(frozen=True)
class Route:
    """How rows come into a staged file: what a reader writes, and what the lane makes of it and stages."""

    read: Format
    staged: Format


def negotiate(reads: Iterable[Format], loads: Iterable[Format]) -> Route | None:
    """The first format a loader likes that the reader can write, or that is made of one that it can."""
    offered = set(reads)
    for wanted in loads:
        if wanted in offered:
            return Route(wanted, wanted)
        if wanted is Format.PARQUET and Format.TAB_TEXT in offered:
            return Route(Format.TAB_TEXT, wanted)
    return None
