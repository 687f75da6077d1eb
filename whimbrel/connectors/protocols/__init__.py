"""What an engine may implement.

An engine is one module-level object of type ``Engine`` in ``connectors/<folder>/__init__.py``, found by entry point.
Everything else hangs on it, one Protocol per capability; ``Capabilities`` says as plain data which of them the engine
has, and a test keeps that true. All methods are synchronous and blocking: they run in worker threads and lane
processes. Each raises only errors of ``whimbrel.errors`` (drivers' exceptions are mapped in the connector's one
``connection.py``), and each says what happens when it is called twice.

Connections: each opened one names itself ``whimbrel:<operation>`` (application_name, program_name), or on the target's
side ``whimbrel:<operation>:target``: the cleanup of one side finds its own and spares the other's on the same server.
What has ``close()`` is used with ``contextlib.closing``; closing twice is no error.
"""

from __future__ import annotations

from whimbrel.connectors.protocols.applier import Applier, Holder, Pace, Refetch
from whimbrel.connectors.protocols.catalogue import Catalogue
from whimbrel.connectors.protocols.checks import CheckResult, Checks, Rehearsal, Statement
from whimbrel.connectors.protocols.comparison import Comparison, Scope
from whimbrel.connectors.protocols.definer import Definer, Rendered
from whimbrel.connectors.protocols.engine import Capabilities, Engine, Route, ServerInfo, negotiate
from whimbrel.connectors.protocols.finisher import Finisher
from whimbrel.connectors.protocols.ledger import Claim, Ledger, LoadState, TableLoad
from whimbrel.connectors.protocols.loader import Loader
from whimbrel.connectors.protocols.queue import Queue, QueueState, QueueWriter
from whimbrel.connectors.protocols.source import (
    Buffer,
    ChangeSink,
    ChangeStream,
    Filled,
    Retained,
    Snapshot,
    SnapshotReader,
    Source,
)
from whimbrel.connectors.protocols.target import Target

__all__ = [
    "Applier",
    "Buffer",
    "Capabilities",
    "Catalogue",
    "ChangeSink",
    "ChangeStream",
    "CheckResult",
    "Checks",
    "Claim",
    "Comparison",
    "Definer",
    "Engine",
    "Filled",
    "Finisher",
    "Holder",
    "Ledger",
    "LoadState",
    "Loader",
    "Pace",
    "Queue",
    "QueueState",
    "QueueWriter",
    "Refetch",
    "Rehearsal",
    "Rendered",
    "Retained",
    "Route",
    "Scope",
    "ServerInfo",
    "Snapshot",
    "SnapshotReader",
    "Source",
    "Statement",
    "TableLoad",
    "Target",
    "negotiate",
]
