"""The file of all keys that a comparison found: whole or not there, bounded, and only the newest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from whimbrel.pipeline.validation.findings import Findings, named_by


def keys(*numbers: int) -> pa.Table:
    return pa.table({"k0": [str(n) for n in numbers], "missing": [1] * len(numbers)})


def test_what_was_written_is_read_back_in_parts(tmp_path: Path) -> None:
    findings = Findings(tmp_path, "one")
    findings.add("a.b", keys(1, 2, 3))
    findings.add("a.c", pa.table({"hash": [7], "missing": [1]}))
    findings.add("a.b", keys(4))
    assert named_by(tmp_path, "one") is None, "not before it is whole"
    findings.finish()
    findings.abandon()
    named = named_by(tmp_path, "one")
    assert named is not None
    assert list(named.keys("a.b", 2)) == [[("1",), ("2",)], [("3",)], [("4",)]]
    assert list(named.keys("a.c", 2)) == [[(7,)]]
    assert list(named.keys("nowhere", 2)) == []
    files = list((tmp_path / "differences" / "one").iterdir())
    assert {p.stat().st_mode & 0o077 for p in files} == {0}


def test_only_the_newest_whole_one_stays(tmp_path: Path) -> None:
    for operation in ("one", "two"):
        Findings(tmp_path, operation).finish()
    killed = Findings(tmp_path, "three")
    killed.add("a.b", keys(1))
    assert (named_by(tmp_path, "one"), named_by(tmp_path, "three")) == (None, None)
    assert named_by(tmp_path, "two") is not None
    again = Findings(tmp_path, "three")  # a retry of the same operation
    again.abandon()
    assert [p.name for p in (tmp_path / "differences").iterdir()] == ["two"]


def test_a_full_disk_costs_the_names_of_a_table_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = Findings(tmp_path, "one")
    findings.add("a.b", keys(1))
    findings.add("a.c", keys(1))

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(findings._files["a.b"], "_writer", SimpleNamespace(write_table=full))
        findings.add("a.b", keys(2))
    findings.add("a.b", keys(3))
    findings.finish()
    named = named_by(tmp_path, "one")
    assert named is not None
    assert (list(named.keys("a.b", 9)), named.complete("a.b")) == ([], False)
    assert (list(named.keys("a.c", 9)), named.complete("a.c")) == ([[("1",)]], True)


def test_beyond_the_bound_rows_are_not_named_and_that_is_known(tmp_path: Path) -> None:
    findings = Findings(tmp_path, "one", most_bytes=100)
    findings.add("a.b", keys(*range(5)))
    findings.add("a.b", keys(*range(1000)))
    findings.add("a.c", keys(*range(1000)))
    findings.finish()
    named = named_by(tmp_path, "one")
    assert named is not None
    assert [len(part) for part in named.keys("a.b", 1000)] == [5]
    assert (named.complete("a.b"), named.complete("a.c"), named.complete("equal")) == (False, False, True)
    assert list(named.keys("a.c", 10)) == []
