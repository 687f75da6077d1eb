"""What Prometheus may scrape at ``/metrics``: requests of this process, and the operations of the whole catalog."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from whimbrel.catalog.totals import Totals

PATH = "/metrics"
OPEN = "WHIMBREL_METRICS_OPEN"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


class RequestMetrics:
    """Counts and times the requests of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "whimbrel_http_request_seconds",
            "From the request's arrival to the end of its answer.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._errors = Counter(
            "whimbrel_http_errors", "Answers with an error, by its code.", ("code",), registry=self.registry
        )

    def answered(self, method: str, route: str | None, status: int, seconds: float, code: str | None) -> None:
        """``route`` is the path with its placeholders, None for unknown paths, so that nobody can make up labels."""
        known = method if method in ("GET", "PUT", "POST", "DELETE") else "other"
        self._seconds.labels(known, route or "none", str(status)).observe(seconds)
        if code is not None:
            self._errors.labels(code).inc()


def is_open() -> bool:
    """Whether ``/metrics`` needs no key."""
    return os.environ.get(OPEN, "").lower() in ("1", "true", "yes", "on")


class Figures(Collector):
    """The catalog's figures of one moment."""

    def __init__(self, totals: Totals | None) -> None:
        self._totals = totals

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        totals = self._totals
        yield GaugeMetricFamily("whimbrel_catalog_up", "Whether the catalog answers.", value=float(totals is not None))
        if totals is None:
            return
        yield _family("operations", "Operations that are kept.", ("mode", "status"), totals.operations)
        rows = {(name,): rows for name, (rows, _) in totals.loaded.items()}
        yield _family("rows_loaded", "Rows loaded by the operations that are kept.", ("migration",), rows)
        size = {(name,): size for name, (_, size) in totals.loaded.items()}
        yield _family("bytes_extracted", "Bytes staged by the operations that are kept.", ("migration",), size)
        yield _family("changes_applied", "Changes applied to the target.", ("migration", "kind"), totals.applied)
        seconds = {(name,): seconds for name, (seconds, _) in totals.lag.items()}
        yield _family("replication_lag_seconds", "How far running replications are behind.", ("migration",), seconds)
        kept = {(name,): size for name, size in totals.retained.items()}
        about = "Bytes of log that the replication slots of running operations keep on their sources."
        yield _family("slot_retained_bytes", about, ("migration",), kept)
        slots = {(h.migration, h.slot): h.retained_bytes for h in totals.held}
        about = (
            "Bytes of log that a source keeps for a slot that nobody follows, as last seen. POST "
            'operations/{id}/cancel with {"release": true}, reset or DELETE of the migration lets it go.'
        )
        yield _family("held_slot_retained_bytes", about, ("migration", "slot"), slots)
        ages = {(h.migration, h.slot): h.age_seconds for h in totals.held}
        yield _family("held_slot_age_seconds", "Since that was last seen.", ("migration", "slot"), ages)
        behind = {(name,): size for name, (_, size) in totals.lag.items()}
        yield _family("replication_lag_bytes", "Bytes of the source's log not yet applied.", ("migration",), behind)


def _family(name: str, about: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"whimbrel_{name}", about, labels=labels)
    for given, value in values.items():
        family.add_metric(given, float(value))
    return family
