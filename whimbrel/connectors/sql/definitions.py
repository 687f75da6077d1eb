"""Source tables as a target of this kind holds them, and the DDL that makes them. Every statement may run twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from whimbrel.connectors.protocols import Rendered
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.errors import IdentifierRefused, TypeRefused
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, ForeignKey, Index, Table

_SHOWN = 20
_NAMED = 100


@dataclass(frozen=True)
class Converted:
    """``notes``: what is declared lossy, left out or different, one line each."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...]


@dataclass
class _Findings:
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def convert(dialect: SqlDialect, tables: Sequence[Table], schemas: Mapping[str, str]) -> Converted:
    """All tables of a migration together. Raises TypeRefused or IdentifierRefused, each listing all offenders."""
    findings = _Findings(notes=[f"{t.name}: {sentence}" for t in tables for sentence in t.lost])
    _require_names(dialect, tables, schemas)
    migrated = {t.name for t in tables}
    converted = tuple(_table(dialect, t, schemas, migrated, findings) for t in tables)
    if findings.refused:
        raise TypeRefused("; ".join(findings.refused[:_SHOWN]), columns=findings.refused[:_NAMED])
    return Converted(converted, tuple(findings.notes))


def _require_names(dialect: SqlDialect, tables: Sequence[Table], schemas: Mapping[str, str]) -> None:
    """Names that fit, and no two source tables under one name."""
    bad: list[str] = []
    seen: dict[TableName, TableName] = {}
    for table in tables:
        target = dialect.kept(table.name.renamed(schemas))
        if target in seen:
            bad.append(f"{table.name} and {seen[target]} would both be {target}: give them different schemas")
        seen[target] = table.name
        names = (target.schema, target.table, *(c.name for c in table.columns))
        longest = f"{dialect.capabilities.identifier_length} {dialect.capabilities.identifier_unit}"
        bad += [
            f"{table.name}: {name[:40]}… is longer than {longest}"
            for name in names
            if not dialect.capabilities.fits(name)
        ]
        why = [dialect.refused_name(name) for name in (target.schema, target.table)]
        why.append(dialect.refused_columns(c.name for c in table.columns))
        bad += [f"{table.name}: {reason}" for reason in why if reason]
        if target.schema.lower() == dialect.own_schema.lower() != "":
            bad.append(f"{table.name}: the schema {target.schema!r} keeps the progress there")
    if bad:
        raise IdentifierRefused("; ".join(bad[:_SHOWN]), names=bad[:_NAMED])


def _table(
    dialect: SqlDialect,
    table: Table,
    schemas: Mapping[str, str],
    migrated: set[TableName],
    findings: _Findings,
) -> Table:
    columns = tuple(_column(dialect, table, c, findings) for c in table.columns)
    _note_left_out(dialect, table, findings)
    return replace(
        table,
        name=dialect.kept(table.name.renamed(schemas)),
        columns=columns,
        indexes=tuple(_indexes(dialect, table, findings)),
        foreign_keys=tuple(_foreign_keys(dialect, table, schemas, migrated, findings)),
        checks=(),
        collation=None,
        particulars=None,
    )


def _column(dialect: SqlDialect, table: Table, column: Column, findings: _Findings) -> Column:
    """Defaults, numbering and expressions stay behind: rows come whole from the source."""
    where = f"{table.name}.{column.name}"
    made = dialect.make(table, column)
    if made is None:
        findings.refused.append(f"{where}: {column.type.native} has no equal in {dialect.title}")
        return column
    if made.note:
        findings.notes.append(f"{where}: {column.type.native} -> {made.type.native}: {made.note}")
    if column.generated is not None:
        findings.notes.append(f"{where}: computed on the source as {column.generated}, left out")
    elif column.identity is not None:
        findings.notes.append(
            f"{where}: numbered by the source, a plain column here; number it anew before new rows come"
        )
    elif column.default is not None:
        findings.notes.append(f"{where}: default {column.default} left out")
    return replace(column, type=made.type, default=None, identity=None)


def _indexes(dialect: SqlDialect, table: Table, findings: _Findings) -> Iterator[Index]:
    if dialect.capabilities.indexes:
        yield from filter(dialect.index_kept, table.indexes)
        return
    plain = [i for i in table.indexes if i.unique and i.columns and i.expression is None and not any(i.prefixes)]
    if not dialect.capabilities.one_key:
        yield from plain
        return
    kept = next((i for i in plain if i.columns == table.key), None) if not table.primary_key else None
    if kept is not None:
        yield kept
    for index in (i for i in plain if i is not kept):
        columns = ", ".join(index.columns)
        findings.notes.append(f"{table.name}: unique key {index.name} ({columns}) left out, and so not enforced")


def _note_left_out(dialect: SqlDialect, table: Table, findings: _Findings) -> None:
    has_keys = bool(table.primary_key) or any(i.unique for i in table.indexes)
    if has_keys and not dialect.capabilities.enforces_keys:
        findings.notes.append(f"{table.name}: {dialect.unenforced_note}")
    if table.foreign_keys and dialect.capabilities.foreign_keys == "none":
        names = ", ".join(k.name for k in table.foreign_keys)
        findings.notes.append(f"{table.name}: foreign key {names} left out: {dialect.title} holds none")
    plain = [i.name for i in table.indexes if not i.unique or i.expression is not None or any(i.prefixes)]
    if plain and not dialect.capabilities.indexes:
        findings.notes.append(
            f"{table.name}: indexes {', '.join(plain)} left out: {dialect.title} has none of this kind"
        )
    findings.notes.extend(f"{table.name}: check {c.name} ({c.expression}) left out" for c in table.checks)
    findings.notes.extend(f"{table.name}: {sentence}" for sentence in dialect.notes(table))


def _foreign_keys(
    dialect: SqlDialect, table: Table, schemas: Mapping[str, str], migrated: set[TableName], findings: _Findings
) -> Iterator[ForeignKey]:
    held = dialect.capabilities.foreign_keys != "none"
    for key in table.foreign_keys if held else ():
        if key.parent in migrated:
            yield replace(key, parent=dialect.kept(key.parent.renamed(schemas)))
        else:
            findings.notes.append(
                f"{table.name}: foreign key {key.name} left out: {key.parent} is not part of the migration"
            )


# --- DDL --------------------------------------------------------------------------------------------------------------


def render(dialect: SqlDialect, converted: Converted) -> Rendered:
    """The scripts of a whole migration."""
    tables = converted.tables
    schemas = sorted({t.name.schema for t in tables})
    return Rendered(
        tables=(
            *filter(None, map(dialect.create_schema, schemas)),
            *(create_table(dialect, t) for t in tables),
        ),
        objects=tuple(statement for t in tables for statement in dialect.comments(t)),
        drops=tuple(f"DROP TABLE IF EXISTS {dialect.qualified(t.name)}" for t in tables),
        notes=converted.notes,
    )


def create_table(dialect: SqlDialect, table: Table) -> str:
    """With its columns, and its keys as far as the engine knows keys."""
    lines = [*(dialect.column_line(c) for c in columns_of(table)), *dialect.keys(table)]
    made = f"{dialect.table_verb} IF NOT EXISTS {dialect.qualified(table.name)} (\n  " + ",\n  ".join(lines) + "\n)"
    return made + dialect.table_options(table)


def columns_of(table: Table) -> tuple[Column, ...]:
    """Those that the target has: what the source computes is left out."""
    return table.loaded_columns
