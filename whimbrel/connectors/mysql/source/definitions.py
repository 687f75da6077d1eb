"""SHOW CREATE TABLE read by a parser of our own: what a table is, and what of it nobody here understands.

Whatever is neither taken over nor known to be without effect on rows and keys is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from whimbrel.connectors.mysql.connection import quote_identifier
from whimbrel.connectors.mysql.source.constants import raw, spelled
from whimbrel.connectors.mysql.source.definition_columns import ColumnDefinition, column_definition
from whimbrel.connectors.mysql.tokens import Kind, NotUnderstood, Reader, Spelling
from whimbrel.errors import DefinitionRefused, IdentifierRefused
from whimbrel.model.names import TableName

# Options of a table that say how it is stored, and of an index that say how it is used, each with a value behind.
_TABLE_STORAGE: Final = "|".join(
    (
        *("ROW_FORMAT", "KEY_BLOCK_SIZE", "AVG_ROW_LENGTH", "MAX_ROWS", "MIN_ROWS", "CHECKSUM", "TABLE_CHECKSUM"),
        *("PAGE_CHECKSUM", "TRANSACTIONAL", "DELAY_KEY_WRITE", "PACK_KEYS", "INSERT_METHOD", "CONNECTION", "PASSWORD"),
        *("STATS_PERSISTENT", "STATS_AUTO_RECALC", "STATS_SAMPLE_PAGES", "COMPRESSION", "ENCRYPTION", "TABLESPACE"),
        *("AUTOEXTEND_SIZE", "SECONDARY_ENGINE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE", "STORAGE"),
        *("PAGE_COMPRESSED", "PAGE_COMPRESSION_LEVEL", "ENCRYPTED", "ENCRYPTION_KEY_ID", "IETF_QUOTES"),
    )
)
_INDEX_STORAGE: Final = "KEY_BLOCK_SIZE|ENGINE_ATTRIBUTE|SECONDARY_ENGINE_ATTRIBUTE|CLUSTERING|DISTANCE|M"
_KINDS: Final = "UNIQUE|FULLTEXT|SPATIAL|VECTOR"


@dataclass(frozen=True)
class Part:
    """``sql`` is the part as it stands in CREATE INDEX; ``column`` is None for an expression."""

    sql: str
    column: str | None
    prefix: int | None = None
    descending: bool = False
    without_overlaps: bool = False


@dataclass(frozen=True)
class IndexDefinition:
    """``kind`` is '', 'primary', 'unique', 'fulltext', 'spatial' or 'vector'; ``using`` the method that is shown."""

    name: str
    kind: str
    parts: tuple[Part, ...]
    using: str = ""
    hidden: bool = False


@dataclass(frozen=True)
class ForeignKeyDefinition:
    """``parent`` is (schema or None, table); the rules are None where the server's own default holds."""

    name: str
    columns: tuple[str, ...]
    parent: tuple[str | None, str]
    parent_columns: tuple[str, ...]
    on_delete: str | None = None
    on_update: str | None = None


@dataclass(frozen=True)
class CheckDefinition:
    name: str
    expression: str
    enforced: bool = True


@dataclass
class Definition:
    """A table as its own server shows it. ``periods`` has the two columns of each application-time period."""

    columns: list[ColumnDefinition] = field(default_factory=list)
    indexes: list[IndexDefinition] = field(default_factory=list)
    foreign_keys: list[ForeignKeyDefinition] = field(default_factory=list)
    checks: list[CheckDefinition] = field(default_factory=list)
    periods: dict[str, tuple[str, str]] = field(default_factory=dict)
    engine: str = ""
    charset: str | None = None
    collation: str | None = None
    comment: str | None = None
    next_number: int | None = None
    versioned: bool = False
    partitioned: bool = False


def definition(name: TableName, text: str, *, mariadb: bool) -> Definition:
    """``text`` is SHOW CREATE TABLE's, its bytes read as UTF-8 with ``surrogateescape``. Raises DefinitionRefused."""
    found = Definition()
    where = ""
    try:
        r = Reader.of(text, Spelling(mariadb=mariadb))
        r.expect("CREATE", "TABLE")
        r.qualified()
        r.expect("(")
        while True:
            where = _title(r)
            _item(r, found)
            if not r.accept(","):
                break
        r.expect(")")
        where = "its options"
        while not r.ended:
            _option(r, found)
    except (NotUnderstood, IdentifierRefused) as e:
        words = " ".join(raw(str(e)).decode(errors="replace").split())
        raise DefinitionRefused(
            f"table {name}{f', {where}' if where else ''}: its definition is not understood at: {words}",
            tables=[str(name)],
        ) from None
    return found


def _title(r: Reader) -> str:
    """What the next item is, for a message."""
    token = r.peek()
    if token is None or token.kind is not Kind.NAME:
        return "a key or constraint"
    return f"column {token.value}"


def _item(r: Reader, found: Definition) -> None:
    if (token := r.peek()) is not None and token.kind is Kind.NAME:
        found.columns.append(column_definition(r))
    elif r.accept("CONSTRAINT"):
        _constraint(r, found)
    elif r.accept("PERIOD", "FOR"):
        system = r.accept("SYSTEM_TIME")
        period = "" if system else r.name()
        start, end = _names(r)
        if not system:
            found.periods[period] = (start, end)
    else:
        found.indexes.append(_index(r))


def _names(r: Reader) -> tuple[str, ...]:
    r.expect("(")
    names = [r.name()]
    while r.accept(","):
        names.append(r.name())
    r.expect(")")
    return tuple(names)


# --- keys and constraints ---------------------------------------------------------------------------------------------


def _index(r: Reader) -> IndexDefinition:
    if r.accept("PRIMARY", "KEY"):
        name, kind = "PRIMARY", "primary"
    else:
        kind = r.next().value.lower() if r.sees(_KINDS) else ""
        r.expect("KEY|INDEX")
        name = r.name()
    r.expect("(")
    parts = [_part(r)]
    while r.accept(","):
        parts.append(_part(r))
    r.expect(")")
    using, hidden = "", False
    while not r.ended and not r.sees(",") and not r.sees(")"):
        if r.accept("USING"):
            using = r.name().lower()
        elif r.accept("INVISIBLE|IGNORED"):
            hidden = True
        elif r.accept("COMMENT"):
            r.value(Kind.TEXT)
        elif r.accept("WITH", "PARSER"):
            r.name()
        elif r.accept(_INDEX_STORAGE) or _quoted_option(r):
            r.accept("=")
            r.next()
        elif not r.accept("VISIBLE") and not r.accept("NOT", "IGNORED"):
            raise r.stuck()
    return IndexDefinition(name, kind, tuple(parts), using, hidden)


def _quoted_option(r: Reader) -> bool:
    """MariaDB shows attributes that belong to one engine in quotes of names."""
    token, behind = r.peek(), r.peek(1)
    if token is None or token.kind is not Kind.NAME or behind is None or behind.value != "=":
        return False
    r.next()
    return True


def _part(r: Reader) -> Part:
    if r.sees("("):
        sql, column, prefix = f"({spelled(r.group())})", None, None
    else:
        column = r.name()
        sql, prefix = quote_identifier(column), None
        if r.accept("("):
            prefix = int(r.value(Kind.NUMBER))
            r.expect(")")
            sql += f"({prefix})"
    descending = r.accept("DESC")
    r.accept("ASC")
    return Part(sql + " DESC" * descending, column, prefix, descending, r.accept("WITHOUT", "OVERLAPS"))


def _constraint(r: Reader, found: Definition) -> None:
    name = r.name()
    if r.accept("CHECK"):
        expression = spelled(r.group())
        enforced = not r.accept("NOT", "ENFORCED")
        r.accept("ENFORCED")
        found.checks.append(CheckDefinition(name, expression, enforced))
        return
    r.expect("FOREIGN", "KEY")
    columns = _names(r)
    r.expect("REFERENCES")
    parent = r.qualified()
    parent_columns = _names(r)
    rules: dict[str, str] = {}
    while r.accept("ON"):
        event = r.value(Kind.WORD).upper()
        rules[event] = _rule(r)
    found.foreign_keys.append(
        ForeignKeyDefinition(name, columns, parent, parent_columns, rules.get("DELETE"), rules.get("UPDATE"))
    )


def _rule(r: Reader) -> str:
    for words in (("CASCADE",), ("RESTRICT",), ("NO", "ACTION"), ("SET", "NULL"), ("SET", "DEFAULT")):
        if r.accept(*words):
            return " ".join(words)
    raise r.stuck()


# --- what stands behind the bracket -----------------------------------------------------------------------------------


def _option(r: Reader, found: Definition) -> None:
    if r.accept("ENGINE"):
        r.expect("=")
        found.engine = r.name()
    elif r.accept("AUTO_INCREMENT"):
        r.expect("=")
        found.next_number = int(r.value(Kind.NUMBER))
    elif r.accept("DEFAULT", "CHARSET"):
        r.expect("=")
        found.charset = r.name().lower()
    elif r.accept("COLLATE"):
        r.expect("=")
        found.collation = r.name()
    elif r.accept("COMMENT"):
        r.expect("=")
        found.comment = raw(r.value(Kind.TEXT)).decode(errors="replace") or None
    elif r.accept("WITH", "SYSTEM", "VERSIONING"):
        found.versioned = True
    elif r.accept("PARTITION", "BY"):
        found.partitioned = True
        r.at = len(r.found)  # the rest says how
    else:
        _storage(r)


def _storage(r: Reader) -> None:
    if r.accept("UNION"):
        r.expect("=")
        r.skip_group()
    elif r.accept("DATA|INDEX", "DIRECTORY") or r.accept(_TABLE_STORAGE) or _quoted_option(r):
        r.accept("=")
        r.next()
    elif not r.accept("START", "TRANSACTION"):
        raise r.stuck()
