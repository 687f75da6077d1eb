"""Where a transaction is one script: what comes of it when it is refused, throttled, slow, or its answer is lost."""

from __future__ import annotations

import time
from contextlib import closing, nullcontext
from typing import Any

import pytest

from tests.contract.bench import position
from tests.contract.scripts import DATASET, Make, bench, stand
from tests.engines import side_of
from tests.servers.bigquery import BigQuery
from whimbrel.connectors.registry import engine
from whimbrel.errors import TargetFull, TargetInterrupted, ValueRefused
from whimbrel.model.change import INSERT, UPDATE

__all__ = ["bench", "stand"]  # fixtures


@pytest.mark.parametrize(
    ("reason", "holds"),
    [
        ("rateLimitExceeded", "MERGE INTO"),
        ("rateLimitExceeded", "-load-rows_"),
        pytest.param("jobRateLimitExceeded", "MERGE INTO", marks=pytest.mark.long),
    ],
)
def test_a_job_that_is_throttled_is_sent_again(bench: Make, stand: BigQuery, reason: str, holds: str) -> None:
    b = bench()
    stand.order("job", reason=reason, holds=holds, times=2)
    b.apply(b.applier(), b.segment((INSERT, ("1", "a", "1"))))
    assert (b.rows(), b.ledger.position()) == (["1|a|1"], position(2))


@pytest.mark.parametrize(
    ("reason", "again"), [("rateLimitExceeded", True), pytest.param("backendError", False, marks=pytest.mark.long)]
)
def test_a_job_that_fails_while_it_is_waited_for(bench: Make, stand: BigQuery, reason: str, again: bool) -> None:
    """Its failure is not that of the question, which would be asked for two minutes again."""
    b = bench()
    stand.order("job", reason=reason, holds="MERGE INTO", seconds=1.5)  # its request is answered within a second
    began = time.monotonic()
    with nullcontext() if again else pytest.raises(TargetInterrupted, match=reason):
        b.apply(b.applier(), b.segment((INSERT, ("1", "a", "1"))))
    assert time.monotonic() - began < 60
    assert (b.rows(), b.ledger.position()) == ((["1|a|1"], position(2)) if again else ([], None))


def test_no_request_waits_without_end(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.transport.requests import AuthorizedSession

    b, real, bounds = bench(), AuthorizedSession.request, {}

    def request(http: Any, method: str, url: str, *args: Any, **named: Any) -> Any:
        bounds[(method, url)] = named.get("timeout")
        return real(http, method, url, *args, **named)

    monkeypatch.setattr(AuthorizedSession, "request", request)
    (chunk,) = b.plan()
    assert b.load(chunk, b.staged(("1", "a", None)), loader=b.another_loader()) == 1
    session = b.target.connect()  # type: ignore[attr-defined]
    with closing(session):
        assert [len(block) for block in session.stream("SELECT * FROM UNNEST(GENERATE_ARRAY(1, 7000)) AS n")] == [
            5000,
            2000,
        ]
    assert any("/queries/" in url for _, url in bounds)
    assert {asked: bound for asked, bound in bounds.items() if not bound} == {}


@pytest.mark.long
def test_a_quota_that_is_used_up_is_told_at_once(bench: Make, stand: BigQuery) -> None:
    b = bench()
    stand.order("job", reason="quotaExceeded", holds="MERGE INTO")
    with pytest.raises(TargetFull, match="quota"):
        b.apply(b.applier(), b.segment((INSERT, ("1", "a", "1"))))
    assert (b.rows(), b.ledger.position()) == ([], None)


def test_a_request_whose_answer_is_lost_is_no_second_job(
    bench: Make, stand: BigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a load and of a script: each is sent again, and the one that is there is taken for what it is."""
    from google.cloud.bigquery import Client
    from requests.exceptions import ConnectionError as Broken

    b = bench(())
    lost: list[str] = []
    real_load, real_query = Client.load_table_from_file, Client._call_api

    def load(client: Any, *args: Any, **named: Any) -> Any:
        job = real_load(client, *args, **named)
        if not lost:
            lost.append("load")
            args[0].seek(0)
            stand.order("request", status=404, reason="notFound", method="GET", holds="/jobs/")  # for a moment
            return real_load(client, *args, **named)
        return job

    def call(client: Any, retry: Any, *args: Any, **named: Any) -> Any:
        sent = named.get("method") == "POST" and str(named.get("path", "")).endswith("/jobs")
        if sent and "script" not in lost and "INSERT INTO" in str(named.get("data")):
            lost.append("script")

            def twice() -> Any:
                if lost.count("script") == 1:
                    lost.append("script")
                    real_query(client, None, *args, **named)
                    raise Broken("the answer is lost")
                return real_query(client, None, *args, **named)

            return retry(twice)() if retry else twice()
        return real_query(client, retry, *args, **named)

    monkeypatch.setattr(Client, "load_table_from_file", load)
    monkeypatch.setattr(Client, "_call_api", call)
    b.apply(b.applier(), b.segment((INSERT, ("1", "a", "1"))))
    assert lost == ["load", "script", "script"]
    assert (b.rows(), b.ledger.position()) == (["1|a|1"], position(2))


@pytest.mark.long
def test_a_load_that_comes_late_fills_nothing(bench: Make, stand: BigQuery) -> None:
    """Its table is gone with the operation; nobody makes it again."""
    from google.cloud import bigquery

    from whimbrel.connectors.bigquery.stage import BigQueryStage

    b = bench()
    session = b.target.connect()  # type: ignore[attr-defined]
    with closing(session):
        stage, columns = BigQueryStage(b.job.operation), [("id", "INT64")]
        name = stage.make(session, columns)
        stage.clear(session)
        with pytest.raises(Exception, match=r"(?i)not found|refused"):
            stage.load(session, b.staged(("1", "a", None)).path, name, columns)
    assert stand.staged(DATASET) == []
    assert bigquery is not None


@pytest.mark.long
def test_a_key_that_is_there_twice_is_told_by_table(bench: Make) -> None:
    b = bench()
    b.put(("1", "a", "1"), ("1", "b", "1"))
    with pytest.raises(ValueRefused, match=rf"{b.targets[0].name}"):
        b.apply(b.applier(), b.segment((UPDATE, ("1", "c", "1"))))
    assert (b.rows(), b.ledger.position()) == (["1|a|1", "1|b|1"], None)


def test_a_dataset_with_a_collation_is_refused(stand: BigQuery) -> None:
    """In its tables 'A' and 'a' would be one key."""
    from google.cloud import bigquery

    name = f"{DATASET}_collated"
    where = {"projectId": stand.client.project, "datasetId": name}
    made = {"datasetReference": where, "defaultCollation": "und:ci"}
    stand.client.create_dataset(bigquery.Dataset.from_api_repr(made))
    checks = engine("bigquery").checks.run(side_of(stand, "bigquery", name, name).endpoint("x"), "target", "data", [])
    told = next(c for c in checks if c.id == "bigquery.collation")
    assert (told.status, name in told.message) == ("fail", True)
    stand.client.delete_dataset(name)
