"""SingleStore, by its stand-in, as a target of the tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from tests.engines.side import TABLES, Side
from tests.servers.singlestore import SingleStore
from whimbrel.model.job import Endpoint

BATCH_SECONDS = 0.1
# single floats as doubles: the server shows them with six digits
READ = {
    "parent": "select * from `{0}`.parent order by id",
    "item": """select id, parent_id, small, amount, title, body, flag, score, ratio + 0e0, born, noon, made, seen, doc,
        raw, uid, bits from `{0}`.item order by id""",
    "twokeys": "select * from `{0}`.twokeys order by a, b",
    "nokey": "select * from `{0}`.nokey",
}


class SingleStoreSide(Side):
    """A database of the stand-in, with the name of the schema. The tables are made by our own schema step, as it is no
    source."""

    server: SingleStore
    family: ClassVar[str] = "singlestore"
    numbers_rows: ClassVar[bool] = False

    def endpoint(self, name: str) -> Endpoint:
        return Endpoint(name, self.type, {**self.server.parameters(self.schema), "batch_seconds": BATCH_SECONDS})

    def run(self, sql: str) -> str:
        """Statements one after the other; the last one's rows are told."""
        rows: list[tuple[Any, ...]] = []
        for statement in filter(str.strip, sql.split(";")):
            rows = self.server.query(statement)
        return "".join("|".join("" if v is None else str(v) for v in row) + "\n" for row in rows)

    def change(self, postgres: str, mysql: str | None = None) -> None:
        for statement in filter(str.strip, (postgres if mysql is None else mysql).split(";")):
            self.server.query(statement, self.schema)

    def rows(self) -> dict[str, list[str]]:
        found = {}
        for table in TABLES:
            rows = self.server.query(READ[table].format(self.schema))
            found[table] = ["|".join(part for part in PRINTED[table](*row) if part is not None) for row in rows]
        found["nokey"].sort()
        return found

    def lines(self, table: str, columns: Sequence[str]) -> list[str]:
        wanted = ", ".join("`" + column.replace("`", "``") + "`" for column in columns)
        rows = self.server.query(f"select {wanted} from `{self.schema}`.`{table}`")
        return sorted("|".join("NULL" if v is None else str(v) for v in row) for row in rows)

    def drop_leftovers(self) -> None:
        self.server.query(f"drop database if exists `{self.schema}`")


def _parent(id: int, name: str | None, email: str | None) -> tuple[str | None, ...]:
    return str(id), name, email


def _twokeys(a: int, b: str, v: str | None) -> tuple[str | None, ...]:
    return str(a), b, _or_dash(v)


def _nokey(a: int | None, b: str | None) -> tuple[str | None, ...]:
    return _or_dash(a), _or_dash(b)


def _item(*row: Any) -> tuple[str, ...]:
    (id, parent, small, amount, title, body, flag, score, ratio, born, noon, made, seen, doc, raw, uid, bits) = row
    members = doc if isinstance(doc, dict) else json.loads(doc or "{}")  # the client reads documents
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
        _or_dash(_clock(noon) if isinstance(noon, timedelta) else noon),
        _or_dash(made if made is None else f"{made:%Y-%m-%d %H:%M:%S.%f}"),
        _or_dash(seen if seen is None else f"{seen:%Y-%m-%d %H:%M:%S.%f}"),
        _or_dash(members.get("n")),
        _or_dash(members.get("q")),
        _or_dash(json.dumps(members["deep"][2]) if "deep" in members else None),
        _or_dash(raw if raw is None else raw.hex().upper()),
        _or_dash(uid),
        _or_dash(bits),
    )


def _clock(time: timedelta) -> str:
    minutes, seconds = divmod(time.seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{time.microseconds:06}"


def _or_dash(value: Any) -> str:
    return "-" if value is None else str(value)


PRINTED: dict[str, Callable[..., tuple[str | None, ...]]] = {
    "parent": _parent,
    "item": _item,
    "twokeys": _twokeys,
    "nokey": _nokey,
}
