"""Results for people: tables and lines; with ``--json`` exactly what the API gave."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.markup import escape as without_markup
from rich.table import Table

from whimbrel.cli.session import KEY_REMEDY, current
from whimbrel.cli.shapes import Held
from whimbrel.errors import AuthFailed, OperationConflict, RequestError, WhimbrelError, printable

# What scripts can branch on. 2 is also what a wrong command line gives.
OK, FAILED, REFUSED, CONFLICT, UNREACHABLE, UNAUTHORISED = range(6)


def escape(text: str) -> str:
    """As it may stand on a terminal: no markup, and nothing that would move its cursor."""
    return without_markup(printable(text, keep="\n\t"))


def exit_code(error: WhimbrelError) -> int:
    """1 it was tried and failed, 2 the request is wrong, 3 conflict, 4 the API is not there, 5 key not accepted."""
    if error.code == AuthFailed.code:
        return UNAUTHORISED
    if error.code == OperationConflict.code:
        return CONFLICT
    if isinstance(error, RequestError):
        return REFUSED
    if "api" in error.extra:  # not the source or target, whose errors the API hands on
        return UNREACHABLE
    return FAILED


def failure(error: WhimbrelError) -> None:
    """Code, message, what else is known, and the remedy, on stderr."""
    session = current()
    if session.as_json:
        session.errors.print_json(json.dumps(error.to_json(), default=str))
        return
    session.errors.print(f"[bold red]{error.code}[/] {escape(error.message)}", soft_wrap=True)
    for name, value in error.extra.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        session.errors.print(f"  {escape(name)}: {escape(text)}", soft_wrap=True, style="dim")
    remedy = KEY_REMEDY if error.code == AuthFailed.code else error.how_to_fix
    session.errors.print(f"  [green]remedy:[/] {escape(remedy)}", soft_wrap=True)


def goes_on(operation: str) -> None:
    """Say that an operation runs although nobody waits for it here any more."""
    see, end = f"whimbrel operations get {operation}", f"whimbrel operations cancel {operation}"
    current().errors.print(f"The operation goes on. '{see}' shows it, '{end}' ends it.", soft_wrap=True)


def held(what: Held, operation: str) -> str:
    """What a source keeps for a migration that nobody follows, and how to let it go."""
    return (
        f"the source holds slot {what['slot']} for a resume, and {what['retained_bytes']:,} bytes of its log; "
        f"'whimbrel operations cancel {operation} --release' lets it go"
    )


def result(value: Any, sentence: str | None = None) -> None:
    """A result: as JSON when asked for, else ``sentence``, else its fields a line each."""
    session = current()
    if session.as_json:
        session.console.print_json(json.dumps(value, ensure_ascii=False))
    elif sentence is not None:
        session.console.print(escape(sentence), soft_wrap=True)
    elif isinstance(value, Mapping):
        for name, field in value.items():
            session.console.print(f"[bold]{escape(str(name))}[/]: {escape(text(field))}", soft_wrap=True)
    else:
        session.console.print(escape(text(value)), soft_wrap=True)


def table(value: Any, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows in a grid; ``value`` is the whole result, for ``--json``."""
    session = current()
    if session.as_json:
        session.console.print_json(json.dumps(value, ensure_ascii=False))
        return
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        grid.add_row(*(escape(text(row.get(column))) for column in columns))
    session.console.print(grid)


def text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
