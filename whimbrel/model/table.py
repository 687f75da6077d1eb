"""Tables and their columns, as reflected from a source and rendered for a target.

A column's type is an Arrow type plus annotations for what Arrow lacks, so that N sources and M targets need N + M
type tables and not N x M.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum

import pyarrow as pa

from whimbrel.model.default import Default
from whimbrel.model.expression import Expression
from whimbrel.model.names import TableName


class Annotation(StrEnum):
    """What an Arrow type alone does not say. The canonical text of each (see docs/formats.md) is given behind it."""

    NONE = ""
    NUMERIC = "numeric"  # a decimal number without declared precision, over Arrow string; also NaN, Infinity
    CHAR = "char"  # fixed-length text, blank-padded as the engine shows it
    JSON = "json"  # JSON text
    UUID = "uuid"  # 8-4-4-4-12 lower-case hex
    ENUM = "enum"  # the label
    SET = "set"  # labels joined by commas
    BIT = "bit"  # '0' and '1', most significant first
    TIME_TZ = "timetz"  # HH:MM:SS[.ffffff]+HH[:MM]
    INTERVAL = "interval"  # the source's own text
    ARRAY = "array"  # PostgreSQL's array literal
    SPATIAL = "spatial"  # engine bytes
    YEAR = "year"  # four digits
    DURATION = "duration"  # [-]HHH:MM:SS[.ffffff], MySQL TIME beyond a day
    NATIVE = "native"  # anything else that travels only within one engine, as its own text


@dataclass(frozen=True)
class ColumnType:
    """``arrow`` is the nearest Arrow type, ``native`` the source's full spelling (``numeric(12,2)``, ``varchar(40)``).

    ``length`` is characters for text, bytes for binary, bits for BIT, fractional digits for times; ``labels`` those of
    enum and set; ``collation`` the source's, where it is not the default. docs/formats.md has the table of types.
    """

    arrow: pa.DataType
    native: str
    annotation: Annotation = Annotation.NONE
    length: int | None = None
    labels: tuple[str, ...] = ()
    collation: str | None = None
    srid: int | None = None


@dataclass(frozen=True)
class Identity:
    """A column the server numbers: identity, serial or AUTO_INCREMENT. ``next_value`` is the source's next."""

    always: bool = False
    start: int = 1
    increment: int = 1
    next_value: int | None = None
    sequence: str | None = None


@dataclass(frozen=True)
class Column:
    """``generated`` is what a computed column is made of; it is never loaded. ``on_update`` is what its server sets it
    to when a row changes, ``domain_rules`` what its own type there asks beyond ``type``, both in that server's SQL;
    ``invisible``: not part of SELECT * there.
    """

    name: str
    type: ColumnType
    nullable: bool = True
    default: Default | None = None
    identity: Identity | None = None
    generated: Expression | None = None
    generated_stored: bool = True
    comment: str | None = None
    on_update: str | None = None
    invisible: bool = False
    domain_rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Index:
    """``columns`` in order; ``expression`` holds the source's whole definition where it is more than plain columns.

    ``prefixes`` has MySQL's prefix lengths (None for whole columns), ``descending`` the direction of each.
    """

    name: str
    columns: tuple[str, ...]
    unique: bool = False
    constraint: bool = False
    method: str = "btree"
    expression: str | None = None
    prefixes: tuple[int | None, ...] = ()
    descending: tuple[bool, ...] = ()
    include: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForeignKey:
    name: str
    columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    deferrable: bool = False
    initially_deferred: bool = False


@dataclass(frozen=True)
class Check:
    """What must not be false of a row, unless it is only written down (``enforced``)."""

    name: str
    expression: Expression
    enforced: bool = True


@dataclass(frozen=True)
class Particulars:
    """What an engine knows of its own tables and no other one understands. Each engine that has such has a subclass in
    its folder, and reads no other engine's.
    """


@dataclass(frozen=True)
class Table:
    """One table. ``rows`` and ``bytes`` are the source's estimates (for planning and progress only).

    ``lost`` says, a sentence each, what no target keeps of it: partitions, heirs, history. ``collation`` is that of its
    texts that have none of their own; ``versioned``: the source keeps the history of its rows; ``binary_rows``: these
    may travel in the binary form of their own engine.
    """

    name: TableName
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    primary_key_name: str | None = None
    indexes: tuple[Index, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    rows: int = 0
    bytes: int = 0
    comment: str | None = None
    charset: str | None = None
    lost: tuple[str, ...] = ()
    collation: str | None = None
    versioned: bool = False
    binary_rows: bool = True
    particulars: Particulars | None = field(default=None, hash=False, compare=False)

    def column(self, name: str) -> Column:
        """The column of that name; KeyError if there is none."""
        for c in self.columns:
            if c.name == name:
                return c
        raise KeyError(name)

    @property
    def loaded_columns(self) -> tuple[Column, ...]:
        """The columns that are copied: all but the generated ones, in table order."""
        return tuple(c for c in self.columns if c.generated is None)

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies a row: the primary key, else the first unique key whose columns are all NOT NULL, else ()."""
        if self.primary_key:
            return self.primary_key
        not_null = {c.name for c in self.columns if not c.nullable and c.generated is None}
        for index in self.indexes:
            plain = index.unique and index.expression is None and not any(index.prefixes)
            if plain and index.columns and set(index.columns) <= not_null:
                return index.columns
        return ()

    @property
    def uniques(self) -> tuple[tuple[str, ...], ...]:
        """Columns of which no two rows have the same values: the primary key, and unique keys over whole columns and
        all rows."""
        found = [i for i in self.indexes if i.unique and i.columns and not any(i.prefixes)]
        # what is more than plain columns is an expression or a condition, but for a constraint, which has neither
        plain = [i.columns for i in found if i.expression is None or i.constraint]
        return (*([self.primary_key] if self.primary_key else []), *plain)

    @property
    def fingerprint(self) -> str:
        """A hash of name, columns and key: equal as long as staged rows and plans still fit the table."""
        shape = [
            (c.name, str(c.type.arrow), c.type.native, c.nullable, c.generated and c.generated.text)
            for c in self.columns
        ]
        return hashlib.sha256(repr((str(self.name), shape, self.primary_key)).encode()).hexdigest()[:16]

    def on_target(self, name: TableName) -> Table:
        """The same table under its target name."""
        return replace(self, name=name)
