"""Finds engines by entry point (group ``whimbrel.connectors``) and imports one only when it is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import entry_points, metadata
from typing import Any, cast

from whimbrel.connectors.protocols import Engine
from whimbrel.errors import DriverMissing, FireboltSchemaPublicOnly, InvalidRequest

SOURCE_TYPES = ("mysql", "mariadb", "postgres", "oracle", "sqlserver")
DATABASE_TARGET_TYPES = (
    *SOURCE_TYPES,
    "snowflake",
    "bigquery",
    "spanner",
    "firebolt",
    "databricks",
    "singlestore",
)
QUEUE_TYPES = ("kafka", "redpanda")
_ONLY_SCHEMA = {"firebolt": "public"}  # types whose databases have one schema only, unless the endpoint says otherwise


@cache
def engine(type: str) -> Engine:
    """The engine that serves an endpoint type.

    Raises InvalidRequest for a type nobody serves, DriverMissing when its driver cannot be imported.
    """
    found = entry_points(group="whimbrel.connectors", name=type)
    if not found:
        raise InvalidRequest(f"type: no connector serves {type!r}", field="type", known=sorted(known_types()))
    try:
        return cast(Engine, next(iter(found)).load())
    except ImportError as e:
        raise DriverMissing(
            f"the connector for {type} cannot be imported: {e.name or e}", remedy=_how_to_install(type, e)
        ) from e


def require_schemas(type: str | None, schemas: Iterable[str], parameters: Mapping[str, Any]) -> None:
    """Raise FireboltSchemaPublicOnly when a target of this type and these parameters cannot have these schemas, whether
    or not the type is served."""
    only = _ONLY_SCHEMA.get(type or "") if parameters.get("schemas") != "any" else None
    others = sorted(set(schemas) - {only})
    if only is not None and others:
        raise FireboltSchemaPublicOnly(
            f"schema_rename: on {type} every schema must end up as {only}, not {', '.join(others)}",
            field="schema_rename",
            schemas=others,
        )


def _how_to_install(type: str, error: ImportError) -> str:
    if type in (metadata("whimbrel").get_all("Provides-Extra") or ()):
        return f"Install the extra for this engine: pip install 'whimbrel[{type}]'."
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"Install what is missing: pip install {error.name.partition('.')[0]}."
    return f"Mend what the import failed at: {error}."


@cache
def preloads() -> tuple[str, ...]:
    """The modules that processes of the data and change planes import once for all, of all connectors that load."""
    found: dict[str, None] = {}
    for type in sorted(known_types()):
        with suppress(DriverMissing):
            found.update(dict.fromkeys(engine(type).preload))
    return tuple(found)


@cache
def known_types() -> frozenset[str]:
    """All endpoint types that installed connectors serve."""
    return frozenset(e.name for e in entry_points(group="whimbrel.connectors"))
