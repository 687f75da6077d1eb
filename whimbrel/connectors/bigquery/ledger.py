"""Progress kept in BigQuery: the shared ledger, with a transaction as one script.

Each migration has tables of its own: of two transactions that change rows of one table the server ends the later one,
so migrations would be in each other's way. Each transaction of a migration changes the row of its progress first. So
one at a time commits; the next is ended at once, and is sent again. What loads rows has them in a table by then.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from whimbrel.connectors.bigquery.connection import REQUEST_SECONDS, RETRY, BigQuerySession, mapped
from whimbrel.connectors.bigquery.dialect import BigQueryDialect
from whimbrel.connectors.bigquery.refusals import raised
from whimbrel.connectors.sql.ledger import TABLES, SqlLedger
from whimbrel.errors import Fenced, LoaderFailed, SchemaFailed, TableMissing, TargetInterrupted, WhimbrelError
from whimbrel.model.chunk import Chunk
from whimbrel.model.position import Position
from whimbrel.model.table import Table

HOLD_SECONDS: Final = 120  # after which a hold that nobody released is over
_HOLDS: Final = 5  # attempts
LONGEST_SCRIPT: Final = 800_000  # characters; the server takes 1 MB
_FREE: Final = "(holder IS NULL OR held_until < CURRENT_TIMESTAMP())"
_NO_HOLDER: Final = "holder = NULL, held_until = NULL"
_EXTRA: Final = {"progress": ", holder STRING, held_until TIMESTAMP"}
_FIRST: Final = "UNIX_MICROS(CURRENT_TIMESTAMP())"  # of a migration that is made again too: later than all before
PROGRESS: Final = "progress_"  # what the names of migrations' first tables begin with


class BigQueryLedger(SqlLedger):
    """See ``protocols.Ledger``. Its tables are made by whoever claims the migration."""

    def __init__(self, session: BigQuerySession, dialect: BigQueryDialect, migration: str) -> None:
        super().__init__(session, dialect, migration)
        self._jobs = session
        self._suffix = hashlib.sha256(migration.encode()).hexdigest()[:16]

    def claim(self) -> int:
        """The epoch is read in the transaction that raises it. Two that claim at once are one after the other, as both
        change a row that is there: rows that are only added are in nobody's way."""
        self._make()
        progress = self._own("progress")
        found = self._jobs.script(
            [
                f"UPDATE {progress} SET epoch = IF(epoch = 0, {_FIRST}, epoch + 1) WHERE {self._mine}",  # noqa: S608
                ends("unclaimed", "COALESCE(@@row_count, -1) != 1"),
                f"SET claimed = (SELECT MAX(epoch) FROM {progress} WHERE {self._mine})",  # noqa: S608
            ],
            ["claimed INT64"],
            "SELECT claimed",
        )
        return int(found[0][0])

    def own(self, tables: Sequence[Any]) -> None:
        self._make()
        super().own(tables)

    def remove(self) -> None:
        for name in reversed(TABLES):  # the progress last: by it the others are found
            self._session.execute(f"DROP TABLE IF EXISTS {self._own(name)}")

    def save_plan(self, epoch: int, table: Table, chunks: Sequence[Chunk]) -> None:
        """Its layout comes last: a plan counts only with it, and may be too long for one script."""
        with self._fenced(epoch):
            for name in ("tables", "chunks", "loaded"):
                self._delete(name, [table.name])
        rows = [
            (*self._of(table.name), str(c.number), self._text(json.dumps(c.bounds)), str(c.rows), str(c.bytes))
            for c in chunks
        ]
        parts = list(_parted(rows))
        for part in parts or [[]]:
            with self._fenced(epoch):
                self._insert("chunks", part)
                if not parts or part is parts[-1]:
                    self._insert("tables", [(*self._of(table.name), self._text(table.fingerprint), "FALSE")])

    def recorded(self, chunk: Chunk) -> int | None:
        where = f"{self._mine} AND {self._is(chunk.table)} AND number = {chunk.number}"
        found = self._session.query(
            f"SELECT TRUE, loaded_rows FROM {self._own('loaded')} WHERE {where} "  # noqa: S608
            f"UNION ALL SELECT FALSE, number FROM {self._own('chunks')} WHERE {where}"
        )
        done = [int(rows) for is_done, rows in found if is_done]
        if not found:
            raise LoaderFailed(f"{chunk.table}: chunk {chunk.number} is not in the plan that the target keeps")
        return done[0] if done else None

    def record(self, chunk: Chunk, rows: int) -> None:
        """Ends the transaction with ``recorded`` where it is recorded already."""
        own = self._own("loaded")
        where = f"{self._mine} AND {self._is(chunk.table)} AND number = {chunk.number}"
        values = ", ".join((*self._of(chunk.table), str(chunk.number), str(rows)))
        self._session.execute(f"INSERT INTO {own} SELECT {values} FROM (SELECT 1) WHERE NOT EXISTS "  # noqa: S608
                              f"(SELECT 1 FROM {own} WHERE {where})")  # fmt: skip
        self._session.execute(ends("recorded", "COALESCE(@@row_count, -1) != 1"))

    # --- the fence, first of each transaction ---------------------------------------------------------------------

    @contextmanager
    def _fenced(self, epoch: int) -> Iterator[None]:
        with self.told(epoch), self._session.transaction():
            self.fence(epoch)
            yield

    def set_position(self, epoch: int, position: Position) -> None:
        with self.told(epoch):
            super().set_position(epoch, position)

    @contextmanager
    def told(self, epoch: int) -> Iterator[None]:
        """What the fence has ended a transaction with, as an error."""
        try:
            yield
        except WhimbrelError as e:
            found = raised(e)
            if found is None or found[0] not in ("fenced", "ended"):
                raise
            if found[0] == "ended":
                raise TargetInterrupted(f"the hold of a repair of {self._migration} had ended") from None
            raise Fenced(
                f"another worker has taken over the migration {self._migration}: epoch {epoch} is not its own any more"
            ) from None

    def _require(self, epoch: int, assignment: str) -> None:
        self._session.execute(
            f"UPDATE {self._own('progress')} SET {assignment} WHERE {self._mine} AND epoch = {int(epoch)}"  # noqa: S608
        )
        self._session.execute(ends("fenced", "COALESCE(@@row_count, -1) != 1"))

    # --- repairs that hold the appliers -------------------------------------------------------------------------------

    def require_free(self) -> None:
        """Ends the transaction with ``held`` while a repair holds the migration; a hold that is over goes."""
        own = self._own("progress")
        held = f"EXISTS (SELECT 1 FROM {own} WHERE {self._mine} AND NOT {_FREE})"  # noqa: S608
        self._session.execute(ends("held", held))

    def store_freely(self, epoch: int, position: Position | None) -> None:
        """The fence of an applier, with its position if this is the last of its transactions."""
        kept = f"position = {self._position(position)}, " if position else ""
        self._require(epoch, f"{kept}{_NO_HOLDER}")

    def wait_until_free(self, seconds: float) -> None:
        """Raise TargetInterrupted if a repair holds the migration for so long."""
        deadline, asked = time.monotonic() + seconds, f"SELECT 1 FROM {self._own('progress')} WHERE {self._mine}"  # noqa: S608
        while self._session.query(f"{asked} AND NOT {_FREE}"):
            if time.monotonic() > deadline:
                raise TargetInterrupted(f"a repair of {self._migration} holds the target")
            time.sleep(0.5)

    def hold(self) -> str:
        """Take the hold; its token. From here on no applier commits, and none has begun to: a transaction that was at
        it has changed the same row, and is waited for. Raises TargetInterrupted if another repair has it."""
        token = uuid.uuid4().hex
        own, until = self._own("progress"), "TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {} SECOND)"
        for _ in range(_HOLDS):
            taken = self._session.execute(
                f"UPDATE {own} SET holder = '{token}', held_until = {until.format(HOLD_SECONDS)} "  # noqa: S608
                f"WHERE {self._mine} AND ({_FREE} OR holder = '{token}')"
            )
            if taken != 1:
                raise TargetInterrupted(f"another repair of {self._migration} holds the target")
            # the time counts from the job's beginning, and it may have waited behind others before it committed
            left = f"holder = '{token}' AND held_until > {until.format(HOLD_SECONDS // 2)}"
            if self._session.query(f"SELECT 1 FROM {own} WHERE {self._mine} AND {left}"):  # noqa: S608
                return token
        raise TargetInterrupted(f"BigQuery takes longer for a hold of {self._migration} than the hold lasts")

    def end_hold(self, token: str) -> None:
        """In the transaction that writes what was held for, first; ends it with ``ended`` where the hold is over."""
        self._session.execute(
            f"UPDATE {self._own('progress')} SET {_NO_HOLDER} "  # noqa: S608
            f"WHERE {self._mine} AND holder = '{token}' AND NOT {_FREE}"
        )
        self._session.execute(ends("ended", "COALESCE(@@row_count, -1) != 1"))

    # --- its tables ---------------------------------------------------------------------------------------------------

    def _select(self, table: str, columns: str) -> list[tuple[Any, ...]]:
        """Of a migration that nobody has claimed there is nothing."""
        try:
            return super()._select(table, columns)
        except TableMissing:
            return []

    def _make(self) -> None:
        make_dataset(self._jobs)
        where = f"{self._jobs.project}.{self._jobs.own_dataset}"
        with mapped():
            try:
                for name in (PROGRESS, "owned_"):  # the last that is made and the first that is dropped
                    self._jobs.client.get_table(f"{where}.{name}{self._suffix}", retry=RETRY, timeout=REQUEST_SECONDS)
                return
            except NotFound:
                pass
        self._session.query(";\n".join(self._made(table) for table in TABLES if table != "progress") + ";")
        # By position, as names are not looked at: each column of TABLES and _EXTRA.
        row = f"{self._text(self._migration)}, 0, '', CAST(NULL AS STRING), FALSE, 0"
        free = "CAST(NULL AS STRING), CAST(NULL AS TIMESTAMP)"
        try:  # the last: where it is, all are there. With its only row, so that two at once do not make two of them
            self._session.query(f"{self._made('progress')} AS SELECT {row}, {free}")
        except SchemaFailed:
            with mapped():
                self._jobs.client.get_table(f"{where}.{PROGRESS}{self._suffix}", retry=RETRY, timeout=REQUEST_SECONDS)

    def _made(self, table: str) -> str:
        columns = TABLES[table].format(number="INT64").replace("VARCHAR", "STRING").replace("BOOLEAN", "BOOL")
        missing = "" if table == "progress" else "IF NOT EXISTS "
        return f"CREATE TABLE {missing}{self._own(table)} ({columns}{_EXTRA.get(table, '')})"

    def _own(self, name: str) -> str:
        return self._dialect.own(f"{name}_{self._suffix}")


def ends(word: str, condition: str, *numbers: str) -> str:
    """The statement that ends a transaction, and undoes it, with a word that ``refusals.raised`` reads."""
    told = f"'whimbrel:{word}'"
    if numbers:
        each = ", ".join(f"':', CAST({n} AS STRING)" for n in numbers)
        told = f"CONCAT({told}, {each})"
    return f"IF {condition} THEN RAISE USING MESSAGE = {told}; END IF"


def make_dataset(session: BigQuerySession) -> None:
    """Our own one, beside the endpoint's and where that is."""
    found = bigquery.Dataset(f"{session.project}.{session.own_dataset}")
    with mapped():
        try:
            session.client.get_dataset(found.reference, retry=RETRY, timeout=REQUEST_SECONDS)
        except NotFound:
            found.location = session.location
            session.client.create_dataset(found, exists_ok=True, retry=RETRY, timeout=REQUEST_SECONDS)


def _parted(rows: Sequence[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    part: list[tuple[str, ...]] = []
    size = 0
    for row in rows:
        size += sum(map(len, row)) + 4 * len(row)
        if part and size > LONGEST_SCRIPT:
            yield part
            part, size = [], sum(map(len, row)) + 4 * len(row)
        part.append(row)
    if part:
        yield part
