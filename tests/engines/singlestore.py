"""SingleStore, by its stand-in, as a target of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tests.engines.printed import PRINTED
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
