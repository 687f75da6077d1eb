"""The SQL that brings a batch of changes into one target table, and the staging tables it goes through.

Staging tables are temporary and have the target's own column types, so that the server reads canonical text once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from whimbrel.codecs.text import Render
from whimbrel.connectors.postgres.connection import identifier, identifiers, qualified
from whimbrel.model.table import Annotation, Column, Table

MERGE_VERSION = 150000  # MERGE came with PostgreSQL 15
DELETED, KEPT = b"D", b"U"

_RAW = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_date,
    pa.types.is_time,
    pa.types.is_timestamp,
)
_RAW_TEXT = (Annotation.NUMERIC, Annotation.UUID, Annotation.BIT, Annotation.YEAR, Annotation.DURATION)


@dataclass(frozen=True)
class Pair:
    """A source table, the target table it goes to, and ``number``, which names the staging tables.

    ``uniques`` has the columns of the target's unique indexes that its key does not imply, and ``shared`` those of them
    that are unique in the source too. ``folding`` are columns in which the target calls values equal that the source
    may tell apart. ``mergeable`` is false when there are such indexes, exclusion constraints, columns that cannot be
    updated, or keys that are equal in several spellings. ``bases`` spells the base types of columns whose type is a
    domain: staged rows may lack values that a domain insists on.
    """

    number: int
    source: Table
    target: Table
    uniques: tuple[tuple[str, ...], ...] = ()
    shared: tuple[tuple[str, ...], ...] = ()
    folding: frozenset[str] = frozenset()
    mergeable: bool = True
    bases: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.source.loaded_columns)

    @property
    def key(self) -> tuple[str, ...]:
        return self.source.key

    def staged(self, column: str) -> str:
        """The column as staging tables are made from it."""
        name = identifier(column)
        return f"{name}::{self.bases[column]} as {name}" if column in self.bases else name

    @property
    def table(self) -> str:
        return qualified(self.target.name)

    @property
    def stage(self) -> str:
        """Rows to put and keys to delete (``#op``), or rows with ``#count`` for a table without a key."""
        return f"pg_temp.whimbrel_stage_{self.number}"

    @property
    def fill(self) -> str:
        """Rows of the stage that lack values: their own key, the key the target has them under, and a mask."""
        return f"pg_temp.whimbrel_fill_{self.number}"

    @property
    def fetched(self) -> str:
        """Rows asked of the source again, because the target does not hold what they lack."""
        return f"pg_temp.whimbrel_fetched_{self.number}"


def render(column: Column) -> Render:
    """How canonical text of a source column is written for COPY."""
    arrow = column.type.arrow
    if pa.types.is_binary(arrow):
        return Render.BYTEA
    if column.type.annotation in _RAW_TEXT or any(is_kind(arrow) for is_kind in _RAW):
        return Render.RAW
    return Render.TEXT


# --- staging tables -------------------------------------------------------------------------------------------------


def create_stage(pair: Pair) -> str:
    mark = '\'\'::"char" as "#op"' if pair.key else '0::bigint as "#count"'
    return _create(pair.stage, f"{_staged(pair)}, {mark}", pair)


def create_fill(pair: Pair) -> str:
    """Both tables that are needed only while values are missing."""
    own = ", ".join(f"{identifier(k)} as {_own(i)}" for i, k in enumerate(pair.key))
    origin = ", ".join(f"{identifier(k)} as {_origin(i)}" for i, k in enumerate(pair.key))
    fill = _create(pair.fill, f'{own}, {origin}, \'\'::text as "#mask", false as "#found"', pair)
    return fill + _create(pair.fetched, _staged(pair), pair)


def _staged(pair: Pair) -> str:
    return ", ".join(map(pair.staged, pair.columns))


def _create(name: str, columns: str, pair: Pair) -> str:
    return (
        f"create temp table {name.removeprefix('pg_temp.')} on commit delete rows as "  # noqa: S608
        f"select {columns} from {pair.table} with no data;"
    )


def copy_stage(pair: Pair) -> str:
    mark = "#op" if pair.key else "#count"
    return f"copy {pair.stage} ({identifiers((*pair.columns, mark))}) from stdin;"


def copy_fill(pair: Pair) -> str:
    keys = range(len(pair.key))
    names = ", ".join([*map(_own, keys), *map(_origin, keys)])
    return f'copy {pair.fill} ({names}, "#mask") from stdin;'


def replace_staged(pair: Pair, stage: str) -> tuple[str, str]:
    """Delete the rows with the keys of those in ``stage``, which has no marks; insert these."""
    columns = identifiers(pair.columns)
    return (
        f"delete from {pair.table} t using {stage} s where {_key_matches(pair)}",  # noqa: S608
        f"insert into {pair.table} ({columns}) overriding system value select {columns} from {stage}",  # noqa: S608
    )


def copy_fetched(pair: Pair) -> str:
    return f"copy {pair.fetched} ({identifiers(pair.columns)}) from stdin;"


def empty_stage(pair: Pair) -> str:
    """Staging tables empty themselves at commit; within a transaction of several batches this does it."""
    return f"truncate {pair.stage};"


def empty_fill(pair: Pair) -> str:
    return f"truncate {pair.fill}, {pair.fetched};"


# --- values the log left out ----------------------------------------------------------------------------------------


def fill_from_target(pair: Pair, lacking: Sequence[str]) -> str:
    """Take missing values from the rows as the target has them, and note which rows were there."""
    origin = " and ".join(_equal(pair, k, f"t.{identifier(k)}", f"f.{_origin(i)}") for i, k in enumerate(pair.key))
    return (
        f"update {pair.stage} s set {_filled('t', lacking)} from {pair.fill} f join {pair.table} t on {origin} "  # noqa: S608
        f"where {_same_row(pair)};"
        f'update {pair.fill} f set "#found" = true from {pair.table} t where {origin};'
    )


def not_found(pair: Pair) -> str:
    """The keys, as text, of rows that the target does not have. Binary keys are hex with a leading backslash x."""
    keys = ", ".join(f"f.{_own(i)}::text" for i in range(len(pair.key)))
    return f'select {keys} from {pair.fill} f where "#found" is not true'  # noqa: S608


def fill_from_fetched(pair: Pair, lacking: Sequence[str]) -> str:
    """Take missing values from the source's rows; drop rows that are gone there, which a later change removes."""
    same = " and ".join(_equal(pair, k, f"r.{identifier(k)}", f"f.{_own(i)}") for i, k in enumerate(pair.key))
    return (
        f"update {pair.stage} s set {_filled('r', lacking)} from {pair.fill} f join {pair.fetched} r on {same} "  # noqa: S608
        f'where f."#found" is not true and {_same_row(pair)};'
        f"delete from {pair.stage} s using {pair.fill} f "
        f'where f."#found" is not true and {_same_row(pair)} '
        f"and not exists (select from {pair.fetched} r where {same});"
    )


def _filled(origin: str, lacking: Sequence[str]) -> str:
    return ", ".join(
        f"{identifier(c)} = case when substr(f.\"#mask\", {i}, 1) = '1' "
        f"then {origin}.{identifier(c)} else s.{identifier(c)} end"
        for i, c in enumerate(lacking, 1)
    )


def _same_row(pair: Pair) -> str:
    same = " and ".join(_equal(pair, k, f"s.{identifier(k)}", f"f.{_own(i)}") for i, k in enumerate(pair.key))
    return f"{same} and s.\"#op\" = 'U'"


def _own(i: int) -> str:
    return f'"#k{i}"'


def _origin(i: int) -> str:
    return f'"#o{i}"'


# --- tables with a key ----------------------------------------------------------------------------------------------


def apply_keyed(pair: Pair, server_version: int) -> str:
    """One MERGE; or, where other unique indexes might see two rows swap values, delete all and insert the final."""
    if server_version >= MERGE_VERSION and pair.mergeable:
        return _merge(pair)
    return rewrite(pair)


def _merge(pair: Pair) -> str:
    updates = [c for c in pair.columns if c not in pair.key]
    assignments = ", ".join(f"{identifier(c)} = s.{identifier(c)}" for c in updates)
    change = f"when matched then update set {assignments}" if updates else "when matched then do nothing"
    values = ", ".join(f"s.{identifier(c)}" for c in pair.columns)
    return (
        f"merge into {pair.table} t using {pair.stage} s on {_key_matches(pair)} "  # noqa: S608
        f"when matched and s.\"#op\" = 'D' then delete {change} "
        f"when not matched and s.\"#op\" = 'U' then insert ({identifiers(pair.columns)}) "
        f"overriding system value values ({values});"
    )


def rewrite(pair: Pair, *, displacing: bool = False) -> str:
    """Delete every row the batch touches, then insert the final images."""
    columns = identifiers(pair.columns)
    return (
        f"delete from {pair.table} t using {pair.stage} s where {_key_matches(pair)};"  # noqa: S608
        f"{_displace(pair) if displacing else ''}"
        f"insert into {pair.table} ({columns}) overriding system value "
        f"select {columns} from {pair.stage} where \"#op\" = 'U';"
    )


def _displace(pair: Pair) -> str:
    """Remove rows that hold a value which a row of the batch is to have in a unique key that the source has too.

    The source never has both. They are in the way only while old changes are replayed over newer rows, or while a
    transaction is half applied: a later change brings them back.
    """
    return "".join(
        f"delete from {pair.table} t using {pair.stage} s where s.\"#op\" = 'U' and {_matches(pair, unique)};"  # noqa: S608
        for unique in pair.shared
    )


def _key_matches(pair: Pair) -> str:
    return _matches(pair, pair.key)


def _matches(pair: Pair, columns: Sequence[str]) -> str:
    return " and ".join(_equal(pair, c, f"t.{identifier(c)}", f"s.{identifier(c)}") for c in columns)


def _equal(pair: Pair, column: str, left: str, right: str) -> str:
    """Equal as the target has it, for its indexes, and as the source has it where the target folds."""
    equal = f"{left} = {right}"
    if column in pair.folding:
        equal += f' and {left}::text collate "C" = {right}::text collate "C"'
    return equal


# --- tables without a key -------------------------------------------------------------------------------------------


def delete_images(pair: Pair) -> str:
    """Remove ``#count`` rows equal to each staged row. Equality is that of the rows' text, which every type has."""
    target = ", ".join(f"t.{identifier(c)}" for c in pair.columns)
    staged = ", ".join(f"s.{identifier(c)}" for c in pair.columns)
    numbered = (
        f'select t.tableoid as relation, t.ctid as place, s."#count" as wanted, '  # noqa: S608
        f"row_number() over (partition by s.ctid) as number "
        f"from {pair.table} t join {pair.stage} s on row({target})::text = row({staged})::text"
    )
    return (
        f"delete from {pair.table} t using ({numbered}) d "  # noqa: S608
        "where t.tableoid = d.relation and t.ctid = d.place and d.number <= d.wanted;"
    )


def copy_images(pair: Pair) -> str:
    return f"copy {pair.table} ({identifiers(pair.columns)}) from stdin;"
