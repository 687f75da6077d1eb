"""What an account may do, read from SHOW GRANTS: the only list that roles and wildcards are in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from whimbrel.connectors.mysql.connection import Session, query
from whimbrel.model.names import TableName

_GRANT: Final = re.compile(
    r"(?P<verb>GRANT|REVOKE) (?P<rights>.+?) ON (?:TABLE )?(?P<schema>\*|`(?:[^`]|``)*`)\.(?P<table>\*|`(?:[^`]|``)*`)"
    r" (?:TO|FROM) (?P<account>.+?)(?: (?:IDENTIFIED|REQUIRE|WITH) .*)?$"
)
_SAME: Final = {"BINLOG MONITOR": "REPLICATION CLIENT"}  # MariaDB's name since 10.5
_COLUMN_LISTS: Final = re.compile(r"\([^)]*\)")


@dataclass(frozen=True)
class Grant:
    """One line: rights on everything (``schema`` '*'), a database pattern, or a table. ``revoked`` takes them away.

    ``account`` is the user or the role that has them. ``literal``: ``_`` and ``%`` are no wildcards on this server.
    """

    rights: frozenset[str]
    schema: str
    table: str
    revoked: bool = False
    account: str = ""
    literal: bool = False

    def gives(self, right: str) -> bool:
        return right in self.rights or "ALL PRIVILEGES" in self.rights

    def covers_schema(self, schema: str) -> bool:
        """Whether the whole database is meant."""
        if self.table != "*":
            return False
        if self.schema == "*":
            return True
        return _plain(self.schema) == schema if self.literal or self.revoked else _matches(self.schema, schema)

    def covers(self, table: TableName) -> bool:
        """Whether this very table is meant."""
        return self.schema == table.schema and self.table == table.table

    @property
    def width(self) -> tuple[bool, int]:
        """The server heeds the narrowest pattern that fits a database and no other: a name, or the latest wildcard."""
        wildcard = re.search(r"(?:^|[^\\])(?:\\\\)*([%_])", "" if self.literal else self.schema)
        return (True, -wildcard.start(1)) if wildcard else (False, 0)


@dataclass(frozen=True)
class Grants:
    every: tuple[Grant, ...]

    def everywhere(self, rights: Iterable[str]) -> list[str]:
        """Those of the rights that are not granted on everything."""
        return [r for r in rights if not self._any(r, [g for g in self.every if g.schema == "*"])]

    def in_schema(self, rights: Iterable[str], schema: str) -> list[str]:
        """Those of the rights that are not granted on the whole database."""
        heeded = self._heeded(schema)
        return [r for r in rights if not self._any(r, heeded)]

    def on_table(self, right: str, table: TableName) -> bool:
        return self._any(right, [*self._heeded(table.schema), *(g for g in self.every if g.covers(table))])

    def _heeded(self, schema: str) -> list[Grant]:
        """What is granted on everything, and of each account what the narrowest fitting pattern grants."""
        fitting = [g for g in self.every if g.covers_schema(schema)]
        patterns = [g for g in fitting if g.schema != "*" and not g.revoked]
        narrowest = {a: min(g.width for g in patterns if g.account == a) for a in {g.account for g in patterns}}
        return [g for g in fitting if g not in patterns or g.width == narrowest[g.account]]

    @staticmethod
    def _any(right: str, grants: Sequence[Grant]) -> bool:
        given = any(g.gives(right) and not g.revoked for g in grants)
        return given and not any(g.gives(right) and g.revoked for g in grants)


def read_grants(session: Session) -> Grants:
    """The grants of the session's account and of the roles it has switched on."""
    lines = query(session, "SHOW GRANTS")
    literal, roles = False, "NONE"
    if not session.mariadb and session.version >= (8,):
        roles = str(query(session, "SELECT CURRENT_ROLE()")[0][0])
        if roles != "NONE":
            lines = query(session, f"SHOW GRANTS FOR CURRENT_USER() USING {roles}")
        literal = bool(query(session, "SHOW GLOBAL VARIABLES WHERE Variable_name = 'partial_revokes' AND Value = 'ON'"))
    parsed = [replace(g, literal=literal) for (line,) in lines if (g := parse_grant(str(line))) is not None]
    if roles != "NONE":  # then MySQL heeds every pattern that fits, and shows all as the user's own
        parsed = [replace(g, account=str(n)) for n, g in enumerate(parsed)]
    return Grants(tuple(parsed))


def parse_grant(line: str) -> Grant | None:
    """One line of SHOW GRANTS; None for proxies, roles and routines."""
    found = _GRANT.match(line)
    if found is None:
        return None
    # SELECT (`a`, `b`) is a right to some columns only, which does not help to copy rows.
    whole = [r for r in re.split(r",\s*(?![^(]*\))", found["rights"]) if not _COLUMN_LISTS.search(r)]
    rights = frozenset(_SAME.get(r.strip().upper(), r.strip().upper()) for r in whole)
    schema, table = _unquoted(found["schema"]), _unquoted(found["table"])
    return Grant(rights, schema, table, found["verb"] == "REVOKE", found["account"])


def _unquoted(name: str) -> str:
    return name if name == "*" else name[1:-1].replace("``", "`")


def _plain(pattern: str) -> str:
    """A database pattern without its backslashes."""
    return re.sub(r"\\([%_\\])", r"\1", pattern)


def _matches(pattern: str, schema: str) -> bool:
    """Whether a database pattern of GRANT means this database."""
    parts = re.findall(r"\\.|.", pattern, re.S)
    special = {"%": ".*", "_": "."}
    expression = "".join(special.get(p, re.escape(p[1:] if len(p) == 2 else p)) for p in parts)
    return re.fullmatch(expression, schema, re.S) is not None
