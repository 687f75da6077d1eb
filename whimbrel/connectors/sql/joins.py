"""Putting staged rows into a table without MERGE: by statements that join, in one transaction, and counted."""

from __future__ import annotations

from whimbrel.connectors.sql import merge
from whimbrel.connectors.sql.merge import GONE, OP, PUT, Pair
from whimbrel.connectors.sql.session import Session


def put_by_joins(session: Session, pair: Pair, staging: str, *, removing: bool) -> int:
    """What ``merge.put`` does and how many rows it wrote: rows take the place of those with their keys, or are added;
    with ``removing`` those marked GONE go.

    An UPDATE may count only the rows whose values change, so those that it finds are counted before it; and what is
    added is what has no row of its key then.
    """
    gone = session.execute(_remove(pair, staging)) if removing else 0
    found = int(session.query(_count(pair, staging, removing=removing))[0][0])
    if found:
        update = _update(pair, staging, removing=removing)
        if update:
            session.execute(update)
    return gone + found + session.execute(_add(pair, staging, removing=removing))


def _marked(pair: Pair, mark: str) -> str:
    return f"s.{pair.dialect.identifier(OP)} = '{mark}'"


def _on(pair: Pair, *, removing: bool) -> str:
    return merge.by_key(pair) + (f" AND {_marked(pair, PUT)}" if removing else "")


def _remove(pair: Pair, staging: str) -> str:
    on = f"{merge.by_key(pair)} AND {_marked(pair, GONE)}"
    return pair.dialect.delete_by(f"{pair.table} t", f"{staging} s", on)


def _count(pair: Pair, staging: str, *, removing: bool) -> str:
    return f"SELECT COUNT(*) FROM {staging} s JOIN {pair.table} t ON {_on(pair, removing=removing)}"  # noqa: S608


def _update(pair: Pair, staging: str, *, removing: bool) -> str:
    """'' for a table of key columns alone."""
    d = pair.dialect
    rest = {d.identifier(c.name): merge.made(pair, c) for c in pair.columns if c.name not in pair.key}
    return d.update_by(f"{pair.table} t", rest, f"{staging} s", _on(pair, removing=removing)) if rest else ""


def _add(pair: Pair, staging: str, *, removing: bool) -> str:
    d = pair.dialect
    names = d.identifiers(c.name for c in pair.columns)
    values = ", ".join(merge.made(pair, c) for c in pair.columns)
    absent = f"t.{d.identifier(pair.key[0])} IS NULL" + (f" AND {_marked(pair, PUT)}" if removing else "")
    return (
        f"INSERT INTO {pair.table} ({names}) SELECT {values} FROM {staging} s "  # noqa: S608
        f"LEFT JOIN {pair.table} t ON {merge.by_key(pair)} WHERE {absent}"
    )
