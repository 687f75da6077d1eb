"""Commands that start operations on a migration, or pause, resume and look at them."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer

from whimbrel.cli import show, watch
from whimbrel.cli.contract import Contract
from whimbrel.cli.session import current
from whimbrel.cli.shapes import ReplicationBody, SchemaApplyBody, Started, StartedQueue

Name = Annotated[str, typer.Argument(help="The migration.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an earlier operation stood.")]
Position = Annotated[str | None, typer.Option(help="Where in the source's log to start; from now unless told.")]
RequestId = Annotated[str | None, typer.Option(help="A UUID; sent twice it starts once.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show live progress until it ends.")]

schema = typer.Typer(no_args_is_help=True, help="Definitions: extract them from the source, apply them to the target.")
objects = typer.Typer(no_args_is_help=True, help="What is not a table: indexes, foreign keys, views and the rest.")

COMPARED = ("table", "status", "source_rows", "target_rows", "missing", "extra", "different", "method")
REPAIRED = ("table", "named", "already_equal", "repaired", "left", "unnamed")


@schema.command("extract")
def extract(name: Name, request_id: RequestId = None) -> None:
    """Write the migration's SQL files."""
    with current().client() as api, _awaited(request_id) as id:
        done = api.extract_schema(name, id)
    show.result(done, f"{done['tables']} tables: {done['sql_file']}")
    if not current().as_json:
        for note in done.get("notes") or ():
            current().console.print(f"  {note}", markup=False, soft_wrap=True)


@schema.command("apply")
def apply(
    name: Name,
    sql_file: Annotated[str | None, typer.Option(help="Another file than the extracted one, on the server.")] = None,
    request_id: RequestId = None,
) -> None:
    """Create the tables on the target."""
    body: SchemaApplyBody = {"sql_file": sql_file}
    with current().client() as api, _awaited(request_id) as id:
        done = api.apply_schema(name, body, id)
    show.result(done, f"{done['tables_created']} tables created")


@objects.command("apply")
def apply_objects(name: Name, request_id: RequestId = None) -> None:
    """Create them on the target. Exit code 1 when some failed."""
    with current().client() as api, _awaited(request_id) as id:
        done = api.apply_objects(name, id)
    show.result(done, f"{done['objects_succeeded']} succeeded, {done['objects_failed']} failed")
    rows = [{**o, "error": o["error"]["message"]} for o in done["objects"] if o["error"]]
    if rows and not current().as_json:
        show.table(done, rows, ("name", "kind", "error"))
    if done["objects_failed"]:
        raise typer.Exit(show.FAILED)


def data(name: Name, resume: Resume = False, request_id: RequestId = None, watch: Watch = False) -> None:
    """Load all rows."""
    with current().client() as api:
        started = api.start_data(name, {"resume": resume}, request_id)
    _begun(started, watch)


def replicate(
    name: Name,
    resume: Resume = False,
    position: Position = None,
    request_id: RequestId = None,
    watch: Watch = False,
) -> None:
    """Replicate changes until it is cancelled."""
    with current().client() as api:
        started = api.start_replication(name, _change_body(resume, position), request_id)
    _begun(started, watch)


def replicate_queue(
    name: Name,
    resume: Resume = False,
    position: Position = None,
    request_id: RequestId = None,
    watch: Watch = False,
) -> None:
    """Send changes to the queue of a migration without a database target until it is cancelled."""
    with current().client() as api:
        started = api.start_replication_queue(name, _change_body(resume, position), request_id)
    _begun(started, watch)


def data_replication(name: Name, resume: Resume = False, request_id: RequestId = None, watch: Watch = False) -> None:
    """Load all rows, then replicate every change since."""
    with current().client() as api:
        started = api.start_data_replication(name, {"resume": resume}, request_id)
    _begun(started, watch)


def pause(name: Name) -> None:
    """Let the running replication come to rest; returns once it has."""
    with current().client() as api:
        done = api.pause_replication_queue(name) if _feeds_queue(api, name) else api.pause_replication(name)
    show.result(done, f"{name} is paused")


def resume(name: Name) -> None:
    """Let a paused replication go on."""
    with current().client() as api:
        done = api.resume_replication_queue(name) if _feeds_queue(api, name) else api.resume_replication(name)
    show.result(done, f"{name} goes on")


def reset(
    name: Name,
    mode: Annotated[
        Literal["drop", "truncate", "metadata"],
        typer.Option(help="drop or empty the target's tables; metadata forgets the progress alone."),
    ] = "drop",
    force: Annotated[
        bool, typer.Option("--force", help="Also tables that this migration neither made nor loaded.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")] = False,
    request_id: RequestId = None,
) -> None:
    """Drop or empty the migration's tables on the target, or forget its progress. Asks first."""
    if not yes:
        whose = "all tables" if force else "the tables that it made or loaded"
        what = "forget the progress" if mode == "metadata" else f"{mode} {whose} on the target"
        if not on_a_terminal():
            raise typer.BadParameter("there is no terminal to ask on; --yes says that you mean it", param_hint="--yes")
        typer.confirm(f"{what} of migration {name}?", abort=True, err=True)
    with current().client() as api, _awaited(request_id) as id:
        done = api.reset(name, {"mode": mode, "force": True} if force else {"mode": mode}, id)
    show.result(done)
    if done.get("drop_failed") or done.get("truncate_failed") or done.get("tables_left"):
        raise typer.Exit(show.FAILED)


def validate(
    name: Name,
    sample: Annotated[int, typer.Option(help="Percent of the rows to compare.", min=0, max=100)] = 100,
    repair: Annotated[
        bool, typer.Option("--repair", help="Compare nothing; put right the rows that the last comparison named.")
    ] = False,
    request_id: RequestId = None,
) -> None:
    """Compare source and target. Exit code 1 when they differ."""
    with current().client() as api, _awaited(request_id) as id:
        done = api.validate_data(name, {"repair": True} if repair else {"sample_percent": sample}, id)
    show.table(done, done["tables"], REPAIRED if repair else COMPARED)
    if not done["valid"]:
        raise typer.Exit(show.FAILED)


def status(name: Name, live: Watch = False) -> None:
    """What runs on the migration, or how the last operation ended."""
    if live:
        raise typer.Exit(watch.migration(name))
    with current().client() as api:
        found = api.status(name)
    if current().as_json:
        show.result(found)
    else:
        watch.print_once(found)


def on_a_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def _feeds_queue(api: Contract, name: str) -> bool:
    """Whether what runs is the replication into a queue alone, which other endpoints pause."""
    running = api.status(name)["operation"]
    return running is not None and running["mode"] == "change-queue"


@contextmanager
def _awaited(request_id: str | None) -> Iterator[str]:
    """The id of an operation that we wait for; Ctrl-C ends the waiting alone, and says so."""
    id = request_id or str(uuid.uuid4())
    try:
        yield id
    except KeyboardInterrupt:
        show.goes_on(id)
        raise


def _begun(started: Started | StartedQueue, follow: bool) -> None:
    if not (follow and current().as_json):
        show.result(started, f"operation {started['operation_id']} is {started['status']}")
    if follow:
        raise typer.Exit(watch.operation(started["operation_id"]))


def _change_body(resume: bool, position: str | None) -> ReplicationBody:
    return {"resume": resume, "position": position} if position else {"resume": resume}
