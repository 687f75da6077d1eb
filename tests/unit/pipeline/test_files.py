"""Links in a working directory, which somebody may have put there, are not followed."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from whimbrel.catalog.home import write_private
from whimbrel.errors import InvalidRequest, NotExtracted, SchemaFailed
from whimbrel.pipeline import schema
from whimbrel.pipeline.files import read_unlinked, replace_file, require_unlinked
from whimbrel.pipeline.load.staging import Staging
from whimbrel.pipeline.packet import write_packet


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    file = tmp_path / "theirs"
    file.write_text("precious")
    return file


@pytest.mark.parametrize("write", [replace_file, write_private])
def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path, theirs: Path, write: Any) -> None:
    file = tmp_path / "work" / "tables-schema.sql"
    file.parent.mkdir()
    file.symlink_to(theirs)
    write(file, b"create table t;")
    assert (file.read_text(), file.is_symlink(), theirs.read_text()) == ("create table t;", False, "precious")
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(file.parent) == [file.name]


def test_a_linked_folder_is_not_written_in(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    workdir = tmp_path / "work"
    workdir.symlink_to(elsewhere)
    job: Any = SimpleNamespace(workdir=workdir, operation="op")
    for attempt in (
        lambda: write_packet(workdir, "m", None, data_complete=True),
        lambda: replace_file(workdir / "a", b""),
        lambda: require_unlinked(workdir),
        Staging(job).open,
    ):
        with pytest.raises(InvalidRequest, match="symbolic link"):
            attempt()
    assert os.listdir(elsewhere) == []


def test_a_linked_staging_folder_is_not_written_in(tmp_path: Path) -> None:
    elsewhere, workdir = tmp_path / "elsewhere", tmp_path / "work"
    elsewhere.mkdir()
    workdir.mkdir()
    (workdir / "staging").symlink_to(elsewhere)
    job: Any = SimpleNamespace(workdir=workdir, operation="op")
    with pytest.raises(InvalidRequest, match="symbolic link"):
        Staging(job).open()
    assert os.listdir(elsewhere) == []


def test_a_linked_script_is_not_run(tmp_path: Path, theirs: Path) -> None:
    (tmp_path / schema.TABLES).symlink_to(theirs)
    with pytest.raises(OSError, match="symbolic links"):
        read_unlinked(tmp_path / schema.TABLES)
    job: Any = SimpleNamespace(workdir=tmp_path)
    with pytest.raises(SchemaFailed, match="cannot be read"):
        schema.apply_schema(job, SimpleNamespace(phase=lambda _: None), None)


def test_a_script_that_was_never_extracted(tmp_path: Path) -> None:
    job: Any = SimpleNamespace(workdir=tmp_path)
    with pytest.raises(NotExtracted, match="does not exist"):
        schema.apply_schema(job, SimpleNamespace(phase=lambda _: None), None)
