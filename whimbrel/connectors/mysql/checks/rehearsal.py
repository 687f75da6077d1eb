"""Makes all that a migration will make in a target, and the change phase's staging tables, and drops it again.

All of it stands in the database ``whimbrel`` under names of its own, one rehearsal at a time: what the server will
not hold (row sizes, numbers of columns and keys, lengths of keys and comments, rules of foreign keys) it says itself,
before a row is moved.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import pymysql

from whimbrel.connectors.mysql.connection import Session, execute, qualified, query, quote_identifiers
from whimbrel.connectors.mysql.refusals import LOCK_TIMEOUT, number_and_text
from whimbrel.connectors.mysql.source.log import DENIED
from whimbrel.connectors.mysql.target import apply, ddl, merge
from whimbrel.connectors.mysql.target.ledger_layout import DATABASE
from whimbrel.connectors.mysql.target.unique_keys import UNKNOWN
from whimbrel.connectors.protocols import Rehearsal
from whimbrel.errors import TargetInterrupted
from whimbrel.model.names import TableName
from whimbrel.model.table import Check, Table

SECONDS: Final = 20.0
WAIT_SECONDS: Final = 10  # for another rehearsal on the same server
_PREFIX: Final = "trial#"
_LOCK: Final = "whimbrel-rehearsal"
_MANY_TEXTS: Final = 100
_IN_ROW: Final = 40
_ROW_TOO_LARGE: Final = 1118
_BUSY: Final = (LOCK_TIMEOUT, 1317, 3024, 1969)
_GONE: Final = (2006, 2013, 2014)


def rehearse(
    session: Session,
    sources: Sequence[Table],
    targets: Sequence[Table],
    there: Mapping[TableName, Table],
    *,
    changes: bool,
) -> Rehearsal:
    """``there``: the target's existing tables by name; staged from as they are. ``changes``: these will be applied."""
    execute(session, f"SET SESSION foreign_key_checks = 0, lock_wait_timeout = {WAIT_SECONDS // 2}")
    if query(session, "SELECT GET_LOCK(%s, %s)", (_LOCK, WAIT_SECONDS))[0][0] != 1:
        return Rehearsal(untested=f"not tested: another check has been using this server for {WAIT_SECONDS} s")
    trial = _Trial(session, sources, targets, there)
    try:
        execute(session, f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4")
        session.select_db(DATABASE)
        _drop_all(session)
        trial.run(changes=changes)
    except pymysql.MySQLError as e:
        number, text = number_and_text(e)
        if number not in (*DENIED, *_BUSY):
            raise
        trial.untested = f"not tested: {text}"
    finally:
        with suppress(pymysql.MySQLError):
            _drop_all(session)
            execute(session, "DO RELEASE_LOCK(%s)", (_LOCK,))
    return Rehearsal(tuple(trial.refused), tuple(trial.doubtful), trial.untested)


def _drop_all(session: Session) -> None:
    """What this rehearsal has made, or an earlier one whose process died."""
    rows = query(session, f"SHOW TABLES FROM {DATABASE} LIKE '{_PREFIX}%'")
    if rows:
        execute(session, "DROP TABLE IF EXISTS " + ", ".join(qualified(TableName(DATABASE, str(r[0]))) for r in rows))


class _Trial:
    def __init__(
        self,
        session: Session,
        sources: Sequence[Table],
        targets: Sequence[Table],
        there: Mapping[TableName, Table],
    ) -> None:
        self._session, self._sources, self._targets, self._there = session, sources, targets, there
        self._names = {t.name: TableName(DATABASE, f"{_PREFIX}{n}") for n, t in enumerate(targets)}
        self.refused: list[str] = []
        self.doubtful: list[str] = []
        self.untested = ""

    def run(self, *, changes: bool) -> None:
        deadline = time.monotonic() + SECONDS
        linked = {n for t in self._targets for k in t.foreign_keys for n in (t.name, k.parent)}
        made: set[TableName] = set()
        for number, (source, target) in enumerate(zip(self._sources, self._targets, strict=True)):
            if time.monotonic() > deadline:
                left = len(self._targets) - number
                self.untested = f"not tested: too large ({left} of {len(self._targets)} tables, after {SECONDS:.0f} s)"
                break
            table, real = self._renamed(target), self._there.get(target.name)
            if self._made(source, table, real):
                made.add(target.name)
                self._fill(source, table)
            if changes and (real is not None or target.name in made):
                self._stage(number, source, real or table)
            if target.name not in linked and target.name in made:
                execute(self._session, f"DROP TABLE {qualified(table.name)}")
        self._keys(made)

    def _renamed(self, target: Table) -> Table:
        """The table under its trial name, its checks without theirs, which MySQL wants unique in a database."""
        checks = tuple(Check("", c.expression) for c in target.checks)
        return replace(target, name=self._names[target.name], checks=checks, foreign_keys=())

    def _made(self, source: Table, table: Table, real: Table | None) -> bool:
        """All in one statement; where that fails, index by index, so that what is refused has a name."""
        have = {i.name for i in real.indexes} if real is not None else set()
        late = [i for i in table.indexes if not ddl.stands_inline(i, table) and i.name not in have]
        statement = ddl.create_table(replace(table, comment=None) if real is not None else table)
        if not self._try(str(source.name), statement, doubt=real is not None):
            return False
        if not late:
            return True
        alter = f"ALTER TABLE {qualified(table.name)} "
        together = ", ".join(f"ADD {ddl.index_clause(i)}" for i in late if i.method != "fulltext")
        try:
            if together:
                execute(self._session, alter + together)
            late = [i for i in late if i.method == "fulltext"]
        except pymysql.MySQLError as e:
            self._pass_on(e)
        for index in late:
            self._try(f"{source.name}: index {index.name}", f"{alter}ADD {ddl.index_clause(index)}")
        return True

    def _fill(self, source: Table, table: Table) -> None:
        """Up to 40 bytes of a long text lie in the row itself, which not every server heeds when it makes a table."""
        long = [c.name for c in table.columns if c.type.native.endswith(("text", "blob")) and c.generated is None]
        if len(long) < _MANY_TEXTS:
            return
        try:
            execute(self._session, "START TRANSACTION")
            values = ", ".join([f"REPEAT('x', {_IN_ROW})"] * len(long))
            columns = quote_identifiers(long)
            execute(self._session, f"INSERT IGNORE INTO {qualified(table.name)} ({columns}) VALUES ({values})")  # noqa: S608
        except pymysql.MySQLError as e:
            self._pass_on(e)
            number, text = number_and_text(e)
            if number == _ROW_TOO_LARGE:
                self.doubtful.append(f"{source.name}: a row whose texts are all filled: {text} (error {number})")
        finally:
            execute(self._session, "ROLLBACK")

    def _stage(self, number: int, source: Table, target: Table) -> None:
        """The staging tables of the change phase, from its own statements."""
        pair = merge.Pair(number, source, target, UNKNOWN)
        for kind in apply.staging_kinds(pair):
            what = f"{source.name}: the table that its changes are staged in"
            if self._try(what, apply.CREATE[kind](pair)):
                execute(self._session, f"DROP TEMPORARY TABLE {pair.staging(kind)}")

    def _keys(self, made: set[TableName]) -> None:
        for source, target in zip(self._sources, self._targets, strict=True):
            real = self._there.get(target.name)
            have = {k.columns for k in real.foreign_keys} if real is not None else set()
            for number, key in enumerate(target.foreign_keys):
                if {target.name, key.parent} <= made and key.columns not in have:
                    own = replace(
                        key, name=f"{self._names[target.name].table}#{number}", parent=self._names[key.parent]
                    )
                    sql = f"ALTER TABLE {qualified(self._names[target.name])} ADD {ddl.foreign_key(own)}"
                    self._try(f"{source.name}: foreign key {key.name}", sql)

    def _try(self, what: str, sql: str, *, doubt: bool = False) -> bool:
        try:
            execute(self._session, sql)
        except pymysql.MySQLError as e:
            self._pass_on(e)
            number, text = number_and_text(e)
            (self.doubtful if doubt else self.refused).append(f"{what}: {self._named(text)} (error {number})")
            return False
        return True

    def _pass_on(self, error: pymysql.MySQLError) -> None:
        """Raise what says nothing about the table: a right that is lacking, a wait, a lost session."""
        number, text = number_and_text(error)
        if number in _GONE:
            raise TargetInterrupted(f"the session that tried the definitions broke: {text}") from error
        if number in (*DENIED, *_BUSY):
            raise error

    def _named(self, message: str) -> str:
        """The server's sentence with the target's tables in place of the trial's."""
        for own, trial in self._backwards():
            message = message.replace(f"{DATABASE}/{trial.table}", own.table).replace(trial.table, own.table)
        return message

    def _backwards(self) -> Iterator[tuple[TableName, TableName]]:
        """Longer numbers first: trial#1 is the beginning of trial#10."""
        yield from sorted(self._names.items(), key=lambda pair: -len(pair[1].table))
