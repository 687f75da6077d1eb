"""Tables as Oracle's catalogue describes them, read in bulk, one owner at a time ("Database Reference", the views
ALL_…)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from whimbrel.connectors.oracle.connection import query
from whimbrel.connectors.oracle.source import expressions
from whimbrel.connectors.oracle.types import LARGE, column_type
from whimbrel.errors import SourcePermissionDenied, TableMissing
from whimbrel.model.names import TableName
from whimbrel.model.table import Check, Column, ForeignKey, Identity, Index, Table

Row = dict[str, Any]

TABLES: Final = """
SELECT TABLE_NAME, NUM_ROWS, BLOCKS, AVG_ROW_LEN, PARTITIONED, IOT_TYPE, TEMPORARY, NESTED, CLUSTER_NAME, DROPPED
FROM ALL_TABLES WHERE OWNER = :owner"""
COLUMNS: Final = """
SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, DATA_TYPE_OWNER, DATA_LENGTH, DATA_PRECISION, DATA_SCALE, NULLABLE,
  INTERNAL_COLUMN_ID, CHAR_LENGTH, CHAR_USED, HIDDEN_COLUMN, VIRTUAL_COLUMN, USER_GENERATED, DATA_DEFAULT
FROM ALL_TAB_COLS WHERE OWNER = :owner ORDER BY TABLE_NAME, INTERNAL_COLUMN_ID"""
IDENTITIES: Final = """
SELECT TABLE_NAME, COLUMN_NAME, GENERATION_TYPE, SEQUENCE_NAME FROM ALL_TAB_IDENTITY_COLS WHERE OWNER = :owner"""
SEQUENCES: Final = """
SELECT SEQUENCE_NAME, INCREMENT_BY, LAST_NUMBER, MIN_VALUE FROM ALL_SEQUENCES WHERE SEQUENCE_OWNER = :owner"""
CONSTRAINTS: Final = """
SELECT TABLE_NAME, CONSTRAINT_NAME, CONSTRAINT_TYPE, SEARCH_CONDITION_VC, R_OWNER, R_CONSTRAINT_NAME, DELETE_RULE,
  STATUS, DEFERRABLE, DEFERRED, INDEX_NAME, GENERATED
FROM ALL_CONSTRAINTS WHERE OWNER = :owner AND CONSTRAINT_TYPE IN ('P', 'U', 'R', 'C') ORDER BY CONSTRAINT_NAME"""
KEYS: Final = """
SELECT OWNER, CONSTRAINT_NAME, TABLE_NAME, COLUMN_NAME, POSITION FROM ALL_CONS_COLUMNS
WHERE OWNER = :owner AND POSITION IS NOT NULL ORDER BY CONSTRAINT_NAME, POSITION"""
INDEXES: Final = """
SELECT TABLE_NAME, OWNER, INDEX_NAME, INDEX_TYPE, UNIQUENESS FROM ALL_INDEXES
WHERE TABLE_OWNER = :owner AND INDEX_TYPE <> 'LOB' ORDER BY INDEX_NAME"""
INDEX_COLUMNS: Final = """
SELECT INDEX_OWNER, INDEX_NAME, COLUMN_NAME, COLUMN_POSITION, DESCEND FROM ALL_IND_COLUMNS
WHERE TABLE_OWNER = :owner ORDER BY INDEX_NAME, COLUMN_POSITION"""
INDEX_EXPRESSIONS: Final = """
SELECT INDEX_OWNER, INDEX_NAME, COLUMN_POSITION, COLUMN_EXPRESSION FROM ALL_IND_EXPRESSIONS
WHERE TABLE_OWNER = :owner"""
TABLE_COMMENTS: Final = (
    "SELECT TABLE_NAME, COMMENTS FROM ALL_TAB_COMMENTS WHERE OWNER = :owner AND COMMENTS IS NOT NULL"
)
COLUMN_COMMENTS: Final = """
SELECT TABLE_NAME, COLUMN_NAME, COMMENTS FROM ALL_COL_COMMENTS WHERE OWNER = :owner AND COMMENTS IS NOT NULL"""
POLICIES: Final = """
SELECT DISTINCT OBJECT_NAME FROM ALL_POLICIES WHERE OBJECT_OWNER = :owner AND SEL = 'YES' AND ENABLE = 'YES'"""
EXEMPT: Final = "SELECT PRIVILEGE FROM SESSION_PRIVS WHERE PRIVILEGE = 'EXEMPT ACCESS POLICY'"
BLOCK: Final = 8192  # bytes, of most databases; only estimates depend on it


def resolve(connection: Any, patterns: Sequence[TableName]) -> tuple[TableName, ...]:
    """Expand ``schema.*`` to its tables, without temporary, nested and dropped ones and parts of index-organized ones.

    Raises TableMissing naming all that do not exist, or that the user may not see.
    """
    found = {owner: _tables(connection, owner) for owner in sorted({p.schema for p in patterns})}
    names: dict[TableName, None] = {}
    missing: list[str] = []
    for pattern in patterns:
        there = found[pattern.schema]
        if pattern.is_pattern:
            names.update(dict.fromkeys(TableName(pattern.schema, t) for t in sorted(there)))
            missing += [] if there else [f"{pattern} (no tables)"]
        elif pattern.table in there:
            names[pattern] = None
        else:
            missing.append(str(pattern))
    if missing:
        raise _missing(missing)
    return tuple(names)


def _missing(names: Sequence[str]) -> TableMissing:
    return TableMissing(
        f"no such table, or none that the user may see: {', '.join(names[:20])}",
        remedy="Names are as the catalogue has them, in capitals unless they were quoted; else grant SELECT on them.",
        tables=list(names[:100]),
    )


def _tables(connection: Any, owner: str) -> dict[str, Row]:
    rows = query(connection, TABLES, {"owner": owner})
    return {
        r["TABLE_NAME"]: r
        for r in rows
        if (r["TEMPORARY"], r["NESTED"], r["DROPPED"]) == ("N", "NO", "NO") and r["IOT_TYPE"] in (None, "IOT")
    }


def guarded(connection: Any, names: Sequence[TableName]) -> list[str]:
    """The tables of which a policy may hide rows from the user, without an error ("Security Guide", Virtual Private
    Database): none for who is exempt from them."""
    found: list[str] = []
    for owner in dict.fromkeys(n.schema for n in names):
        hidden = {r["OBJECT_NAME"] for r in query(connection, POLICIES, {"owner": owner})}
        found += [str(n) for n in names if n.schema == owner and n.table in hidden]
    return found if found and not query(connection, EXEMPT) else []


def reflect(connection: Any, names: Sequence[TableName]) -> tuple[Table, ...]:
    """The definitions, in the order asked. Raises TableMissing, and SourcePermissionDenied for tables of which the user
    may not see all rows."""
    owners = {owner: _Owner(connection, owner) for owner in dict.fromkeys(n.schema for n in names)}
    missing = [str(n) for n in names if n.table not in owners[n.schema].tables]
    if missing:
        raise _missing(missing)
    if hidden := guarded(connection, names):
        raise SourcePermissionDenied(
            f"policies may hide rows from the user of {', '.join(hidden[:20])}",
            remedy="GRANT EXEMPT ACCESS POLICY to the user, or disable the policies while the rows are moved.",
            tables=hidden[:100],
        )
    parents = _Parents(connection, owners)
    return tuple(owners[n.schema].table(n, parents) for n in names)


class _Parents:
    """The columns of keys that foreign keys refer to, also those of other owners."""

    def __init__(self, connection: Any, owners: dict[str, _Owner]) -> None:
        self._connection, self._keys = connection, {name: owner.keys for name, owner in owners.items()}

    def key(self, owner: str, constraint: str) -> tuple[TableName, tuple[str, ...]] | None:
        if owner not in self._keys:
            self._keys[owner] = _keys(self._connection, owner)
        found = self._keys[owner].get(constraint)
        return None if not found else (TableName(owner, found[0]["TABLE_NAME"]), _columns(found))


def _keys(connection: Any, owner: str) -> dict[str, list[Row]]:
    return _grouped(query(connection, KEYS, {"owner": owner}), "CONSTRAINT_NAME")


def _columns(rows: Iterable[Row]) -> tuple[str, ...]:
    return tuple(r["COLUMN_NAME"] for r in rows)


class _Owner:
    """What the catalogue says of all tables of one owner."""

    def __init__(self, connection: Any, owner: str) -> None:
        self.owner = owner

        def rows(sql: str) -> list[Row]:
            return query(connection, sql, {"owner": owner})

        self.tables = _tables(connection, owner)
        self.columns = _grouped(rows(COLUMNS), "TABLE_NAME")
        self.sequences = {r["SEQUENCE_NAME"]: r for r in rows(SEQUENCES)}
        self.identities = {(r["TABLE_NAME"], r["COLUMN_NAME"]): r for r in rows(IDENTITIES)}
        self.constraints = _grouped(rows(CONSTRAINTS), "TABLE_NAME")
        self.keys = _keys(connection, owner)
        self.indexes = _grouped(rows(INDEXES), "TABLE_NAME")
        self.index_columns = _grouped(rows(INDEX_COLUMNS), "INDEX_OWNER", "INDEX_NAME")
        self.index_expressions = {
            (r["INDEX_OWNER"], r["INDEX_NAME"], r["COLUMN_POSITION"]): r["COLUMN_EXPRESSION"]
            for r in rows(INDEX_EXPRESSIONS)
        }
        self.table_comments = {r["TABLE_NAME"]: r["COMMENTS"] for r in rows(TABLE_COMMENTS)}
        self.column_comments = {(r["TABLE_NAME"], r["COLUMN_NAME"]): r["COMMENTS"] for r in rows(COLUMN_COMMENTS)}

    def table(self, name: TableName, parents: _Parents) -> Table:
        row, constraints = self.tables[name.table], self.constraints[name.table]
        columns = tuple(self._columns(name.table))
        primary = next((c for c in constraints if c["CONSTRAINT_TYPE"] == "P"), None)
        rows = int(row["NUM_ROWS"] or 0)
        return Table(
            name=name,
            columns=columns,
            primary_key=_columns(self.keys.get(primary["CONSTRAINT_NAME"], ())) if primary else (),
            primary_key_name=primary["CONSTRAINT_NAME"] if primary else None,
            indexes=tuple(self._indexes(name.table, constraints)),
            foreign_keys=tuple(self._foreign_keys(constraints, parents)),
            checks=tuple(_checks(constraints)),
            rows=rows,
            bytes=max(rows * int(row["AVG_ROW_LEN"] or 0), int(row["BLOCKS"] or 0) * BLOCK),
            comment=self.table_comments.get(name.table),
            lost=tuple(_lost(row, columns)),
        )

    def _columns(self, table: str) -> Iterator[Column]:
        for row in self.columns[table]:
            hidden = row["HIDDEN_COLUMN"] == "YES"
            if hidden and row["USER_GENERATED"] == "NO":
                continue  # what an index on an expression has made
            name, text = row["COLUMN_NAME"], row["DATA_DEFAULT"]
            virtual = row["VIRTUAL_COLUMN"] == "YES"
            identity = self._identity(table, name)
            shown = text is not None and not virtual and identity is None
            yield Column(
                name=name,
                type=column_type(row),
                nullable=row["NULLABLE"] == "Y",
                default=expressions.default(text) if shown else None,
                identity=identity,
                generated=expressions.expression(text) if virtual and text is not None else None,
                generated_stored=False,
                comment=self.column_comments.get((table, name)),
                invisible=hidden,
            )

    def _identity(self, table: str, column: str) -> Identity | None:
        row = self.identities.get((table, column))
        if row is None:
            return None
        sequence = self.sequences.get(row["SEQUENCE_NAME"])
        following = int(sequence["LAST_NUMBER"]) if sequence else None
        step = int(sequence["INCREMENT_BY"]) if sequence else 1
        return Identity(always=row["GENERATION_TYPE"] == "ALWAYS", increment=step, next_value=following)

    def _indexes(self, table: str, constraints: Sequence[Row]) -> Iterator[Index]:
        by_index = {c["INDEX_NAME"]: c for c in constraints if c["CONSTRAINT_TYPE"] in "PU"}
        for row in self.indexes[table]:
            constraint = by_index.get(row["INDEX_NAME"])
            if constraint is not None and constraint["CONSTRAINT_TYPE"] == "P":
                continue
            yield self._index(row, constraint)

    def _index(self, row: Row, constraint: Row | None) -> Index:
        parts = self.index_columns[row["OWNER"], row["INDEX_NAME"]]
        names, shown, plain = [], [], True
        for part in parts:
            text = self.index_expressions.get((row["OWNER"], row["INDEX_NAME"], part["COLUMN_POSITION"]))
            own = _own_column(text)
            plain = plain and (text is None or own is not None)
            names.append(own or part["COLUMN_NAME"])
            shown.append((text or f'"{part["COLUMN_NAME"]}"') + (" DESC" if part["DESCEND"] == "DESC" else ""))
        kind = "btree" if "NORMAL" in row["INDEX_TYPE"] else row["INDEX_TYPE"].lower()
        return Index(
            name=constraint["CONSTRAINT_NAME"] if constraint else row["INDEX_NAME"],
            columns=tuple(names) if plain else (),
            unique=row["UNIQUENESS"] == "UNIQUE",
            constraint=constraint is not None,
            method=kind,
            expression=None if plain else f"({', '.join(shown)})",
            descending=tuple(part["DESCEND"] == "DESC" for part in parts),
        )

    def _foreign_keys(self, constraints: Sequence[Row], parents: _Parents) -> Iterator[ForeignKey]:
        for row in constraints:
            if row["CONSTRAINT_TYPE"] != "R" or row["STATUS"] != "ENABLED":
                continue
            parent = parents.key(row["R_OWNER"], row["R_CONSTRAINT_NAME"])
            if parent is not None:
                yield ForeignKey(
                    name=row["CONSTRAINT_NAME"],
                    columns=_columns(self.keys[row["CONSTRAINT_NAME"]]),
                    parent=parent[0],
                    parent_columns=parent[1],
                    on_delete=row["DELETE_RULE"] or "NO ACTION",
                    deferrable=row["DEFERRABLE"] == "DEFERRABLE",
                    initially_deferred=row["DEFERRED"] == "DEFERRED",
                )


def _own_column(text: str | None) -> str | None:
    """The column that an expression of an index is, as where it goes downwards: ``"NAME"``."""
    if text is None or len(text) < 3 or not (text.startswith('"') and text.endswith('"')):
        return None
    return text[1:-1] if '"' not in text[1:-1] else None


def _checks(constraints: Sequence[Row]) -> Iterator[Check]:
    for row in constraints:
        text = row["SEARCH_CONDITION_VC"]
        if row["CONSTRAINT_TYPE"] == "C" and text and not expressions.says_not_null(text):
            enforced = row["STATUS"] == "ENABLED"
            yield Check(row["CONSTRAINT_NAME"], expressions.expression(text), enforced=enforced)


def _lost(row: Row, columns: Sequence[Column]) -> Iterator[str]:
    if row["PARTITIONED"] == "YES":
        yield "partitioned on the source, one plain table here"
    zoned = [c.name for c in columns if c.type.native.endswith(" WITH TIME ZONE")]
    if zoned:
        yield f"{', '.join(zoned)}: the moment is kept, in UTC; the zone that it was written with is not"
    finer = [c.name for c in columns if c.type.native.startswith(("TIMESTAMP(7", "TIMESTAMP(8", "TIMESTAMP(9"))]
    if finer:
        yield f"{', '.join(finer)}: six digits of a second; a row that has more ends the load, and its column is named"
    texts = [c.name for c in columns if c.type.native in LARGE and c.type.native not in ("BLOB", "LONG RAW")]
    if texts:
        yield f"{', '.join(texts)}: of large texts less than 1 GB each can be read"


def _grouped(rows: Iterable[Row], *keys: str) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[keys[0]] if len(keys) == 1 else tuple(row[k] for k in keys)].append(row)
    return groups
