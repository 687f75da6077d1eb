"""Puts staged rows into a target table, and never one over another.

The plain statement inserts a row or updates the one with its key, and fails where the target would have it update a
different one. Then the rows with the staged keys are deleted and all are inserted, so that values may move between
rows. What is still in the way is either of another time, or the target is stricter than the source: that is refused.
"""

from __future__ import annotations

import pymysql

from whimbrel.connectors.mysql.connection import Session, execute
from whimbrel.connectors.mysql.refusals import number_and_text, value_refusal
from whimbrel.connectors.mysql.target import merge
from whimbrel.connectors.mysql.target.merge import Pair
from whimbrel.errors import ValueRefused

_DUPLICATE = (1062, 1169, 1586)
_ANOTHER = (*_DUPLICATE, 1048, 1242)  # what merge.upsert fails with when it meets another row


def put_rows(session: Session, pair: Pair, rows: int) -> None:
    """Bring ``rows`` rows of the staging table ``upserts`` into the target. Raises ValueRefused naming table and keys,
    and pymysql's errors. A statement that fails has changed nothing, and the transaction goes on."""
    if pair.keys.colliding:
        try:
            execute(session, merge.upsert(pair))
        except pymysql.MySQLError as e:
            if number_and_text(e)[0] not in _ANOTHER:
                raise
        else:
            return
    execute(session, merge.delete(pair, "upserts"))
    inserted = _insert(session, pair, free=True)
    if inserted != rows:
        raise ValueRefused(
            f"{pair.target.name}: of {rows} rows that the source has, {inserted} came into the target",
            table=str(pair.target.name),
        )


def _insert(session: Session, pair: Pair, *, free: bool) -> int:
    try:
        return execute(session, merge.insert(pair))
    except pymysql.MySQLError as e:
        number, text = number_and_text(e)
        if number not in _DUPLICATE:
            raise
        if not free or not sum(execute(session, sql) for sql in merge.free(pair)):
            raise _refused(pair, number, text) from e
    return _insert(session, pair, free=False)


def _refused(pair: Pair, number: int, text: str) -> ValueRefused:
    """Which key of the target it is, and that the source has none like it."""
    details = value_refusal(number, text).extra
    name = str(details.get("key", ""))
    columns = pair.keys.uniques.get(name, ())
    named = f"{name} ({', '.join(columns)})" if columns else name or "of its own"
    key = ", ".join(pair.key)
    return ValueRefused(
        f"{pair.target.name}: two rows that the source tells apart by {key} have the same value in the target's unique "
        f"key {named}; none is put over the other",
        remedy="Drop that unique key on the target, or give its columns the source's length and a collation that tells "
        "apart what the source does, then resume.",
        errno=number,
        table=str(pair.target.name),
        key=name,
        columns=list(columns),
    )
