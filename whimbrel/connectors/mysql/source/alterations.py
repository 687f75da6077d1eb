"""What an ALTER TABLE in the binlog does to a table, as far as copies of its rows are concerned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from whimbrel.connectors.mysql.tokens import Kind, Reader, Token

Named = tuple[str | None, str]

# Engines that keep the rows they are given. BLACKHOLE, for one, does not.
_KEEPING: Final = frozenset({"INNODB", "MYISAM", "ARIA", "ROCKSDB", "TOKUDB", "NDB", "NDBCLUSTER", "MEMORY", "HEAP"})
_OPTIONS: Final = frozenset(
    {
        *("COMMENT", "AUTO_INCREMENT", "ROW_FORMAT", "KEY_BLOCK_SIZE", "AVG_ROW_LENGTH", "MAX_ROWS", "MIN_ROWS"),
        *("CHECKSUM", "TABLE_CHECKSUM", "COMPRESSION", "PAGE_COMPRESSED", "PAGE_COMPRESSION_LEVEL", "PACK_KEYS"),
        *("DELAY_KEY_WRITE", "ENCRYPTION", "ENCRYPTED", "ENCRYPTION_KEY_ID", "TABLESPACE", "PAGE_CHECKSUM", "FORCE"),
        *("STATS_PERSISTENT", "STATS_AUTO_RECALC", "STATS_SAMPLE_PAGES", "CHARSET", "COLLATE", "ALGORITHM", "LOCK"),
        *("AUTOEXTEND_SIZE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE", "SECONDARY_ENGINE"),
    }
)
_PARTITIONS: Final = ("ANALYZE", "CHECK", "OPTIMIZE", "REBUILD", "REPAIR", "REORGANIZE", "ADD", "COALESCE")


@dataclass(frozen=True)
class Alteration:
    """``harmless``: rows, columns and what identifies rows stay what they were. ``leaving``: keys and indexes that are
    dropped or renamed. ``tables``: those named beside the table itself."""

    harmless: bool
    leaving: tuple[str, ...] = ()
    tables: tuple[Named, ...] = ()


def alteration(reader: Reader) -> Alteration:
    """Everything behind the table's name, to the end. Raises NotUnderstood where a list breaks off."""
    harmless, leaving, tables = True, list[str](), list[Named]()
    for part in _parts(reader):
        one = _part(Reader(reader.text, part))
        harmless &= one.harmless and not _cascades(Reader(reader.text, part))
        leaving += one.leaving
        tables += one.tables
    return Alteration(harmless, tuple(leaving), tuple(tables))


def _parts(reader: Reader) -> list[list[Token]]:
    """What stands between the commas outside of brackets."""
    parts: list[list[Token]] = [[]]
    while not reader.ended:
        if reader.accept(","):
            parts.append([])
        elif reader.sees("("):
            start = reader.at
            reader.skip_group()
            parts[-1] += reader.found[start : reader.at]
        else:
            parts[-1].append(reader.next())
    return parts


def _part(r: Reader) -> Alteration:
    if r.accept("ADD"):
        return Alteration(_adds_key(r))
    if r.accept("DROP|RENAME", "INDEX|KEY|CONSTRAINT"):
        r.accept("IF", "EXISTS")
        return Alteration(True, leaving=(r.name(),))
    if r.accept("DROP", "FOREIGN|CHECK"):
        return Alteration(True)
    if r.accept("RENAME"):
        if r.accept("COLUMN"):
            return Alteration(False)
        if not r.accept("TO|AS"):
            r.accept("=")
        return Alteration(False, tables=(r.qualified(),))
    if r.accept("ALTER"):
        return Alteration(_sets_default(r))
    if r.accept("EXCHANGE", "PARTITION"):
        return _with_table(r, "WITH", "TABLE")
    if r.sees("CONVERT", "TABLE"):
        return _with_table(r, "CONVERT", "TABLE")
    if r.sees("CONVERT", "PARTITION"):
        return _with_table(r, "TO", "TABLE")
    return Alteration(_rest_is_harmless(r))


def _adds_key(r: Reader) -> bool:
    if r.accept("CONSTRAINT"):
        r.accept("IF", "NOT", "EXISTS")
        if not r.sees("FOREIGN|UNIQUE|CHECK|PRIMARY"):
            r.name()
        return r.sees("FOREIGN|UNIQUE|CHECK")
    return r.sees("UNIQUE|FULLTEXT|SPATIAL|VECTOR|INDEX|KEY|FOREIGN|CHECK|PARTITION")


def _sets_default(r: Reader) -> bool:
    if r.accept("INDEX|KEY|CHECK|CONSTRAINT"):
        return True
    r.accept("COLUMN")
    r.accept("IF", "EXISTS")
    r.name()
    return r.sees("SET|DROP", "DEFAULT") or r.sees("SET", "VISIBLE|INVISIBLE")


def _with_table(r: Reader, *words: str) -> Alteration:
    """A partition changes places with a table, becomes one, or a table becomes a partition."""
    while not r.accept(*words):
        r.next()
    return Alteration(False, tables=(r.qualified(),))


def _rest_is_harmless(r: Reader) -> bool:
    """Table options, one behind the other, then partitioning."""
    while not r.ended:
        if r.sees("PARTITION", "BY") or r.sees("ORDER", "BY") or r.sees("REMOVE|UPGRADE", "PARTITIONING"):
            return True
        if any(r.sees(word, "PARTITION") for word in _PARTITIONS):
            return True
        if not _option(r):
            return False
    return True


def _option(r: Reader) -> bool:
    """Step over one option; whether it is a harmless one."""
    if r.accept("ENABLE|DISABLE", "KEYS") or r.accept("WITH|WITHOUT", "VALIDATION") or r.accept("FORCE"):
        return True
    if r.accept("ENGINE|TYPE"):
        r.accept("=")
        return r.next().value.upper() in _KEEPING
    r.accept("DEFAULT")
    token = r.peek()
    if not r.accept("CHARACTER", "SET"):
        if token is None or token.kind is not Kind.WORD or token.value.upper() not in _OPTIONS:
            return False
        r.next()
    r.accept("=")
    r.next()
    return True


def _cascades(r: Reader) -> bool:
    """Whether it adds a foreign key that changes rows without a trace in the log."""
    while not r.ended:
        if r.accept("ON", "DELETE|UPDATE") and (r.sees("CASCADE") or r.sees("SET", "NULL|DEFAULT")):
            return True
        r.at += 1
    return False
