"""PostgreSQL's defaults, checks and computed columns in MySQL's words, where both mean the same beyond doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from whimbrel.connectors.mysql.connection import quote_literal
from whimbrel.model.table import Annotation, ColumnType

_LITERAL = re.compile(r"^\(*[EB]?'(?P<text>(?:[^']|'')*)'\)*(?:::[\w \"().,\[\]]+)?$", re.S)
_NUMBER = re.compile(r"^\(*(?P<number>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\)*(?:::[\w \"().,]+)?$")
_NOW = re.compile(
    r"^(?:now\(\)|CURRENT_TIMESTAMP|(?:transaction|statement|clock)_timestamp\(\)|LOCALTIMESTAMP)"
    r"(?:\(\d\))?(?:::timestamp[\w ]*)?$",
    re.I,
)
_UTC_NOW = re.compile(
    r"^\(*(?:timezone\('utc'(?:::text)?, (?:now\(\)|CURRENT_TIMESTAMP)\)"
    r"|(?:now\(\)|CURRENT_TIMESTAMP) AT TIME ZONE 'utc'(?:::text)?)\)*$",
    re.I,
)
_FAITHFUL = (
    *(exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Neg, exp.Not, exp.And, exp.Or),
    *(exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.In, exp.Between, exp.Is, exp.Coalesce),
    *(exp.Add, exp.Sub, exp.Mul, exp.Mod, exp.Tuple),
)

# Operators, and the families of columns for which they mean the same: texts are sorted by other rules in MySQL, and
# the difference of two dates is no number of days.
_FIT = (
    ((exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Mod), frozenset({"number"})),
    ((exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between), frozenset({"number", "time"})),
    ((exp.EQ, exp.NEQ, exp.In), frozenset({"number", "time", "text", "truth"})),
)
_DAY, _CLOCK = r"\d{4}-\d\d-\d\d", r"\d\d:\d\d:\d\d(?:\.\d+)?"
_SHAPES = {"date": re.compile(_DAY), "time": re.compile(_CLOCK), "datetime": re.compile(f"{_DAY} {_CLOCK}")}
_SHAPES |= dict.fromkeys(
    ("tinyint", "smallint", "int", "bigint", "decimal", "float", "double"),
    re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"),
)
_TEXT_TYPES = ("text", "varchar", "char", "bpchar")
_NUMBER_TYPES = ("decimal", "int", "bigint", "smallint", "double")


def default(text: str, native: str, *, instant: bool = False) -> str | None:
    """A PostgreSQL default for a MySQL column of type ``native``; None when it has no sure counterpart.

    ``instant``: a timestamp with time zone, which is kept as UTC; CURRENT_TIMESTAMP would be the session's own time.
    """
    expression = text.strip()
    wide = native.endswith(("text", "blob")) or native == "json"
    if expression.upper().startswith("NULL"):
        return "NULL"
    if expression.lower() in ("true", "false"):
        return "1" if expression.lower() == "true" else "0"
    if (number := _NUMBER.match(expression)) is not None:
        return f"({number['number']})" if wide else number["number"]
    if native.startswith("datetime") and (now := _now(expression, native.removeprefix("datetime"), instant=instant)):
        return now
    if expression.upper() == "CURRENT_DATE" and native == "date":
        return "(CURRENT_DATE)"
    if expression.lower() in ("gen_random_uuid()", "uuid_generate_v4()") and native in ("uuid", "char(36)"):
        return "(UUID())"
    literal = _LITERAL.match(expression)
    if literal is None or (expression.startswith("E") and "\\" in expression):
        return None
    if native == "json" and not expression.endswith(("::json", "::jsonb")):
        return "('[]')" if literal["text"] == "{}" else None  # an array
    value = literal["text"].replace("''", "'")
    return _literal_default(value.removesuffix("+00") if instant else value, native, wide=wide)


def _now(expression: str, digits: str, *, instant: bool) -> str | None:
    if _NOW.match(expression):
        return f"(UTC_TIMESTAMP{digits or '()'})" if instant else f"CURRENT_TIMESTAMP{digits}"
    if _UTC_NOW.match(expression) and not instant:
        return f"(UTC_TIMESTAMP{digits or '()'})"
    return None


def _literal_default(text: str, native: str, *, wide: bool) -> str | None:
    if native == "tinyint(1)":
        return {"t": "1", "true": "1", "f": "0", "false": "0"}.get(text)
    if native.startswith("bit"):
        return f"b'{text}'" if set(text) <= {"0", "1"} else None
    if native.startswith(("varbinary", "longblob")):
        return f"(0x{text[2:]})" if re.fullmatch(r"\\x(?:[0-9a-fA-F]{2})+", text) else None
    if (shape := _SHAPES.get(re.split(r"[( ]", native)[0])) and not shape.fullmatch(text):
        return None
    return f"({quote_literal(text)})" if wide else quote_literal(text)


def predicate(text: str, columns: Mapping[str, ColumnType]) -> str | None:
    """A PostgreSQL boolean or computed expression in MySQL's words; None unless every part means the same there.

    ``columns`` are the source's types by name: ``ends - starts`` is days between dates there, nonsense here.
    """
    try:
        tree = sqlglot.parse_one(text, read="postgres")
    except SqlglotError:
        return None
    tree = tree.transform(_without_cast).transform(_without_cast).transform(_any_to_in)
    if not all(isinstance(node, _FAITHFUL) for node in tree.walk()):
        return None
    families = {name: _family(type_) for name, type_ in columns.items()}
    if any(_misread(tree, operators, families, fit) for operators, fit in _FIT):
        return None
    for column in tree.find_all(exp.Column):
        column.this.set("quoted", True)
    return tree.sql(dialect="mysql")


def _family(column: ColumnType) -> str:
    """What a PostgreSQL column is in MySQL too, for operators; '' for what becomes a text or a document there."""
    arrow, annotation = column.arrow, column.annotation
    if annotation is Annotation.NUMERIC:
        return "number"
    plain = annotation in (Annotation.NONE, Annotation.CHAR)
    if annotation is Annotation.ENUM or (plain and pa.types.is_string(arrow)):
        return "text"
    if annotation is not Annotation.NONE:
        return ""
    if pa.types.is_boolean(arrow):
        return "truth"
    if pa.types.is_integer(arrow) or pa.types.is_floating(arrow) or pa.types.is_decimal(arrow):
        return "number"
    return "time" if pa.types.is_temporal(arrow) else ""


def _misread(
    tree: exp.Expr, operators: tuple[type[exp.Expr], ...], families: Mapping[str, str], fit: frozenset[str]
) -> bool:
    """Whether one of these operators works on a column of another family."""
    found = (c for operator in tree.find_all(*operators) for c in operator.find_all(exp.Column))
    return any(families.get(column.name) not in fit for column in found)


def _without_cast(node: exp.Expression) -> exp.Expression:
    """PostgreSQL writes ``(status)::text = 'new'::text``; casts of text to text say nothing."""
    if not isinstance(node, exp.Cast):
        return node
    inner = node.this.unnest()
    if isinstance(inner, exp.Array):
        return inner
    if node.to.is_type(*_TEXT_TYPES) and isinstance(inner, exp.Literal | exp.Column | exp.Cast):
        return inner
    if node.to.is_type(*_NUMBER_TYPES) and isinstance(inner, exp.Literal):
        return exp.Literal.number(inner.this)
    return node


def _any_to_in(node: exp.Expression) -> exp.Expression:
    """``x = ANY (ARRAY['a', 'b'])`` is ``x IN ('a', 'b')``."""
    if isinstance(node, exp.EQ) and isinstance(node.expression, exp.Any):
        array = node.expression.this.unnest()
        if isinstance(array, exp.Array) and array.expressions:
            return exp.In(this=node.this, expressions=array.expressions)
    return node
