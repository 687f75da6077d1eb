"""What a schema has beside its tables and no target gets: told by name, and written down as the source defines it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from whimbrel.model.objects import SchemaObject, Trigger

FILE = "not-moved.sql"
_NAMED = 20


def notes(objects: Sequence[SchemaObject]) -> tuple[str, ...]:
    """A line for each kind in each schema, with their names: 'shop: 2 views are not moved: a, b'."""
    return tuple(
        _note(schema, kind, [_title(o) for o in found])
        for (schema, kind), found in groupby(sorted(objects, key=_place), key=lambda o: _place(o)[:2])
    )


def _place(found: SchemaObject) -> tuple[str, str, str]:
    return found.name.schema, found.kind, _title(found)


def _title(found: SchemaObject) -> str:
    return f"{found.name.table} on {found.table.table}" if isinstance(found, Trigger) else found.name.table


def _note(schema: str, kind: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    what = f"{len(names)} {kind}s are" if len(names) > 1 else f"a {kind} is" if kind[0] not in "ae" else f"an {kind} is"
    return f"{schema}: {what} not moved: {', '.join(names[:_NAMED])}{more} ({FILE} has all definitions)"


def script(objects: Sequence[SchemaObject]) -> Iterator[str]:
    """Their definitions in the source's SQL, each under its name; for people, nothing runs them."""
    for found in sorted(objects, key=_place):
        text = found.text or "-- the account may not read its definition"
        yield f"-- {found.kind} {found.name} ({found.dialect})\n{text.strip()}"
