"""What a source's SQL means, and what each target writes for it: the same, or nothing."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pytest

from whimbrel.connectors.mysql.source import expressions as from_mysql
from whimbrel.connectors.mysql.target import expressions as to_mysql
from whimbrel.connectors.postgres.source import expressions as from_postgres
from whimbrel.connectors.postgres.target import expressions as to_postgres
from whimbrel.connectors.sql.expressions import parsed, tree_of
from whimbrel.model.default import Bits, Bytes, EmptyList, NewUuid, NextValue, Now, Today, Value
from whimbrel.model.expression import Binary, ColumnValue, Is, Not, Null, Number, Text, Truth, columns_in
from whimbrel.model.table import Annotation, ColumnType

NUMBER, WORDS, DAY = (ColumnType(arrow, "") for arrow in (pa.int32(), pa.string(), pa.date32()))
TRUTH, MOMENT, RAW = (ColumnType(arrow, "") for arrow in (pa.bool_(), pa.timestamp("us"), pa.binary()))
INSTANT = ColumnType(pa.timestamp("us", "UTC"), "")
DOCUMENT, UUID = ColumnType(pa.string(), "", Annotation.JSON), ColumnType(pa.string(), "", Annotation.UUID)
BITS, ARRAY = ColumnType(pa.string(), "", Annotation.BIT, 4), ColumnType(pa.list_(pa.string()), "", Annotation.ARRAY)
TYPES: Mapping[str, ColumnType] = {
    **{
        "a": NUMBER,
        "b": NUMBER,
        "name": WORDS,
        "born": DAY,
        "ok": TRUTH,
        "doc": DOCUMENT,
        "at": MOMENT,
        "seen": INSTANT,
    },
    'Odd "one': NUMBER,
}

# What each source shows, and what PostgreSQL and MySQL say for it; None where one of them might mean something else.
SHOWN_BY_MYSQL = (
    ("(`a` > 0)", '"a" > 0', "`a` > 0"),
    ("((`a` between 1 and 10) or (`b` in (1,2)))", '("a" BETWEEN 1 AND 10) OR ("b" IN (1, 2))',
     "(`a` BETWEEN 1 AND 10) OR (`b` IN (1, 2))"),
    ("(`name` is not null)", '"name" IS NOT NULL', "`name` IS NOT NULL"),
    ("(not (`a` = -(3)))", 'NOT ("a" = -(3))', "NOT (`a` = -(3))"),
    (r"(`name` = 'it''s b\\c')", """"name" = E'it''s b\\\\c'""", r"`name` = 'it''s b\\c'"),
    ("((`a` * 2) + `b`)", '("a" * 2) + "b"', "(`a` * 2) + `b`"),
    ("(`born` < '2020-01-01')", """"born" < '2020-01-01'""", "`born` < '2020-01-01'"),
    ("(`born` < '2020-01-01 12:00:00')", None, "`born` < '2020-01-01 12:00:00'"),  # cut to a date there
    ("(`born` > '10-01-02')", None, "`born` > '10-01-02'"),  # 2010 here, 2002 there
    ("(`at` >= '2020-01-01 12:00:00.5')", """"at" >= '2020-01-01 12:00:00.5'""", "`at` >= '2020-01-01 12:00:00.5'"),
    ("(`seen` > '2020-01-01')", None, "`seen` > '2020-01-01'"),  # in the time zone of whoever asks
    ("(`name` > 'a')", None, None),  # each server has its own order of texts
    ("(`name` between 'a' and 'b')", None, None),
    ("(`name` = 1)", None, "`name` = 1"),
    ("(`a` % 2)", None, "`a` % 2"),
    ("json_valid(`doc`)", None, "JSON_VALID(`doc`)"),
    *((sql, None, None) for sql in (
        "(`a` / 2 > 1)", "(`a` DIV 2)", "(`name` like 'a%')", "concat(`name`,'x')", "(`a` <=> `b`)", "(`a` xor `b`)",
        "(`a` = true)", "(`a` & 1)", "(`name` regexp 'x')", "(`name` collate utf8mb4_bin = 'a')",
        "(`a` + interval 1 day)", "if((`a` > 1),1,2)", "(`a` > 1) and sleep(1)",
        "not sql at (", "(`t`.`a` > 0)", "cast(`a` as char) = '1'",
        "(`a` = 0x10)", "(`a` = `gone`) and (`gone` > 1)",
    )),
)  # fmt: skip
SHOWN_BY_POSTGRES = (
    ("(a > 0)", '("a" > 0)', "(`a` > 0)"),
    ('("Odd ""one" > \'-1\'::integer)', '("Odd ""one" > -1)', '(`Odd "one` > -1)'),
    ("((name)::text <> ALL (ARRAY['a'::text]))", None, None),
    ("((name)::text = ANY ((ARRAY['a'::character varying, 'b'])::text[]))", """("name" IN ('a', 'b'))""",
     "(`name` IN ('a', 'b'))"),
    ("(name IS NOT NULL)", '("name" IS NOT NULL)', "(`name` IS NOT NULL)"),
    ("((a)::text = '1'::text)", None, None),  # not a = 1: of numeric(5,2) it is 1.00 there
    ("(ok IS NOT TRUE)", None, "(`ok` IS NOT TRUE)"),
    ("(at < seen)", None, None),  # compared in the time zone of whoever asks
    ("(COALESCE(at, at) = at)", None, "(COALESCE(`at`, `at`) = `at`)"),
    ("((name)::text = ANY (ARRAY[('a'::character varying)::text]))", """("name" IN ('a'))""", "(`name` IN ('a'))"),
    *((sql, None, None) for sql in (
        "(a <> 'NaN'::numeric)", "(a < 'Infinity'::double precision)", "(a = (1.5)::integer)",
        "(a = (1.55)::numeric(3,1))", "((name)::character(3) = 'abc'::bpchar)", "(name = (5)::text)",
        "(((name)::character varying(3))::text = 'abc'::text)", "(a = ANY ((ARRAY['1'::text])::integer[]))",
        "(COALESCE(name, SESSION_USER) IS NULL)",
    )),
    ("(COALESCE(a, b) > 0)", None, "(COALESCE(`a`, `b`) > 0)"),
    *((sql, None, None) for sql in (
        "(name ~~ 'a%'::text)", "(name ~ 'x'::text)", "(name ~~* 'A%'::text)", "((a / b) > 1)", "(a ^ 2) > 4",
        "((name || 'x') = 'yx')", "(a # b)",
        "(a IS DISTINCT FROM b)", "(name COLLATE \"C\" = 'x')", "(length(name) > 3)", "CASE WHEN ok THEN 1 ELSE 2 END",
        "((a)::numeric > 1.5)", "(born > (now() - '1 day'::interval))", "(a = ANY (SELECT 1))",
    )),
)  # fmt: skip


@pytest.mark.parametrize(("sql", "postgres", "mysql"), SHOWN_BY_MYSQL)
def test_what_mysql_shows(sql: str, postgres: str | None, mysql: str | None) -> None:
    found = from_mysql.expression(sql)
    assert (str(found), found.dialect) == (sql, "mysql")
    assert to_postgres.expression(found.tree, TYPES) == postgres
    assert to_mysql.expression(found.tree, TYPES) == mysql


@pytest.mark.parametrize(("sql", "postgres", "mysql"), SHOWN_BY_POSTGRES)
def test_what_postgres_shows(sql: str, postgres: str | None, mysql: str | None) -> None:
    found = from_postgres.expression(sql, TYPES)
    assert (str(found), found.dialect) == (sql, "postgres")
    assert to_postgres.expression(found.tree, TYPES) == postgres
    assert to_mysql.expression(found.tree, TYPES) == mysql


def test_a_part_that_is_not_read_refuses_the_whole() -> None:
    """sqlglot keeps SYMMETRIC, NOT and subqueries in parts of their own, which must not get lost."""
    for sql in ("a BETWEEN SYMMETRIC 2 AND 1", "a IN (SELECT 1)", "s.t.a = 1"):
        node = parsed(sql, "postgres")
        assert node is not None
        assert tree_of(node) is None
    node = parsed("x IS NOT NULL", "postgres")
    assert node is not None
    assert tree_of(node) == Not(Is(ColumnValue("x"), Null()))


@pytest.mark.parametrize("levels", [30, 90, 200, 2000])
def test_what_is_nested_too_deep_is_a_text_only(levels: int) -> None:
    """Another engine leaves it out, and says so; the source's own engine repeats the text."""
    sums = "(" * levels + "{0}" + "".join(f" + {n})" for n in range(levels)) + " > 0"
    ors = " or ".join(f"({{0}} = {n})" for n in range(levels))
    for form in (sums, ors):
        ours, theirs = form.format("`a`"), form.format("a")
        for found in (from_mysql.expression(ours), from_postgres.expression(theirs, TYPES)):
            assert found.text in (ours, theirs)
            assert levels == 30 or form is ors or found.tree is None
            written = (to_postgres.expression(found.tree, TYPES), to_mysql.expression(found.tree, TYPES))
            assert (found.tree is None) == (written == (None, None))


def test_a_number_is_no_check_where_truths_are_none() -> None:
    assert to_postgres.check(from_mysql.expression("`a`").tree, TYPES) is None
    assert to_postgres.check(from_mysql.expression("`a` * `b`").tree, TYPES) is None
    assert to_postgres.check(from_mysql.expression("`a` > 0").tree, TYPES) == '"a" > 0'


def test_the_columns_that_an_expression_reads() -> None:
    tree = from_postgres.expression("((a > 1) AND ((b IS NULL) OR (name = ANY (ARRAY['x'::text]))))", TYPES).tree
    assert tree is not None
    assert list(columns_in(tree)) == ["a", "b", "name"]
    assert list(columns_in(Binary("=", Number("1"), Text("a")))) == []


def test_a_truth_is_a_number_where_another_engine_computes_it() -> None:
    tree = from_mysql.expression("(`a` > `b`)").tree
    assert to_postgres.computed(tree, TYPES) == '("a" > "b")::integer'
    assert to_postgres.computed(from_mysql.expression("(`a` + `b`)").tree, TYPES) == '"a" + "b"'
    assert to_postgres.computed(None, TYPES) is None


def test_a_check_that_only_says_json_needs_to_say_it_of_a_document() -> None:
    said = from_mysql.expression("json_valid(`doc`)").tree
    assert to_postgres.only_says_json(said, TYPES)
    assert not to_postgres.only_says_json(from_mysql.expression("json_valid(`name`)").tree, TYPES)
    assert not to_postgres.only_says_json(from_mysql.expression("json_valid(`doc`) and `a` > 1").tree, TYPES)


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("NULL", Null()),
        ("-5", Number("-5")),
        ("1.50", Number("1.50")),
        ("'5'", Text("5")),
        (r"'it''s b\\c'", Text(r"it's b\c")),
        ("_latin1'x'", Text("x")),
        ("b'101'", Bits("101")),
        ("0x00ff", Bytes(b"\0\xff")),
        ("(0xabc)", Bytes(b"\x0a\xbc")),
        ("CURRENT_TIMESTAMP(3)", Now()),
        ("current_timestamp()", Now()),
        ("(utc_timestamp())", Now(utc=True)),
        ("(curdate())", Today()),
        ("(uuid())", NewUuid()),
        ("nextval(`db`.`sq`)", NextValue("`db`.`sq`")),
        ("((1 + 2))", None),
        ("(rand())", None),
        ("(current_user())", None),
    ],
)
def test_defaults_of_mysql(sql: str, value: Value | None) -> None:
    assert from_mysql.default(sql).value == value


@pytest.mark.parametrize(
    ("sql", "column", "value"),
    [
        ("NULL::text", WORDS, Null()),
        ("true", TRUTH, Truth(True)),
        ("'f'::boolean", TRUTH, Truth(False)),
        ("'-5'::integer", NUMBER, Text("-5")),
        ("(0)::numeric", NUMBER, Number("0")),
        ("'it''s'::text", WORDS, Text("it's")),
        ("'\\x00ff'::bytea", RAW, Bytes(b"\0\xff")),
        ("'abc'::bytea", RAW, None),
        ("B'101'::\"bit\"", BITS, Bits("101")),
        ("now()", INSTANT, Now()),
        ("timezone('utc'::text, now())", MOMENT, Now(utc=True)),
        ("'2000-01-01 00:00:00+00'::timestamp with time zone", INSTANT, Text("2000-01-01 00:00:00")),
        ("'2000-01-01 00:00:00+02'::timestamp with time zone", INSTANT, None),
        ("CURRENT_DATE", DAY, Today()),
        ("gen_random_uuid()", UUID, NewUuid()),
        ("'{}'::text[]", ARRAY, EmptyList()),
        ("'{a}'::text[]", ARRAY, None),
        ("nextval('\"S\".sq'::regclass)", NUMBER, NextValue('"S".sq')),
        ("('c'::text || nextval('sq'::regclass))", WORDS, None),
        ("CURRENT_USER", WORDS, None),
    ],
)
def test_defaults_of_postgres(sql: str, column: ColumnType, value: Value | None) -> None:
    assert from_postgres.default(sql, column).value == value


@pytest.mark.parametrize(
    ("value", "column", "expected"),
    [
        (Null(), WORDS, None),
        (Truth(True), TRUTH, "true"),
        (Number("1"), TRUTH, "true"),
        (Bits("101"), BITS, "B'0101'"),
        (Bytes(b"ab"), RAW, "'\\x6162'::bytea"),
        (Bytes(b"\1\0"), NUMBER, "'256'"),
        (Bytes(b"\xe9"), WORDS, None),  # a letter of some character set
        (Bytes(b"\x20\x20\1\1"), DAY, None),
        (Bits("1000001"), WORDS, None),
        (Bits("1"), TRUTH, "true"),
        (Text("x"), RAW, "'\\x78'::bytea"),
        (Text("a\0b"), WORDS, None),  # no text of PostgreSQL's
        (Text("0000-00-00"), DAY, None),
        (Now(), MOMENT, "LOCALTIMESTAMP"),
        (Now(), INSTANT, "CURRENT_TIMESTAMP"),
        (Now(utc=True), MOMENT, "(CURRENT_TIMESTAMP AT TIME ZONE 'UTC')"),
        (Now(utc=True), INSTANT, None),
        (Now(), DAY, "CURRENT_DATE"),
        (Now(), WORDS, None),
        (Today(), DAY, "CURRENT_DATE"),
        (Today(), MOMENT, None),
        (NewUuid(), UUID, "gen_random_uuid()"),
        (NewUuid(), WORDS, "gen_random_uuid()::text"),
        (NextValue("x"), NUMBER, None),
        (EmptyList(), ARRAY, None),
        (None, WORDS, None),
    ],
)
def test_defaults_on_postgres(value: Value | None, column: ColumnType, expected: str | None) -> None:
    assert to_postgres.default(value, column) == expected
