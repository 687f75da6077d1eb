"""What a statement in the binlog means for captured tables. With row format only DDL should be left there."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from whimbrel.codecs.binlog import Query
from whimbrel.model.names import TableName


class Effect(Enum):
    NONE = "none"
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"  # all of the transaction, or back to a savepoint
    XA = "xa"
    TRUNCATE = "truncate"
    LAYOUT = "layout"  # the tables' columns, keys or rows are no longer what they were
    ROWS = "rows"  # a statement changed rows and no row images follow


@dataclass(frozen=True)
class Meaning:
    effect: Effect
    tables: tuple[TableName, ...] = ()


# Comments go, and what quotes hold stays out of it: names are kept, the content of strings says nothing about tables.
_NOISE = re.compile(
    r"(?P<name>`(?:[^`]|``)*`|\"[^\"\\]*\")|(?P<text>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\")"
    r"|/\*(?!M?!).*?\*/|--(?=\s)[^\n]*|#[^\n]*",
    re.S,
)
_VERSIONED = re.compile(r"/\*(?:M?!)\d*|\*/")
_NAME = r"(?:`(?:[^`]|``)+`|\"(?:[^\"]|\"\")+\"|[\w$\u0080-\uffff]+)"
_QUALIFIED = rf"{_NAME}(?:\s*\.\s*{_NAME})?"
_PART = re.compile(rf"\s*({_NAME})(?:\s*\.\s*({_NAME}))?")
_TRUNCATE = re.compile(r"TRUNCATE\s+(?:TABLE\s+)?(?P<rest>.*)", re.I | re.S)
_ALTER = re.compile(
    rf"ALTER\s+(?:ONLINE\s+)?(?:OFFLINE\s+)?(?P<ignore>IGNORE\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?(?P<name>{_QUALIFIED})(?P<rest>.*)",
    re.I | re.S,
)
_DROP = re.compile(r"DROP\s+TABLES?\s+(?:IF\s+EXISTS\s+)?(?P<rest>.*)", re.I | re.S)
_RENAME = re.compile(r"RENAME\s+TABLES?\s+(?:IF\s+EXISTS\s+)?(?P<rest>.*)", re.I | re.S)
_REPLACE_TABLE = re.compile(rf"CREATE\s+OR\s+REPLACE\s+TABLE\s+(?P<name>{_QUALIFIED})", re.I)
_DROP_SCHEMA = re.compile(rf"DROP\s+(?:DATABASE|SCHEMA)\s+(?:IF\s+EXISTS\s+)?(?P<name>{_NAME})", re.I)
_DROP_INDEX = re.compile(rf"DROP\s+INDEX\s+(?:IF\s+EXISTS\s+)?(?P<index>{_NAME})\s+ON\s+(?P<name>{_QUALIFIED})", re.I)
_FOR_ONE = re.compile(r"SET\s+STATEMENT\b.*?\bFOR\s+", re.I | re.S)  # MariaDB logs it in front of the statement
_PATIENCE = re.compile(r"\s+(?:WAIT\s+\d+|NOWAIT)\b", re.I)  # MariaDB's, behind the name of a table
_TEMPORARY = re.compile(r"(?:CREATE\s+(?:OR\s+REPLACE\s+)?|DROP\s+)TEMPORARY\s", re.I)
# A SELECT or DO is logged only when a function that it calls changes rows.
_DML = re.compile(r"(?:INSERT|UPDATE|DELETE|REPLACE|LOAD|CALL|WITH|SELECT|DO)\b", re.I)
_EMPTIED = re.compile(rf"DELETE\s+FROM\s+(?P<name>{_QUALIFIED})$", re.I)  # what a restart does to MEMORY tables

_INDEX_LEAVES = re.compile(rf"(?:DROP|RENAME)\s+(?:INDEX|KEY|CONSTRAINT)\s+(?:IF\s+EXISTS\s+)?({_NAME})", re.I)
_CASCADE = re.compile(r"\bON\s+(?:DELETE|UPDATE)\s+(?:CASCADE|SET\s+(?:NULL|DEFAULT))\b", re.I)
_OTHER_TABLE = re.compile(rf"\b(?:WITH|CONVERT)\s+TABLE\s+({_QUALIFIED})", re.I)

# What ALTER TABLE may do without touching rows, columns or the identity of rows. Anything else is a new layout.
_HARMLESS = re.compile(
    r"(?:ADD\s+(?:UNIQUE\s+|FULLTEXT\s+|SPATIAL\s+)?(?:INDEX|KEY)\b|ADD\s+(?:UNIQUE|FULLTEXT|SPATIAL)\b"
    r"|ADD\s+(?:CONSTRAINT\s+(?:`[^`]*`\s+|\w+\s+)?)?(?:FOREIGN\s+KEY|UNIQUE|CHECK)\b"
    r"|DROP\s+(?:INDEX|KEY|FOREIGN\s+KEY|CONSTRAINT|CHECK)\b|RENAME\s+(?:INDEX|KEY)\b"
    r"|ALTER\s+(?:INDEX|CHECK|CONSTRAINT|COLUMN\s+\S+\s+(?:SET|DROP)\s+DEFAULT)\b"
    r"|(?:COMMENT|ENGINE|AUTO_INCREMENT|ROW_FORMAT|KEY_BLOCK_SIZE|STATS_\w+|AVG_ROW_LENGTH|MAX_ROWS|MIN_ROWS|CHECKSUM"
    r"|COMPRESSION|PAGE_COMPRESSED|PACK_KEYS|DELAY_KEY_WRITE|DEFAULT\s+(?:CHARACTER\s+SET|CHARSET|COLLATE)|ENCRYPTION"
    r"|TABLESPACE)\b|(?:ENABLE|DISABLE)\s+KEYS|FORCE\b|ALGORITHM\b|LOCK\b|(?:WITH|WITHOUT)\s+VALIDATION"
    r"|(?:ANALYZE|CHECK|OPTIMIZE|REBUILD|REPAIR|REORGANIZE|ADD|COALESCE)\s+PARTITION\b|REMOVE\s+PARTITIONING"
    r"|PARTITION\s+BY\b|ORDER\s+BY\b|$)",
    re.I,
)


def meaning(query: Query, captured: Mapping[TableName, Collection[str]], *, folds: bool = False) -> Meaning:
    """What the statement does, as far as it concerns the captured tables.

    ``captured`` has the names of each table's unique keys, in lower case. ``folds``: the server takes names of tables
    in any case (lower_case_table_names).
    """
    text = _VERSIONED.sub(" ", _NOISE.sub(_quiet, query.text)).strip().rstrip(";").strip()
    text = _FOR_ONE.sub("", text, count=1) if _FOR_ONE.match(text) else text
    upper = text[:12].upper()
    if upper == "BEGIN" or upper.startswith("START TRANS"):
        return Meaning(Effect.BEGIN)
    if upper == "COMMIT":
        return Meaning(Effect.COMMIT)
    if upper.startswith("ROLLBACK"):
        return Meaning(Effect.ROLLBACK)
    if upper.startswith("XA "):
        return Meaning(Effect.XA)
    if _TEMPORARY.match(text):
        return Meaning(Effect.NONE)
    known = _Known(query.schema, captured, folds)
    if _DML.match(text):
        touched = known.touched(text)
        return Meaning(Effect.ROWS, touched) if touched else Meaning(Effect.NONE)
    return _ddl(text, known)


def _quiet(found: re.Match[str]) -> str:
    return found["name"] or ("''" if found["text"] else " ")


class _Known:
    """The captured tables, as a statement with this default schema names them."""

    def __init__(self, schema: str, captured: Mapping[TableName, Collection[str]], folds: bool) -> None:
        self._fold = str.lower if folds else str
        self.schema = schema
        self.captured = captured
        self._spelled = {self._key(t): t for t in captured}

    def _key(self, name: TableName) -> tuple[str, str]:
        return self._fold(name.schema), self._fold(name.table)

    def of(self, effect: Effect, names: Collection[TableName]) -> Meaning:
        """This effect on those that are captured."""
        hit = tuple(self._spelled[k] for k in dict.fromkeys(map(self._key, names)) if k in self._spelled)
        return Meaning(effect, hit) if hit else Meaning(Effect.NONE)

    def in_schema(self, schema: str) -> list[TableName]:
        return [t for t in self.captured if self._fold(t.schema) == self._fold(schema)]

    def guards(self, index: str, names: list[TableName]) -> bool:
        """Whether a unique key of that name belongs to one of these tables."""
        return any(_plain(index).lower() in self.captured[t] for t in self.of(Effect.LAYOUT, names).tables)

    def touched(self, text: str) -> tuple[TableName, ...]:
        """The tables whose rows a statement may have changed: those it names, else, because triggers, functions and
        cascades are not told apart from here, all in the schemas it works in."""
        named = tuple(t for t in self.captured if _mentions(text, t, self.schema))
        emptied = _EMPTIED.match(text)
        if named or emptied:
            return named
        return tuple(t for t in self.captured if t in self.in_schema(self.schema) or _names_word(text, t.schema))


def _ddl(text: str, known: _Known) -> Meaning:
    schema = known.schema
    if found := _TRUNCATE.match(text):
        return known.of(Effect.TRUNCATE, _names(found["rest"], schema, 1))
    if found := _ALTER.match(text):
        return _alter(found, known)
    if found := _DROP_INDEX.match(text):
        names = _names(found["name"], schema, 1)
        return known.of(Effect.LAYOUT, names) if known.guards(found["index"], names) else Meaning(Effect.NONE)
    if found := _DROP.match(text):
        return known.of(Effect.LAYOUT, _names(found["rest"], schema))
    if found := _RENAME.match(text):
        pairs = re.sub(r"\sTO\s", ",", _PATIENCE.sub(" ", found["rest"]), flags=re.I)
        return known.of(Effect.LAYOUT, _names(pairs, schema))
    if found := _REPLACE_TABLE.match(text):
        return known.of(Effect.LAYOUT, _names(found["name"], schema, 1))
    if found := _DROP_SCHEMA.match(text):
        return known.of(Effect.LAYOUT, known.in_schema(_plain(found["name"])))
    return Meaning(Effect.NONE)


def _alter(found: re.Match[str], known: _Known) -> Meaning:
    names, rest = _names(found["name"], known.schema, 1), _PATIENCE.sub("", " " + found["rest"], count=1)
    if not found["ignore"] and all(_harmless(part, names, known) for part in _parts(rest)):
        return Meaning(Effect.NONE)
    renamed = re.search(rf"\bRENAME\s+(?:TO\s+|AS\s+|=\s*)?({_QUALIFIED})\s*$", rest, re.I)
    if renamed and not re.search(r"\bRENAME\s+COLUMN\b", rest, re.I):
        names += _names(renamed[1], known.schema, 1)
    for other in _OTHER_TABLE.findall(rest):  # a partition changes places with it, or it becomes one
        names += _names(other, known.schema, 1)
    return known.of(Effect.LAYOUT, names)


def _harmless(part: str, names: list[TableName], known: _Known) -> bool:
    """A unique key that goes here stays on the target, where rows would be in each other's way; a cascade changes rows
    without a trace in the log."""
    leaves = _INDEX_LEAVES.match(part)
    if leaves and known.guards(leaves[1], names):
        return False
    return bool(_HARMLESS.match(part)) and not _CASCADE.search(part)


def _names(text: str, schema: str, most: int = 1 << 30) -> list[TableName]:
    """Table names separated by commas, up to the first word that is not one."""
    found: list[TableName] = []
    at = 0
    while len(found) < most and (name := _PART.match(text, at)):
        first, second = name[1], name[2]
        found.append(TableName(_plain(first), _plain(second)) if second else TableName(schema, _plain(first)))
        comma = re.compile(r"\s*,").match(text, name.end())
        if comma is None:
            break
        at = comma.end()
    return found


def _plain(quoted: str) -> str:
    if quoted[:1] in ("`", '"'):
        return quoted[1:-1].replace(quoted[0] * 2, quoted[0])
    return quoted


def _parts(text: str) -> list[str]:
    """The specifications of an ALTER TABLE: split at commas outside of brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "`'\"":
            quote = c
        elif c in "()":
            depth += 1 if c == "(" else -1
        elif c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    return [*parts, text[start:].strip()]


def _mentions(text: str, table: TableName, schema: str) -> bool:
    """Whether a statement may name the table. Rather once too often than once too little."""
    return _names_word(text, table.table) and (schema == table.schema or table.schema.lower() in text.lower())


def _names_word(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.I) is not None
