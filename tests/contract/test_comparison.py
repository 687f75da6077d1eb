"""What a database says of its rows for a comparison: the same numbers as every other one says of the same rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing

import pyarrow as pa
import pytest

from tests.contract.bench import KEYLESS, SHORT, WHOLE, Bench, Row, table
from whimbrel.connectors.protocols import Comparison, Scope
from whimbrel.errors import IdentifierRefused, ValidateFailed
from whimbrel.model.change import INSERT
from whimbrel.model.names import TableName
from whimbrel.model.normal import HASH_END, hash_cuts
from whimbrel.model.table import Column, ColumnType, Table

Make = Callable[..., Bench]
Opened = Callable[..., tuple[Bench, Comparison, Scope]]

PAIRED = Table(
    TableName("contract", "paired"),
    (Column("a", WHOLE, nullable=False), Column("b", WHOLE, nullable=False), Column("note", SHORT)),
    ("a", "b"),
)
PAIRS: list[Row] = [(str(n // 10), str(n % 10), f"n{n}") for n in range(1, 601)]
WORDS = Table(TableName("contract", "words"), (Column("w", SHORT, nullable=False), Column("n", WHOLE)), ("w",))
ODD = ["a", "B", "'; drop table words; --", "\\", "é", "", 'back`tick"']
FORMS = {"a": "integer", "b": "integer", "n": "integer", "id": "integer", "note": "long-text", "w": "text"}
FLAGS = Table(
    TableName("contract", "flags"),
    (Column("id", WHOLE, nullable=False), Column("n", ColumnType(pa.bool_(), "boolean"))),
    ("id",),
)
# Rows and sums as PostgreSQL 18, MariaDB and MySQL say them of the same rows: engines are asked in different processes.
SUMS: dict[str, list[tuple[int, int]]] = {
    "flags": [(3, 1421313942382531072)],
    "pairs": [(600, 348838037073426026121)],
    "words, key: False": [
        (1, 133651487338083459),
        (0, 0),
        (1, 363497239276892230),
        (1, 621755589057849067),
        (1, 794312845895993944),
        (2, 1742098727094146542),
        (1, 1036556038036787396),
    ],
    "words, key: True": [
        *((0, 0), (3, 2296036228250302464), (0, 0)),
        *((2, 1640428622053517648), (0, 0), (2, 755407076395932526), (0, 0)),
    ],
}


@pytest.fixture
def opened(bench: Make) -> Iterator[Opened]:
    """The target's table with these rows, a comparison on it, and the scope of all of it."""
    with ExitStack() as stack:

        def make(of: Table, rows: Sequence[Row], key: bool = True) -> tuple[Bench, Comparison, Scope]:
            b = bench(of)
            b.apply(b.applier(), b.segment(*((INSERT, row) for row in rows)))
            comparison = b.engine.open_comparison(b.job.target, b.job.operation, "target")
            columns = tuple((c.name, FORMS.get(c.name, "integer")) for c in of.columns)
            keys = tuple(c for c in columns if key and c[0] in of.key)
            return b, stack.enter_context(closing(comparison)), Scope(b.targets[0].name, columns, keys)

        yield make


def same_everywhere(what: str, sums: list[tuple[int, int]]) -> None:
    assert SUMS[what] == sums


def whole(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(sum(rows for rows, _ in parts), sum(total for _, total in parts))]


def test_ranges_of_a_composite_key_add_up(opened: Opened) -> None:
    _, comparison, scope = opened(PAIRED, PAIRS)
    total = comparison.checksums(scope)
    assert total[0][0] == len(PAIRS)
    cuts = comparison.cuts(scope, len(PAIRS), 8)
    assert 4 <= len(cuts) <= 8
    as_numbers = [(int(a), int(b)) for a, b in cuts]
    assert as_numbers == sorted(as_numbers)
    parts = comparison.checksums(scope, cuts)
    assert whole(parts) == total
    assert min(rows for rows, _ in parts) > len(PAIRS) // 20
    points = [None, *cuts, None]
    assert [comparison.checksums(scope.between(low, high))[0] for low, high in itertools.pairwise(points)] == parts
    same_everywhere("pairs", total)


def test_what_is_neither_true_nor_false_is_told_from_both(opened: Opened) -> None:
    b, comparison, scope = opened(FLAGS, [("1", "t"), ("2", "f"), ("3", None)])
    same_everywhere("flags", comparison.checksums(scope))
    found = comparison.images(scope, b.targets[0].columns, pa.record_batch({"k0": ["1", "2", "3"]}))
    values = {row["k0"]: row["n"] for row in found.to_pylist()}
    assert values["3"] is None
    assert None not in (values["1"], values["2"])
    assert values["1"] != values["2"]


@pytest.mark.parametrize("key", [True, False])
def test_buckets_of_the_hash_add_up(opened: Opened, key: bool) -> None:
    _, comparison, scope = opened(WORDS, [(word, str(n)) for n, word in enumerate(ODD)], key)
    cuts = hash_cuts(None, None, 7)
    assert int(cuts[-1][0]) < HASH_END
    parts = comparison.checksums(scope, cuts)
    assert len(parts) == 7
    assert whole(parts) == comparison.checksums(scope)
    assert len(comparison.hashes(scope.between(cuts[0], cuts[1]), 99)) == parts[1][0]
    same_everywhere(f"words, key: {key}", parts)


@KEYLESS
def test_equal_rows_without_a_key_are_one_hash_and_their_number(opened: Opened) -> None:
    _, comparison, scope = opened(table("t", key=()), [("1", "same", None)] * 3 + [("2", "other", "2")])
    found = comparison.hashes(scope, 99)
    assert sorted(found["rows"].to_pylist()) == [1, 3]
    again = comparison.lookup(scope, found.slice(0, 1))
    assert again.select(["hash", "rows"]).equals(found.slice(0, 1))


def test_samples_are_parts_of_one_order(opened: Opened) -> None:
    _, comparison, scope = opened(PAIRED, PAIRS)

    def keys(percent: int) -> set[tuple[str, str]]:
        batch = comparison.hashes(Scope(scope.table, scope.columns, scope.key, sample=percent), 5000)
        return set(zip(batch["k0"].to_pylist(), batch["k1"].to_pylist(), strict=True))

    assert keys(10) < keys(30) < keys(100)
    assert 0.04 < len(keys(10)) / len(PAIRS) < 0.17


def test_rows_are_found_again_whatever_their_key_holds(opened: Opened) -> None:
    b, comparison, scope = opened(WORDS, [(word, str(n)) for n, word in enumerate(ODD)])
    found = comparison.lookup(scope, pa.record_batch({"k0": [*ODD, "gone", "nul\0"]}))
    assert sorted(found["k0"].to_pylist()) == sorted(ODD)
    images = comparison.images(scope, b.targets[0].columns, pa.record_batch({"k0": [ODD[2], "gone"]}))
    assert images.to_pylist() == [{"k0": ODD[2], "w": ODD[2].encode(), "n": b"2"}]


def test_a_range_of_no_use_to_the_columns_type_finds_nothing(opened: Opened) -> None:
    _, comparison, scope = opened(PAIRED, PAIRS[:9])
    two = pa.record_batch({"k0": ["0", "99999999999999999999999"], "k1": ["2", "0"]})
    assert comparison.lookup(scope, two)["k1"].to_pylist() == ["2"]


def test_another_value_than_one_is_seen(opened: Opened) -> None:
    _, comparison, scope = opened(table("t"), [("1", "a", None), ("2", "a", None)])
    asked = [("note", "a"), ("note", "b"), ("n", None), ("id", "1")]
    assert [comparison.holds_else(scope.table, (name, FORMS[name]), value) for name, value in asked] == [
        *(False, True),
        *(False, True),
    ]


def test_missing_tables_and_columns_are_named(opened: Opened) -> None:
    _, comparison, scope = opened(table("t"), [("1", "a", None)])
    with pytest.raises(ValidateFailed, match="nowhere"):
        comparison.checksums(Scope(TableName(scope.table.schema, "nowhere"), scope.columns, scope.key))
    with pytest.raises(ValidateFailed, match="missing"):
        comparison.checksums(Scope(scope.table, (("missing", "text"),), scope.key))


@pytest.mark.differs(
    ("bigquery", "spanner"), IdentifierRefused, "no column's name may hold quotes, brackets or semicolons"
)
def test_names_are_quoted(opened: Opened) -> None:
    name = 'a"`;drop table odd;--'
    odd = Table(TableName("contract", "odd"), (Column(name, WHOLE, nullable=False),), (name,))
    _, comparison, scope = opened(odd, [("1",), ("2",)])
    assert comparison.checksums(scope)[0][0] == 2
    assert comparison.cuts(scope, 2, 2) == [("2",)]
