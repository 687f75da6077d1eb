"""What Prometheus may scrape of a worker: the SDK's own figures (places, waiting times, failures), and the lanes."""

from __future__ import annotations

import asyncio

from temporalio.runtime import LoggingConfig, PrometheusConfig, Runtime, TelemetryConfig

from whimbrel.errors import InvalidRequest
from whimbrel.pipeline.load.budget import BUDGET
from worker.settings import METRICS, Settings

EVERY_SECONDS = 1.0


def runtime_of(settings: Settings) -> Runtime | None:
    """None without an address: then the SDK's default serves, which tells nothing. At most one a process, as it holds
    the port. Raises InvalidRequest naming the setting when the address cannot be listened on."""
    if settings.metrics is None:
        return None
    prometheus = PrometheusConfig(
        settings.metrics, counters_total_suffix=True, unit_suffix=True, durations_as_seconds=True
    )
    try:
        return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig.default, metrics=prometheus))
    except (RuntimeError, ValueError) as e:
        raise InvalidRequest(
            f"{METRICS}: metrics cannot be served on {settings.metrics}: {e}",
            remedy=f"Set {METRICS} to a free port, or to host:port; each worker of a machine needs one of its own.",
        ) from e


async def keep_lane_gauges(runtime: Runtime) -> None:
    """Until cancelled."""
    meter = runtime.metric_meter
    gauges = {
        "budget": meter.create_gauge("whimbrel_lanes_budget", "Lanes that may be at work in this worker."),
        "working": meter.create_gauge("whimbrel_lanes_working", "Lanes that are at work in this worker."),
        "waiting": meter.create_gauge("whimbrel_loads_waiting", "Loads of this worker that wait for a lane."),
    }
    while True:
        for name, value in BUDGET.figures().items():
            gauges[name].set(value)
        await asyncio.sleep(EVERY_SECONDS)
