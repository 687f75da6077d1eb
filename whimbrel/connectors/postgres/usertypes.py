"""Types that a PostgreSQL source defines itself: enums, domains, composites, and the extensions they come from.

They travel in ``PostgresParticulars.types``, in an order in which they can be created.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from whimbrel.connectors.postgres.connection import identifier, literal, qualified
from whimbrel.model.names import TableName


@dataclass(frozen=True)
class UserType:
    """``spelling`` is what format_type calls it. ``kind``: enum, domain, composite, extension or other.

    ``base``, ``not_null``, ``default`` and ``checks`` (name, definition) are a domain's, ``attributes`` (name, type) a
    composite's, ``labels`` an enum's. A type of an extension needs only the extension's name and schema.
    """

    kind: str
    schema: str
    name: str
    spelling: str
    labels: tuple[str, ...] = ()
    base: str = ""
    not_null: bool = False
    default: str | None = None
    checks: tuple[tuple[str, str], ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    extension: str | None = None


def spelled(native: str, types: Sequence[UserType], schemas: Mapping[str, str]) -> str:
    """A type's name as the target knows it.

    A user type never comes out as the source spells it: tables with such columns are then copied as text, because the
    binary form of their arrays and records holds the type numbers of one server.
    """
    for t in types:
        rest = native.removeprefix(t.spelling)
        if native.startswith(t.spelling) and (not rest or rest[0] in "(["):
            name = TableName(schemas.get(t.schema, t.schema), t.name)
            same = qualified(name) == t.spelling
            return f"{identifier(name.schema)}{' .' if same else '.'}{identifier(name.table)}{rest}"
    return native


def respelled(expression: str, types: Sequence[UserType], schemas: Mapping[str, str]) -> str:
    """An expression of the source with its casts to user types as the target knows them."""
    for t in types:
        name = TableName(schemas.get(t.schema, t.schema), t.name)
        parts = re.split(rf"::{re.escape(t.spelling)}(?![\w$])", expression)
        expression = f"::{qualified(name)}".join(parts)
    return expression


def renamed(types: Sequence[UserType], schemas: Mapping[str, str]) -> tuple[UserType, ...]:
    """The same types in the target's schemas."""
    return tuple(
        replace(
            t,
            schema=schemas.get(t.schema, t.schema),
            base=spelled(t.base, types, schemas),
            default=t.default and respelled(t.default, types, schemas),
            checks=tuple((n, respelled(d, types, schemas)) for n, d in t.checks),
            attributes=tuple((n, spelled(d, types, schemas)) for n, d in t.attributes),
        )
        for t in types
    )


def create(t: UserType) -> str:
    """An idempotent statement. The schema must exist; ``kind`` must not be other."""
    name = TableName(t.schema, t.name)
    if t.extension is not None:
        return f"CREATE EXTENSION IF NOT EXISTS {identifier(t.extension)} WITH SCHEMA {identifier(t.schema)}"
    if t.kind == "enum":
        return _create_enum(t, name)
    exists = f"to_regtype({literal(qualified(name))}) IS NOT NULL"
    if t.kind == "domain":
        return unless_exists(exists, _create_domain(t, name))
    attributes = ", ".join(f"{identifier(n)} {d}" for n, d in t.attributes)
    return unless_exists(exists, f"CREATE TYPE {qualified(name)} AS ({attributes})")


def _create_enum(t: UserType, name: TableName) -> str:
    labels = ", ".join(literal(label).strip() for label in t.labels)
    regtype = f"to_regtype({literal(qualified(name))})"
    complaint = literal(f"type {qualified(name)} exists with other labels".replace("%", "%%"))
    return block(
        f"IF {regtype} IS NULL THEN\n"  # noqa: S608 - every part is quoted
        f"    CREATE TYPE {qualified(name)} AS ENUM ({labels});\n"
        f"  ELSIF ARRAY[{labels}]::text[] IS DISTINCT FROM (SELECT array_agg(enumlabel::text ORDER BY enumsortorder)\n"
        f"      FROM pg_catalog.pg_enum WHERE enumtypid = {regtype}) THEN\n"
        f"    RAISE EXCEPTION {complaint};\n"
        f"  END IF;"
    )


def _create_domain(t: UserType, name: TableName) -> str:
    parts = [f"CREATE DOMAIN {qualified(name)} AS {t.base}"]
    if t.default is not None:
        parts.append(f"DEFAULT {t.default}")
    if t.not_null:
        parts.append("NOT NULL")
    parts += [f"CONSTRAINT {identifier(n)} {d}" for n, d in t.checks]
    return " ".join(parts)


def unless_exists(condition: str, statement: str) -> str:
    """A statement that PostgreSQL has no IF NOT EXISTS for, made idempotent."""
    return block(f"IF NOT ({condition}) THEN\n    {statement};\n  END IF;")


def block(body: str) -> str:
    """A DO block whose quote does not occur in its body."""
    tag = "$whimbrel$"
    while tag in body:
        tag = tag[:-1] + "_$"
    return f"DO {tag}\nBEGIN\n  {body}\nEND\n{tag}"
