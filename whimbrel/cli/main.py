"""The ``whimbrel`` command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from whimbrel import __version__
from whimbrel.cli import endpoints, keys, migrations, operations, run, show
from whimbrel.cli.session import DEFAULT_URL, Session, begin
from whimbrel.errors import WhimbrelError

DATA, PROCESSES = "Move data", "Processes of this machine"
ORDER = (
    *("source", "target", "migration", "prereqs", "check", "schema", "data", "data-replication", "replicate"),
    *("replicate-queue", "objects", "status", "pause", "resume", "validate", "operations", "reset"),
    *("up", "serve", "worker", "doctor", "keys", "version"),
)


class InOrder(TyperGroup):
    """Commands as one comes to need them; those that have commands of their own would all come last."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)


cli = typer.Typer(
    name="whimbrel",
    cls=InOrder,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Moves databases: schema, data, then every change, until you cut over.",
    epilog="Exit codes: 0 done, 1 it failed, 2 the request is wrong, 3 conflict, 4 no API there, 5 key not accepted. "
    "WHIMBREL_URL, WHIMBREL_API_KEY and WHIMBREL_CA: where the API is, the key, the certificate to trust.",
)


@cli.callback()
def options(
    url: Annotated[str, typer.Option(envvar="WHIMBREL_URL", help="Where the API is.")] = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print results as JSON.")] = False,
) -> None:
    """Options of every command."""
    begin(Session(url.rstrip("/"), as_json))


@cli.command("version", rich_help_panel=PROCESSES)
def version() -> None:
    """Print the version."""
    show.result({"version": __version__}, f"whimbrel {__version__}")


@cli.command("serve", rich_help_panel=PROCESSES)
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on; 127.0.0.1 keeps it to itself.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 9443,
    cert: Annotated[Path | None, typer.Option(help="Certificate; made in the home folder when absent.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
) -> None:
    """Run the API in this process."""
    from api.server import serve as serve_api  # the API's imports would slow down every other command
    from worker.logs import set_up

    set_up()
    serve_api(host=host, port=port, cert=cert, key=key)


@cli.command("worker", rich_help_panel=PROCESSES)
def worker() -> None:
    """Run a worker in this process."""
    from worker.main import main  # as above

    main()


@cli.command("up", rich_help_panel=PROCESSES)
def up(
    port: Annotated[int, typer.Option(help="Of the API.")] = 9443,
    temporal_port: Annotated[int, typer.Option(help="Of Temporal.")] = 7233,
    ui_port: Annotated[int, typer.Option(help="Of Temporal's web UI.")] = 8233,
) -> None:
    """Start Temporal, the API and a worker, and stay until Ctrl-C."""
    from whimbrel.cli.stack import Ports  # as above
    from whimbrel.cli.stack import up as run_all

    run_all(Ports(port, temporal_port, ui_port))


@cli.command("doctor", rich_help_panel=PROCESSES)
def doctor() -> None:
    """Check this machine's setup. Exit code 1 when something fails."""
    from whimbrel.cli.doctor import examine  # as above

    examine()


cli.add_typer(endpoints.commands("source"), name="source", rich_help_panel=DATA)
cli.add_typer(endpoints.commands("target"), name="target", rich_help_panel=DATA)
cli.add_typer(migrations.app, name="migration", rich_help_panel=DATA)
cli.command("prereqs", rich_help_panel=DATA)(migrations.prereqs)
cli.command("check", rich_help_panel=DATA)(migrations.check)
cli.add_typer(run.schema, name="schema", rich_help_panel=DATA)
cli.add_typer(run.objects, name="objects", rich_help_panel=DATA)
cli.command("data", rich_help_panel=DATA)(run.data)
cli.command("replicate", rich_help_panel=DATA)(run.replicate)
cli.command("replicate-queue", rich_help_panel=DATA)(run.replicate_queue)
cli.command("data-replication", rich_help_panel=DATA)(run.data_replication)
cli.command("pause", rich_help_panel=DATA)(run.pause)
cli.command("resume", rich_help_panel=DATA)(run.resume)
cli.command("status", rich_help_panel=DATA)(run.status)
cli.command("validate", rich_help_panel=DATA)(run.validate)
cli.command("reset", rich_help_panel=DATA)(run.reset)
cli.add_typer(operations.app, name="operations", rich_help_panel=DATA)
cli.add_typer(keys.app, name="keys", rich_help_panel=PROCESSES)


def app() -> None:
    """The console script: errors of ours become lines on stderr and an exit code."""
    try:
        cli()
    except WhimbrelError as e:
        show.failure(e)
        sys.exit(show.exit_code(e))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    app()
