"""What MySQL and MariaDB know of their own tables and no other engine understands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from whimbrel.model.table import Particulars, Table


@dataclass(frozen=True)
class MySQLParticulars(Particulars):
    """``key_parts`` is the primary key as CREATE TABLE has it, where it is more than whole columns in rising order."""

    mariadb: bool = False
    engine: str = ""
    key_parts: str | None = None


_NONE: Final = MySQLParticulars()


def of(table: Table) -> MySQLParticulars:
    """Those of a table from MySQL or MariaDB, or converted to it; empty ones of any other."""
    return table.particulars if isinstance(table.particulars, MySQLParticulars) else _NONE
