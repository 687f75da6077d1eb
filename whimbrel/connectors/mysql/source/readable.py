"""Whether an account may read tables, asked of the server itself: grants to roles, wildcards and columns all count."""

from __future__ import annotations

from collections.abc import Sequence

import pymysql

from whimbrel.connectors.mysql.connection import Session, qualified, query
from whimbrel.connectors.mysql.locks import locked, timed_out
from whimbrel.connectors.mysql.refusals import number_and_text
from whimbrel.errors import SourcePermissionDenied
from whimbrel.model.names import TableName

_DENIED = frozenset({1044, 1142, 1143, 1370})
_AT_ONCE = 100


def require_readable(session: Session, names: Sequence[TableName]) -> None:
    """Raise SourcePermissionDenied naming every table of which the account may not read every column.

    SourceInterrupted names one that others have locked for too long.
    """
    denied: list[TableName] = []
    for start in range(0, len(names), _AT_ONCE):
        batch = names[start : start + _AT_ONCE]
        if _refused(session, batch):
            denied += [n for n in batch if _refused(session, [n])]
    if denied:
        listed = ", ".join(str(n) for n in denied[:20])
        raise SourcePermissionDenied(
            f"the account may not read {listed}, if it exists",
            remedy=f"GRANT SELECT ON {qualified(denied[0])} TO the account, and likewise on the others named; "
            "POST /v1/prereqs lists every grant that is needed. Or correct 'tables' of the migration.",
            tables=[str(n) for n in denied[:100]],
        )


def _probe(name: TableName) -> str:
    return f"(SELECT 1 FROM (SELECT * FROM {qualified(name)} LIMIT 0) AS probe)"  # noqa: S608 - quoted


def _refused(session: Session, names: Sequence[TableName]) -> bool:
    probes = (_probe(n) for n in names)
    try:
        query(session, " UNION ALL ".join(probes))
    except pymysql.MySQLError as e:
        if timed_out(e):
            raise locked(session, list(names), lambda name: query(session, _probe(name))) from e
        if number_and_text(e)[0] in _DENIED:
            return True
        if len(names) == 1:
            return False  # it does not exist, or is broken: others say so better
        return any(_refused(session, [n]) for n in names)
    return False
