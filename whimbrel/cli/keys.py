"""``whimbrel keys …``: who may call the API, and what its secrets are encrypted with. Runs on the API's machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.auth import create_key, list_keys, revoke_key
from whimbrel.catalog.home import write_private
from whimbrel.cli import show

app = typer.Typer(no_args_is_help=True, help="API keys, and the key of the stored secrets (on the API's machine).")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who it is for.")],
    file: Annotated[Path | None, typer.Option(help="Write the key there, mode 0600, instead of printing it.")] = None,
) -> None:
    """Make a key. It is shown this once; the key file keeps only its hash."""
    token = create_key(name)
    if file is None:
        show.result({"name": name, "key": token}, token)
        return
    write_private(file.absolute(), token.encode())
    show.result({"name": name, "file": str(file)}, f"the key is in {file}")


@app.command("list")
def list_all() -> None:
    """Show names and times; never the keys."""
    found = list_keys()
    show.table({"keys": found}, found, ("name", "created_at"))


@app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="Whose.")]) -> None:
    """Remove a key; the API refuses it from now on."""
    revoke_key(name)
    show.result({"name": name, "revoked": True}, f"key {name} is revoked")


@app.command("rotate-secrets")
def rotate_secrets(
    prepare: Annotated[
        bool, typer.Option(help="Only add the new key to the key file, to copy it to other machines before rotating.")
    ] = False,
    forget_lost: Annotated[
        bool, typer.Option(help="Go on although some secrets cannot be read; they must be PUT again.")
    ] = False,
) -> None:
    """Encrypt all stored passwords anew with a new key. The API and workers go on meanwhile."""
    from whimbrel.catalog.store import Catalog  # its imports would slow down every other command

    catalog = Catalog.open()
    try:
        done = catalog.rotate_secrets(prepare_only=prepare, forget_lost=forget_lost)
    finally:
        catalog.close()
    if done is None:
        show.result(
            {"prepared": True}, "the new key is in the key file and not yet used; run this again without --prepare"
        )
        return
    lost = f"; unreadable, PUT them again: {', '.join(done.lost)}" if done.lost else ""
    show.result(
        {"key": done.key, "sealed": done.sealed, "lost": list(done.lost)},
        f"{done.sealed} sources and targets are encrypted with the new key (id {done.key}){lost}",
    )
