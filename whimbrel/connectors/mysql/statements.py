"""What a statement in the binlog means for captured tables. With row format only DDL should be left there."""

from __future__ import annotations

import re
from collections.abc import Collection
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


_COMMENT = re.compile(r"/\*(?![!M])(?:.|\n)*?\*/|--[ \t][^\n]*|#[^\n]*")
_VERSIONED = re.compile(r"/\*(?:M?!)\d*|\*/")
_NAME = r"(?:`(?:[^`]|``)+`|\"(?:[^\"]|\"\")+\"|[\w$\u0080-\uffff]+)"
_QUALIFIED = rf"{_NAME}(?:\s*\.\s*{_NAME})?"
_PART = re.compile(rf"\s*({_NAME})(?:\s*\.\s*({_NAME}))?")
_TRUNCATE = re.compile(r"TRUNCATE\s+(?:TABLE\s+)?(?P<rest>.*)", re.I | re.S)
_ALTER = re.compile(
    rf"ALTER\s+(?:ONLINE\s+)?(?:OFFLINE\s+)?(?:IGNORE\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?(?P<name>{_QUALIFIED})(?P<rest>.*)",
    re.I | re.S,
)
_DROP = re.compile(r"DROP\s+TABLES?\s+(?:IF\s+EXISTS\s+)?(?P<rest>.*)", re.I | re.S)
_RENAME = re.compile(r"RENAME\s+TABLES?\s+(?:IF\s+EXISTS\s+)?(?P<rest>.*)", re.I | re.S)
_REPLACE_TABLE = re.compile(rf"CREATE\s+OR\s+REPLACE\s+TABLE\s+(?P<name>{_QUALIFIED})", re.I)
_DROP_SCHEMA = re.compile(rf"DROP\s+(?:DATABASE|SCHEMA)\s+(?:IF\s+EXISTS\s+)?(?P<name>{_NAME})", re.I)
_TEMPORARY = re.compile(r"(?:CREATE\s+(?:OR\s+REPLACE\s+)?|DROP\s+)TEMPORARY\s", re.I)
_DML = re.compile(r"(?:INSERT|UPDATE|DELETE|REPLACE|LOAD|CALL|WITH)\b", re.I)

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
    r"|PARTITION\s+BY\b|ORDER\s+BY\b|WAIT\b|NOWAIT\b|$)",
    re.I,
)


def meaning(query: Query, captured: Collection[TableName]) -> Meaning:
    """What the statement does, as far as it concerns the captured tables."""
    text = _VERSIONED.sub(" ", _COMMENT.sub(" ", query.text)).strip().rstrip(";").strip()
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
    if _DML.match(text):
        touched = tuple(t for t in captured if _mentions(text, t, query.schema))
        return Meaning(Effect.ROWS, touched) if touched else Meaning(Effect.NONE)
    return _ddl(text, query.schema, frozenset(captured))


def _ddl(text: str, schema: str, captured: frozenset[TableName]) -> Meaning:
    if found := _TRUNCATE.match(text):
        return _of(Effect.TRUNCATE, _names(found["rest"], schema, 1), captured)
    if found := _ALTER.match(text):
        if all(_HARMLESS.match(part) for part in _parts(found["rest"])):
            return Meaning(Effect.NONE)
        names = _names(found["name"], schema, 1)
        renamed = re.search(rf"\bRENAME\s+(?:TO\s+|AS\s+|=\s*)?({_QUALIFIED})\s*$", found["rest"], re.I)
        if renamed and not re.search(r"\bRENAME\s+COLUMN\b", found["rest"], re.I):
            names += _names(renamed[1], schema, 1)
        return _of(Effect.LAYOUT, names, captured)
    if found := _DROP.match(text):
        return _of(Effect.LAYOUT, _names(found["rest"], schema), captured)
    if found := _RENAME.match(text):
        return _of(Effect.LAYOUT, _names(re.sub(r"\sTO\s", ",", found["rest"], flags=re.I), schema), captured)
    if found := _REPLACE_TABLE.match(text):
        return _of(Effect.LAYOUT, _names(found["name"], schema, 1), captured)
    if found := _DROP_SCHEMA.match(text):
        gone = _plain(found["name"])
        return _of(Effect.LAYOUT, [t for t in captured if t.schema == gone], captured)
    return Meaning(Effect.NONE)


def _of(effect: Effect, names: list[TableName], captured: frozenset[TableName]) -> Meaning:
    hit = tuple(n for n in dict.fromkeys(names) if n in captured)
    return Meaning(effect, hit) if hit else Meaning(Effect.NONE)


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
    word = re.search(rf"(?<![\w$]){re.escape(table.table)}(?![\w$])", text, re.I)
    return bool(word) and (schema == table.schema or table.schema.lower() in text.lower())
