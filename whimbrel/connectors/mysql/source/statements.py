"""What a statement in the binlog means for captured tables. With row format only DDL should be left there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from whimbrel.codecs.binlog import Query
from whimbrel.connectors.mysql.source.alterations import Named, alteration
from whimbrel.connectors.mysql.tokens import Kind, NotUnderstood, Reader, Spelling, Token, tokens
from whimbrel.model.names import TableName


class Effect(Enum):
    NONE = "none"
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    ROLLBACK_TO = "rollback to"  # a savepoint
    XA = "xa"
    TRUNCATE = "truncate"
    LAYOUT = "layout"  # the tables' columns, keys or rows are no longer what they were
    ROWS = "rows"  # a statement changed rows and no row images follow
    UNKNOWN = "unknown"  # it names the tables, and what it does to them is not known


@dataclass(frozen=True)
class Meaning:
    effect: Effect
    tables: tuple[TableName, ...] = ()


_NOTHING: Final = Meaning(Effect.NONE)
# What servers write themselves, around every transaction.
_PLAIN: Final = {"BEGIN": Meaning(Effect.BEGIN), "COMMIT": Meaning(Effect.COMMIT), "ROLLBACK": Meaning(Effect.ROLLBACK)}
# A SELECT or DO is logged only when a function that it calls changes rows.
_DML: Final = frozenset(
    {"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "WITH", "SELECT", "DO", "VALUES", "TABLE", "EXECUTE"}
)
_HARMLESS: Final = frozenset(
    {
        *("GRANT", "REVOKE", "ANALYZE", "OPTIMIZE", "REPAIR", "CHECK", "CHECKSUM", "FLUSH", "SET", "USE", "SAVEPOINT"),
        *("RELEASE", "INSTALL", "UNINSTALL", "RESET", "PURGE", "CACHE", "LOCK", "UNLOCK", "KILL", "IMPORT", "CHANGE"),
    }
)
# Behind CREATE, ALTER and DROP: objects that are no tables, and words that only stand in front of such.
_OBJECTS: Final = "|".join(
    (
        *("VIEW", "PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "USER", "ROLE", "SERVER", "TABLESPACE", "LOGFILE"),
        *("RESOURCE", "PACKAGE", "LIBRARY", "INSTANCE", "DEFINER", "ALGORITHM", "SQL", "AGGREGATE", "UNDO", "CATALOG"),
        *("PREPARE", "TEMPORARY"),
    )
)
_LONG = 4096


def meaning(
    query: Query, captured: Mapping[TableName, Collection[str]], *, folds: bool = False, mariadb: bool = False
) -> Meaning:
    """What the statement does, as far as it concerns the captured tables.

    ``captured`` has the names of each table's unique keys, in lower case. ``folds``: the server takes names of tables
    in any case (lower_case_table_names).
    """
    text = query.text
    if text in _PLAIN:
        return _PLAIN[text]
    known = _Known(query.schema, captured, folds)
    if len(text) > _LONG and not known.may_concern(text):
        return _NOTHING
    spelling = Spelling.of_mode(query.sql_mode, mariadb=mariadb)
    try:
        if _first_word(text, spelling) in _DML:
            return _rows(text, spelling, known)
        reader = Reader.of(text, spelling)
    except NotUnderstood:
        return known.unknown(t for t in captured if _mentions(text, t, query.schema))
    try:
        return _statement(reader, known, spelling)
    except NotUnderstood:
        return known.unknown(known.named_in(reader.found))


def _first_word(text: str, spelling: Spelling) -> str:
    """The verb, without the brackets that may stand around a SELECT."""
    for token in tokens(text, spelling):
        if token.value != "(":
            return token.value.upper() if token.kind is Kind.WORD else ""
    return ""


class _Known:
    """The captured tables, as a statement with this default schema names them."""

    def __init__(self, schema: str, captured: Mapping[TableName, Collection[str]], folds: bool) -> None:
        self._fold = str.lower if folds else str
        self.schema = schema
        self.captured = captured
        self._spelled = {self._key(t): t for t in captured}

    def _key(self, name: TableName) -> tuple[str, str]:
        return self._fold(name.schema), self._fold(name.table)

    def of(self, effect: Effect, names: Iterable[Named]) -> Meaning:
        """This effect on those that are captured."""
        keys = (self._key(TableName(self.schema if schema is None else schema, table)) for schema, table in names)
        hit = tuple(self._spelled[k] for k in dict.fromkeys(keys) if k in self._spelled)
        return Meaning(effect, hit) if hit else _NOTHING

    def unknown(self, tables: Iterable[TableName]) -> Meaning:
        found = tuple(tables)
        return Meaning(Effect.UNKNOWN, found) if found else _NOTHING

    def in_schema(self, schema: str) -> list[TableName]:
        return [t for t in self.captured if self._fold(t.schema) == self._fold(schema)]

    def whole_schema(self, schema: str) -> Meaning:
        found = tuple(self.in_schema(schema))
        return Meaning(Effect.LAYOUT, found) if found else _NOTHING

    def guards(self, index: str, names: list[Named]) -> bool:
        """Whether a unique key of that name belongs to one of these tables."""
        return any(index.lower() in self.captured[t] for t in self.of(Effect.LAYOUT, names).tables)

    def may_concern(self, text: str) -> bool:
        """Whether a long statement is worth reading: it works in the schema of a captured table or names it."""
        lower = text.lower()
        return any(self._fold(t.schema) == self._fold(self.schema) or t.schema.lower() in lower for t in self.captured)

    def named_in(self, found: Collection[Token]) -> list[TableName]:
        """The captured tables that a statement names somewhere. Rather once too often than once too little."""
        words = {t.value.lower() for t in found if t.kind in (Kind.WORD, Kind.NAME)} | {self.schema.lower()}
        return [t for t in self.captured if t.table.lower() in words and t.schema.lower() in words]


# --- statements that change rows --------------------------------------------------------------------------------------


def _rows(text: str, spelling: Spelling, known: _Known) -> Meaning:
    """Those whose rows it may have changed: the tables it names, else, because triggers, functions and cascades are not
    told apart from here, all in the schemas it works in."""
    named = tuple(t for t in known.captured if _mentions(text, t, known.schema))
    if named:
        return Meaning(Effect.ROWS, named)
    if len(text) <= _LONG and _empties(text, spelling):
        return _NOTHING
    inside = tuple(t for t in known.captured if t in known.in_schema(known.schema) or _names_word(text, t.schema))
    return Meaning(Effect.ROWS, inside) if inside else _NOTHING


def _empties(text: str, spelling: Spelling) -> bool:
    """What a restart of the server does to MEMORY tables."""
    try:
        r = Reader.of(text, spelling)
        r.expect("DELETE", "FROM")
        r.qualified()
        _end(r)
    except NotUnderstood:
        return False
    return True


def _mentions(text: str, table: TableName, schema: str) -> bool:
    """Whether a statement may name the table. Rather once too often than once too little."""
    spelled = {table.table, table.table.replace("`", "``"), table.table.replace('"', '""')}
    return any(_names_word(text, name) for name in spelled) and (
        schema.lower() == table.schema.lower() or table.schema.lower() in text.lower()
    )


def _names_word(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.I) is not None


# --- all others -------------------------------------------------------------------------------------------------------


def _statement(r: Reader, known: _Known, spelling: Spelling) -> Meaning:
    if r.accept("SET", "STATEMENT"):  # MariaDB logs it in front of the statement
        while not r.accept("FOR"):
            r.next()
        if (token := r.peek()) is not None and token.value.upper() in _DML:
            return _rows(r.text[token.start :], spelling, known)
    if r.ended:
        return _NOTHING
    if r.accept("BEGIN") or r.accept("START", "TRANSACTION"):
        return Meaning(Effect.BEGIN)
    if r.accept("COMMIT"):
        return Meaning(Effect.COMMIT)
    if r.accept("ROLLBACK"):
        r.accept("WORK")
        return Meaning(Effect.ROLLBACK_TO if r.sees("TO") else Effect.ROLLBACK)
    if r.accept("XA"):
        return Meaning(Effect.XA)
    verb = r.next()
    read = _VERBS.get(verb.value.upper()) if verb.kind is Kind.WORD else None
    if read is not None:
        return read(r, known)
    if verb.kind is Kind.WORD and verb.value.upper() in _HARMLESS:
        return _NOTHING
    raise NotUnderstood(verb.value)


def _truncate(r: Reader, known: _Known) -> Meaning:
    r.accept("TABLE")
    name = r.qualified()
    _patience(r)
    _end(r)
    return known.of(Effect.TRUNCATE, [name])


def _rename(r: Reader, known: _Known) -> Meaning:
    if r.accept("USER"):
        return _NOTHING
    r.expect("TABLE|TABLES")
    r.accept("IF", "EXISTS")
    names = []
    while True:
        names.append(r.qualified())
        _patience(r)
        r.expect("TO")
        names.append(r.qualified())
        if not r.accept(","):
            break
    _end(r)
    return known.of(Effect.LAYOUT, names)


def _drop(r: Reader, known: _Known) -> Meaning:
    if r.accept("TABLE|TABLES"):
        r.accept("IF", "EXISTS")
        names = [r.qualified()]
        while r.accept(","):
            names.append(r.qualified())
        _patience(r)
        r.accept("RESTRICT|CASCADE")
        _end(r)
        return known.of(Effect.LAYOUT, names)
    if r.accept("DATABASE|SCHEMA"):
        r.accept("IF", "EXISTS")
        return known.whole_schema(r.name())
    r.accept("ONLINE|OFFLINE")
    if r.accept("INDEX"):
        r.accept("IF", "EXISTS")
        index = r.name()
        r.expect("ON")
        names = [r.qualified()]
        return known.of(Effect.LAYOUT, names) if known.guards(index, names) else _NOTHING
    return _other_object(r)


def _create(r: Reader, known: _Known) -> Meaning:
    replaces = r.accept("OR", "REPLACE")
    if r.accept("TABLE|SEQUENCE"):
        r.accept("IF", "NOT", "EXISTS")
        return known.of(Effect.LAYOUT, [r.qualified()]) if replaces else _NOTHING
    if r.accept("DATABASE|SCHEMA"):
        r.accept("IF", "NOT", "EXISTS")
        return known.whole_schema(r.name()) if replaces else _NOTHING
    if r.sees("SPATIAL", "REFERENCE"):
        return _NOTHING
    r.accept("ONLINE|OFFLINE")
    r.accept("UNIQUE|FULLTEXT|SPATIAL|VECTOR")
    if r.accept("INDEX"):
        r.accept("IF", "NOT", "EXISTS")
        index = r.name()
        while not r.accept("ON"):
            r.next()
        names = [r.qualified()]
        return known.of(Effect.LAYOUT, names) if replaces and known.guards(index, names) else _NOTHING
    return _other_object(r)


def _alter(r: Reader, known: _Known) -> Meaning:
    if r.accept("DATABASE|SCHEMA|SEQUENCE"):
        return _NOTHING
    while r.accept("ONLINE|OFFLINE"):
        pass
    ignores = r.accept("IGNORE")
    if not r.accept("TABLE"):
        return _other_object(r)
    r.accept("IF", "EXISTS")
    name = r.qualified()
    _patience(r)
    if r.found[-1].value == ";":
        r = Reader(r.text, r.found[r.at : -1])
    done = alteration(r)
    if done.harmless and not ignores and not any(known.guards(index, [name]) for index in done.leaving):
        return _NOTHING
    return known.of(Effect.LAYOUT, [name, *done.tables])


def _other_object(r: Reader) -> Meaning:
    if r.sees(_OBJECTS) or r.sees("SEQUENCE") or r.sees("SPATIAL", "REFERENCE"):
        return _NOTHING
    raise r.stuck()


def _patience(r: Reader) -> None:
    """MariaDB's, behind the name of a table."""
    if r.accept("WAIT"):
        r.value(Kind.NUMBER)
    else:
        r.accept("NOWAIT")


def _end(r: Reader) -> None:
    r.accept(";")
    if not r.ended:
        raise r.stuck()


_VERBS: Final = {"TRUNCATE": _truncate, "RENAME": _rename, "DROP": _drop, "CREATE": _create, "ALTER": _alter}
