"""``whimbrel source …`` and ``whimbrel target …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from whimbrel.cli import show
from whimbrel.cli.client import path
from whimbrel.cli.parameters import definition
from whimbrel.cli.session import current

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


def commands(role: Literal["source", "target"]) -> typer.Typer:
    """The commands of one role; the API treats both alike."""
    app = typer.Typer(no_args_is_help=True, help=f"Create, look at, test and delete {role}s.")
    plural = f"{role}s"

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
            done = api.put(path(plural, name), body)
        show.result(done, f"{role} {done['name']} ({done['type']}) is saved")

    @app.command("get")
    def get(name: Name) -> None:
        """Show it, secrets masked."""
        with current().client() as api:
            show.result(api.get(path(plural, name)))

    @app.command("list")
    def list_all() -> None:
        """Show all, secrets masked."""
        with current().client() as api:
            found: dict[str, Any] = api.get(path(plural))
        show.table(found, found[plural], ("name", "type", "parameters"))

    @app.command("delete")
    def delete(name: Name) -> None:
        """Delete it, unless a migration refers to it."""
        with current().client() as api:
            show.result(api.delete(path(plural, name)), f"{role} {name} is deleted")

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
            done = api.post(path("queues" if body.get("type") in QUEUES else plural, "test"), body)
        show.result(done, done["message"])

    return app
