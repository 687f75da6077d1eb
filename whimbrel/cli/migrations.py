"""``whimbrel migration …``, ``prereqs`` and ``check``: what is to move, and whether it can."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import typer

from whimbrel.cli import show
from whimbrel.cli.parameters import split
from whimbrel.cli.session import current
from whimbrel.cli.shapes import CheckView, MigrationBody, MigrationView, PrerequisitesBody, SideStatements

app = typer.Typer(no_args_is_help=True, help="Create, look at and delete migrations.")

Name = Annotated[str, typer.Argument(help="The migration.")]
Kind = Literal["data", "replication", "data+replication"]
Mode = Annotated[Kind, typer.Option(help="What it is to do.")]


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
        show.result(api.put_migration(name, cast(MigrationBody, body)), f"migration {name} is saved")


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
def delete(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Also when its source or queue cannot be reached.")] = False,
) -> None:
    """Delete it with its working directory and what it left on the source and in its queue."""
    with current().client() as api:
        found = api.delete_migration(name, force=force)
    left = "".join(f"; left: {sentence}" for sentence in found.get("left") or ())
    show.result(found, f"migration {name} is deleted{left}")


def prereqs(name: Name, mode: Mode = "data+replication") -> None:
    """Print the SQL that must have been run on source and target. Runs nothing."""
    with current().client() as api:
        found = api.prereqs(_sides(api.get_migration(name), mode))
    if current().as_json:
        show.result(found)
        return
    _print_statements("source", found["source"])
    _print_statements("target", found["target"])


def _print_statements(role: str, side: SideStatements) -> None:
    current().console.print(f"[bold]-- {role} ({show.escape(side['type'])})[/]")
    if not side["statements"]:
        current().console.print("[dim]-- nothing[/]")
    for statement in side["statements"]:
        restart = " (takes effect after a restart of the server)" if statement["restart"] else ""
        current().console.print(f"[dim]-- {show.escape(statement['why'])}{restart}[/]", soft_wrap=True)
        current().console.print(show.escape(statement["sql"].rstrip(";") + ";"), soft_wrap=True)


def check(name: Name, mode: Mode = "data+replication") -> None:
    """Connect to both sides and check every prerequisite. Exit code 1 when one is not met."""
    with current().client() as api:
        found = api.check(_sides(api.get_migration(name), mode))
    rows = [*_rows("source", found["source"]["checks"]), *_rows("target", found["target"]["checks"])]
    show.table(found, rows, ("side", "id", "status", "message", "remedy"))
    if not found["valid"]:
        raise typer.Exit(show.FAILED)


def _rows(role: str, checks: list[CheckView]) -> list[dict[str, object]]:
    """What fails first: there may be many that do not."""
    order = ("fail", "warn", "ok")
    return [{"side": role, **c} for c in sorted(checks, key=lambda c: order.index(c["status"]))]


def _sides(migration: MigrationView, mode: Kind) -> PrerequisitesBody:
    """The body of /prereqs and /validate for a saved migration."""
    target = migration["fileTarget"] or migration["queueTarget"]
    assert target is not None  # the API keeps none without
    return {
        "source": migration["source"],
        "target": target,
        "mode": mode,
        "tables": migration["tables"],
        "schema_rename": migration["schema_rename"],
    }
