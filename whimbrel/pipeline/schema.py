"""Schema extract and apply, and the other objects."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whimbrel.errors import NotExtracted, SchemaFailed, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.pipeline import unmoved
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.files import read_unlinked, replace_file
from whimbrel.pipeline.pair import open_pair, open_target
from whimbrel.pipeline.stalls import Stalls

TABLES, OBJECTS, DROPS = "tables-schema.sql", "objects-schema.sql", "drop-tables.sql"


@dataclass(frozen=True)
class SchemaExtract:
    """``notes`` are the declared lossy mappings and what is not moved at all, one line each; they also stand at the
    head of the file."""

    sql_file: str
    tables: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ObjectsApplied:
    """``objects`` has ``{"name", "kind", "status", "error"}`` for each statement tried."""

    succeeded: int
    failed: int
    objects: tuple[dict[str, Any], ...]


def extract_schema(job: Job, control: Control) -> SchemaExtract:
    """Write the three SQL files into the working directory, in the target's dialect, and what is not moved beside them,
    in the source's."""
    control.phase("schema")
    with Stalls(job, control), open_pair(job) as pair:
        pair.require_columns()
        rendered = pair.target.render(pair.tables, pair.schemas, job.source.type)
        left = pair.source.objects([t.name for t in pair.tables])
        notes = (*rendered.notes, *unmoved.notes(left))
        _write(job.workdir / TABLES, rendered.tables, notes)
        _write(job.workdir / OBJECTS, rendered.objects, ())
        _write(job.workdir / DROPS, rendered.drops, ())
        _write(
            job.workdir / unmoved.FILE, unmoved.script(left), ("what the source has beside tables; nothing runs this",)
        )
        for note in notes:
            control.log("extractor", note)
        control.log("extractor", f"{len(pair.tables)} tables written to {job.workdir / TABLES}")
        return SchemaExtract(str(job.workdir / TABLES), len(pair.tables), notes)


def _write(path: Path, statements: Iterable[str], notes: Iterable[str]) -> None:
    head = "".join(f"-- note: {' '.join(n.splitlines())}\n" for n in notes)
    body = "\n\n".join(s.rstrip().rstrip(";") + ";" for s in statements)
    replace_file(path, f"{head}{body}\n".encode())


def apply_schema(job: Job, control: Control, sql_file: Path | None) -> int:
    """Run the tables script on the target and return how many tables of the migration it made. Idempotent.

    Raises NotExtracted when the file does not exist, SchemaFailed when it or a statement fails.
    """
    control.phase("schema")
    path = sql_file or job.workdir / TABLES
    try:
        sql = (path.read_bytes() if sql_file else read_unlinked(path)).decode()
    except FileNotFoundError:
        raise NotExtracted(f"{path} does not exist") from None
    except OSError as e:
        raise SchemaFailed(f"{path} cannot be read: {e.strerror}") from e
    except UnicodeDecodeError:
        raise SchemaFailed(f"{path} is not UTF-8 text") from None
    with Stalls(job, control), open_pair(job) as pair:
        names = [t.name for t in pair.target_tables]
        before = set(pair.target.existing(names))
        try:
            pair.target.execute_script(sql)
        finally:  # a script that fails half way may leave tables
            new = [name for name in pair.target.existing(names) if name not in before]
            if new:
                with closing(pair.target.ledger(job.migration)) as ledger:
                    ledger.own(new)
        made = len(new)
        control.log("loader", f"{path.name}: {made} tables created, {len(before)} were there already")
        for difference in pair.target.differences(pair.target_tables):
            control.log("loader", f"the target differs: {difference}")
        return made


def apply_objects(job: Job, control: Control) -> ObjectsApplied:
    """Run objects-schema.sql, each statement on its own, again and again as long as a round makes progress."""
    control.phase("objects")
    with Stalls(job, control), open_pair(job) as pair, open_target(job) as target:
        waiting = list(pair.target.render(pair.tables, pair.schemas, job.source.type).objects)
        done: list[str] = []
        errors: dict[str, WhimbrelError] = {}
        while waiting:
            failed: list[str] = []
            for statement in waiting:
                control.check()
                try:
                    target.execute_script(statement)
                except SchemaFailed as e:
                    errors[statement] = e
                    failed.append(statement)
                else:
                    done.append(statement)
            if len(failed) == len(waiting):
                break
            waiting = failed
        results = [_object(s, None) for s in done] + [_object(s, errors[s]) for s in waiting]
        return ObjectsApplied(len(done), len(waiting), tuple(results))


def _object(statement: str, error: WhimbrelError | None) -> dict[str, Any]:
    first = statement.strip().splitlines()[0]
    words = first.split()
    kind = next((w.lower() for w in words[1:] if w.upper() in _KINDS), words[0].lower() if words else "statement")
    return {
        "name": first[:120],
        "kind": kind,
        "status": "failed" if error else "ok",
        "error": error.to_json() if error else None,
    }


_KINDS = frozenset({"INDEX", "CONSTRAINT", "SEQUENCE", "COMMENT", "VIEW", "FUNCTION", "PROCEDURE", "TRIGGER", "TABLE"})
