"""A new key for the stored secrets, while others read and write them, and crashes between the steps."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.servers.process import wait_until
from tests.unit.catalog.conftest import MARKER
from whimbrel.catalog import keyring, rotation
from whimbrel.catalog.home import secret_key_file
from whimbrel.catalog.records import EndpointRecord
from whimbrel.catalog.store import Catalog
from whimbrel.catalog.vault import key_of
from whimbrel.errors import InvalidRequest, SecretsUnreadable

Open = Callable[[], Catalog]


def password(catalog: Catalog, name: str = "old") -> str:
    return str(catalog.get_source(name).parameters["password"])


def keys(catalog: Catalog) -> list[str]:
    return secret_key_file(catalog.home).read_text().split()


def used(catalog: Catalog) -> set[str | None]:
    """The ids of the keys that the stored secrets name."""
    with catalog._database.read() as connection:
        return {key_of(s) for s in connection.scalars(sa.text("SELECT secrets FROM endpoint"))}


def test_everything_is_sealed_anew_and_the_old_key_is_gone(shop: Catalog, open_catalog: Open) -> None:
    before, file = used(shop), secret_key_file(shop.home)
    old = keys(shop)
    done = shop.rotate_secrets()
    assert done is not None
    assert (done.sealed, done.lost, used(shop)) == (2, (), {done.key})
    assert done.key not in before
    assert len(keys(shop)) == 1
    assert keys(shop) != old
    assert file.stat().st_mode & 0o777 == 0o600
    assert password(shop) == password(open_catalog()) == MARKER


def test_processes_that_run_pick_the_new_key_up(shop: Catalog, open_catalog: Open) -> None:
    """One that has read and one that has not; reading and writing."""
    reader, writer = open_catalog(), open_catalog()
    assert password(reader) == MARKER
    for round in range(3):
        done = shop.rotate_secrets()
        assert done is not None
        writer.put_source(EndpointRecord(f"s{round}", "mysql", {"password": MARKER}))
        assert used(shop) == {done.key}
        assert password(reader) == password(reader, f"s{round}") == MARKER


def test_reading_and_writing_go_on_meanwhile(shop: Catalog, open_catalog: Open) -> None:
    stop, failed, catalogs = threading.Event(), [], [open_catalog() for _ in range(4)]

    def work(number: int) -> None:
        catalog, i = catalogs[number], 0
        try:
            while not stop.is_set():
                i += 1
                if number % 2:
                    catalog.put_source(EndpointRecord(f"s{number}", "mysql", {"password": f"{MARKER}{i}"}))
                assert [s for s in catalog.list_sources() if not str(s.parameters["password"]).startswith(MARKER)] == []
        except Exception as e:
            failed.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        shop.rotate_secrets()
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(used(shop)) == 1


@pytest.mark.parametrize("step", ["change", "keep_only"])
def test_a_crash_before_each_step(
    shop: Catalog, open_catalog: Open, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Everything works in between, and the next rotation finishes what was begun."""

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(keyring if step == "change" else rotation, step, crash)
    with pytest.raises(KeyboardInterrupt):
        shop.rotate_secrets()
    monkeypatch.undo()
    assert len(keys(shop)) == 2
    for catalog in (shop, open_catalog()):
        assert password(catalog) == MARKER
        catalog.put_source(EndpointRecord("more", "mysql", {"password": MARKER}))
        assert password(open_catalog(), "more") == MARKER
    prepared = keys(shop)[1]
    done = shop.rotate_secrets()
    assert done is not None
    assert keys(shop) == [prepared]
    assert used(shop) == {done.key}


def test_a_process_killed_while_the_catalog_makes_it_wait(shop: Catalog, open_catalog: Open) -> None:
    """SIGKILL after the key file was written and before the catalog has changed."""
    before = used(shop)
    program = (
        "from whimbrel.catalog.store import Catalog; c = Catalog.open(); print(input()); input(); c.rotate_secrets()"
    )
    url = shop._database._engine.url
    env = {**os.environ, "WHIMBREL_HOME": str(shop.home)}
    if url.get_backend_name() != "sqlite":
        env["WHIMBREL_CATALOG_URL"] = url.render_as_string(hide_password=False)
    argv = [sys.executable, "-u", "-c", program]
    child = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("opened\n")
    child.stdin.flush()
    assert child.stdout.readline() == "opened\n"
    with shop._database.write() as connection:
        connection.execute(sa.text("UPDATE sealing_key SET key = key"))
        child.stdin.write("go on\n")
        child.stdin.flush()
        try:
            wait_until(lambda: len(keys(shop)) == 2, 30, "the new key to be in the file")
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(10)
    assert used(shop) == before
    assert password(open_catalog()) == MARKER
    shop.rotate_secrets()
    assert used(shop) != before
    assert len(keys(shop)) == 1
    assert password(open_catalog()) == MARKER


def test_a_key_can_be_prepared_and_carried_to_other_machines(shop: Catalog) -> None:
    before = used(shop)
    assert shop.rotate_secrets(prepare_only=True) is None
    assert shop.rotate_secrets(prepare_only=True) is None
    assert (len(keys(shop)), used(shop)) == (2, before)
    shop.rotate_secrets()
    assert used(shop) != before


def test_a_lost_key(shop: Catalog, open_catalog: Open) -> None:
    secret_key_file(shop.home).unlink()
    catalog = open_catalog()
    with pytest.raises(SecretsUnreadable, match="not here"):  # others may still have the key: nothing is mixed
        catalog.put_source(EndpointRecord("old", "postgres", {"password": "new"}))
    with pytest.raises(SecretsUnreadable, match="source/old, target/new"):
        catalog.rotate_secrets()
    done = catalog.rotate_secrets(forget_lost=True)
    assert done is not None
    assert sorted(done.lost) == ["source/old", "target/new"]
    catalog.put_source(EndpointRecord("old", "postgres", {"password": "new"}))
    assert password(open_catalog()) == "new"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def set_keys(letters: str) -> None:
        texts = [base64.b64encode(letter.encode() * 32).decode() for letter in letters]
        monkeypatch.setenv("WHIMBREL_SECRET_KEY", ",".join(texts))

    return set_keys


def test_keys_of_the_environment(given: Callable[[str], None], open_catalog: Open) -> None:
    given("a")
    catalog = open_catalog()
    catalog.put_source(EndpointRecord("old", "postgres", {"password": MARKER}))
    with pytest.raises(InvalidRequest, match="in use already"):
        catalog.rotate_secrets()
    given("ab")
    catalog.rotate_secrets()
    given("b")
    assert password(open_catalog()) == MARKER
    assert not secret_key_file(catalog.home).exists()


def test_a_catalog_of_before_knows_its_key(shop: Catalog, open_catalog: Open) -> None:
    """Written by a release without the table: the first seal takes the key that the others name."""
    with shop._database.write() as connection:
        connection.execute(sa.text("DELETE FROM sealing_key"))
    shop.rotate_secrets(prepare_only=True)
    catalog = open_catalog()
    catalog.put_source(EndpointRecord("more", "mysql", {"password": MARKER}))
    assert len(used(shop)) == 1


def test_the_command(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with_secret = Catalog.open(home)
    with_secret.put_source(EndpointRecord("old", "postgres", {"password": MARKER}))
    argv = [sys.executable, "-m", "whimbrel.cli.main", "keys", "rotate-secrets"]
    done = subprocess.run(argv, env={**os.environ, "WHIMBREL_HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 sources and targets are encrypted with the new key" in done.stdout
    assert MARKER not in done.stdout + done.stderr
    assert keys(with_secret)[0] not in done.stdout
    assert password(with_secret) == MARKER
    with_secret.close()
    shutil.rmtree(home)
