"""What a migration's definition must keep beyond its types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.bodies import MigrationBody
from whimbrel.catalog.records import MigrationRecord
from whimbrel.catalog.store import Catalog
from whimbrel.connectors.registry import QUEUE_TYPES, require_schemas
from whimbrel.errors import InvalidRequest, TargetNotFound
from whimbrel.model.names import TableName


def migration_record(name: str, body: MigrationBody) -> MigrationRecord:
    """The record of a body. Raises InvalidRequest naming the field."""
    if body.fileTarget is None and body.queueTarget is None:
        raise InvalidRequest("fileTarget: a migration needs a fileTarget, a queueTarget or both", field="fileTarget")
    return MigrationRecord(
        name=name,
        source=body.source,
        tables=tuple(str(t) for t in _tables(body.tables)),
        file_target=body.fileTarget,
        queue_target=body.queueTarget,
        threads=body.threads,
        rows_per_file=body.rows_per_file,
        schema_rename=schema_renames(body.schema_rename),
        case=body.case,
        column_types=_column_types(body.column_types),
        value_policy=body.value_policy,
        log_detail=body.logDetail,
    )


def check_targets(catalog: Catalog, record: MigrationRecord) -> None:
    """Raises InvalidRequest for a target of the wrong kind, FireboltSchemaPublicOnly.

    A target that does not exist is left to ``put_migration``, which looks inside its own transaction.
    """
    file_type = _type_of(catalog, record.file_target)
    if file_type in QUEUE_TYPES:
        raise InvalidRequest(
            f"fileTarget: {record.file_target!r} is a queue ({file_type}); name it as queueTarget", field="fileTarget"
        )
    queue_type = _type_of(catalog, record.queue_target)
    if queue_type is not None and queue_type not in QUEUE_TYPES:
        raise InvalidRequest(
            f"queueTarget: {record.queue_target!r} is a database ({queue_type}); name it as fileTarget",
            field="queueTarget",
        )
    require_schemas(file_type, _schemas(record.tables, record.schema_rename), _parameters(catalog, record.file_target))


def check_place(catalog: Catalog, target: str, type: str, parameters: Mapping[str, Any]) -> None:
    """Raises InvalidRequest, FireboltSchemaPublicOnly when migrations use this target as what this type is not."""
    queue = type in QUEUE_TYPES
    for migration in catalog.list_migrations():
        place, used = ("fileTarget", migration.file_target) if queue else ("queueTarget", migration.queue_target)
        if used == target:
            raise InvalidRequest(
                f"type: {target!r} is the {place} of migration {migration.name!r}, which {type} cannot be",
                field="type",
                remedy="Give the new target another name, and PUT the migration with it.",
                migrations=[migration.name],
            )
        if migration.file_target == target:
            require_schemas(type, _schemas(migration.tables, migration.schema_rename), parameters)


def _type_of(catalog: Catalog, target: str | None) -> str | None:
    try:
        return None if target is None else catalog.get_target(target).type
    except TargetNotFound:
        return None


def _parameters(catalog: Catalog, target: str | None) -> Mapping[str, Any]:
    try:
        return {} if target is None else catalog.get_target(target).parameters
    except TargetNotFound:
        return {}


def _tables(texts: Sequence[str]) -> list[TableName]:
    seen: dict[TableName, None] = {}
    for i, text in enumerate(texts):
        if any(ord(c) < 32 for c in text):
            raise InvalidRequest(f"tables.{i}: holds a control character", field=f"tables.{i}")
        table = TableName.parse(text)
        if table in seen:
            raise InvalidRequest(f"tables.{i}: {text!r} is listed twice", field=f"tables.{i}")
        seen[table] = None
    return list(seen)


def _column_types(given: Mapping[str, str]) -> dict[str, str]:
    """Raises InvalidRequest for any: a type that holds less than its source would bend values in silence."""
    if given:
        raise InvalidRequest(
            f"column_types: the type of {min(given)[:80]!r} cannot be chosen; served is {{}}, the nearest type",
            field="column_types",
            remedy="Leave column_types out. A table that exists on the target with other types is kept, and told.",
        )
    return {}


def schema_renames(given: Mapping[str, str] | str | None) -> dict[str, str]:
    """An object, or ``"src:dst,src2:dst2"``. Raises InvalidRequest."""
    if not given:
        return {}
    if not isinstance(given, str):
        pairs = list(given.items())
    else:
        parts = [part.partition(":") for part in given.split(",")]
        if not all(colon for _, colon, _ in parts):
            raise InvalidRequest(f"schema_rename: {given[:80]!r} is not 'src:dst,src2:dst2'", field="schema_rename")
        pairs = [(source.strip(), target.strip()) for source, _, target in parts]
    renamed = dict(pairs)
    if len(renamed) != len(pairs):
        raise InvalidRequest("schema_rename: a schema is renamed twice", field="schema_rename")
    for name in (*renamed.keys(), *renamed.values()):
        if not name or any(ord(c) < 32 for c in name):
            raise InvalidRequest("schema_rename: an empty name or a control character", field="schema_rename")
    return renamed


def _schemas(tables: Sequence[str], schema_rename: Mapping[str, str]) -> set[str]:
    """Those that these tables come to on the target."""
    return {TableName.parse(t).renamed(schema_rename).schema for t in tables}
