"""Firebolt with an account: logins, tokens, and files that come through a bucket."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract.bench import Bench
from tests.contract.firebolt import DATABASE, bench, stand
from tests.servers.firebolt import CLIENT, LOCATION, SECRET, Firebolt
from whimbrel.connectors.registry import engine
from whimbrel.errors import (
    AuthenticationFailed,
    ConnectionRefused,
    DatabaseMissing,
    TargetPermissionDenied,
    WhimbrelError,
)
from whimbrel.model.change import INSERT
from whimbrel.model.job import Endpoint

__all__ = ["bench", "stand"]  # fixtures


@pytest.fixture
def account(stand: Firebolt, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An account's parameters; its tokens are given by the stand-in, not by a host of their own."""
    monkeypatch.setattr("firebolt.client.client.get_auth_endpoint", lambda url: url)
    return stand.of_account(DATABASE)


def test_logins(stand: Firebolt, account: dict[str, str]) -> None:
    def refused(**change: str) -> WhimbrelError:
        with pytest.raises(WhimbrelError) as told:
            engine("firebolt").test(Endpoint("t", "firebolt", {**account, **change}))
        assert SECRET not in str(told.value.to_json())
        return told.value

    assert engine("firebolt").test(Endpoint("t", "firebolt", account)).title.startswith("Firebolt 4")
    assert type(refused(client_secret="wrong")) is AuthenticationFailed
    assert type(refused(database="nowhere")) is DatabaseMissing
    for change in ({"account_name": "nobody"}, {"engine": "none"}):
        found = refused(**change)
        assert type(found) is ConnectionRefused
        assert next(iter(change)).partition("_")[0] in found.how_to_fix
    core = {**stand.parameters(DATABASE), "database": "nowhere"}
    with pytest.raises(DatabaseMissing):
        engine("firebolt").test(Endpoint("t", "firebolt", core))
    assert CLIENT


def test_a_login_waits_for_no_answer_without_end(account: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for its token nor for USE, of which the driver has no bound."""
    from firebolt.client.http_backend import KeepaliveTransport

    bounds, real = [], KeepaliveTransport.handle_request

    def handle(transport: Any, request: Any) -> Any:
        bounds.append((str(request.url), request.extensions.get("timeout", {}).get("read")))
        return real(transport, request)

    monkeypatch.setattr(KeepaliveTransport, "handle_request", handle)
    engine("firebolt").test(Endpoint("t", "firebolt", account))
    assert len(bounds) > 3
    assert [url for url, read in bounds if read is None] == []


def test_a_token_that_ends_is_renewed_amid_a_transaction(tmp_path: Path, account: dict[str, str]) -> None:
    from whimbrel.connectors.firebolt.connection import connect

    brief = Firebolt(tmp_path / "brief", token_seconds=1).start()
    try:
        with closing(connect({**account, "api_endpoint": brief.url, "database": "firebolt"}, "brief")) as session:
            session.execute("CREATE TABLE public.t (a INT NULL)")
            session.begin()
            session.execute("INSERT INTO public.t VALUES (1)")
            threading.Event().wait(1.5)
            session.execute("INSERT INTO public.t VALUES (2)")
            session.commit()
            assert session.query("SELECT COUNT(*) FROM public.t") == [(2,)]
    finally:
        brief.stop()


def through_the_bucket(bench: Bench, account: dict[str, str]) -> Any:
    job = replace(bench.job, target=Endpoint("account", "firebolt", account))
    return bench.engine.target(job.target, job.operation), job


def test_files_come_through_a_bucket_and_leave_it(stand: Firebolt, bench: Bench, account: dict[str, str]) -> None:
    target, job = through_the_bucket(bench, account)
    first, second = bench.plan(2)
    with closing(target), closing(target.open_loader(job)) as loader:
        assert bench.load(first, bench.staged(("1", "a", None), ("2", "b", "2")), loader=loader) == 2
        assert bench.load(second, bench.staged(("2", "c", "3")), upsert=True, loader=loader) == 1
        assert bench.rows() == ["1|a|NULL", "2|c|3"]
        with closing(target.open_applier(job, bench.tables, bench.targets)) as applier:
            bench.apply(applier, bench.segment((INSERT, ("4", "d", None))))
        assert stand.staged() == []
        with closing(target.connect()) as session:
            target.stage().put(session, bench.staged(("9", "z", None)).path)
        assert len(stand.staged()) == 1
        target.cleanup(job)
        assert stand.staged() == []
        stand.order("upload", match="_s3", status=403, times=9)
        with pytest.raises(TargetPermissionDenied, match=r"s3://lake") as told:
            bench.load(bench.plan(1)[0], bench.staged(("5", "e", None)), loader=loader)
        assert "stage_credentials" in told.value.how_to_fix
    checks = engine("firebolt").checks
    stand.no_faults()
    assert {c.status for c in checks.run(job.target, "target", "data", [])} == {"ok"}


def test_an_account_without_a_bucket_is_told_to_give_one(account: dict[str, str]) -> None:
    bare = {k: v for k, v in account.items() if not k.startswith("stag")}
    found = {c.id: c for c in engine("firebolt").checks.run(Endpoint("t", "firebolt", bare), "target", "data", [])}
    assert found["firebolt.staging"].status == "fail"
    assert "staging_location" in found["firebolt.staging"].remedy
    missing = Endpoint("t", "firebolt", {**account, "staging_location": "nowhere"})
    found = {c.id: c for c in engine("firebolt").checks.run(missing, "target", "data", [])}
    assert "nowhere" in found["firebolt.staging"].message
    assert LOCATION
