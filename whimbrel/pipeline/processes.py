"""How lanes and captures are started: forked from one small process that has imported what they need.

A process forked from a worker would inherit its threads' locks, and one started anew takes a third of a second for its
imports alone, which is most of what a small table costs. The fork server has no threads, starts with the first load
and ends with the worker.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext, ForkServerProcess

__all__ = ["ForkServerProcess", "context"]

# A connector whose driver is not installed is left out by the fork server, and refused by name where it is used.
_IMPORTED = [
    "whimbrel.pipeline.lane",
    "whimbrel.pipeline.capture",
    "whimbrel.connectors.postgres.source",
    "whimbrel.connectors.postgres.target",
    "whimbrel.connectors.mysql.source",
    "whimbrel.connectors.mysql.target",
]


def context() -> ForkServerContext:
    """What makes the processes and pipes of the data and change planes."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(_IMPORTED)
    return found
