"""How lanes and captures are started: forked from one small process that has imported what they need.

A process forked from a worker would inherit its threads' locks, and one started anew takes a third of a second for its
imports alone, which is most of what a small table costs. The fork server has no threads, starts with the first load
and ends with the worker.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess

from whimbrel.connectors.registry import preloads

Process = ForkServerProcess | SpawnProcess

_LONGEST_FOLDER = 60  # the server's socket lies in the folder for temporary files, and its path may have 107 bytes

# What each of them needs; the connectors add what their own need (``Engine.preload``).
_IMPORTED = ["whimbrel.pipeline.load.lane", "whimbrel.pipeline.changes.capture"]


def context() -> ForkServerContext | SpawnContext:
    """What makes the processes and pipes of the data and change planes."""
    if len(tempfile.gettempdir().encode()) > _LONGEST_FOLDER:
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    # a module whose driver is not installed is left out by the fork server, and refused by name where it is used
    found.set_forkserver_preload([*_IMPORTED, *preloads()])
    return found
