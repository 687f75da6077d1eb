"""What PostgreSQL knows of its own tables and no other engine understands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from whimbrel.connectors.postgres.source.sequences import SequenceUse
from whimbrel.connectors.postgres.usertypes import UserType
from whimbrel.model.table import Particulars, Table


@dataclass(frozen=True)
class PostgresParticulars(Particulars):
    """``sequences`` by the column that draws from them; ``types`` of its own that the table needs, those first that
    others build upon; ``definitions`` of constraints by name, as pg_get_constraintdef shows them.
    """

    sequences: Mapping[str, SequenceUse] = field(default_factory=dict)
    types: tuple[UserType, ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)


_NONE: Final = PostgresParticulars()


def of(table: Table) -> PostgresParticulars:
    """Those of a table from PostgreSQL, or converted to it; empty ones of any other."""
    return table.particulars if isinstance(table.particulars, PostgresParticulars) else _NONE
