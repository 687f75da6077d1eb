"""Everything that a worker can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from activities.cleanup import clean_up
from activities.data import copy_data, data_state
from activities.idle import look_at_idle
from activities.outcome import record_outcome
from activities.pause import set_pause
from activities.replication import replicate
from activities.schema import apply_objects, apply_schema, extract_schema
from activities.target import reset_target, validate_data
from workflows.cleanup import Cleanup
from workflows.data import Data
from workflows.idle import IdleWatch
from workflows.messages import CONTROL_QUEUE, DATA_QUEUE
from workflows.replication import DataReplication, Replication
from workflows.schema import ObjectsApply, SchemaApply, SchemaExtract
from workflows.target import Reset, Validate

WORKFLOWS: tuple[type, ...] = (
    Data,
    Replication,
    DataReplication,
    SchemaExtract,
    SchemaApply,
    ObjectsApply,
    Reset,
    Validate,
    Cleanup,
    IdleWatch,
)
Activity = Callable[..., Any]

LONG: tuple[Activity, ...] = (
    extract_schema,
    apply_schema,
    apply_objects,
    copy_data,
    replicate,
    reset_target,
    validate_data,
)
SHORT: tuple[Activity, ...] = (data_state, set_pause, clean_up, record_outcome, look_at_idle)
# On the control queue there may be long steps too: an earlier version, which had one queue, has put them there.
BY_QUEUE: dict[str, tuple[Activity, ...]] = {CONTROL_QUEUE: (*SHORT, *LONG), DATA_QUEUE: LONG}
