"""Source tables as PostgreSQL will hold them: target names, target types, defaults and checks in its dialect."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa

from whimbrel.connectors.postgres import particulars, usertypes
from whimbrel.connectors.postgres.connection import identifier, literal
from whimbrel.connectors.postgres.particulars import PostgresParticulars
from whimbrel.connectors.postgres.source import sequences
from whimbrel.connectors.postgres.source.sequences import SequenceUse
from whimbrel.connectors.postgres.target import expressions
from whimbrel.connectors.postgres.target.names import SchemaNames, fitting, require_names
from whimbrel.connectors.postgres.types import from_foreign
from whimbrel.connectors.postgres.usertypes import UserType
from whimbrel.errors import TypeRefused
from whimbrel.model.default import Default
from whimbrel.model.expression import Expression, Null
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Check, Column, ColumnType, ForeignKey, Index, Table

DIALECT: Final = "postgres"
_NO_PAD: Final = re.compile("_nopad_|_0900_")
_OBJECT_NUMBERS = frozenset(
    f"reg{kind}"
    for kind in (
        *("class", "collation", "config", "dictionary", "namespace", "oper", "operator"),
        *("proc", "procedure", "role", "type"),
    )
)


@dataclass(frozen=True)
class Converted:
    """``notes``: what is declared lossy, left out or different, one line each."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...]


@dataclass
class _Findings:
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def convert(tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> Converted:
    """All tables of a migration together, because names and foreign keys cross them.

    Raises TypeRefused or IdentifierRefused, each listing all offenders.
    """
    findings = _Findings(notes=[f"{t.name}: {sentence}" for t in tables for sentence in t.lost])
    targets = [t.on_target(t.name.renamed(schemas)) for t in tables]
    require_names(tables, targets)
    if source_type == "postgres":
        converted = [_from_postgres(s, t, schemas, findings) for s, t in zip(tables, targets, strict=True)]
    else:
        names = SchemaNames(targets)
        converted = [_from_foreign(t, names, findings) for t in targets]
    if findings.refused:
        raise TypeRefused("; ".join(findings.refused[:20]), columns=findings.refused[:100])
    migrated = {t.name for t in tables}
    kept = [_within(s, t, migrated, schemas, findings) for s, t in zip(tables, converted, strict=True)]
    return Converted(tuple(kept), tuple(findings.notes))


def _within(
    source: Table, target: Table, migrated: set[TableName], schemas: Mapping[str, str], findings: _Findings
) -> Table:
    """Foreign keys to parents that are migrated too; the others cannot hold."""
    keys: list[ForeignKey] = []
    for key in target.foreign_keys:
        if key.parent in migrated:
            keys.append(replace(key, name=fitting(key.name), parent=key.parent.renamed(schemas)))
        else:
            findings.notes.append(
                f"{source.name}: foreign key {key.name} left out: {key.parent} is not part of the migration"
            )
    return replace(target, foreign_keys=tuple(keys))


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def _from_postgres(source: Table, target: Table, schemas: Mapping[str, str], findings: _Findings) -> Table:
    known = particulars.of(source)
    types = known.types
    uses = {name: use.renamed(schemas) for name, use in known.sequences.items()}
    findings.refused += [
        f"{source.name}: type {t.spelling} is a base type, range or row type that cannot be created from here"
        for t in types
        if t.kind == "other"
    ]
    findings.refused += [
        f"{source.name}: {name} has the type {native}, a number that some object has on the source's server alone"
        for name, native in _parts(source, types)
        if native.partition("[")[0] in _OBJECT_NUMBERS
    ]

    def own(text: str) -> str:
        return usertypes.respelled(text, types, schemas)

    def column(c: Column) -> Column:
        native = usertypes.spelled(c.type.native, types, schemas)
        return replace(
            c,
            type=replace(c.type, native=native),
            default=_postgres_default(c, uses.get(c.name), own),
            generated=c.generated and replace(c.generated, text=own(c.generated.text)),
            identity=c.identity and replace(c.identity, sequence=uses[c.name].qualified),
        )

    return replace(
        target,
        columns=tuple(column(c) for c in source.columns),
        indexes=tuple(replace(i, expression=i.expression and own(i.expression)) for i in source.indexes),
        checks=tuple(replace(c, expression=replace(c.expression, text=own(c.expression.text))) for c in source.checks),
        particulars=PostgresParticulars(
            uses, usertypes.renamed(types, schemas), {name: own(text) for name, text in known.definitions.items()}
        ),
    )


def _parts(table: Table, types: Sequence[UserType]) -> Iterator[tuple[str, str]]:
    """(name, native type) of all columns, and of what their types are made of."""
    yield from ((c.name, c.type.native) for c in table.columns)
    for t in types:
        yield t.spelling, t.base
        yield from ((f"{t.spelling}.{name}", native) for name, native in t.attributes)


def _postgres_default(column: Column, use: SequenceUse | None, own: Callable[[str], str]) -> Default | None:
    if use is not None and not use.identity:
        return Default(sequences.default(use, column.default.text if column.default else None), DIALECT)
    return column.default and replace(column.default, text=own(column.default.text))


# --- other engines --------------------------------------------------------------------------------------------------


def _from_foreign(table: Table, names: SchemaNames, findings: _Findings) -> Table:
    columns = tuple(_foreign_column(table, c, findings) for c in table.columns)
    types = {c.name: c.type for c in columns if not (_folds_case(table, c.name) or _pads(table, c.name))}
    columns = tuple(_foreign_generated(table, c, types, findings) for c in columns)
    columns, uses = _number_wide_identities(table, columns, names)
    _note_behaviour(table, findings)
    return replace(
        table,
        columns=columns,
        primary_key_name=names.take(table.name.schema, table.name.table, "pkey") if table.primary_key else None,
        indexes=tuple(_foreign_indexes(table, names, findings)),
        checks=tuple(_foreign_checks(table, types, findings)),
        collation=None,
        particulars=PostgresParticulars({use.column: use for use in uses}),
    )


def _foreign_column(table: Table, column: Column, findings: _Findings) -> Column:
    where = f"{table.name}.{column.name}"
    mapped = from_foreign(column.type)
    if mapped is None:
        findings.refused.append(f"{where}: {column.type.native} has no equal in PostgreSQL")
        return column
    if mapped.note:
        findings.notes.append(f"{where}: {column.type.native} -> {mapped.type.native}: {mapped.note}")
    default = None
    if column.default is not None and column.identity is None:
        default = expressions.default(column.default.value, mapped.type)
        if default is None and not isinstance(column.default.value, Null):
            findings.notes.append(f"{where}: default {column.default} left out: it has no certain equal in PostgreSQL")
    return replace(column, type=mapped.type, default=None if default is None else Default(default, DIALECT))


def _foreign_generated(table: Table, column: Column, types: Mapping[str, ColumnType], findings: _Findings) -> Column:
    if column.generated is None:
        return column
    computed = expressions.computed(column.generated.tree, types)
    if computed is None:
        findings.refused.append(
            f"{table.name}.{column.name}: generated as {column.generated}, which has no certain equal in PostgreSQL"
        )
        return column
    return replace(column, generated=Expression(computed, DIALECT), generated_stored=True)


def _number_wide_identities(
    table: Table, columns: tuple[Column, ...], names: SchemaNames
) -> tuple[tuple[Column, ...], list[SequenceUse]]:
    """PostgreSQL has no identity on numeric, which unsigned 64-bit numbers need: a sequence as default does it."""
    uses: list[SequenceUse] = []
    numbered: list[Column] = []
    for c in columns:
        if c.identity is not None and not pa.types.is_integer(c.type.arrow):
            name = names.take(table.name.schema, table.name.table, f"{c.name}_seq")
            use = SequenceUse(
                c.name, table.name.schema, name, "", False, True, "bigint", c.identity.start, c.identity.increment,
                1, 2**63 - 1, 1, False, c.identity.next_value,
            )  # fmt: skip
            uses.append(use)
            c = replace(c, default=Default(sequences.default(use, None), DIALECT))
        numbered.append(c)
    return tuple(numbered), uses


def _folds_case(table: Table, column: str) -> bool:
    """Whether the source compares this text without regard to case, which PostgreSQL never does."""
    found = table.column(column).type
    collation = found.collation or table.collation
    plain = found.annotation in (Annotation.NONE, Annotation.CHAR, Annotation.ENUM, Annotation.SET)
    return plain and pa.types.is_string(found.arrow) and collation is not None and not collation.endswith("_bin")


def _pads(table: Table, column: str) -> bool:
    """Whether the source compares this text without regard to trailing blanks, as its older binary collations do."""
    found = table.column(column).type
    collation = found.collation or table.collation or ""
    return pa.types.is_string(found.arrow) and collation.endswith("_bin") and not _NO_PAD.search(collation)


def _note_behaviour(table: Table, findings: _Findings) -> None:
    """What the source does by itself and the target will not."""
    keyed = set(table.primary_key).union(*(i.columns for i in table.indexes))
    folded = [c.name for c in table.columns if c.name in keyed and _folds_case(table, c.name)]
    if folded:
        findings.notes.append(
            f"{table.name}: {', '.join(folded)} compared by collation rules (case) there, byte by byte here"
        )
    for column in table.columns:
        where = f"{table.name}.{column.name}"
        if column.on_update:
            findings.notes.append(f"{where}: ON UPDATE {column.on_update} left out: a trigger would be needed")
        if column.invisible:
            findings.notes.append(f"{where}: invisible on the source, visible here")
    findings.notes += [
        f"{table.name}: check {c.name} left out: it is not enforced on the source"
        for c in table.checks
        if not c.enforced
    ]


def _foreign_indexes(table: Table, names: SchemaNames, findings: _Findings) -> list[Index]:
    kept: list[Index] = []
    for index in table.indexes:
        where = f"{table.name}: index {index.name}"
        if index.expression is not None or index.method.lower() not in ("btree", "hash"):
            findings.notes.append(f"{where} left out: {index.expression or index.method} has no equal in PostgreSQL")
            continue
        name = names.take(table.name.schema, table.name.table, index.name)
        plain = not any(index.prefixes) and not any(index.descending)
        kept.append(replace(index, name=name, method="btree", constraint=index.unique and plain))
    return kept


def _foreign_checks(table: Table, types: Mapping[str, ColumnType], findings: _Findings) -> list[Check]:
    checks = [
        _check(f"{table.name.table}_{c.name}_labels", f"{identifier(c.name)} IN ({_labels(c.type)})")
        for c in table.columns
        if c.type.annotation is Annotation.ENUM
    ]
    for check in (c for c in table.checks if c.enforced):
        expression = expressions.check(check.expression.tree, types)
        if expression is not None:
            checks.append(_check(check.name, expression))
        elif not expressions.only_says_json(check.expression.tree, types):
            findings.notes.append(
                f"{table.name}: check {check.name} ({check.expression}) left out: it has no certain equal in PostgreSQL"
            )
    return checks


def _check(name: str, sql: str) -> Check:
    return Check(fitting(name), Expression(sql, DIALECT))


def _labels(type: ColumnType) -> str:
    return ", ".join(literal(label).strip() for label in type.labels)
