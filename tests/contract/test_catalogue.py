"""What a target says of its tables, what it makes of a source's, and that what it claims of itself is so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pytest

from tests.contract.bench import SCHEMA, WHOLE, Bench, table
from whimbrel.connectors.protocols import Capabilities
from whimbrel.errors import IdentifierRefused, SchemaFailed, TableMissing, TypeRefused, WhimbrelError
from whimbrel.model.change import INSERT
from whimbrel.model.difference import Kind
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, ColumnType, ForeignKey, Table

Make = Callable[..., Bench]
WIDEST = 76  # digits of Arrow's decimals


def family() -> tuple[Table, Table]:
    """A parent and its child, whose ``n`` is the parent's ``id``."""
    parent = table("parent")
    key = ForeignKey("child_n", ("n",), parent.name, ("id",))
    return parent, replace(table("child"), foreign_keys=(key,))


def claims(b: Bench) -> Capabilities:
    return b.engine.capabilities


def test_tables_are_there_or_not_and_filled_or_not(bench: Make) -> None:
    b = bench(*family())
    absent = TableName(b.side.schema, "absent")
    names = [t.name for t in b.targets]
    b.put(("1", "a", None))
    assert b.target.existing([absent, *names]) == tuple(names)
    assert b.target.nonempty([*names, absent]) == (names[0],)
    assert b.target.existing([TableName("no_such_schema", "parent")]) == ()


def test_foreign_keys_do_not_stop_a_reset(bench: Make) -> None:
    b = bench(*family())
    if b.target.finisher is not None:
        b.target.finisher.keys(b.targets)
    b.put(("1", "a", None))
    b.side.change(f"insert into {b.targets[1].name.table} values (2, 'b', 1)")
    names = [t.name for t in b.targets]
    asked = [*names, TableName(b.side.schema, "absent")]
    assert b.target.reset(asked, "truncate")[1] == 0
    assert (b.target.existing(names), b.target.nonempty(names)) == (tuple(names), ())
    assert b.target.reset(asked, "drop")[1] == 0
    assert b.target.existing(names) == ()


def test_definitions_are_read_as_they_were_made(bench: Make) -> None:
    b = bench(table("t"), table("u", key=()))
    for made, found in zip(b.targets[::-1], b.target.reflect([t.name for t in b.targets[::-1]]), strict=True):
        assert found.name == made.name
        assert [(c.name, c.nullable) for c in found.columns] == [(c.name, c.nullable) for c in made.columns]
    assert b.target.differences(b.targets) == ()
    with pytest.raises(TableMissing, match="absent"):
        b.target.reflect([b.targets[0].name, TableName(b.side.schema, "absent")])


def test_a_table_made_otherwise_is_told_by_column_and_by_what_it_stops(bench: Make) -> None:
    b = bench(table("t"))
    (made,) = b.targets
    b.side.change(f"drop table {made.name.table}")
    columns = "id bigint not null primary key, n bigint, extra bigint, wanted bigint not null"
    b.side.change(f"create table {made.name.table} ({columns})")
    found = {d.column: (d.kind, d.fatal) for d in b.target.differences(b.targets)}
    assert found == {"note": (Kind.MISSING, True), "extra": (Kind.EXTRA, False), "wanted": (Kind.EXTRA, True)}


def test_scripts_may_run_twice_and_a_wrong_one_is_told(bench: Make) -> None:
    b = bench(table("t"))
    rendered = b.target.render(b.tables, b.schemas, "postgres")
    for _ in range(2):
        for statement in (*rendered.tables, *rendered.objects):
            b.target.execute_script(statement)
    with pytest.raises(SchemaFailed):
        b.target.execute_script(f"drop table {b.side.schema}.no_such_table")
    for _ in range(2):
        for statement in rendered.drops:
            b.target.execute_script(statement)
    assert b.target.existing([b.targets[0].name]) == ()


def test_two_tables_that_would_be_one_are_refused(bench: Make) -> None:
    b = bench(table("t"))
    other = replace(b.tables[0], name=TableName("elsewhere", "t"))
    with pytest.raises(IdentifierRefused, match=r"elsewhere\.t"):
        b.target.target_tables([*b.tables, other], {**b.schemas, "elsewhere": b.side.schema}, "postgres")


# --- what it claims ---------------------------------------------------------------------------------------------------


def test_names_are_as_long_as_it_says(bench: Make) -> None:
    b = bench(table("t"))
    longest = "n" * claims(b).identifier_length
    bench(table(longest)).apply_one("1|a|1")
    with pytest.raises(IdentifierRefused):
        b.target.target_tables([table(longest + "n")], b.schemas, "postgres")


def test_keys_are_enforced_where_it_says(bench: Make) -> None:
    b = bench(table("t", unique=True))
    b.put(("1", "a", None))
    for twice, primary in ((("1", "b", None), True), (("2", "a", None), False)):
        if claims(b).enforces_keys and (primary or not claims(b).one_key):
            with pytest.raises(Exception, match=r"(?i)duplicate"):
                b.put(twice)
        else:
            b.put(twice)
    assert len(b.rows()) == (3 if not claims(b).enforces_keys else 2 if claims(b).one_key else 1)
    if claims(b).one_key:
        assert any("t_note" in note for note in b.target.render(b.tables, b.schemas, "postgres").notes)


def test_foreign_keys_are_compared_with_the_rows_where_it_says(bench: Make) -> None:
    b = bench(*family())
    b.side.change(f"insert into {b.targets[1].name.table} values (1, 'nobody''s', 7)")
    if claims(b).foreign_keys == "none":
        assert all(not t.foreign_keys for t in b.targets)
        return
    assert b.target.finisher is not None
    if claims(b).foreign_keys == "compared":
        with pytest.raises(WhimbrelError, match="child_n"):
            b.target.finisher.keys(b.targets)
    else:
        b.target.finisher.keys(b.targets)


def test_decimals_are_as_wide_as_it_says(bench: Make) -> None:
    """And a wider one is refused, or kept as text with a note."""
    b = bench(table("t"))
    digits, scale = min(claims(b).decimal_digits or WIDEST, WIDEST), min(claims(b).decimal_scale or 30, 37)
    wide = Table(TableName(SCHEMA, "wide"), (Column("id", WHOLE, nullable=False), _decimal(digits, scale)), ("id",))
    w = bench(wide)
    value = f"-{'9' * (digits - scale)}.{'9' * scale}"
    w.apply(w.applier(), w.segment((INSERT, ("1", value))))
    assert w.rows() == [f"1|{value}"]
    if digits < WIDEST:
        wider = replace(wide, columns=(wide.columns[0], _decimal(digits + 1, scale)))
        try:
            made = b.target.target_tables([wider], b.schemas, "postgres")
        except TypeRefused:
            return
        assert pa.types.is_string(made[0].columns[1].type.arrow)
        assert any("wide.v" in note for note in b.target.render([wider], b.schemas, "postgres").notes)


def _decimal(digits: int, scale: int) -> Column:
    arrow = pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)
    return Column("v", ColumnType(arrow, f"numeric({digits},{scale})"))
