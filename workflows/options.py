"""How often and for how long each kind of activity is tried."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio.common import RetryPolicy

from workflows.messages import CONTROL_QUEUE, DATA_QUEUE

HEARTBEAT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(seconds=30)


@dataclass(frozen=True)
class Options:
    """``start_to_close`` is for one attempt; 0 ``attempts`` is no bound. Heartbeats tell when a worker died.

    ``queue`` is the task queue whose places the activity takes.
    """

    start_to_close: timedelta
    attempts: int
    longest_wait: timedelta = LONGEST_WAIT
    queue: str = CONTROL_QUEUE

    @property
    def retry(self) -> RetryPolicy:
        return RetryPolicy(
            initial_interval=timedelta(seconds=1), maximum_interval=self.longest_wait, maximum_attempts=self.attempts
        )


# Weeks of work. The activity itself gives up after hours without progress, see activities/patience.py.
# Its failures bring their own pauses. What is left to Temporal is the loss of a worker, and whoever has lost the
# twentieth in a year should not wait longer than at the first.
LONG = Options(timedelta(days=365), 0, longest_wait=timedelta(seconds=2), queue=DATA_QUEUE)
# A whole operation whose answer somebody waits for: six tries are about half a minute of waiting between them.
STEP = Options(timedelta(hours=12), 6, queue=DATA_QUEUE)
# A look at what there is, before a long step begins.
CHECKING = Options(timedelta(hours=12), 6)
# After a cancel, somebody waits too; then the operation ends all the same and says what may be left.
CLEANING = Options(timedelta(minutes=10), 6)
# Where it is done once more anyway, or where only stray connections of a server that failed are at stake.
TIDYING = Options(timedelta(minutes=2), 2)
# The catalog must learn how the operation ended.
RECORDING = Options(timedelta(minutes=1), 0)
# Comes round again by itself; heartbeats tell when the worker died.
LOOKING = Options(timedelta(hours=1), 3)
# Bounded by the activity itself; a worker that dies meanwhile is no reason to fail a pause.
PAUSING = Options(timedelta(minutes=15), 0)
