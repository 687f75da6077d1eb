"""What rows that were there before hold in a column that was added since: the log never shows that.

ALTER TABLE gives them all one value, or rewrites them, each with a value of its own (a default that differs from row to
row, numbers of an identity). Rewritten rows are those of the transaction that rewrote them. So one row that is older
than the last look tells what all of its time hold; where there is none, the catalog may know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from whimbrel.connectors.postgres.compare import PostgresComparison
from whimbrel.connectors.postgres.connection import identifier, literal
from whimbrel.connectors.postgres.source.watch import Added
from whimbrel.connectors.protocols import Filled
from whimbrel.model.normal import Columns
from whimbrel.model.table import Table

SECONDS: Final = 30  # how long a table is searched for an older row

_TYPE: Final = "format_type(atttypid, atttypmod)"
_MISSING: Final = "select {what} from pg_attribute where attrelid = {oid} and attname = {name} and atthasmissing"


def filled(comparison: PostgresComparison, table: Table, columns: Columns, added: Added) -> Sequence[Filled]:
    """One for each column in ``added``; none if the table has no rows any more. ``columns`` are names and forms."""
    rows = comparison.rows_of(table.name)
    if comparison.rows(f"select exists (select from {rows})") == [(False,)]:  # noqa: S608
        return ()  # the target's go when the log is read
    return tuple(_filled(comparison, table, rows, dict(columns), added))


def _filled(
    comparison: PostgresComparison, table: Table, rows: str, forms: dict[str, str], added: Added
) -> Iterator[Filled]:
    natives = comparison.native_types(table.name)
    known = [n for n in added.columns if n in forms and n in natives]
    values = [comparison.dialect.value(identifier(n), natives[n], forms[n]) for n in known]
    older = f"age(xmin) > age(({added.horizon}::bigint % (1::bigint << 32))::text::xid)"
    chosen = ", ".join(values) or "true"
    found = comparison.rows_within(f"select {chosen} from {rows} where {older} limit 1", SECONDS)  # noqa: S608
    for name in added.columns:
        if name not in known:
            yield Filled(table.name, name, known=False)
        elif found:
            yield Filled(table.name, name, known=True, value=_text(found[0][known.index(name)]))
        else:
            yield _by_catalog(comparison, table, rows, name, natives[name], forms[name], added.oid)


def _by_catalog(
    comparison: PostgresComparison, table: Table, rows: str, name: str, native: str, form: str, oid: int
) -> Filled:
    """No older row is left: what those had that are not written anew is kept with the column, if it is one value."""
    kept = comparison.rows(_MISSING.format(what=_TYPE, oid=oid, name=literal(name)))
    if kept:
        missing = _MISSING.format(what="attmissingval", oid=oid, name=literal(name))
        value = comparison.dialect.value(f"(({missing})::text::{kept[0][0]}[])[1]", native, form)
        return Filled(table.name, name, known=True, value=_text(comparison.rows(f"select {value}")[0][0]))
    asked = f"select exists (select from {rows} where {identifier(name)} is not null)"  # noqa: S608 - quoted
    nothing = comparison.rows_within(asked, SECONDS) == [(False,)]
    return Filled(table.name, name, known=nothing)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
