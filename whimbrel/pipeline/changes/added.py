"""Columns that came to a table while it was followed: whether the target's older rows hold what the source's do.

The log shows rows that change from there on, and never what ALTER TABLE gave those that were there. So the target,
where somebody has made the same column, is asked for its rows; where the answer cannot be known, it is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from whimbrel.connectors.protocols import Filled
from whimbrel.errors import Interrupted, LayoutChanged
from whimbrel.model.names import TableName
from whimbrel.model.normal import strict
from whimbrel.model.table import Table
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.pair import Pair
from whimbrel.pipeline.validation.sides import Lines, column_forms, open_lines

SECONDS: Final = 600.0  # how long the target's rows are looked at, for each column
NAMED: Final = 20

_REMEDY = (
    "Validate the named table and repair it, which brings the values of the rows that were there; then start "
    "replication with resume=false at the position that the migration's status shows. Or, if ALTER TABLE gave the "
    "source's rows one value, give the target's rows that value and resume."
)


class _TimeUp(Interrupted):
    pass


def require_filled(pair: Pair, control: Control, tables: Sequence[Table]) -> None:
    """Raise LayoutChanged naming the columns that came to these source tables, and that the target has too, of which it
    cannot be seen that the target's rows hold in them what the source's hold that were there before."""
    targets = {source.name: target for source, target in pair.both}
    filled = set(pair.target.nonempty([targets[t.name].name for t in tables]))
    asked = [t for t in tables if targets[t.name].name in filled]
    unlike = {str(t.name): what for t in asked if (what := list(_unlike(pair, control, t)))}
    found = [sentence for what in unlike.values() for sentence in what]
    if found:
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise LayoutChanged(
            f"columns were added on the source, and its log does not show what older rows hold in them: "
            f"{'; '.join(found[:NAMED])}{more}",
            remedy=_REMEDY,
            tables=sorted(unlike)[:100],
        )


def _unlike(pair: Pair, control: Control, table: Table) -> Iterator[str]:
    """A sentence for each column whose older rows differ, or may."""
    forms = column_forms(pair, table.name)
    came = pair.source.filled(pair.job, table, strict([(s, form) for s, _, form in forms]))
    on_target = dict(zip((s for s, _, _ in forms), strict([(t, form) for _, t, form in forms]), strict=True))
    for column in came:
        name = f"{table.name}.{column.column}"
        if not column.known:
            yield f"{name} (not one value, as far as can be told)"
            continue
        control.log("orchestrator", f"{name} was added: looking whether the target's rows hold the same value in it")
        target = pair.target_of(column.table).name
        yield from _otherwise(pair, control, column, target, on_target[column.column], name)


def _otherwise(
    pair: Pair, control: Control, column: Filled, target: TableName, there: tuple[str, str], name: str
) -> Iterator[str]:
    try:
        with open_lines(pair.job, _until(time.monotonic() + SECONDS, control), lambda: None) as lines:
            if _holds_else(lines, target, there, column.value):
                yield f"{name} (rows of the target hold something else than {_shown(column.value)})"
    except _TimeUp:
        yield f"{name} (the target's rows could not be looked at in {SECONDS:.0f} seconds)"


def _holds_else(lines: Lines, table: TableName, column: tuple[str, str], value: str | None) -> bool:
    asked = lines.threads.submit(lines.target.holds_else, table, column, value)
    lines.wait(asked)
    return asked.result()


def _until(end: float, control: Control) -> Callable[[], None]:
    def check() -> None:
        control.check()
        if time.monotonic() > end:
            raise _TimeUp

    return check


def _shown(value: str | None) -> str:
    """Rows' values are not for error messages; that there is none may be told."""
    return "NULL" if value is None else "the source's"
