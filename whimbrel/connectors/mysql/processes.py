"""What a server's other sessions do just now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whimbrel.connectors.mysql.connection import Session


@dataclass(frozen=True)
class ServerProcess:
    """``seconds`` in this state; ``statement`` is its beginning, empty when there is none or it may not be seen."""

    number: int
    user: str
    command: str
    seconds: int
    state: str
    statement: str

    @property
    def executing(self) -> bool:
        return self.command in ("Query", "Execute")


def processes(session: Session) -> list[ServerProcess]:
    """All but ``session`` itself, as far as the account may see them; the oldest first.

    By SHOW PROCESSLIST: MySQL's information_schema.PROCESSLIST and INNODB_TRX hold statements as utf8mb3, and every
    look at them fails (3854) while anybody runs one with a character beyond it.
    """
    with session.cursor() as cursor:
        cursor.execute("SHOW PROCESSLIST")
        rows: list[tuple[Any, ...]] = list(cursor.fetchall())
    own = int(session.thread_id())  # type: ignore[no-untyped-call]
    return [
        ServerProcess(int(id), str(user), str(command), int(seconds or 0), str(state or ""), str(statement or ""))
        for id, user, _, _, command, seconds, state, statement, *_ in rows
        if int(id) != own
    ]
