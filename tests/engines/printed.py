"""The suite's rows as the clients of targets give them, printed as the clients of sources do (``Side.rows``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

_MOMENT = "%Y-%m-%d %H:%M:%S.%f"


def _parent(id: int, name: str | None, email: str | None) -> tuple[str | None, ...]:
    return str(id), name, email


def _twokeys(a: int, b: str, v: str | None) -> tuple[str | None, ...]:
    return str(a), b, _or_dash(v)


def _nokey(a: int | None, b: str | None) -> tuple[str | None, ...]:
    return _or_dash(a), _or_dash(b)


def _item(*row: Any) -> tuple[str, ...]:
    (id, parent, small, amount, title, body, flag, score, ratio, born, noon, made, seen, doc, raw, uid, bits) = row
    members = doc if isinstance(doc, dict) else json.loads(doc or "{}")  # some clients read documents
    return (
        str(id),
        _or_dash(parent),
        _or_dash(small),
        _or_dash(amount),
        _or_dash(title),
        _or_dash(body if body is None else body.encode().hex().upper()),
        _or_dash(flag if flag is None else int(flag)),
        _or_dash(score if score is None else f"{Decimal(f'{score:.15g}'):.6f}"),
        _or_dash(ratio if ratio is None else f"{ratio:.3f}"),
        _or_dash(born),
        _or_dash(_clock(noon)),
        _or_dash(made if made is None else f"{made:{_MOMENT}}"),
        _or_dash(seen if seen is None else f"{_in_utc(seen):{_MOMENT}}"),
        _or_dash(members.get("n")),
        _or_dash(members.get("q")),
        _or_dash(json.dumps(members["deep"][2]) if "deep" in members else None),
        _or_dash(raw if raw is None else raw.hex().upper()),
        _or_dash(uid),
        _or_dash(bits),
    )


def _clock(found: Any) -> str | None:
    """A time of day to the microsecond, as a client has it: a time, a duration, or text."""
    if isinstance(found, timedelta):
        found = (datetime.min + found).time()
    if isinstance(found, time):
        return f"{found:%H:%M:%S.%f}"
    if found is None:
        return None
    whole, _, fraction = str(found).partition(".")
    return f"{whole}.{fraction:0<6}"


def _in_utc(moment: datetime) -> datetime:
    """Clients without zones give what is kept in UTC."""
    return moment.astimezone(UTC) if moment.tzinfo else moment


def _or_dash(value: Any) -> str:
    return "-" if value is None else str(value)


PRINTED: dict[str, Callable[..., tuple[str | None, ...]]] = {
    "parent": _parent,
    "item": _item,
    "twokeys": _twokeys,
    "nokey": _nokey,
}
