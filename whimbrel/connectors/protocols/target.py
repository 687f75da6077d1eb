"""The writing side: what a target has beside its catalogue and its definitions, and how its parts are opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from whimbrel.connectors.protocols.applier import Applier, Holder, Pace
from whimbrel.connectors.protocols.catalogue import Catalogue
from whimbrel.connectors.protocols.definer import Definer
from whimbrel.connectors.protocols.finisher import Finisher
from whimbrel.connectors.protocols.ledger import Ledger
from whimbrel.connectors.protocols.loader import Loader
from whimbrel.model.job import Job
from whimbrel.model.table import Table


class Target(Catalogue, Definer, Protocol):
    pace: Pace

    @property
    def finisher(self) -> Finisher | None:
        """None where nothing stands around the rows (``Capabilities.finishes``)."""

    def ledger(self, migration: str) -> Ledger:
        """The migration's progress kept in the target itself (schema or database 'whimbrel'). Made when absent."""

    def has_ledger(self) -> bool:
        """Whether there is anything in which progress could be kept; nothing is made by asking."""

    def open_loader(self, job: Job) -> Loader: ...

    def open_applier(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Applier: ...

    def open_holder(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Holder: ...

    def at_work(self, job: Job) -> int | None:
        """How many sessions of the job's operation the server works for just now; those that are idle or that wait for
        us do not count. Opens a session of its own for the question. None where no server can be asked that: then its
        driver must end by itself what waits on a link that has gone silent."""

    def cleanup(self, job: Job) -> None:
        """End every other connection of this job's operation and drop what it staged. Called twice it is no error."""

    def close(self) -> None: ...
