"""The ten tables of the soak, as a source of each family declares them and as both ends sum them up."""

from __future__ import annotations

from dataclasses import dataclass

from tests.soak.kinds import KINDS, LABELS, Family

SCHEMA = "soak"
HEX_DIGITS = 12  # of each half of a hash: a sum of 2**48 times a million rows fits every engine's exact numbers


@dataclass(frozen=True)
class Table:
    """``columns`` are name -> kind. ``filled`` are those that are never null though they are in no key."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...] = ("id",)
    uniques: tuple[tuple[str, ...], ...] = ()
    references: tuple[tuple[str, str], ...] = ()  # column -> table with an id
    filled: tuple[str, ...] = ()

    @property
    def fixed(self) -> frozenset[str]:
        """Columns that may not be null."""
        return frozenset((*self.key, *self.filled))

    @property
    def values(self) -> tuple[str, ...]:
        """Columns that an update may give any value."""
        tied = {*self.key, *(c for u in self.uniques for c in u), *(c for c, _ in self.references)}
        return tuple(c for c in self.columns if c not in tied)

    @property
    def where(self) -> str:
        """The condition of one row, with a place for each value of its key."""
        return " and ".join(f"{c} = %s" for c in self.key)


def tables(family: Family) -> tuple[Table, ...]:
    """Those of a source of that family."""
    postgres = family == "postgres"
    special = {"list": "array", "took": "interval", "host": "inet"} if postgres else {"many": "set", "vintage": "year"}
    numbers = ("tiny", "small", "medium", "int", "big", "unsigned", "decimal", "number", "double", "float", "bool")
    return (
        Table("numbers", {"id": "id", **{f"c_{kind}": kind for kind in numbers}}),
        Table("texts", {"code": "code", "title": "text", "fixed": "char", "body": "body", "more": "body"}, ("code",)),
        Table(
            "moments",
            {"day": "day_key", "id": "number_key", "at": "time", "made": "timestamp", "seen": "instant", "on_": "date"},
            ("day", "id"),
        ),
        Table("pieces", {"id": "uuid_key", "raw": "bytes", "eight": "binary", "flags": "bit", "other": "uuid"}),
        Table("documents", {"id": "id", "doc": "json", "state": "enum", **special, "note": "body"}),
        Table(
            "badges",
            {"id": "number_key", "code": "code", "place": "number_key", "turn": "code", "label": "text"},
            uniques=(("code",), ("place", "turn")),
            filled=("code", "place", "turn"),
        ),
        Table("parents", {"id": "id", "name": "text", "score": "double"}),
        Table(
            "children",
            {"id": "id", "parent_id": "number_key", "name": "text", "amount": "decimal"},
            references=(("parent_id", "parents"),),
        ),
        Table("tree", {"id": "number_key", "above": "number_key", "name": "text"}, references=(("above", "tree"),)),
        Table("visits", {"path": "text", "millis": "small", "seen": "timestamp", "raw": "bytes", "host": "code"}, ()),
    )


def ddl(family: Family) -> str:
    if family == "postgres":
        labels = ", ".join("'" + label.replace("'", "''") + "'" for label in LABELS)
        head = f"create schema {SCHEMA}; set search_path = {SCHEMA}; create type mood as enum ({labels});"
    else:
        head = f"create database {SCHEMA} character set utf8mb4 collate utf8mb4_bin; use {SCHEMA};"
    return head + "".join(_create(table, family) for table in tables(family))


def _create(table: Table, family: Family) -> str:
    lines = []
    for name, kind in table.columns.items():
        declared = KINDS[kind].postgres if family == "postgres" else KINDS[kind].mysql
        lines.append(f"{name} {declared}" + (" not null" if name in table.fixed else ""))
    if table.key:
        lines.append(f"primary key ({', '.join(table.key)})")
    lines += [f"unique ({', '.join(columns)})" for columns in table.uniques]
    lines += [f"foreign key ({column}) references {parent} (id)" for column, parent in table.references]
    created = f"create table {table.name} ({', '.join(lines)});"
    if family == "postgres" and not table.key:
        created += f"alter table {table.name} replica identity full;"
    return created


# --- what both ends are compared by -----------------------------------------------------------------------------------


def row_text(table: Table, family: Family) -> str:
    """SQL for one text per row: its columns joined by ``|``, NULL as ``-``."""
    texts = []
    for name, kind in table.columns.items():
        sql = KINDS[kind].postgres_text if family == "postgres" else KINDS[kind].mysql_text
        texts.append(f"coalesce({sql.format(name)}, '-')")
    return f"concat_ws('|', {', '.join(texts)})"


def rows_query(table: Table, family: Family) -> str:
    return f"select {row_text(table, family)} from {SCHEMA}.{table.name}"


def sum_query(table: Table, family: Family) -> str:
    """One row: the number of rows, and the sums of both halves of their hashes. It does not depend on their order."""
    second = HEX_DIGITS + 1
    if family == "postgres":
        half = "coalesce(sum(('x' || substr(h, {0}, {1}))::bit(48)::bigint), 0)"
        hashed = f"encode(sha256(convert_to({row_text(table, family)}, 'UTF8')), 'hex')"
    else:
        half = "coalesce(sum(cast(conv(substr(h, {0}, {1}), 16, 10) as unsigned)), 0)"
        hashed = f"sha2({row_text(table, family)}, 256)"
    sums = f"{half.format(1, HEX_DIGITS)}, {half.format(second, HEX_DIGITS)}"
    return f"select count(*), {sums} from (select {hashed} as h from {SCHEMA}.{table.name}) hashes"
