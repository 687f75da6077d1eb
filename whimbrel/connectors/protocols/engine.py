"""The front door of a connector, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from whimbrel.connectors.protocols.checks import Checks
from whimbrel.connectors.protocols.comparison import Comparison
from whimbrel.connectors.protocols.queue import Queue
from whimbrel.connectors.protocols.source import Source
from whimbrel.connectors.protocols.target import Target
from whimbrel.model.chunk import Format
from whimbrel.model.job import Endpoint, Role


@dataclass(frozen=True)
class Capabilities:
    """What is true of an engine, as data. Each is read by the code that depends on it, and a test holds that."""

    source: bool
    target: bool
    follows: bool = True  # a source whose changes can be read from its log; else its rows are moved, and no more
    compares: bool = True  # its rows can be compared with those of another server
    reads: tuple[Format, ...] = ()  # what its snapshot readers can write, best first
    loads: tuple[Format, ...] = ()  # what its loaders take, best first
    layouts_in_log: bool = False  # the log says what a table looked like when its rows were written
    changes_need_key: bool = False  # the delivery level is per table: a table without a key is refused for changes
    prints_floats: bool = True  # its SQL can write a binary float's shortest exact text
    queue: bool = False  # changes can be written to it as messages, see ``Queue``
    identifier_length: int = 63  # of the longest name of a schema, table or column
    identifier_unit: Literal["bytes", "characters"] = "characters"  # bytes are those of UTF-8
    enforces_keys: bool = True  # of two rows with one primary or unique key it refuses the second
    one_key: bool = False  # of a table's keys the primary one is made, or else what identifies its rows, and no other
    foreign_keys: Literal["none", "unchecked", "compared"] = "none"  # one that is added: whether rows are compared
    indexes: bool = False  # those that are no keys
    decimal_digits: int | None = None  # of the widest decimal that a column can be declared with
    decimal_scale: int | None = None  # how many of them may stand behind the point
    batch_seconds: float = 0.0  # how long changes are gathered before they are applied, unless the endpoint says it
    batch_bytes: int = 16 << 20  # of changes that are applied at once; three batches are held in memory

    @property
    def finishes(self) -> bool:
        """Whether something stands around the rows of a load: then its target has a ``Finisher``."""
        return self.indexes or self.foreign_keys != "none"

    def fits(self, name: str) -> bool:
        """Whether a name is short enough."""
        return len(name.encode() if self.identifier_unit == "bytes" else name) <= self.identifier_length


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

    @property
    def queue(self) -> Queue | None:
        """What it has as a queue; None for a database."""

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
