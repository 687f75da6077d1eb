"""``whimbrel source …`` and ``whimbrel target …``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from whimbrel.cli import show
from whimbrel.cli.contract import Contract
from whimbrel.cli.parameters import definition
from whimbrel.cli.session import current
from whimbrel.cli.shapes import Connected, Deleted, EndpointBody, EndpointView, NameAndType

Name = Annotated[str, typer.Argument(help="Its name.")]
Type = Annotated[str | None, typer.Option("--type", "-t", help="mysql, mariadb, postgres, …")]
File = Annotated[Path | None, typer.Option("--file", "-f", help="JSON with type and parameters; - for standard input.")]
Plain = Annotated[list[str] | None, typer.Option("--param", "-p", help="key=value; may be repeated. Not for secrets.")]
SecretEnv = Annotated[
    list[str] | None, typer.Option("--secret-env", help="key=VARIABLE: a secret that stands in the environment.")
]
PasswordEnv = Annotated[str | None, typer.Option("--password-env", help="The variable that has the password.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]

QUEUES = ("kafka", "redpanda")  # types that the API tests by another path


@dataclass(frozen=True)
class _Calls:
    """What the API offers for one role; it treats both alike."""

    put: Callable[[Contract, str, EndpointBody], NameAndType]
    get: Callable[[Contract, str], EndpointView]
    listed: Callable[[Contract], list[EndpointView]]
    delete: Callable[[Contract, str], Deleted]
    test: Callable[[Contract, EndpointBody], Connected]


_CALLS = {
    "source": _Calls(
        Contract.put_source,
        Contract.get_source,
        lambda api: api.list_sources()["sources"],
        Contract.delete_source,
        Contract.test_source,
    ),
    "target": _Calls(
        Contract.put_target,
        Contract.get_target,
        lambda api: api.list_targets()["targets"],
        Contract.delete_target,
        Contract.test_target,
    ),
}


def commands(role: Literal["source", "target"]) -> typer.Typer:
    """The commands of one role."""
    app = typer.Typer(no_args_is_help=True, help=f"Create, look at, test and delete {role}s.")
    calls = _CALLS[role]

    @app.command("put")
    def put(
        name: Name,
        type: Type = None,
        file: File = None,
        param: Plain = None,
        secret_env: SecretEnv = None,
        password_env: PasswordEnv = None,
        password_stdin: PasswordStdin = False,
    ) -> None:
        """Create or replace it."""
        body = definition(type, file, param or [], secret_env or [], password_env, password_stdin)
        with current().client() as api:
            done = calls.put(api, name, body)
        show.result(done, f"{role} {done['name']} ({done['type']}) is saved")

    @app.command("get")
    def get(name: Name) -> None:
        """Show it, secrets masked."""
        with current().client() as api:
            show.result(calls.get(api, name))

    @app.command("list")
    def list_all() -> None:
        """Show all, secrets masked."""
        with current().client() as api:
            found = calls.listed(api)
        show.table({f"{role}s": found}, found, ("name", "type", "parameters"))

    @app.command("delete")
    def delete(name: Name) -> None:
        """Delete it, unless a migration refers to it."""
        with current().client() as api:
            show.result(calls.delete(api, name), f"{role} {name} is deleted")

    @app.command("test")
    def test(
        type: Type = None,
        file: File = None,
        param: Plain = None,
        secret_env: SecretEnv = None,
        password_env: PasswordEnv = None,
        password_stdin: PasswordStdin = False,
    ) -> None:
        """Connect with these parameters and save nothing."""
        body = definition(type, file, param or [], secret_env or [], password_env, password_stdin)
        with current().client() as api:
            done = api.test_queue(body) if body["type"] in QUEUES else calls.test(api, body)
        show.result(done, done["message"])

    return app
