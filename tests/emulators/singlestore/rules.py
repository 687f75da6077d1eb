"""What SingleStore refuses and MySQL does not, and what MySQL must be told in other words.

Each rule has the page of the vendor's documentation that it is taken from; "unverified" marks what has none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.emulators.singlestore.sql import NAME, PATH, Key, bare, body, key, outside, path, plain, split

NOT_SUPPORTED = 1706  # "Feature '…' is not supported by SingleStore"
WRONG_SHARD_KEY = 1744  # unverified
NO_FUNCTION = 1305
WRONG_VARIABLE = 1231
TWO_DATABASES = 1706  # "LOAD DATA": no transaction writes to two; its number is unverified
MEMSQL_VERSION, LEVEL = "8.9.12", "8.0"

# "Unsupported MySQL Features"; "Durability" (FAQ) for the isolation level; Python's driver for prepared statements
_FEATURES = (
    (r"\AMERGE\b", "MERGE"),
    (r"\A(?:SAVEPOINT|RELEASE\s+SAVEPOINT|ROLLBACK\s+TO)\b", "SAVEPOINT"),
    (r"\AXA\b", "XA transactions"),
    (r"\A(?:UN)?LOCK\s+TABLES\b", "LOCK TABLES"),
    (r"\A(?:CREATE|DROP)\s+TRIGGER\b", "TRIGGER"),
    (r"\AHANDLER\b", "HANDLER"),
    (r"ISOLATION\s+LEVEL\s+(?!READ\s+COMMITTED)", "isolation levels other than READ COMMITTED"),
    (r"\b(?:GET_LOCK|RELEASE_LOCK|IS_USED_LOCK)\s*\(", "GET_LOCK"),
    (r"\b(?:FOR\s+SHARE|LOCK\s+IN\s+SHARE\s+MODE|SKIP\s+LOCKED|NOWAIT)\b", "lock modes other than FOR UPDATE"),
)
# "Functions" of the SQL reference, as far as we use them; and words before a parenthesis that are no functions
_FUNCTIONS = frozenset(
    """
    abs cast coalesce concat concat_ws connection_id conv count current_user database date_format elt exists hex if
    ifnull least left length locate lower lpad ltrim max min microsecond mod now nullif replace right round rpad
    rtrim sha2 sign substr substring substring_index sum time_to_sec trim truncate unhex upper utc_timestamp version
    atan2 aggregator_id sleep bin ceil floor time_format json_extract_string date hour minute second user year
    """.split()  # noqa: SIM905
)
_WORDS = frozenset(
    """
    in values table key and or not as on set into by when then else select from where int decimal char varchar
    binary varbinary datetime time unsigned bigint smallint tinyint mediumint float double bit enum using index
    primary unique shard sort exists join over between like interval case limit order group having union all any
    some timestamp longtext longblob numeric integer signed year text blob delete update insert ignore with to lines
    fields columns terminated escaped if div over check references constraint foreign
    """.split()  # noqa: SIM905
)
# a name before a list of columns, or one that is defined
_LISTED = re.compile(
    r"\b(?:INTO|TABLE|KEY|INDEX|EXISTS|JOIN|CONSTRAINT|REFERENCES)\s+[^\s()]+(?:\s*\.\s*[^\s()]+)?\s*\(", re.IGNORECASE
)
_DIGITS = re.compile(r"\b(?:DATETIME|TIMESTAMP|TIME)\s*\(\s*([1-57-9]|\d\d+)\s*\)", re.IGNORECASE)


@dataclass(frozen=True)
class Refusal(Exception):
    number: int
    text: str


def unsupported(what: str) -> Refusal:
    return Refusal(NOT_SUPPORTED, f"Feature '{what}' is not supported by SingleStore.")


# The table that a statement writes to
_WRITTEN = re.compile(
    rf"\s*(?:(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?(?:INTO\s+)?({PATH})|UPDATE\s+({PATH})"
    rf"|DELETE\s+(?:(?!FROM\b)(?:{NAME})\s+)?FROM\s+({PATH})|LOAD\s+DATA\b.*?\bINTO\s+TABLE\s+({PATH}))",
    re.IGNORECASE | re.DOTALL,
)
# Definitions end a transaction, but for those of a temporary table
_ENDING = re.compile(r"(?:CREATE|DROP|ALTER|TRUNCATE)\b(?!\s+(?:ROWSTORE\s+)?TEMPORARY\b)", re.IGNORECASE)


@dataclass
class Catalog:
    """The shard keys of the tables that were made through us, by database and table."""

    shards: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    programs: dict[int, str] = field(default_factory=dict)  # by connection, what it said that it is
    durable: set[str] = field(default_factory=set)  # databases that were made WITH SYNC DURABILITY


@dataclass
class Transaction:
    """What one conversation has open."""

    automatic: bool = True  # whether each statement is a transaction of its own
    begun: bool = False
    written: str | None = None  # the database

    def check(self, sql: str, database: str) -> None:
        """Raise Refusal for a second database that is written to in one transaction ("LOAD DATA")."""
        text = bare(sql).strip()
        if found := re.search(r"\bautocommit\s*=\s*(\w+)", text, re.IGNORECASE):
            self.automatic = found[1].lower() in ("1", "on", "true")
        if re.match(r"(?:START\s+TRANSACTION|BEGIN)\b", text, re.IGNORECASE):
            self.begun, self.written = True, None
        elif re.match(r"(?:COMMIT|ROLLBACK)\b", text, re.IGNORECASE) or _ENDING.match(text):
            self.begun, self.written = False, None
        written = _WRITTEN.match(sql)
        if written is None or (self.automatic and not self.begun):
            return
        place = path(next(p for p in written.groups() if p), database)[0]
        if self.written not in (None, place):
            raise Refusal(TWO_DATABASES, "Writing to multiple databases in a transaction is not supported.")
        self.written = place


def check(sql: str, database: str, catalog: Catalog) -> None:
    """Raise Refusal for what SingleStore would not do."""
    text = bare(sql).strip()
    for pattern, what in _FEATURES:
        if re.search(pattern, text, re.IGNORECASE | re.DOTALL):
            raise unsupported(what)
    if re.match(r"(?:CREATE|ALTER)\b.*?\bTABLE\b", text, re.IGNORECASE | re.DOTALL) and _DIGITS.search(text):
        raise unsupported("fractions of seconds of other than 0 or 6 digits")  # "Time and Date"
    for name in re.findall(r"\b([A-Za-z_][A-Za-z0-9_]*)\s*\(", _LISTED.sub(" ,(", text)):
        if name.lower() not in _FUNCTIONS | _WORDS:
            raise Refusal(NO_FUNCTION, f"FUNCTION {name} does not exist")
    if re.match(r"CREATE\b", text, re.IGNORECASE):
        _create(sql, database, catalog)
    elif found := re.match(rf"\s*UPDATE\s+({PATH})(?:\s+(?:AS\s+)?({NAME}))?", sql, re.IGNORECASE):
        _update(sql, path(found[1], database), found[2], catalog)


_TABLE = re.compile(
    rf"\s*CREATE\s+(?P<row>ROWSTORE\s+)?(?P<kind>REFERENCE\s+|(?:GLOBAL\s+)?TEMPORARY\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"(?P<name>{PATH})",
    re.IGNORECASE,
)


def _create(sql: str, database: str, catalog: Catalog) -> None:
    """From "Understanding Keys and Indexes in SingleStore", "Distributed SQL Surface Area"."""
    found = _TABLE.match(sql)
    if not found:
        return
    lines = list(split(body(sql)[1]))
    keys = [k for line in lines if (k := key(line))]
    for line in (line for line in lines if not key(line)):
        name = re.match(NAME, line)
        rest = bare(line[name.end() :] if name else line)
        if re.search(r"\bAUTO_INCREMENT\b", rest, re.IGNORECASE) and not re.match(r"\s*BIGINT\b", rest, re.IGNORECASE):
            raise unsupported("AUTO_INCREMENT on a column that is no BIGINT")
        if re.search(r"\bREFERENCES\b", rest, re.IGNORECASE):
            raise unsupported("FOREIGN KEY")
        for kind in ("PRIMARY", "UNIQUE"):
            if name and re.search(rf"\b{kind}\b", rest, re.IGNORECASE):
                keys.append(Key(kind, (plain(name[0]),)))
    if any(k.kind in ("FOREIGN", "CHECK") for k in keys):
        raise unsupported("FOREIGN KEY or CHECK")
    unique = [k.columns for k in keys if k.kind in ("PRIMARY", "UNIQUE")]
    primary = next((k.columns for k in keys if k.kind == "PRIMARY"), None)
    shard = next((k.columns for k in keys if k.kind == "SHARD"), primary or ())
    where = path(found["name"], database)
    if unique and not shard and any(k.kind == "SHARD" for k in keys):
        raise Refusal(WRONG_SHARD_KEY, "a table with a unique key must have a shard key of its columns")
    for columns in unique:
        if not {c.lower() for c in shard} <= {c.lower() for c in columns}:
            raise Refusal(
                WRONG_SHARD_KEY, f"the unique key ({', '.join(columns)}) must hold the shard key ({', '.join(shard)})"
            )
    if not found["row"] and len(unique) > 1 and any(len(columns) > 1 for columns in unique):
        raise unsupported(
            "multiple UNIQUE indexes with at least one index containing multiple columns on columnstore table"
        )
    catalog.shards[where] = tuple(c.lower() for c in shard)


def _update(sql: str, table: tuple[str, str], alias: str | None, catalog: Catalog) -> None:
    """From "Distributed SQL Surface Area": no UPDATE that modifies the shard key."""
    shard = catalog.shards.get(table, ())
    sets = re.split(r"\bSET\b", sql, maxsplit=1, flags=re.IGNORECASE)
    if not shard or len(sets) < 2:
        return
    for part in split(sets[1]):
        found = re.match(rf"\s*(?:({NAME})\s*\.\s*)?({NAME})\s*=", part)
        ours = found is not None and (found[1] is None or plain(found[1]) in (plain(alias or ""), table[1]))
        if found and ours and plain(found[2]).lower() in shard:
            raise unsupported("updating a SHARD KEY column")


# --- in other words ---------------------------------------------------------------------------------------------------


def rewritten(sql: str, catalog: Catalog) -> str:
    """What MySQL is told instead."""
    if made := re.match(rf"(?is)(\s*CREATE\s+DATABASE\s+(?:IF\s+NOT\s+EXISTS\s+)?({NAME}))(.*)", sql):
        if found := re.match(r"(?i)\s*WITH\s+(SYNC|ASYNC)\s+DURABILITY\b", made[3]):
            if found[1].upper() == "SYNC":
                catalog.durable.add(plain(made[2]))
            return made[1] + made[3][found.end() :]
        return sql
    if "DISTRIBUTED_DATABASES" in sql.upper():
        names = ", ".join("'" + name.replace("'", "''") + "'" for name in ("", *sorted(catalog.durable)))
        there = f"SCHEMA_NAME AS DATABASE_NAME, SCHEMA_NAME IN ({names}) AS IS_SYNC_DURABILITY"
        listed = f"(SELECT {there} FROM information_schema.SCHEMATA)"
        return re.sub(r"(?i)\binformation_schema\.DISTRIBUTED_DATABASES\b", lambda _: listed, sql)
    if "MV_CONNECTION_ATTRIBUTES" in sql.upper():
        given = catalog.programs or {0: ""}
        rows = " UNION ALL ".join(
            f"SELECT {number} AS CONNECTION_ID, {NODE} AS NODE_ID, 'program_name' AS ATTRIBUTE_NAME, "
            f"CAST(X'{name.encode().hex()}' AS CHAR CHARACTER SET utf8mb4) AS ATTRIBUTE_VALUE"
            for number, name in given.items()
        )
        return re.sub(r"(?i)\binformation_schema\.MV_CONNECTION_ATTRIBUTES\b", lambda _: f"({rows})", sql)
    if _TABLE.match(sql):
        sql = re.sub(r"(?i)\A(\s*CREATE\s+)ROWSTORE\s+", r"\1", sql)
        before, inside, behind = body(sql)
        kept = [line for line in split(inside) if (k := key(line)) is None or k.kind not in ("SHARD", "SORT")]
        inside = outside(", ".join(kept), lambda text: re.sub(r"(?i)\bJSON\s+COLLATE\s+\w+", "JSON", text))
        return f"{before}({inside}){behind}"
    killed = re.match(r"(?i)\s*KILL\s+(CONNECTION|QUERY)\s+(\d+)\s+(\d+)\s*\Z", sql)
    if killed:  # "KILL CONNECTION and KILL QUERY": a number is of a node, and we are one
        return f"KILL {killed[1]} {killed[2] if killed[3] == NODE else 0}"
    return outside(sql, _words)


NODE = "1"  # of the aggregator that we are
_PROCESSES = f"(SELECT {NODE} AS NODE_ID, q.* FROM information_schema.PROCESSLIST q)"


def _words(text: str) -> str:
    text = re.sub(r"(?i)@@memsql_version\b", f"'{MEMSQL_VERSION}'", text)
    text = re.sub(r"(?i)\bAGGREGATOR_ID\s*\(\s*\)", NODE, text)
    text = re.sub(r"(?i)@@data_conversion_compatibility_level\b", f"'{LEVEL}'", text)
    text = re.sub(r"(?i)\binformation_schema\.MV_PROCESSLIST\b", _PROCESSES, text)
    return re.sub(
        r"(?i)\bSESSION\s+lock_wait_timeout\s*=\s*(\d+)",
        r"SESSION lock_wait_timeout = \1, SESSION innodb_lock_wait_timeout = \1",
        text,
    )
