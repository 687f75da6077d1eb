"""CREATE TABLE and its like as PostgreSQL takes them, and what Oracle's catalogue shows of what was made."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.emulators.oracle.tokens import group, joined, literal, name, quoted, split, word
from tests.emulators.oracle.types import Type, read_type

_numbers = itertools.count(8001)
_ENDS = ("NOT", "NULL", "CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "ENABLE", "INVISIBLE", "VISIBLE")
Expression = Callable[[Sequence[str]], str]


@dataclass
class Made:
    """``sql`` runs in PostgreSQL; ``notes`` are statements on the stand-in's own tables, run behind it."""

    sql: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class TableReader:
    """One CREATE TABLE, or the columns and constraints of an ALTER TABLE."""

    def __init__(self, owner: str, table: str, expression: Expression) -> None:
        self.owner, self.table, self.expression = owner, table, expression
        self.lines: list[str] = []
        self.made = Made()

    def items(self, parts: Sequence[str]) -> None:
        for item in split(parts):
            if word(item[0]) in ("CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK"):
                self.lines.append(self.constraint(item, None))
            else:
                self.column(item)

    def column(self, item: Sequence[str]) -> None:
        column = name(item[0])
        type, used = read_type(item[1:]) if len(item) > 1 and item[1] != "AS" else (None, 0)
        rest, found = list(item[1 + used :]), _Column()
        line = ""
        while rest:
            head = word(rest.pop(0))
            if head == "DEFAULT":
                if word(rest[0]) == "ON":
                    rest = rest[2:]
                    found.on_null = True
                rest, text = _until(rest)
                found.default = joined(text)
                line += f" DEFAULT {self.expression(text)}"
            elif head == "GENERATED" and "IDENTITY" in map(word, rest[:8]):
                rest, line = self.identity(rest, column, found), line + f" DEFAULT nextval({literal(found.regclass)})"
            elif head in ("GENERATED", "AS") and "(" in rest:
                rest = rest[rest.index("(") :]
                end = group(rest, 0)
                found.default, found.virtual = joined(rest[1 : end - 1]), True
                line += f" GENERATED ALWAYS AS ({self.expression(rest[1 : end - 1])}) STORED"
                rest = rest[end:]
            elif head in ("INVISIBLE", "VISIBLE", "VIRTUAL", "ENABLE", "NULL"):
                found.hidden = found.hidden or head == "INVISIBLE"
            elif head == "NOT":
                line += f" CONSTRAINT {quoted(_generated())} NOT NULL"
                rest.pop(0)
            else:
                rest, text = _constraint([head, *rest])
                line += " " + self.constraint(text, column)
        assert type is not None, "a column needs its type here"
        self.lines.append(f"{quoted(column)} {type.kept}{line}")
        self.made.notes.append(self.note(column, type, found))

    def identity(self, rest: list[str], column: str, found: _Column) -> list[str]:
        words = [word(p) for p in rest]
        end = words.index("IDENTITY") + 1
        found.identity = "ALWAYS" if words[0] == "ALWAYS" else "BY DEFAULT"
        found.on_null = "NULL" in words[:end]
        found.sequence = f"ISEQ$$_{next(_numbers)}"
        found.regclass = f"{quoted(self.owner)}.{quoted(found.sequence)}"
        options: list[str] = []
        if rest[end : end + 1] == ["("]:
            last = group(rest, end)
            options, end = [word(p) for p in rest[end + 1 : last - 1]], last
        self.made.sql.append(f"CREATE SEQUENCE {found.regclass} {sequence_options(options)}")
        return rest[end:]

    def constraint(self, item: Sequence[str], column: str | None) -> str:
        """PostgreSQL's text of a constraint; inside a column, ``column`` is its own."""
        parts = list(item)
        given = _generated()
        if word(parts[0]) == "CONSTRAINT":
            given, parts = name(parts[1]), parts[2:]
        kind = word(parts[0])
        head = f"CONSTRAINT {quoted(given)} "
        if kind == "NOT":
            return head + "NOT NULL"
        if kind == "CHECK":
            end = group(parts, 1)
            inside = parts[2 : end - 1]
            self.made.notes.append(
                f'insert into "SYS".checks values ({literal(self.owner)}, {literal(self.table)}, {literal(given)}, '
                f"{literal(joined(inside))})"
            )
            return head + f"CHECK ({self.expression(inside)})"
        if kind in ("PRIMARY", "UNIQUE"):
            key = "PRIMARY KEY" if kind == "PRIMARY" else "UNIQUE"
            return head + key + ("" if column else " " + _names(parts))
        end = parts.index(next(p for p in parts if word(p) == "REFERENCES"))
        front = "" if column else f"FOREIGN KEY {_names(parts[:end])} "
        parent, behind = qualified_name(parts[end + 1 :], self.owner)
        listed = f" {_names(behind)}" if behind[:1] == ["("] else ""
        words = [word(p) for p in behind]
        action = ""
        if "DELETE" in words:
            place = words.index("DELETE") + 1
            action = " ON DELETE " + ("CASCADE" if words[place] == "CASCADE" else "SET NULL")
        deferred = " DEFERRABLE" if "DEFERRABLE" in words and "NOT" not in words else ""
        deferred += " INITIALLY DEFERRED" if deferred and "DEFERRED" in words else ""
        return head + f"{front}REFERENCES {quoted(parent[0])}.{quoted(parent[1])}{listed}{action}{deferred}"

    def note(self, column: str, type: Type, found: _Column) -> str:
        values = (
            self.owner, self.table, column, type.data_type, type.length, type.precision, type.scale, type.char_length,
            type.char_used, found.default, found.virtual, found.hidden, found.identity, found.on_null, found.sequence,
        )  # fmt: skip
        written = ", ".join(
            "null" if v is None else str(v).lower() if isinstance(v, bool | int) else literal(str(v)) for v in values
        )
        return f'insert into "SYS".cols values ({written})'


@dataclass
class _Column:
    default: str | None = None
    virtual: bool = False
    hidden: bool = False
    identity: str | None = None
    on_null: bool = False
    sequence: str | None = None
    regclass: str = ""


def _generated() -> str:
    return f"SYS_C00{next(_numbers)}"


def _until(rest: list[str]) -> tuple[list[str], list[str]]:
    """What follows an expression, and the expression."""
    depth = 0
    for place, part in enumerate(rest):
        depth += {"(": 1, ")": -1}.get(part, 0)
        if depth == 0 and place and word(part) in _ENDS and not (word(part) == "NULL" and place == 0):
            return rest[place:], rest[:place]
    return [], rest


def _constraint(rest: list[str]) -> tuple[list[str], list[str]]:
    """What follows a column's own constraint, and the constraint."""
    start = 2 if word(rest[0]) == "CONSTRAINT" else 0
    depth = 0
    for place in range(start + 1, len(rest)):
        depth += {"(": 1, ")": -1}.get(rest[place], 0)
        ends = word(rest[place]) in ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "NOT")
        if depth == 0 and ends and word(rest[place - 1]) != "CONSTRAINT":
            return rest[place:], rest[:place]
    return [], rest


def _names(parts: Sequence[str]) -> str:
    start = parts.index("(")
    return f"({', '.join(quoted(name(p)) for p in parts[start + 1 : group(parts, start) - 1] if p != ',')})"


def qualified_name(parts: Sequence[str], owner: str) -> tuple[tuple[str, str], list[str]]:
    """(schema, name) at the front of some tokens, and what follows."""
    if parts[1:2] == ["."]:
        return (name(parts[0]), name(parts[2])), list(parts[3:])
    return (owner, name(parts[0])), list(parts[1:])


def sequence_options(words: Sequence[str]) -> str:
    """START WITH, INCREMENT BY, MINVALUE, MAXVALUE, CYCLE, CACHE as PostgreSQL has them."""
    out, at = "", 0
    values = [w for w in words if w != ","]
    while at < len(values):
        found, at = values[at], at + 1
        if found in ("START", "INCREMENT"):
            sign = "-" if values[at + 1] == "-" else ""
            at += 2 if sign else 1
            out += f" {found} {'WITH' if found == 'START' else 'BY'} {sign}{values[at]}"
            at += 1
        elif found in ("MINVALUE", "MAXVALUE", "CACHE"):
            if int(values[at]) < 2**63:
                out += f" {found} {values[at]}"
            at += 1
        elif found == "CYCLE":
            out += " CYCLE"
    return out
