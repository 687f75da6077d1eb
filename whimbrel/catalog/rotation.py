"""Changing the key that the catalog's secrets are sealed with, while processes go on using them.

Three steps, each of which may be the last before a crash: the new key joins the old one in the key file; the catalog
changes over in one transaction; the old key leaves the file. Who meets an unknown key reads the file again.
"""

from __future__ import annotations

from pathlib import Path

from whimbrel.catalog import keyring
from whimbrel.catalog.database import Database
from whimbrel.catalog.keyring import Rotated
from whimbrel.catalog.vault import VARIABLE, Vault, add_key, from_environment, keep_only, rotating
from whimbrel.errors import InvalidRequest


def rotate(
    database: Database, vault: Vault, key_file: Path, *, prepare_only: bool = False, forget_lost: bool = False
) -> Rotated | None:
    """Seal everything anew with a new key; None when it was only prepared.

    A rotation that was cut off is finished. Raises InvalidRequest when the keys come from the environment and the last
    of them is in use already; SecretsUnreadable when something cannot be read with the keys that are here.
    """
    with rotating(key_file):
        vault.reload()
        with database.read() as connection:
            in_use = keyring.stored(connection) or vault.newest
        if from_environment():
            if vault.newest == in_use:
                raise InvalidRequest(
                    f"the last key of {VARIABLE} is in use already",
                    remedy=f"Append a new key after a comma to {VARIABLE} of every process, restart them, and rotate.",
                )
        elif vault.newest == in_use and vault.count == 1:
            add_key(key_file)
            vault.reload()
        if prepare_only:
            return None
        with database.write() as connection:
            done = keyring.change(connection, vault, vault.newest, forget_lost=forget_lost)
        if not from_environment():
            keep_only(key_file, done.key)
        return done
