"""The stand-in refuses what DuckDB alone would take."""

from __future__ import annotations

import pytest

from tests.contract.firebolt import DATABASE, errors, stand
from tests.servers.firebolt import Firebolt

__all__ = ["stand"]  # fixtures


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("CREATE TABLE x (a SMALLINT)", "unsupported data type"),
        ("CREATE TABLE x (a VARCHAR(10))", "unsupported data type"),
        ("CREATE TABLE x (a NUMERIC(39, 0))", "invalid precision"),
        ("CREATE TABLE x (a INT PRIMARY KEY)", "constraint"),
        ("CREATE TABLE x (a INT, UNIQUE (a))", "constraint|syntax"),
        ("CREATE TEMPORARY TABLE x (a INT)", "TEMPORARY"),
        ("CREATE TABLE x (a INT NULL) PRIMARY INDEX a", "takes NULL"),
        ("CREATE TABLE x (a INT NOT NULL) PRIMARY INDEX b", "no column b"),
        ("COMMENT ON TABLE m IS 'x'", "syntax error"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT * FROM nowhere", "does not exist"),
        ("INSERT INTO m VALUES (NULL)", "null mismatch"),
        ("COMMIT", "no transaction is in progress"),
        (
            "MERGE INTO m AS t USING (SELECT 1 AS a UNION ALL SELECT 1) AS s ON t.a = s.a "
            "WHEN MATCHED THEN UPDATE SET a = s.a",
            "second time",
        ),
    ],
)
def test_what_firebolt_does_not_take_is_refused(stand: Firebolt, sql: str, why: str) -> None:
    stand.run("CREATE TABLE IF NOT EXISTS m (a INT NOT NULL)", DATABASE)
    stand.run("DELETE FROM m WHERE TRUE", DATABASE)
    stand.run("INSERT INTO m VALUES (1)", DATABASE)
    with pytest.raises(errors.FireboltError, match=why):
        stand.run(sql, DATABASE)


def test_a_delete_without_a_condition_does_nothing_as_in_core(stand: Firebolt) -> None:
    stand.run("CREATE TABLE IF NOT EXISTS public.d (a INT NOT NULL)", DATABASE)
    stand.run("INSERT INTO public.d VALUES (1)", DATABASE)
    for sql in ('DELETE FROM "public"."d"', "TRUNCATE TABLE public.d"):
        stand.run(sql, DATABASE)
        assert stand.query("SELECT COUNT(*) FROM public.d", DATABASE) == [(1,)]
    stand.run('DELETE FROM "public"."d" WHERE 1 = 1', DATABASE)
    assert stand.query("SELECT COUNT(*) FROM public.d", DATABASE) == [(0,)]


def test_of_two_writers_of_one_row_one_is_undone_whatever_columns_they_write(stand: Firebolt) -> None:
    stand.run("CREATE TABLE IF NOT EXISTS public.w (id INT NOT NULL, a INT NULL, b INT NULL)", DATABASE)
    stand.run("INSERT INTO public.w VALUES (1, 0, 0), (2, 0, 0)", DATABASE)
    with stand.session(DATABASE, autocommit=False) as one, stand.session(DATABASE, autocommit=False) as other:
        one.cursor().execute("UPDATE public.w SET a = 1 WHERE id = 1")
        other.cursor().execute("UPDATE public.w SET a = 2 WHERE id = 2")  # rows of their own: no conflict
        one.commit()
        with pytest.raises(errors.FireboltError, match="conflict"):
            other.cursor().execute("UPDATE public.w SET b = 2 WHERE id = 1")
    with stand.session(DATABASE, autocommit=False) as one, stand.session(DATABASE, autocommit=False) as other:
        one.cursor().execute("UPDATE public.w SET a = 5 WHERE id = 1")
        other.cursor().execute("UPDATE public.w SET b = 6 WHERE id = 1")
        other.commit()
        with pytest.raises(errors.FireboltError, match="conflict"):
            one.commit()
    assert stand.query("SELECT * FROM public.w ORDER BY id", DATABASE) == [(1, 1, 6), (2, 0, 0)]
