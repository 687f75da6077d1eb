"""A source's tables as a MySQL or MariaDB server will hold them: names, types, keys, defaults, checks.

The result is a Table in the target's own terms, from which ddl.py writes statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from whimbrel.connectors.mysql import particulars
from whimbrel.connectors.mysql.capabilities import CAPABILITIES
from whimbrel.connectors.mysql.particulars import MySQLParticulars
from whimbrel.connectors.mysql.target import expressions
from whimbrel.connectors.mysql.target.dialect import Dialect
from whimbrel.connectors.mysql.target.keys import KeyRoom, convert_foreign_keys, convert_indexes
from whimbrel.connectors.mysql.target.types import Mapped, from_family, from_foreign, key_bytes
from whimbrel.connectors.mysql.types import INTEGERS, base_of, read_type
from whimbrel.errors import IdentifierRefused, TypeRefused
from whimbrel.model.default import Default, NextValue
from whimbrel.model.expression import Expression
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Check, Column, Table

FAMILY = ("mysql", "mariadb")
DIALECT = "mysql"
ROW_BYTES = 65535
_GENERATED_NAME = re.compile(r"CONSTRAINT_\d+$|.*_chk_\d+$")
_BARE_DEFAULT = re.compile(r"('(?:[^'\\]|''|\\.)*'|[-+\d.eE]+|b'[01]*'|0x[0-9a-f]*|null)$", re.I | re.S)
_NOW = re.compile(r"(current_timestamp|now)(\(\d*\))?$", re.I)


@dataclass
class Conversion:
    """``tables`` in the order given; ``notes`` name what is lost, one line each."""

    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def convert(tables: Sequence[Table], schemas: Mapping[str, str], source_type: str, dialect: Dialect) -> Conversion:
    """All tables at once. Raises IdentifierRefused or TypeRefused listing every offender."""
    _refuse_names(tables, schemas, dialect)
    found = Conversion()
    refused: list[str] = []
    for table in tables:
        one = _TableConversion(table, table.name.renamed(schemas), dialect, family=source_type in FAMILY)
        found.tables.append(one.convert())
        found.notes += one.notes
        refused += one.refused
    if refused:
        raise TypeRefused(
            f"MySQL cannot hold {len(refused)} column(s): {'; '.join(refused[:20])}", columns=refused[:500]
        )
    keyed = convert_foreign_keys(found.tables, tables, schemas)
    return Conversion(keyed.tables, found.notes + keyed.notes)


def _refuse_names(tables: Sequence[Table], schemas: Mapping[str, str], dialect: Dialect) -> None:
    refused: list[str] = []
    seen: dict[str, TableName] = {}
    for table in tables:
        target = table.name.renamed(schemas)
        for name in (target.schema, target.table, *(c.name for c in table.columns)):
            if not _possible(name):
                refused.append(f"{table.name}: the name {name!r}")
        folded = [c.name.casefold() for c in table.columns]
        refused += [
            f"{table.name}.{c.name}: another case of it exists"
            for c in table.columns
            if folded.count(c.name.casefold()) > 1
        ]
        spelled = str(target).casefold() if dialect.folds_names else str(target)
        if seen.setdefault(spelled, table.name) != table.name:
            refused.append(f"{table.name}: becomes the same table as {seen[spelled]}")
    if refused:
        raise IdentifierRefused(f"MySQL cannot hold these names: {'; '.join(refused[:20])}", names=refused[:500])


def _possible(name: str) -> bool:
    plain = name and not name.endswith(" ") and "\0" not in name and all(ord(c) <= 0xFFFF for c in name)
    return bool(plain) and CAPABILITIES.fits(name)


class _TableConversion:
    def __init__(self, source: Table, name: TableName, dialect: Dialect, *, family: bool) -> None:
        self.source, self.name, self.dialect, self.family = source, name, dialect, family
        self.known = particulars.of(source)
        self._types = {c.name: c.type for c in source.columns}
        self.notes: list[str] = []
        self.refused: list[str] = []

    def note(self, what: str, column: str | None = None) -> None:
        self.notes.append(f"{self.source.name}{f'.{column}' if column else ''}: {what}")

    def convert(self) -> Table:
        for sentence in self.source.lost:
            self.note(sentence)
        collation = self._table_collation()
        if self.family and self.known.engine not in ("", "InnoDB"):
            self.note(f"engine {self.known.engine} -> InnoDB")
        room = KeyRoom(self.source) if not self.family else None
        mapped = {c.name: self._type(c, room) for c in self.source.columns}
        if not self.family:
            self._fit_row(mapped)
        columns = tuple(self._column(c, mapped[c.name]) for c in self.source.columns)
        converted = replace(
            self.source,
            name=self.name,
            columns=columns,
            primary_key_name="PRIMARY" if self.source.primary_key else None,
            checks=tuple(self._checks()),
            charset=collation.partition("_")[0],
            collation=collation,
            particulars=MySQLParticulars(self.dialect.mariadb, "InnoDB", self.known.key_parts),
        )
        converted = self._one_identity(converted)
        indexes, notes = convert_indexes(self.source, converted, self.dialect, family=self.family)
        self.notes += notes
        return replace(converted, indexes=indexes)

    def _table_collation(self) -> str:
        if not self.family:
            return self.dialect.exact_collation
        wanted = self.source.collation or self.dialect.exact_collation
        collation, same = self.dialect.collation(wanted)
        if not same:
            self.note(f"collation {wanted} -> {collation}")
        return collation

    def _type(self, column: Column, room: KeyRoom | None) -> Mapped:
        if self.family:
            mapped = from_family(column.type, self.dialect, from_mariadb=self.known.mariadb)
        else:
            mapped = from_foreign(column.type, self.dialect, room.share(column) if room else None)
            if mapped is not None and mapped.native == "json" and column.name in self.source.primary_key:
                mapped = None  # a document cannot be a key
            if column.domain_rules:
                self.note(f"the rules of its domain are left out: {' '.join(column.domain_rules)}", column.name)
        if mapped is None:
            self.refused.append(f"{self.source.name}.{column.name} {column.type.native}")
            return Mapped("longtext")
        if mapped.note:
            change = (
                ""
                if mapped.note.startswith((column.type.native, "collation")) or "->" in mapped.note
                else (f"{column.type.native} -> {mapped.native}: ")
            )
            self.note(change + mapped.note, column.name)
        return mapped

    def _fit_row(self, mapped: dict[str, Mapped]) -> None:
        """A row holds 65535 bytes beside its long texts: the longest varchars that are in no key become such."""
        in_keys = {name for key in _keys(self.source) for name in key}
        while sum(key_bytes(m.native) or 12 for m in mapped.values()) > ROW_BYTES:
            loose = {n: m for n, m in mapped.items() if n not in in_keys and m.native.startswith("var")}
            if not loose:
                self.refused.append(f"{self.source.name}: its row is longer than {ROW_BYTES} bytes")
                return
            longest = max(loose, key=lambda n: key_bytes(loose[n].native))
            long = "longtext" if loose[longest].native.startswith("varchar") else "longblob"
            self.note(f"{loose[longest].native} -> {long}: the row would be too long", longest)
            mapped[longest] = replace(mapped[longest], native=long)

    def _column(self, column: Column, mapped: Mapped) -> Column:
        type_ = read_type(mapped.native, mapped.collation, srid=column.type.srid)
        return replace(
            column,
            type=type_,
            default=self._default(column, mapped.native),
            generated=self._generated(column),
            on_update=column.on_update if self.family else None,
            invisible=column.invisible and self.family,
            domain_rules=(),
        )

    def _default(self, column: Column, native: str) -> Default | None:
        if column.default is None or column.identity is not None or column.generated is not None:
            return None
        if self.family and isinstance(column.default.value, NextValue):
            self.note(f"default {column.default} is left out: sequences are not moved", column.name)
            return None
        if self.family:
            own = _family_default(column.default.text, column.type.annotation, native, self.dialect)
            return replace(column.default, text=own)
        arrow = column.type.arrow
        instant = pa.types.is_timestamp(arrow) and arrow.tz is not None
        found = expressions.default(column.default.value, native, instant=instant)
        if found is None:
            self.note(f"default {column.default} is left out", column.name)
        return None if found in (None, "NULL") else Default(found, DIALECT)

    def _generated(self, column: Column) -> Expression | None:
        if self.family and column.generated and column.generated.text in ("ROW START", "ROW END"):
            self.refused.append(f"{self.source.name}.{column.name} generated as {column.generated}")
        if column.generated is None or self.family:
            return column.generated
        found = expressions.expression(column.generated.tree, self._types)
        if found is None:
            self.refused.append(f"{self.source.name}.{column.name} computed as {column.generated}")
            return column.generated
        return Expression(found, DIALECT)

    def _checks(self) -> Iterator[Check]:
        for check in (c for c in self.source.checks if c.enforced):
            expression: str | None = check.expression.text
            name = (
                ""
                if self.family and _GENERATED_NAME.match(check.name)
                else check.name[: CAPABILITIES.identifier_length]
            )
            if self.family and any(c.name == check.name for c in self.source.columns):
                name = ""  # MariaDB names a column's own check after the column; MySQL wants it unique in the schema
            if not self.family:
                expression = expressions.expression(check.expression.tree, self._types)
                name = f"{self.name.table}_{check.name}"
                name = name if CAPABILITIES.fits(name) else ""
            if expression is None:
                self.note(f"check {check.name} is left out: {check.expression}")
            else:
                yield Check(name, Expression(expression, DIALECT))
        for check in (c for c in self.source.checks if not c.enforced):
            if self.dialect.mariadb or not self.family:
                self.note(f"check {check.name} is left out: it is not enforced on the source")
            else:
                yield replace(check, name="" if _GENERATED_NAME.match(check.name) else check.name)

    def _one_identity(self, table: Table) -> Table:
        """Only one integer column may be numbered by the server."""
        taken = False
        columns = []
        for column in table.columns:
            if (numbering := column.identity) is not None:
                if taken or base_of(column.type.native) not in INTEGERS:
                    self.note("is not numbered by the target: a table has one AUTO_INCREMENT integer", column.name)
                    column = replace(column, identity=None)
                else:
                    taken = True
                    if numbering.increment != 1:
                        self.note(f"numbered in steps of {numbering.increment} there, of 1 here", column.name)
            columns.append(column)
        return replace(table, columns=tuple(columns))


def _keys(table: Table) -> list[tuple[str, ...]]:
    uniques = [i.columns for i in table.indexes if i.unique and i.expression is None]
    return [table.primary_key, *uniques, *(f.columns for f in table.foreign_keys)]


def _family_default(text: str, annotation: Annotation, native: str, dialect: Dialect) -> str:
    """Each server shows defaults in SQL that it takes; MySQL wants brackets around all but plain literals."""
    if dialect.mariadb or text.startswith("("):
        return text
    wide = native.endswith(("text", "blob")) or annotation in (Annotation.JSON, Annotation.SPATIAL)
    if _NOW.match(text) or (_BARE_DEFAULT.match(text) and not wide):
        return text
    return f"({text})"
