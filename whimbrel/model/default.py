"""What a column gets where a row says nothing of it."""

from __future__ import annotations

from dataclasses import dataclass

from whimbrel.model.expression import Null, Number, Text, Truth


@dataclass(frozen=True)
class Bytes:
    """Raw bytes."""

    value: bytes


@dataclass(frozen=True)
class Bits:
    """'0' and '1', most significant first."""

    digits: str


@dataclass(frozen=True)
class EmptyList:
    """An array without elements."""


@dataclass(frozen=True)
class Now:
    """The moment of the change, as exact as the column is. ``utc``: the time of day in UTC, where there is no zone."""

    utc: bool = False


@dataclass(frozen=True)
class Today:
    """The date of the change."""


@dataclass(frozen=True)
class NewUuid:
    """A UUID that nobody has yet."""


@dataclass(frozen=True)
class NextValue:
    """The next number of a sequence, by the name that the source gives it."""

    sequence: str


Value = Null | Text | Number | Truth | Bytes | Bits | EmptyList | Now | Today | NewUuid | NextValue


@dataclass(frozen=True)
class Default:
    """``text`` is SQL of ``dialect`` (``postgres``; ``mysql`` for MariaDB too), which only engines of that dialect may
    repeat; ``value`` is what it means to all others, or None where that is not certain. It prints as its text.

    Texts of times are ISO 8601 with a blank, an instant's in UTC without a zone.
    """

    text: str
    dialect: str
    value: Value | None = None

    @classmethod
    def shown(cls, text: str | None, dialect: str) -> Default | None:
        """What a catalogue shows of a column, where only it counts whether there is one: none for None and ''."""
        return cls(str(text), dialect) if text else None

    def __str__(self) -> str:
        return self.text
