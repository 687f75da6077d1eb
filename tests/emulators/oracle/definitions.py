"""Definitions, users and grants, and the blocks of PL/SQL that the stand-in knows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import psycopg

from tests.emulators.oracle.ddl import Made, TableReader, qualified_name, sequence_options
from tests.emulators.oracle.sql import Refused, expression, translate
from tests.emulators.oracle.tokens import group, joined, literal, name, quoted, split, tokens, word
from tests.emulators.oracle.types import Type, number, read_type

if TYPE_CHECKING:
    from tests.emulators.oracle.engine import Result, Session

_SYSTEM_WORDS: Final = frozenset({"SESSION", "ANY", "DICTIONARY", "SYSTEM", "LOGMINING", "ROLE", "CREATE", "CONTAINER"})


class Definitions:
    def __init__(self, session: Session) -> None:
        self.session = session
        self._types: dict[tuple[int, int], Type | None] = {}

    # --- types of columns ---------------------------------------------------------------------------------------------

    def declared(self, connection: psycopg.Connection[Any], table: int, number: int) -> Type | None:
        """The type that a column was declared with; None for what no CREATE TABLE of ours made."""
        if (table, number) not in self._types:
            found = connection.execute(
                "select c.data_type, c.data_length, c.data_precision, c.data_scale, c.char_length, c.char_used "
                'from "SYS".cols c join pg_class k on k.relname = c.tab join pg_namespace n on n.oid = k.relnamespace '
                "and n.nspname = c.owner join pg_attribute a on a.attrelid = k.oid and a.attname = c.col "
                "where k.oid = %s and a.attnum = %s",
                [table, number],
            ).fetchone()
            self._types[table, number] = None if found is None else _again(*found)
        return self._types[table, number]

    # --- definitions --------------------------------------------------------------------------------------------------

    def read(self, sql: str, parts: Sequence[str]) -> Made:
        words = [word(p) for p in parts]
        self._types.clear()
        match words[0]:
            case "CREATE":
                return self._create(sql, list(parts), words)
            case "DROP":
                return self._drop(list(parts), words)
            case "ALTER":
                return self._alter(list(parts), words)
            case "TRUNCATE":
                table, _ = qualified_name(parts[2:], self.session.schema)
                return Made([f"TRUNCATE {_quoted(table)}"])
            case "COMMENT":
                return self._comment(list(parts), words)
            case "GRANT" | "REVOKE":
                return self._grant(list(parts), words)
            case "ANALYZE":
                table, _ = qualified_name(parts[2:], self.session.schema)
                return Made([f"ANALYZE {_quoted(table)}"])
        raise Refused(900, f"invalid SQL statement: {words[0]}")

    def _create(self, sql: str, parts: list[str], words: list[str]) -> Made:
        at = 1
        while words[at] in ("OR", "REPLACE", "GLOBAL", "TEMPORARY", "UNIQUE", "BITMAP", "FORCE", "EDITIONABLE"):
            at += 1
        kind, rest = words[at], parts[at + 1 :]
        if kind == "TABLE":
            return self._table(rest, temporary="TEMPORARY" in words[:at])
        if kind == "USER":
            return self._user(rest)
        thing, rest = qualified_name(rest, self.session.schema)
        if kind == "SEQUENCE":
            return self._sequence(thing, [word(p) for p in rest])
        if kind == "INDEX":
            return self._index(thing, rest, words[1:at])
        if kind == "VIEW":
            return self._view(sql, thing, rest)
        if kind in ("TRIGGER", "PROCEDURE", "FUNCTION", "PACKAGE"):
            return self._source(sql, kind, thing, parts, words)
        raise Refused(900, f"the stand-in makes no {kind}")

    def _table(self, parts: list[str], *, temporary: bool) -> Made:
        (owner, table), rest = qualified_name(parts, self.session.schema)
        if rest[:1] != ["("]:
            raise Refused(900, "the stand-in makes tables of listed columns only")
        end = group(rest, 0)
        reader = TableReader(owner, table, expression)
        reader.items(rest[1 : end - 1])
        tail = [word(p) for p in rest[end:]]
        self._require_types(reader, tail)
        kinds = ("INDEX" in tail and "ORGANIZATION" in tail, "PARTITION" in tail, temporary, "MOVEMENT" in tail)
        shown = ", ".join(str(k).lower() for k in kinds)
        notes = [
            f'delete from "SYS".{kept} where owner = {literal(owner)} and tab = {literal(table)}'
            for kept in ("cols", "checks", "table_kinds")
        ]
        made = [f"CREATE TABLE {_quoted((owner, table))} ({', '.join(reader.lines)})"]
        noted = [f'insert into "SYS".table_kinds values ({literal(owner)}, {literal(table)}, {shown})']
        return Made([*reader.made.sql, *made], [*notes, *reader.made.notes, *noted])

    @staticmethod
    def _require_types(reader: TableReader, tail: Sequence[str]) -> None:
        if any(" BIGINT" in line or line.endswith(" TEXT") for line in reader.lines):
            raise Refused(902, "invalid datatype")
        unknown = [w for w in tail if w in ("ENGINE", "WITH")]
        if unknown:
            raise Refused(922, "missing or invalid option")

    def _user(self, parts: list[str]) -> Made:
        user, password = name(parts[0]), parts[3].strip('"')
        return Made(
            [f"CREATE ROLE {quoted(user)}", f"CREATE SCHEMA {quoted(user)} AUTHORIZATION {quoted(user)}"],
            [f'insert into "SYS".users values ({literal(user)}, {literal(password)}, false)'],
        )

    def _sequence(self, thing: tuple[str, str], words: list[str]) -> Made:
        cycles = "CYCLE" in words and "NOCYCLE" not in words
        cache = words[words.index("CACHE") + 1] if "CACHE" in words else "20"
        high = words[words.index("MAXVALUE") + 1] if "MAXVALUE" in words else "9" * 28
        note = (
            f'insert into "SYS".sequences values ({literal(thing[0])}, {literal(thing[1])}, {str(cycles).lower()}, '
            f"false, {cache}, 1, {high})"
        )
        return Made([f"CREATE SEQUENCE {_quoted(thing)} {sequence_options(words)}"], [note])

    def _index(self, thing: tuple[str, str], rest: list[str], before: Sequence[str]) -> Made:
        table, behind = qualified_name(rest[1:], self.session.schema)
        inside = behind[1 : group(behind, 0) - 1]
        parts, notes = [], []
        for place, item in enumerate(split(inside), 1):
            down = word(item[-1]) == "DESC"
            plain = item[:-1] if word(item[-1]) in ("ASC", "DESC") else item
            if len(plain) == 1:
                parts.append(quoted(name(plain[0])) + (" DESC" if down else ""))
                continue
            parts.append(f"({expression(plain)})" + (" DESC" if down else ""))
            notes.append(
                f'insert into "SYS".expressions values ({literal(thing[0])}, {literal(thing[1])}, {place}, '
                f"{literal(joined(plain))})"
            )
        if "BITMAP" in before:
            notes.append(f"insert into \"SYS\".index_kinds values ({literal(thing[0])}, {literal(thing[1])}, 'BITMAP')")
        unique = "UNIQUE " if "UNIQUE" in before else ""
        return Made([f"CREATE {unique}INDEX {quoted(thing[1])} ON {_quoted(table)} ({', '.join(parts)})"], notes)

    def _view(self, sql: str, thing: tuple[str, str], rest: list[str]) -> Made:
        found = re.search(r"\bAS\b", sql, re.I)
        assert found is not None
        text = sql[found.end() :].strip()
        owner, view = literal(thing[0]), literal(thing[1])
        notes = [
            f'delete from "SYS".view_texts where owner = {owner} and name = {view}',
            f'insert into "SYS".view_texts values ({owner}, {view}, {literal(text)})',
        ]
        return Made([f"CREATE OR REPLACE VIEW {_quoted(thing)} AS {translate(text).sql}"], notes)

    def _source(self, sql: str, kind: str, thing: tuple[str, str], parts: list[str], words: list[str]) -> Made:
        owner, named = literal(thing[0]), literal(thing[1])
        text = sql[re.search(kind, sql, re.I).start() :]  # type: ignore[union-attr]
        notes = [f'delete from "SYS".sources where owner = {owner} and name = {named}']
        for line, said in enumerate(text.splitlines(keepends=True), 1):
            notes.append(
                f'insert into "SYS".sources values ({owner}, {named}, {literal(kind)}, {line}, {literal(said)})'
            )
        if kind == "TRIGGER":
            on = words.index("ON")
            table, _ = qualified_name(parts[on + 1 :], self.session.schema)
            first = next(i for i, w in enumerate(words) if w in ("BEFORE", "AFTER", "INSTEAD"))
            body = sql[re.search(r"\bBEGIN\b", sql, re.I).start() :]  # type: ignore[union-attr]
            notes.append(f'delete from "SYS".triggers where owner = {owner} and name = {named}')
            notes.append(
                f'insert into "SYS".triggers values ({owner}, {named}, {literal(table[0])}, {literal(table[1])}, '
                f"{literal(words[first] + ' EACH ROW')}, {literal(' '.join(words[first + 1 : on]))}, {literal(body)})"
            )
        return Made([], notes)

    def _drop(self, parts: list[str], words: list[str]) -> Made:
        kind, at = words[1], 2
        if kind == "USER":
            user = name(parts[2])
            gone = f"DROP SCHEMA {quoted(user)} CASCADE", f"DROP OWNED BY {quoted(user)}", f"DROP ROLE {quoted(user)}"
            clean = [
                f'delete from "SYS".{table} where {column} = {literal(user)}'
                for table, column in (
                    ("users", "name"), ("system_privileges", "grantee"), ("object_privileges", "grantee"),
                    ("object_privileges", "owner"), ("cols", "owner"), ("checks", "owner"), ("expressions", "owner"),
                    ("table_kinds", "owner"), ("sources", "owner"), ("triggers", "owner"), ("view_texts", "owner"),
                    ("sequences", "owner"), ("index_kinds", "owner"), ("log_groups", "owner"), ("policies", "owner"),
                )
            ]  # fmt: skip
            return Made(list(gone), clean)
        thing, _ = qualified_name(parts[at:], self.session.schema)
        cascade = " CASCADE" if "CASCADE" in words else ""
        owner, named = literal(thing[0]), literal(thing[1])
        if kind in ("TRIGGER", "PROCEDURE", "FUNCTION", "PACKAGE"):
            return Made(
                [], [f'delete from "SYS".{t} where owner = {owner} and name = {named}' for t in ("sources", "triggers")]
            )
        notes = [
            f'delete from "SYS".{t} where owner = {owner} and tab = {named}' for t in ("cols", "checks", "table_kinds")
        ]
        return Made([f"DROP {kind} {_quoted(thing)}{cascade}"], notes if kind == "TABLE" else [])

    def _alter(self, parts: list[str], words: list[str]) -> Made:
        if words[1] == "SYSTEM":
            return self._kill(parts)
        if words[1] == "DATABASE":
            on = "'YES'" if words[2] == "ADD" else "'NO'"
            return Made([], [f'update "SYS".database_facts set minimal = {on}'])
        if words[1] != "TABLE":
            raise Refused(900, f"the stand-in alters no {words[1]}")
        (owner, table), rest = qualified_name(parts[2:], self.session.schema)
        heads = [word(p) for p in rest]
        where = f"owner = {literal(owner)} and tab = {literal(table)}"
        target = _quoted((owner, table))
        if heads[:2] == ["ADD", "SUPPLEMENTAL"]:
            kind = "ALL COLUMN LOGGING" if "ALL" in heads else "PRIMARY KEY LOGGING"
            return Made(
                [], [f'insert into "SYS".log_groups values ({literal(owner)}, {literal("GGS_" + table)}, '
                     f"{literal(table)}, {literal(kind)}, 'ALWAYS')"],
            )  # fmt: skip
        if heads[0] == "ADD":
            reader = TableReader(owner, table, expression)
            reader.items(rest[2 : group(rest, 1) - 1] if rest[1] == "(" else rest[1:])
            return Made(
                [*reader.made.sql, *(f"ALTER TABLE {target} ADD {line}" for line in reader.lines)], reader.made.notes
            )
        if (heads[0] == "DROP" and "COLUMN" in heads) or heads[:2] == ["DROP", "("]:
            column = name(next(p for p in rest[1:] if word(p) not in ("COLUMN", "(")))
            gone = f'delete from "SYS".cols where {where} and col = {literal(column)}'
            return Made([f"ALTER TABLE {target} DROP COLUMN {quoted(column)} CASCADE"], [gone])
        if heads[0] == "RENAME" and heads[1] == "COLUMN":
            old, new = name(rest[2]), name(rest[4])
            moved = f'update "SYS".cols set col = {literal(new)} where {where} and col = {literal(old)}'
            return Made([f"ALTER TABLE {target} RENAME COLUMN {quoted(old)} TO {quoted(new)}"], [moved])
        if heads[0] == "MOVE":
            return Made([f"VACUUM FULL {target}"])
        raise Refused(900, f"the stand-in does not know ALTER TABLE {' '.join(heads[:2])}")

    def _kill(self, parts: list[str]) -> Made:
        if not self._may("ALTER SYSTEM"):
            raise Refused(1031, "insufficient privileges")
        number = int(parts[-2 if word(parts[-1]) == "IMMEDIATE" else -1].strip("'").split(",")[0])
        found = self.session.find(number)
        if found is None:
            raise Refused(30, "User session ID does not exist.")
        found.kill()
        return Made()

    def _may(self, privilege: str) -> bool:
        return privilege in {str(r[0]) for r in self.session.ask('select "PRIVILEGE" from "SYS"."SESSION_PRIVS"')}

    def _comment(self, parts: list[str], words: list[str]) -> Made:
        place = words.index("IS")
        text, thing = parts[place + 1], parts[3:place]
        if words[2] == "TABLE":
            table, _ = qualified_name(thing, self.session.schema)
            return Made([f"COMMENT ON TABLE {_quoted(table)} IS {text}"])
        table, rest = qualified_name(thing, self.session.schema) if len(thing) == 5 else (
            (self.session.schema, name(thing[0])), thing[1:]
        )  # fmt: skip
        return Made([f"COMMENT ON COLUMN {_quoted(table)}.{quoted(name(rest[1]))} IS {text}"])

    def _grant(self, parts: list[str], words: list[str]) -> Made:
        grants = words[0] == "GRANT"
        to = words.index("TO" if grants else "FROM")
        grantee = name(parts[to + 1])
        if "ON" not in words[:to]:
            return self._grant_system(words[1:to], grantee, grants=grants)
        on = words.index("ON")
        (owner, thing), _ = qualified_name(parts[on + 1 : to], self.session.schema)
        made: list[str] = []
        notes: list[str] = []
        dictionary = thing.startswith(("V_$", "DBMS_", "DBA_"))
        if dictionary:
            owner, thing = "SYS", thing.replace("V_$", "V$")
        role = quoted(grantee) if grantee != "PUBLIC" else "PUBLIC"
        for privilege in split(words[1:on]):
            kind = " ".join(privilege)
            if kind in ("SELECT", "READ", "INSERT", "UPDATE", "DELETE") and not thing.startswith("DBMS_"):
                usual = "SELECT" if kind == "READ" else kind
                made.append(f"{words[0]} {usual} ON {_quoted((owner, thing))} {'TO' if grants else 'FROM'} {role}")
                if grants:
                    made.append(f"GRANT USAGE ON SCHEMA {quoted(owner)} TO {role}")
            values = f"{literal(grantee)}, {literal(owner)}, {literal(thing)}, {literal(kind)}"
            if grants:
                grantor = literal(self.session.user)
                notes.append(f'insert into "SYS".object_privileges values ({values}, {grantor}) on conflict do nothing')
            else:
                notes.append(
                    f'delete from "SYS".object_privileges where (grantee, owner, object, privilege) = ({values})'
                )
        return Made(made, notes)

    def _grant_system(self, words: Sequence[str], grantee: str, *, grants: bool) -> Made:
        made, notes = [], []
        for privilege in split(words):
            kind = " ".join(privilege)
            pair = f"({literal(grantee)}, {literal(kind)})"
            if kind == "DBA":
                made.append(f"ALTER ROLE {quoted(grantee)} {'SUPERUSER' if grants else 'NOSUPERUSER'}")
                notes.append(f'update "SYS".users set dba = {str(grants).lower()} where name = {literal(grantee)}')
            elif kind == "SELECT ANY TABLE":
                made.append(
                    f"{'GRANT' if grants else 'REVOKE'} pg_read_all_data {'TO' if grants else 'FROM'} {quoted(grantee)}"
                )
            if grants:
                notes.append(f'insert into "SYS".system_privileges values {pair} on conflict do nothing')
            else:
                notes.append(f'delete from "SYS".system_privileges where (grantee, privilege) = {pair}')
        return Made(made, notes)

    # --- blocks -------------------------------------------------------------------------------------------------------

    def block(self, sql: str, binds: Sequence[Any]) -> Result:
        """The few that the tests and the connector send."""
        from tests.emulators.oracle.engine import Result

        parts = tokens(sql)
        inside = parts[1:-2] if parts[-1] == ";" else parts[1:-1]
        for statement in _statements(inside):
            words = [word(p) for p in statement]
            if words[:1] == ["NULL"]:
                continue
            if words[:3] == ["DBMS_STATS", ".", "GATHER_TABLE_STATS"]:
                owner, table = [p.strip("'") for p in statement if p.startswith("'")][:2]
                self.session.analyze(owner, table)
            elif words[:3] == ["DBMS_STATS", ".", "GATHER_SCHEMA_STATS"]:
                owner = next(p.strip("'") for p in statement if p.startswith("'"))
                for row in self.session.ask(
                    f'select "TABLE_NAME" from "SYS"."ALL_TABLES" where "OWNER" = {literal(owner)}'
                ):
                    self.session.analyze(owner, str(row[0]))
            elif words[:3] == ["DBMS_RLS", ".", "ADD_POLICY"]:  # noted only: nothing is hidden here
                owner, table, policy = [p.strip("'") for p in statement if p.startswith("'")][:3]
                self.session.note(
                    f'insert into "SYS".policies values ({literal(owner)}, {literal(table)}, {literal(policy)})'
                )
            elif words[:2] == ["EXECUTE", "IMMEDIATE"]:
                self.session.execute(statement[2][1:-1].replace("''", "'"), [[]], commit=False)
            elif words[:1] in (["INSERT"], ["UPDATE"], ["DELETE"], ["MERGE"]):
                self.session.execute(joined(statement), [binds], commit=False)
            elif words[:1] == ["COMMIT"]:
                self.session.commit()
            else:
                raise Refused(6550, f"the stand-in knows no block with {' '.join(words[:4])}")
        return Result()


def _statements(parts: Sequence[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for part in parts:
        if part == ";":
            found.append([])
        else:
            found[-1].append(part)
    return [f for f in found if f]


def _quoted(thing: tuple[str, str]) -> str:
    return f"{quoted(thing[0])}.{quoted(thing[1])}"


def _again(data_type: str, length: Any, precision: Any, scale: Any, char_length: Any, char_used: str | None) -> Type:
    """The type of a column, from what the catalogue keeps of it."""
    digits = None if precision is None else int(precision)
    behind = None if scale is None else int(scale)
    if data_type == "NUMBER":
        return number(digits, behind)
    if data_type == "FLOAT":
        return read_type(["FLOAT", "(", str(digits), ")"])[0]
    if char_used is not None:
        unit = "CHAR" if char_used == "C" else "BYTE"
        national = data_type.startswith("N")
        return read_type([data_type, "(", str(char_length), *([] if national else [unit]), ")"])[0]
    if data_type == "RAW":
        return read_type(["RAW", "(", str(length), ")"])[0]
    return read_type(tokens(data_type))[0]
