"""Which numbers of a document a text would lose, and that no row with one is passed over."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whimbrel.codecs.jsonnumbers import Exact, Fate, exact_numbers, fate_of, rows_to_visit


@pytest.mark.parametrize(
    ("text", "fate"),
    [
        *((text, Fate.KEPT) for text in ("0", "-1", "18446744073709551615", "-9223372036854775808", "1.5", "-0.0")),
        *((text, Fate.KEPT) for text in ("1e5", "1.50e3", "0.30000000000000004", "1845979149704581.8", "1e-300")),
        *((text, Fate.DECIMAL) for text in ("1.50", "18446744073709551616", "-9223372036854775809", "2.00")),
        *((text, Fate.DECIMAL) for text in ("1000000000000000.0", "0.0000000000000001", "1.234567890123456789e3")),
        ("9" * 65, Fate.DECIMAL),
        ("9" * 66, Fate.LOST),
        ("0." + "0" * 29 + "1", Fate.DECIMAL),
        ("0." + "1" * 31, Fate.LOST),
        ("0." + "0" * 40 + "1", Fate.KEPT),  # a double is the same number, spelled otherwise
        ("1" + "0" * 100, Fate.KEPT),
        ("1.5e400", Fate.LOST),
        ("1e999999999999999999999", Fate.LOST),
        ("1" * 5000, Fate.LOST),
    ],
)
def test_what_becomes_of_a_number(text: str, fate: Fate) -> None:
    assert fate_of(text) is fate


def test_where_they_stand() -> None:
    document = r'{"a": [1.50, {"b\"c": 2.00}], "d": 1.10, "d": 3, "e": "4.40", "é": 12345678901234567890.5}'
    field = document.replace("\\", "\\\\").encode()
    assert exact_numbers(field) == [
        Exact(("a", 0), "1.50", Fate.DECIMAL),
        Exact(("a", 1, 'b"c'), "2.00", Fate.DECIMAL),
        Exact(("é",), "12345678901234567890.5", Fate.DECIMAL),
    ]
    assert exact_numbers(b"1.2345678901234567890e2") == [Exact((), "123.45678901234567890", Fate.DECIMAL)]
    assert exact_numbers(b"{not json 1.50") == []
    assert exact_numbers(b"[" * 100_000 + b"1.50") == []


number = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20).map(
        lambda d: f"{Decimal(d):f}"
    ),
    st.sampled_from(["1.50", "100.0", "1.0", "2.50e3", "-0.10"]),
)
string = st.text(st.sampled_from('ab1.50:,[]{} \\\t\n\r"é'), max_size=8).map(
    lambda t: json.dumps(t, ensure_ascii=False)
)
document = st.recursive(
    st.one_of(number, string, st.sampled_from(["null", "true"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda parts: "[" + ",\n".join(parts) + "]"),
        st.lists(st.tuples(string, inner), max_size=4).map(
            lambda parts: "{" + ", ".join(f"{k}:{v}" for k, v in parts) + "}"
        ),
    ),
    max_leaves=8,
)
plain = st.text("12.50: \\\t\nx", max_size=6)


def _escaped(text: str) -> bytes:
    for character, written in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, written)
    return text.encode()


@settings(max_examples=60)
@given(st.lists(st.tuples(document, plain, document), max_size=6))
def test_no_row_with_such_a_number_is_passed_over(rows: list[tuple[str, str, str]]) -> None:
    lines = [[_escaped(value) for value in row] for row in rows]
    text = b"".join(b"\t".join(line) + b"\n" for line in lines)
    visited = rows_to_visit(text, (0, 2), 3).tolist()
    assert visited == sorted(set(visited))
    for number, line in enumerate(lines):
        if any(exact_numbers(line[place]) for place in (0, 2)):
            assert number in visited, line


def test_rows_without_such_a_number_are_not_visited() -> None:
    kept = '{"id": 1234567890123456789, "lat": 52.52000812345679, "p": 1.5, "text": "1.50", "at": "10:00:00.500"}'
    assert rows_to_visit(f"1.50\t{kept}\n1.50\t{kept}\n".encode(), (1,), 2).tolist() == []
    assert rows_to_visit(f"1.50\t{kept}\n1\t1.50\n".encode(), (1,), 2).tolist() == [1]
