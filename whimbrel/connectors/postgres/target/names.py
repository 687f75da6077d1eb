"""Names on the target: refused when PostgreSQL cannot hold them, made unique where engines scope them otherwise."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from whimbrel.connectors.postgres.capabilities import CAPABILITIES
from whimbrel.errors import IdentifierRefused
from whimbrel.model.table import Table


def require_names(sources: Sequence[Table], tables: Sequence[Table]) -> None:
    """Raise IdentifierRefused listing every schema, table and column that PostgreSQL cannot hold under its name."""
    offences = []
    for name in (name for name, n in Counter(t.name for t in tables).items() if n > 1):
        both = [str(s.name) for s, t in zip(sources, tables, strict=True) if t.name == name]
        offences.append(f"{', '.join(both)}: two source tables that would be {name}")
    for schema in sorted({t.name.schema for t in tables}):
        if schema.startswith("pg_") or schema == "information_schema":
            offences.append(f"{schema}: PostgreSQL keeps this schema name for itself")
        offences += _unusable(schema, schema)
    for table in tables:
        offences += _unusable(str(table.name), table.name.table)
        for column in table.columns:
            offences += _unusable(f"{table.name}.{column.name}", column.name)
    if offences:
        raise IdentifierRefused("; ".join(offences[:20]), names=offences[:100])


def _unusable(where: str, name: str) -> list[str]:
    if not name or "\0" in name:
        return [f"{where!r}: empty or with a NUL"]
    if CAPABILITIES.fits(name):
        return []
    return [f"{where}: {len(name.encode())} bytes, PostgreSQL takes {CAPABILITIES.identifier_length}"]


class SchemaNames:
    """Hands out names of indexes and sequences, which in PostgreSQL share one space with the tables of a schema."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._taken = {(t.name.schema, t.name.table) for t in tables}

    def take(self, schema: str, table: str, name: str) -> str:
        """A name that starts with its table's, because other engines scope index names by table."""
        wanted = name if name.startswith(f"{table}_") else f"{table}_{name}"
        chosen = fitting(wanted)
        while (schema, chosen) in self._taken:
            chosen = _hashed(wanted, salt=chosen)
        self._taken.add((schema, chosen))
        return chosen


def fitting(name: str) -> str:
    """The name itself, or if it is too long its beginning and a hash of it all."""
    return name if CAPABILITIES.fits(name) else _hashed(name, salt="")


def _hashed(name: str, salt: str) -> str:
    digest = hashlib.sha256(f"{name}\0{salt}".encode()).hexdigest()[:8]
    return name.encode()[: CAPABILITIES.identifier_length - 9].decode(errors="ignore") + "_" + digest
