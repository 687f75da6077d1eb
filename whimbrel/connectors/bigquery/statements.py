"""The statements that bring staged changes into a table, each group with the check that ends its script if it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from whimbrel.connectors.bigquery.dialect import is_document
from whimbrel.connectors.bigquery.ledger import ends
from whimbrel.connectors.sql import merge
from whimbrel.connectors.sql.merge import COPIES, FOUND, MASK, NUMBER, OP, PUT, Pair, origin

_COUNTED: Final = "counted"
VARIABLE: Final = f"{_COUNTED} INT64"
_TYPES: Final = {OP: "STRING", NUMBER: "INT64", MASK: "STRING", COPIES: "INT64"}


@dataclass(frozen=True)
class StagedPair(Pair):
    """A pair with the table of ours that has its changes."""

    table_name: str

    @property
    def staging(self) -> str:
        return self.dialect.own(self.table_name)


def staged_columns(pair: Pair) -> list[tuple[str, str]]:
    """Names and types of a staging table's columns, as its files have them."""
    types: dict[str, str] = {
        origin(n): pair.dialect.staged_type(pair.target.column(name)) for n, name in enumerate(pair.key)
    }
    own = [(name, _TYPES.get(name) or types[name]) for name, _ in merge.own_columns(pair)]
    return [*((c.name, pair.dialect.staged_type(c)) for c in pair.columns), *own, (FOUND, "BOOL")]


def empty(pair: Pair) -> str:
    return f"DELETE FROM {pair.table} WHERE TRUE"  # noqa: S608


def put(on: StagedPair, puts: int, *, deletes: bool) -> list[str]:
    """Final images take the place of rows with their keys; those marked GONE go, as far as they are there."""
    gone = f"({merge.expected(on)})" if deletes else "0"
    wanted = f"{puts} + {_COUNTED}"
    return [
        f"SET {_COUNTED} = {gone}",
        merge.put(on, on.staging, removing=True),
        ends("written", f"COALESCE(@@row_count, -1) != {wanted}", str(on.number), "COALESCE(@@row_count, -1)", wanted),
    ]


# --- values that the source left out ----------------------------------------------------------------------------------


def absent(on: StagedPair, before: Sequence[StagedPair], *, emptied: bool) -> str:
    """Numbers of rows with values left out that nobody here has: not the table, nor what comes into it before."""
    d = on.dialect

    def met(there: str) -> str:
        keys = enumerate(map(on.target.column, on.key))
        each = (d.matches(k, f"{there}.{d.identifier(k.name)}", f"s.{d.identifier(origin(n))}") for n, k in keys)
        return " AND ".join(each)

    conditions = [f"s.{d.identifier(MASK)} <> ''"]
    if not emptied:
        conditions.append(f"NOT EXISTS (SELECT 1 FROM {on.table} t WHERE {met('t')})")  # noqa: S608
    for earlier in before:
        conditions.append(
            f"NOT EXISTS (SELECT 1 FROM {earlier.staging} p WHERE {met('p')} AND p.{d.identifier(OP)} = '{PUT}')"  # noqa: S608
        )
    return f"SELECT s.{d.identifier(NUMBER)} FROM {on.staging} s WHERE {' AND '.join(conditions)}"  # noqa: S608


def filled(on: StagedPair, names: Sequence[str], missing: int) -> list[str]:
    """Values from the table's own rows; of those that ``absent`` has told, ``missing``, what the source has is there
    beside them."""
    found = [
        merge.fill(on, names),
        f"SET {_COUNTED} = (SELECT COUNT(*) FROM ({merge.not_found(on)}))",  # noqa: S608
        ends("moved", f"{_COUNTED} != {missing}", str(on.number), _COUNTED),
    ]
    return [*found, merge.drop_not_found(on)] if missing else found


# --- rows without a key -----------------------------------------------------------------------------------------------


def _alike(on: Pair) -> str:
    d = on.dialect
    return " AND ".join(
        d.same(
            d.comparable(c, f"t.{d.identifier(c.name)}"),
            d.comparable(c, d.from_staged(c, f"s.{d.identifier(c.name)}")),
        )
        for c in on.columns
    )


def _together(on: StagedPair) -> list[str]:
    """Images that differ at the source and not here, as of documents that differ in blanks, become one."""
    d = on.dialect
    number, copies = (d.identifier(n) for n in (NUMBER, COPIES))
    values = ", ".join(
        f"TO_JSON_STRING({d.comparable(c, d.from_staged(c, f's.{d.identifier(c.name)}'))})" for c in on.columns
    )
    first = f"SELECT MIN(s.{number}) AS number, SUM(s.{copies}) AS wanted FROM {on.staging} s GROUP BY {values}"  # noqa: S608
    return [
        f"UPDATE {on.staging} s SET {copies} = q.wanted FROM ({first}) q WHERE s.{number} = q.number",  # noqa: S608
        f"DELETE FROM {on.staging} WHERE {number} NOT IN (SELECT number FROM ({first}))",  # noqa: S608
    ]


def remove_images(on: StagedPair) -> list[str]:
    """All rows that equal a staged one go, and those that were too many come back."""
    d = on.dialect
    number, copies, found = (d.identifier(n) for n in (NUMBER, COPIES, FOUND))
    count = (
        f"SELECT s.{number} AS number, COUNT(*) AS there FROM {on.staging} s JOIN {on.table} t ON {_alike(on)} "  # noqa: S608
        f"GROUP BY s.{number}"
    )
    together = _together(on) if any(is_document(c) for c in on.columns) else []
    names = d.identifiers(c.name for c in on.columns)
    values = ", ".join(d.from_staged(c, f"s.{d.identifier(c.name)}") for c in on.columns)
    short = f"SELECT COUNT(*) FROM {on.staging} WHERE {found} IS NULL OR {copies} < 0"  # noqa: S608
    return [
        *together,
        f"UPDATE {on.staging} s SET {copies} = q.there - s.{copies}, {found} = TRUE FROM ({count}) q "  # noqa: S608
        f"WHERE s.{number} = q.number",
        f"SET {_COUNTED} = ({short})",
        ends("images", f"{_COUNTED} != 0", str(on.number), _COUNTED),
        f"MERGE INTO {on.table} t USING {on.staging} s ON {_alike(on)} WHEN MATCHED THEN DELETE",
        f"INSERT INTO {on.table} ({names}) SELECT {values} FROM {on.staging} s, "  # noqa: S608
        f"UNNEST(GENERATE_ARRAY(1, s.{copies})) AS again",
    ]


def add_images(on: StagedPair, rows: int) -> list[str]:
    return [
        merge.add(on, on.staging),
        ends("written", f"COALESCE(@@row_count, -1) != {rows}", str(on.number), "COALESCE(@@row_count, -1)", str(rows)),
    ]
