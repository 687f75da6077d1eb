"""What Prometheus is told, read by its own parser."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import Client
from whimbrel.catalog.records import Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import CatalogUnreachable
from whimbrel.model.progress import ChangeProgress, TableChangeTotals, TablePhase, TableProgress

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scraped(client: Client) -> Samples:
    answer = await client.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found = text_string_to_metric_families(answer.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in found for s in family.samples}


async def test_figures_of_the_catalog(client: Client, shop: Catalog) -> None:
    shop.begin_operation("shop", Mode.RESET, "done", "h", {})
    shop.finish_operation("done", Status.COMPLETED)
    shop.begin_operation("shop", Mode.DATA_REPLICATION, "id", "h", {})
    shop.save_table_progress("id", [TableProgress("a", TablePhase.COPYING, 100, 70, 60, 700, 1, 2)])
    shop.save_change("id", None, [TableChangeTotals("a", 3, 2, 1, 0, 0), TableChangeTotals("b", 4)])
    shop.save_change("id", ChangeProgress("0/10", "0/20", 1.5, 16, 3, 4, 5, 6, 1, 0, 12.5, 1_763_888_400_000_000))
    shop.save_retained("id", 48 << 20)
    found = await scraped(client)
    shown = (("migration", "shop"),)
    assert found["whimbrel_catalog_up", ()] == 1
    assert found["whimbrel_operations", (("mode", "reset"), ("status", "completed"))] == 1
    assert found["whimbrel_operations", (("mode", "data-replication"), ("status", "running"))] == 1
    assert found["whimbrel_rows_loaded", shown] == 60
    assert found["whimbrel_bytes_extracted", shown] == 700
    assert found["whimbrel_changes_applied", (("kind", "inserts"), *shown)] == 7
    assert found["whimbrel_replication_lag_seconds", shown] == 1.5
    assert found["whimbrel_replication_lag_bytes", shown] == 16
    assert found["whimbrel_slot_retained_bytes", shown] == 48 << 20
    shop.finish_operation("id", Status.CANCELLED)
    ended = await scraped(client)
    assert ("whimbrel_replication_lag_seconds", shown) not in ended
    assert ("whimbrel_slot_retained_bytes", shown) not in ended
    slot = (*shown, ("slot", "whimbrel_shop"))
    assert ("whimbrel_held_slot_retained_bytes", slot) not in ended
    shop.held.save("shop", "whimbrel_shop", 33 << 20)
    idle = await scraped(client)
    assert idle["whimbrel_held_slot_retained_bytes", slot] == 33 << 20
    assert 0 <= idle["whimbrel_held_slot_age_seconds", slot] < 60


async def test_requests_and_errors_are_counted(client: Client, anonymous: Client, shop: Catalog) -> None:
    for name in ("shop", "nope", "nobody"):
        await client.send("GET", f"/v1/migrations/{name}/status")
    await client.ok("GET", "/v1/migrations/shop/status")  # from what is at hand
    await client.send("GET", "/v1/made-up")
    await client.http.request("BREW", "/v1/sources")
    await anonymous.send("GET", "/v1/sources")
    found = await scraped(client)

    def count(method: str, route: str, status: str) -> float | None:
        labels = (("method", method), ("route", route), ("status", status))
        return found.get(("whimbrel_http_request_seconds_count", labels))

    status = "/v1/migrations/{name}/status"
    assert (count("GET", status, "200"), count("GET", status, "404")) == (2, 2)
    assert count("GET", "none", "404") == 1
    assert count("GET", "none", "401") == 1
    assert [key for key in found if "BREW" in str(key) or "made-up" in str(key)] == []
    assert found["whimbrel_http_errors_total", (("code", "MIGRATION_NOT_FOUND"),)] == 2
    assert found["whimbrel_http_errors_total", (("code", "AUTH_FAILED"),)] == 1


async def test_it_needs_a_key_unless_opened(anonymous: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await anonymous.refused("GET", "/metrics"))[:2] == (401, "AUTH_FAILED")
    monkeypatch.setenv("WHIMBREL_METRICS_OPEN", "1")
    assert await scraped(anonymous)
    assert (await anonymous.refused("GET", "/v1/sources"))[:2] == (401, "AUTH_FAILED")


async def test_a_catalog_that_does_not_answer_is_a_figure(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_: Catalog) -> None:
        raise CatalogUnreachable("no answer")

    monkeypatch.setattr(Catalog, "totals", unreachable)
    assert (await scraped(client))["whimbrel_catalog_up", ()] == 0
