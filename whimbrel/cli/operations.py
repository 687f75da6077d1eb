"""``whimbrel operations …``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from whimbrel.cli import show
from whimbrel.cli.session import current
from whimbrel.cli.shapes import OperationEnded

app = typer.Typer(no_args_is_help=True, help="List, look at, cancel and stop operations.")

Status = Literal["running", "completed", "failed", "cancelled", "stopped"]
Mode = Literal[
    "data",
    "change",
    "change-queue",
    "data-replication",
    "schema-extract",
    "schema-apply",
    "objects-apply",
    "reset",
    "validate",
]
Id = Annotated[str, typer.Argument(help="The operation's id.")]

Release = Annotated[
    bool, typer.Option("--release", help="Also let go of the log that the source keeps for whoever goes on.")
]


@app.command("list")
def list_all(
    migration: Annotated[str | None, typer.Option(help="Only those of this migration.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only those that are.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="Only those that do this.")] = None,
    page_size: Annotated[int | None, typer.Option(help="How many at once; 50 unless told.", min=1, max=200)] = None,
    page_token: Annotated[str | None, typer.Option(help="What the page before gave as next.")] = None,
) -> None:
    """Show operations, the newest first."""
    with current().client() as api:
        found = api.list_operations(
            migration=migration, status=status, mode=mode, page_size=page_size, page_token=page_token
        )
    show.table(
        found, found["operations"], ("operation_id", "migration", "mode", "status", "phase", "started_at", "duration")
    )
    if found["next_page_token"] and not current().as_json:
        current().console.print(f"[dim]{found['total']} in all; more with --page-token {found['next_page_token']}[/]")


@app.command("get")
def get(id: Id) -> None:
    """Show one with its result, error and logs."""
    with current().client() as api:
        show.result(api.get_operation(id))


@app.command("cancel")
def cancel(id: Id, release: Release = False) -> None:
    """Let it finish what it has in hand, clean up and end."""
    with current().client() as api:
        done = api.cancel_operation(id, {"release": release})
    show.result(done, _ended(done))


@app.command("stop")
def stop(id: Id, release: Release = False) -> None:
    """End it at once and clean up behind it."""
    with current().client() as api:
        done = api.stop_operation(id, {"release": release})
    show.result(done, _ended(done))


def _ended(done: OperationEnded) -> str:
    sentence = f"operation {done['operation_id']} is {done['status']}"
    return f"{sentence}; {show.held(done['held'], done['operation_id'])}" if done["held"] else sentence
