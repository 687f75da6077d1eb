"""How a table of the target differs from the one that a migration would make."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from whimbrel.model.names import TableName


class Kind(StrEnum):
    MISSING = "missing"  # the target has no such column
    COMPUTED = "computed"  # computed on one side, plain on the other
    TYPE = "type"  # another type, or a narrower one
    NULLABILITY = "nullability"  # the source's column takes NULL, the target's does not
    EXTRA = "extra"  # a column that the source does not have


@dataclass(frozen=True)
class Difference:
    """``fatal`` when no row at all can be written as long as it stands; otherwise some rows may be refused, or none.

    ``text`` is the clause for people behind the column's name; nothing reads it.
    """

    table: TableName
    column: str
    kind: Kind
    text: str
    fatal: bool = False

    @classmethod
    def extra(cls, table: TableName, column: str, *, given: bool) -> Difference:
        """A column that the source does not have; ``given``: rows that do not name it get a value, or NULL."""
        text = "is not in the source" + ("" if given else ", and has neither a default nor NULL")
        return cls(table, column, Kind.EXTRA, text, fatal=not given)

    @property
    def touches_rows(self) -> bool:
        """Whether rows of the source may not go in as they are: a column more that is filled by itself does not."""
        return self.kind is not Kind.EXTRA or self.fatal

    def __str__(self) -> str:
        return f"{self.table}.{self.column}: {self.text}"
