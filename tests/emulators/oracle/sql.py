"""Oracle's statements as PostgreSQL takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlglot
from sqlglot import exp

from tests.emulators.oracle.tokens import tokens, word

# What sqlglot would read in a dialect's own way, or not at all: functions of the schema SYS have these meanings.
_OURS: Final = frozenset(
    {
        *("TO_CHAR", "TO_NUMBER", "TO_DATE", "TO_TIMESTAMP", "TO_CLOB", "SUBSTR", "INSTR", "DECODE", "NVL", "NVL2"),
        *("TRUNC", "LENGTHB", "RAWTOHEX", "HEXTORAW", "STANDARD_HASH", "SYS_CONTEXT", "USERENV", "DBTIMEZONE", "LPAD"),
        *("EMPTY_CLOB", "EMPTY_BLOB", "SYS_EXTRACT_UTC", "ROWIDTOCHAR", "CHARTOROWID", "MOD", "ORA_HASH"),
        *("TO_DSINTERVAL", "TO_YMINTERVAL", "SCN_TO_TIMESTAMP", "TIMESTAMP_TO_SCN"),
    }
)
_PLAIN: Final = frozenset({"SYSDATE", "SYSTIMESTAMP", "USER"})  # functions without brackets
_BIND: Final = re.compile(r"__b(\d+)__")


class Refused(Exception):
    """An error of Oracle's: ``code`` and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"ORA-{code:05d}: {text}")
        self.code = code


@dataclass(frozen=True)
class Translated:
    """``sql`` has ``$1`` … for binds; ``scn`` is a number or the place of a bind, where it is asked as of an SCN."""

    sql: str
    binds: int
    scn: int | str | None = None
    tables: tuple[tuple[str, str], ...] = ()


def translate(sql: str) -> Translated:
    """A query, or a change of rows."""
    parts, scn, binds = _prepared(tokens(sql))
    try:
        tree = sqlglot.parse_one(" ".join(parts), read="oracle")
    except sqlglot.errors.SqlglotError as e:
        raise Refused(900, f"invalid SQL statement: {str(e)[:200]}") from None
    tables = tuple((t.db, t.name) for t in tree.find_all(exp.Table) if t.name)
    tree = _rewritten(tree)
    return Translated(_BIND.sub(r"$\1", tree.sql("postgres")), binds, scn, tables)


def expression(parts: Sequence[str]) -> str:
    """An expression of a default, a check or a computed column."""
    prepared, _, _ = _prepared(list(parts))
    tree = _rewritten(sqlglot.parse_one("SELECT " + " ".join(prepared), read="oracle"))
    assert isinstance(tree, exp.Select)
    found: str = tree.expressions[0].sql("postgres")
    return found


def _prepared(parts: list[str]) -> tuple[list[str], int | str | None, int]:
    """Binds as names, our functions under ours, ``AS OF SCN`` taken out."""
    out: list[str] = []
    scn: int | str | None = None
    binds: list[str] = []
    writes = bool(parts) and word(parts[0]) in ("INSERT", "UPDATE", "MERGE")
    at = 0
    while at < len(parts):
        part, capital = parts[at], word(parts[at])
        following = parts[at + 1] if at + 1 < len(parts) else ""
        if capital == "AS" and word(following) == "OF":
            if word(parts[at + 2]) != "SCN":
                raise Refused(900, "the stand-in reads AS OF SCN only")
            given = parts[at + 3]
            if given.startswith(":"):
                binds.append(given)
                scn = f"b{len(binds)}"
            else:
                scn = int(given)
            at += 4
            continue
        if part.startswith(":") and len(part) > 1 and part != ":=":
            binds.append(part)
            part = f"__b{len(binds)}__"
        elif capital == "SAMPLE":
            block = word(following) == "BLOCK"
            out.append("TABLESAMPLE SYSTEM" if block else "TABLESAMPLE BERNOULLI")
            at += 2 if block else 1
            continue
        elif capital in _OURS and following == "(":
            part = f"ORA_{capital}"
        elif capital in _PLAIN and following != "." and (not out or out[-1] != "."):
            part = f"ORA_{capital}()"
        elif part.startswith("'-") and " " in part and ":" in part and out and word(out[-1]) == "INTERVAL":
            part = part.replace(" ", " -", 1)  # PostgreSQL's sign is that of the days alone
        elif writes and capital in ("TIMESTAMP", "DATE") and following.startswith("'"):
            at += 1
            continue
        out.append(part)
        at += 1
    return out, scn, len(binds)


def _rewritten(tree: Any) -> Any:
    for node in reversed(list(tree.walk())):  # what a node is made of comes before it
        new = _node(node)
        if new is not node:
            node.replace(new)
    for select in list(tree.find_all(exp.Select)):
        _without_dual(select)
        _row_number(select)
        for place, shown in enumerate(select.expressions):
            if _is_rowid(shown):
                select.expressions[place].replace(exp.alias_(_shown_rowid(shown), "ROWID", quoted=True))
    for column in list(tree.find_all(exp.Column)):
        if column.name == "ROWID":
            column.set("this", exp.to_identifier("ctid"))
    return tree


def _node(node: Any) -> Any:
    match node:
        case exp.Identifier() if not node.quoted and not _BIND.fullmatch(node.this) and node.this != "ctid":
            return exp.to_identifier(node.this.upper(), quoted=True)
        case exp.Column() if node.name in ("NEXTVAL", "CURRVAL") and node.table:
            named = ".".join(f'"{part.this}"' for part in node.parts[:-1])
            return exp.Anonymous(this=node.name, expressions=[exp.Literal.string(named)])
        case exp.Literal() if node.is_string and node.this == "":
            return exp.Null()
        case exp.DPipe():
            return exp.Anonymous(this="concat", expressions=[node.left, node.right])
        case exp.DataType() if node.this in (exp.DataType.Type.DATE, exp.DataType.Type.DATE32):
            return exp.DataType.build("TIMESTAMP(0)", dialect="postgres")
        case exp.Anonymous() if str(node.this).upper() == "ORA_DECODE":
            return _decoded(node.expressions)
        case exp.Anonymous() if str(node.this).upper() in ("ORA_NVL", "ORA_NVL2"):
            return _nvl(node.expressions)
        case exp.Anonymous() if str(node.this).upper() == "ORA_ROWIDTOCHAR" and _is_rowid(node.expressions[0]):
            return _shown_rowid(node.expressions[0])
    return node


def _is_rowid(node: Any) -> bool:
    return isinstance(node, exp.Column) and node.name == "ROWID"


def _shown_rowid(column: Any) -> Any:
    table = column.text("table")
    object_ = exp.column("tableoid", table=exp.to_identifier(table, quoted=True) if table else None)
    return exp.Anonymous(this="ora_rowidtochar", expressions=[object_, column.copy()])


def _decoded(parts: list[Any]) -> Any:
    """DECODE finds NULL equal to NULL."""
    case = exp.Case()
    for place in range(1, len(parts) - 1, 2):
        case = case.when(exp.NullSafeEQ(this=parts[0].copy(), expression=parts[place]), parts[place + 1])
    return case.else_(parts[-1]) if len(parts) % 2 == 0 else case


def _nvl(parts: list[Any]) -> Any:
    if len(parts) == 2:
        return exp.Coalesce(this=parts[0], expressions=[parts[1]])
    given = exp.Is(this=parts[0], expression=exp.Null())
    return exp.Case().when(exp.Not(this=given), parts[1]).else_(parts[2])


def _without_dual(select: exp.Select) -> None:
    for key in ("from", "from_"):
        found = select.args.get(key)
        if found is not None and found.this.name == "DUAL":
            select.set(key, None)


def _row_number(select: exp.Select) -> None:
    """``ROWNUM <= n`` among the conditions is a limit."""
    where = select.args.get("where")
    if where is None:
        return
    for condition in list(where.find_all(exp.LTE, exp.LT)):
        if isinstance(condition.this, exp.Column) and condition.this.name == "ROWNUM":
            limit = condition.expression.copy()
            less = exp.Sub(this=limit, expression=exp.Literal.number(1))
            select.limit(limit if isinstance(condition, exp.LTE) else less, copy=False)
            condition.replace(exp.true())
