"""``whimbrel migration …``, ``prereqs`` and ``check``: what is to move, and whether it can."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from whimbrel.cli import show
from whimbrel.cli.client import path
from whimbrel.cli.parameters import split
from whimbrel.cli.session import current

app = typer.Typer(no_args_is_help=True, help="Create, look at and delete migrations.")

Name = Annotated[str, typer.Argument(help="The migration.")]
Mode = Annotated[str, typer.Option(help="data, replication or data+replication")]


@app.command("put")
def put(
    name: Name,
    source: Annotated[str, typer.Option(help="Name of the source.")],
    table: Annotated[list[str], typer.Option("--table", "-t", help="schema.table or schema.*; may be repeated.")],
    target: Annotated[str | None, typer.Option(help="Name of the database target.")] = None,
    queue: Annotated[str | None, typer.Option(help="Name of the queue target.")] = None,
    threads: Annotated[int | None, typer.Option(help="Readers and writers at once.")] = None,
    rows_per_file: Annotated[int | None, typer.Option(help="At most so many rows in a staged file.")] = None,
    rename: Annotated[list[str] | None, typer.Option("--rename", help="schema=target_schema; may be repeated.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose-log", help="More lines in the operations' logs.")] = False,
) -> None:
    """Create or replace it."""
    optional = {
        "fileTarget": target,
        "queueTarget": queue,
        "threads": threads,
        "rows_per_file": rows_per_file,
        "schema_rename": dict(split(pair, "--rename") for pair in rename) if rename else None,
        "logDetail": "verbose" if verbose else None,
    }
    body = {"source": source, "tables": table, **{k: v for k, v in optional.items() if v is not None}}
    with current().client() as api:
        show.result(api.put(path("migrations", name), body), f"migration {name} is saved")


@app.command("get")
def get(name: Name) -> None:
    """Show it."""
    with current().client() as api:
        show.result(api.get_migration(name))


@app.command("list")
def list_all() -> None:
    """Show all."""
    with current().client() as api:
        found = api.list_migrations()
    show.table(found, found["migrations"], ("name", "source", "fileTarget", "queueTarget", "tables"))


@app.command("delete")
def delete(name: Name) -> None:
    """Delete it with its working directory and what it left on the source."""
    with current().client() as api:
        show.result(api.delete_migration(name), f"migration {name} is deleted")


def prereqs(name: Name, mode: Mode = "data+replication") -> None:
    """Print the SQL that must have been run on source and target. Runs nothing."""
    with current().client() as api:
        found = api.post(path("prereqs"), _sides(api.get(path("migrations", name)), mode))
    if current().as_json:
        show.result(found)
        return
    for side in ("source", "target"):
        current().console.print(f"[bold]-- {side} ({escape(found[side]['type'])})[/]")
        for statement in found[side]["statements"]:
            restart = " (takes effect after a restart of the server)" if statement["restart"] else ""
            current().console.print(f"[dim]-- {escape(statement['why'])}{restart}[/]", soft_wrap=True)
            current().console.print(escape(statement["sql"].rstrip(";") + ";"), soft_wrap=True)


def check(name: Name, mode: Mode = "data+replication") -> None:
    """Connect to both sides and check every prerequisite. Exit code 1 when one is not met."""
    with current().client() as api:
        found = api.post(path("validate"), _sides(api.get(path("migrations", name)), mode))
    rows = [{"side": side, **c} for side in ("source", "target") for c in found[side]["checks"]]
    show.table(found, rows, ("side", "id", "status", "message", "remedy"))
    if not found["valid"]:
        raise typer.Exit(show.FAILED)


def _sides(migration: dict[str, Any], mode: str) -> dict[str, Any]:
    """The body of /prereqs and /validate for a saved migration."""
    target = migration.get("fileTarget") or migration.get("queueTarget")
    return {"source": migration["source"], "target": target, "mode": mode, "tables": migration["tables"]}
