"""Commands that start operations on a migration, or pause, resume and look at them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from whimbrel.cli import show, watch
from whimbrel.cli.client import ApiClient, path
from whimbrel.cli.session import current

Name = Annotated[str, typer.Argument(help="The migration.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an earlier operation stood.")]
Position = Annotated[str | None, typer.Option(help="Where in the source's log to start.")]
RequestId = Annotated[str | None, typer.Option(help="A UUID; sent twice it starts once.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show live progress until it ends.")]

schema = typer.Typer(no_args_is_help=True, help="Definitions: extract them from the source, apply them to the target.")
objects = typer.Typer(no_args_is_help=True, help="What is not a table: indexes, foreign keys, views and the rest.")


@schema.command("extract")
def extract(name: Name, request_id: RequestId = None) -> None:
    """Write the migration's SQL files."""
    done = _start(name, "schema/extract", {}, request_id)
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
    done = _start(name, "schema/apply", {"sql_file": sql_file} if sql_file else {}, request_id)
    show.result(done, f"{done['tables_created']} tables created")


@objects.command("apply")
def apply_objects(name: Name, request_id: RequestId = None) -> None:
    """Create them on the target. Exit code 1 when some failed."""
    done = _start(name, "objects/apply", {}, request_id)
    rows = [o for o in done.get("objects") or () if o.get("error")]
    show.result(done, f"{done['objects_succeeded']} succeeded, {done['objects_failed']} failed")
    if rows and not current().as_json:
        show.table(done, rows, ("name", "kind", "error"))
    if done["objects_failed"]:
        raise typer.Exit(show.FAILED)


def data(name: Name, resume: Resume = False, request_id: RequestId = None, watch: Watch = False) -> None:
    """Load all rows."""
    _begin(name, "data", {"resume": resume}, request_id, watch)


def replicate(
    name: Name,
    resume: Resume = False,
    position: Position = None,
    request_id: RequestId = None,
    watch: Watch = False,
) -> None:
    """Replicate changes until it is cancelled."""
    _begin(name, "replication", _change_body(resume, position), request_id, watch)


def replicate_queue(
    name: Name,
    resume: Resume = False,
    position: Position = None,
    request_id: RequestId = None,
    watch: Watch = False,
) -> None:
    """Send changes to the queue of a migration without a database target until it is cancelled."""
    _begin(name, "replication-queue", _change_body(resume, position), request_id, watch)


def data_replication(
    name: Name,
    resume: Resume = False,
    position: Position = None,
    request_id: RequestId = None,
    watch: Watch = False,
) -> None:
    """Load all rows, then replicate every change since."""
    _begin(name, "data-replication", _change_body(resume, position), request_id, watch)


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
    mode: Annotated[str, typer.Option(help="drop, truncate or metadata")] = "drop",
    request_id: RequestId = None,
) -> None:
    """Drop or empty the migration's tables on the target, or forget its progress."""
    show.result(_start(name, "reset", {"mode": mode}, request_id))


def validate(
    name: Name,
    sample: Annotated[int, typer.Option(help="Percent of the rows to compare.", min=0, max=100)] = 100,
    request_id: RequestId = None,
) -> None:
    """Compare source and target. Exit code 1 when they differ."""
    done = _start(name, "validate", {"sample_percent": sample}, request_id)
    columns = ("table", "status", "source_rows", "target_rows", "missing", "extra", "different", "method")
    show.table(done, done["tables"], columns)
    if not done["valid"]:
        raise typer.Exit(show.FAILED)


def status(name: Name, live: Watch = False) -> None:
    """What runs on the migration, or how the last operation ended."""
    if live:
        raise typer.Exit(watch.migration(name))
    with current().client() as api:
        found = api.get(path("migrations", name, "status"))
    if current().as_json:
        show.result(found)
    else:
        watch.print_once(found)


def _feeds_queue(api: ApiClient, name: str) -> bool:
    """Whether what runs is the replication into a queue alone, which other endpoints pause."""
    running = api.get(path("migrations", name, "status"))["operation"]
    return bool(running) and running["mode"] == "change-queue"


def _start(name: str, what: str, body: dict[str, Any], request_id: str | None) -> Any:
    with current().client() as api:
        return api.start(path("migrations", name, *what.split("/")), body, request_id)


def _begin(name: str, what: str, body: dict[str, Any], request_id: str | None, follow: bool) -> None:
    started = _start(name, what, body, request_id)
    show.result(started, f"operation {started['operation_id']} is {started['status']}")
    if follow:
        raise typer.Exit(watch.operation(started["operation_id"]))


def _change_body(resume: bool, position: str | None) -> dict[str, Any]:
    return {"resume": resume, **({"position": position} if position else {})}
