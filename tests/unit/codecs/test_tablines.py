"""Arrow columns as lines of tab text: what comes out is what LOAD DATA reads back to the same values."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from whimbrel.codecs.tablines import COPY_TEXT, TAB_TEXT, NotWritten, lines

US, INSTANT = pa.timestamp("us"), pa.timestamp("us", tz="UTC")


def text(**columns: pa.Array) -> str:
    return bytes(lines(pa.record_batch(columns))).decode()


@pytest.mark.parametrize(
    ("type", "values", "written"),
    [
        (pa.int64(), [1, None, -(2**63)], ["1", r"\N", "-9223372036854775808"]),
        (pa.bool_(), [True, None, False], ["1", r"\N", "0"]),
        (
            pa.string(),
            ["", None, "a\tb", "c\nd", "\\N", "\r\0", "漢🐦"],
            ["", r"\N", r"a\tb", r"c\nd", r"\\N", "\r\0", "漢🐦"],
        ),
        (pa.binary(), [b"", None, b"\x00\xff\t\n"], ["", r"\N", "00ff090a"]),
        (pa.float64(), [0.1, -0.0, 5e-324, 1e300, None], ["0.1", "-0", "5e-324", "1e+300", r"\N"]),
        (pa.float32(), [0.1, 3.4028234663852886e38], ["0.10000000149011612", "3.4028234663852886e+38"]),
        (pa.date32(), [-354285, 2932896, None], ["1000-01-01", "9999-12-31", r"\N"]),
        (US, [0, -1, None], ["1970-01-01 00:00:00.000000", "1969-12-31 23:59:59.999999", r"\N"]),
        (INSTANT, [1], ["1970-01-01 00:00:00.000001"]),
        (pa.time64("us"), [0, 86_399_999_999], ["00:00:00.000000", "23:59:59.999999"]),
    ],
)
def test_each_type_has_its_text(type: pa.DataType, values: list[Any], written: list[str]) -> None:
    assert text(v=pa.array(values, type)) == "".join(f"{line}\n" for line in written)


@pytest.mark.parametrize("make", [pa.decimal128, pa.decimal256])
def test_decimals_have_no_exponents(make: Any) -> None:
    values = [Decimal("0.000000001"), Decimal("-1.5"), None, Decimal("0"), Decimal("-0.1")]
    column = pa.array(values, make(30, 9))
    assert text(v=column) == "0.000000001\n-1.500000000\n\\N\n0.000000000\n-0.100000000\n"
    assert text(v=column.slice(1, 2)) == "-1.500000000\n\\N\n"
    assert text(v=pa.array([Decimal(-7), Decimal(10) ** 20], make(30, 0))) == "-7\n100000000000000000000\n"


def test_rows_are_put_together_and_parts_of_a_batch_are_its_rows() -> None:
    batch = pa.record_batch(
        {"a": pa.array([1, 2, None]), "b": pa.array(["x", None, "z"]), "c": pa.array([b"\1", b"\2", b"\3"])}
    )
    assert bytes(lines(batch)) == b"1\tx\t01\n2\t\\N\t02\n\\N\tz\t03\n"
    assert bytes(lines(batch.slice(1))) == b"2\t\\N\t02\n\\N\tz\t03\n"
    assert bytes(lines(batch.slice(3))) == b""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_floats_that_are_no_numbers_are_refused_by_column(value: float) -> None:
    with pytest.raises(NotWritten, match="column f: a value is NaN or infinite"):
        text(a=pa.array([1]), f=pa.array([value]))


def test_all_null_is_fine_and_an_unknown_type_is_named() -> None:
    assert text(f=pa.array([None], pa.float64())) == "\\N\n"
    with pytest.raises(NotWritten, match="column d"):
        text(d=pa.array([1], pa.duration("us")))


def test_styles_of_staged_rows() -> None:
    """As docs/formats.md has the staged formats: nothing is refused there, and each loader reads what it wants."""
    batch = pa.record_batch(
        {
            "f": pa.array([float("nan"), float("-inf"), -0.0]),
            "b": pa.array([b"\x00\xff", None, b""], pa.large_binary()),
            "t": pa.array([0, None, 1], pa.timestamp("s", "UTC")),
            "n": pa.array([0, None, 1], pa.timestamp("s")),
            "s": pa.array(["a\rb\\", "", None]),
        }
    )
    start, next_ = "1970-01-01 00:00:00.000000", "1970-01-01 00:00:01.000000"
    assert bytes(lines(batch, TAB_TEXT)).decode().splitlines() == [
        f"NaN\t00FF\t{start}\t{start}\ta\\rb\\\\",
        "-Infinity\t\\N\t\\N\t\\N\t",
        f"-0\t\t{next_}\t{next_}\t\\N",
    ]
    copied = bytes(lines(batch, COPY_TEXT)).decode().splitlines()
    assert copied[0] == f"NaN\t\\\\x00FF\t{start}+00\t{start}\ta\\rb\\\\"
    assert copied[2] == f"-0\t\\\\x\t{next_}+00\t{next_}\t\\N"
