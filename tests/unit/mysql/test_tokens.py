"""The tokenizer on what servers accept, and on anything at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whimbrel.codecs.binlog import Query
from whimbrel.connectors.mysql.source.statements import meaning
from whimbrel.connectors.mysql.tokens import ANSI_QUOTES, NO_BACKSLASH_ESCAPES, NotUnderstood, Spelling, tokens
from whimbrel.model.names import TableName

MYSQL, MARIADB = Spelling(), Spelling(mariadb=True)
ANSI, PLAIN = Spelling(ansi_quotes=True), Spelling(backslashes=False)


@pytest.mark.parametrize(
    ("sql", "spelling", "values"),
    [
        ("TRUNCATE TABLE`t2`", MYSQL, ["TRUNCATE", "TABLE", "t2"]),
        ("a/**/b/* ; */c#d\n-- e\nf--g", MYSQL, ["a", "b", "c", "f", "-", "-", "g"]),
        ("/*!50100 a*/ /*!b*/ /*M! c*/ /*M!100100 d*/", MYSQL, ["a", "b"]),
        ("/*!50100 a*/ /*!b*/ /*M! c*/ /*M!100100 d*/", MARIADB, ["a", "b", "c", "d"]),
        ("/*!50100 a /* in */ 'x*/y' */ b", MYSQL, ["a", "x*/y", "b"]),
        (r"'it''s \' \\' 'a\n\0\Z\%\q'", MYSQL, ["it's ' \\", "a\n\0\x1a\\%q"]),
        (r"'a\' 'b''c'", PLAIN, ["a\\", "b'c"]),
        ('"a""b" `a``b`', MYSQL, ['a"b', "a`b"]),
        ('"a""b\\" x', ANSI, ['a"b\\', "x"]),
        ("shop.1e5 shop . t 1.5e-3 .5 1. x", MYSQL, ["shop", ".", "1e5", "shop", ".", "t", "1.5e-3", ".5", "1.", "x"]),
        ("1abc 12 0x4F x'4f' b'01' 0b1 0xZ", MYSQL, ["1abc", "12", "4F", "4f", "01", "1", "0xZ"]),
        ("a\u00a0b\u3000c d\x0b\x0ce", MYSQL, ["a\u00a0b\u3000c", "d", "e"]),
        ("a<=>b->>'$.c'", MYSQL, ["a", "<=>", "b", "->>", "$.c"]),
    ],
)
def test_tokens(sql: str, spelling: Spelling, values: list[str]) -> None:
    assert [t.value for t in tokens(sql, spelling)] == values


@pytest.mark.parametrize("sql", ["'a", "`a", "/* a", "/*!50100 a", 'x "', "x''' "])
def test_what_has_no_end_is_not_understood(sql: str) -> None:
    with pytest.raises(NotUnderstood):
        list(tokens(sql, MYSQL))


def test_long_texts_take_no_longer_than_their_length() -> None:
    for text in ("'" + "\\'" * 60_000, "`" * 99_999, "/*" * 60_000, "(" * 40_000, "-- " * 40_000, "1." * 40_000):
        try:
            for _ in tokens(text, MYSQL):
                pass
        except NotUnderstood:
            pass


_PIECES = st.sampled_from(
    [
        *("TRUNCATE", "TABLE", "ALTER", "DROP", "RENAME", "CREATE", "OR", "REPLACE", "TO", "IF", "EXISTS", "INDEX"),
        *("ADD", "COLUMN", "PARTITION", "WITH", "ENGINE", "=", "InnoDB", "SET", "STATEMENT", "FOR", "ON", "DELETE"),
        *("`", "'", '"', "``", "''", "/*", "*/", "/*!", "/*M!", "--", "-- ", "#", "\n", "\\", "(", ")", ",", ".", ";"),
        *("orders", "`orders`", "shop", "x'41'", "b'01'", "0x4", "1e5", "_utf8mb4", "\0", "é", "\u00a0", "😀", " "),
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_PIECES | st.text(max_size=3), max_size=25).map(" ".join)
    | st.lists(_PIECES, max_size=25).map("".join)
    | st.text(max_size=60),
    st.sampled_from([0, ANSI_QUOTES, NO_BACKSLASH_ESCAPES, ANSI_QUOTES | NO_BACKSLASH_ESCAPES]),
    st.booleans(),
)
def test_anything_is_read_or_not_understood(sql: str, mode: int, mariadb: bool) -> None:
    """Tokens stand one behind the other, and a meaning is found for whatever the log holds."""
    try:
        end = 0
        for token in tokens(sql, Spelling.of_mode(mode, mariadb=mariadb)):
            assert end <= token.start < token.end <= len(sql)
            end = token.end
    except NotUnderstood:
        pass
    meaning(Query("shop", sql, mode), {TableName("shop", "orders"): frozenset({"primary"})}, mariadb=mariadb)
