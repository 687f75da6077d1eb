"""The stand-in for Oracle, by the vendor's own driver: each of these tests fails without what it is about.

Edges of types are those of the "Oracle Database SQL Language Reference", chapter "Data Types": NUMBER from 1E-130 to
9.99…E+125 with up to 40 digits, DATE from 4712 BC to 9999 with a time of day, TIMESTAMP with up to 9 digits.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tests.emulators.oracle.grammar import EXEMPT, Grammar
from tests.servers.oracle import Oracle

oracledb = pytest.importorskip("oracledb")
USER = "RULES"


@pytest.fixture(scope="module")
def stand(oracle: Oracle) -> Oracle:
    oracle.create_user(USER, "pw", "CREATE SESSION")
    return oracle


@pytest.fixture
def link(stand: Oracle) -> Iterator[Any]:
    with stand.session(USER, "pw") as connection:
        yield connection


def refused(link: Any, sql: str, *binds: Any) -> int:
    with closing(link.cursor()) as cursor, pytest.raises(oracledb.Error) as error:
        cursor.execute(sql, list(binds))
    code: int = error.value.args[0].code
    return code


def rows(link: Any, sql: str, *binds: Any) -> list[Any]:
    with closing(link.cursor()) as cursor:
        cursor.execute(sql, list(binds), fetch_lobs=False, fetch_decimals=True)
        found: list[Any] = cursor.fetchall()
        return found


def test_a_wrong_password_and_a_missing_right_keep_out(stand: Oracle) -> None:
    with pytest.raises(oracledb.DatabaseError) as error:
        stand.connect(USER, "wrong")
    assert error.value.args[0].code == 1017
    stand.create_user("NOBODY", "pw")
    with pytest.raises(oracledb.DatabaseError) as error:
        stand.connect("NOBODY", "pw")
    assert error.value.args[0].code == 1045


NUMBERS = [
    *("0", "1", "-1", "0.1", "-0.1", "99.99", "-99.99", "100", "1E-130", "1E125", "-1E125", "123456789012345678"),
    *("9" * 40, "-" + "9" * 38, "0." + "1" * 38, "1234567890.0987654321", "0.00000000000000000000000000000000000001"),
]


def test_values_come_back_as_they_were_given(stand: Oracle, link: Any) -> None:
    stand.run(
        f"""CREATE TABLE {USER}.V (ID NUMBER(10) PRIMARY KEY, N NUMBER, P NUMBER(12,2), F BINARY_FLOAT, D BINARY_DOUBLE,
        V VARCHAR2(40 CHAR), C CHAR(5), NV NVARCHAR2(20), DT DATE, TS TIMESTAMP(6), T9 TIMESTAMP(9),
        TZ TIMESTAMP(6) WITH TIME ZONE, LZ TIMESTAMP WITH LOCAL TIME ZONE, YM INTERVAL YEAR TO MONTH,
        DS INTERVAL DAY TO SECOND, R RAW(16), CL CLOB, NC NCLOB, B BLOB)"""
    )
    moment = dt.datetime(2024, 2, 29, 23, 59, 58, 123456)
    values = [
        Decimal("12345678901234567890.5"), Decimal("-12.50"), 0.1, -0.0, "héllo 🐦", "ab", "nü漢", moment, moment,
        moment, moment, moment, oracledb.IntervalYM(-1, -2),
        dt.timedelta(days=-3, hours=-4, microseconds=-5), b"\0\xff", "c" * 40_000, "n" * 5000, bytes(range(256)) * 300,
    ]  # fmt: skip
    with closing(link.cursor()) as cursor:
        kinds = [None] * 19
        kinds[3], kinds[4], kinds[7] = (
            oracledb.DB_TYPE_BINARY_FLOAT, oracledb.DB_TYPE_BINARY_DOUBLE, oracledb.DB_TYPE_NVARCHAR,
        )  # fmt: skip
        kinds[9] = kinds[10] = kinds[12] = oracledb.DB_TYPE_TIMESTAMP
        kinds[11] = oracledb.DB_TYPE_TIMESTAMP_TZ
        cursor.setinputsizes(*kinds)
        cursor.execute(f"INSERT INTO V VALUES ({', '.join(f':{n}' for n in range(1, 20))})", [1, *values])
    link.commit()
    found = rows(link, "SELECT * FROM V")[0]
    expected = [Decimal(1), *values]
    expected[3] = pytest.approx(0.1, rel=1e-7)  # four bytes
    expected[6] = "ab   "  # padded to its length
    expected[8] = moment.replace(microsecond=0)  # DATE has whole seconds
    assert list(found) == expected
    assert str(found[4]) == "-0.0"


def test_numbers_keep_all_their_digits(stand: Oracle, link: Any) -> None:
    stand.run(f"CREATE TABLE {USER}.NUMBERS (ID NUMBER(4), N NUMBER)")
    with closing(link.cursor()) as cursor:
        cursor.executemany("INSERT INTO NUMBERS VALUES (:1, :2)", [(i, Decimal(n)) for i, n in enumerate(NUMBERS)])
    assert [n for (n,) in rows(link, "SELECT N FROM NUMBERS ORDER BY ID")] == [Decimal(n) for n in NUMBERS]
    assert rows(link, "SELECT TO_CHAR(N, 'TM9') FROM NUMBERS WHERE ID IN (3, 4, 9) ORDER BY ID") == [
        (".1",), ("-.1",), ("1E+125",),
    ]  # fmt: skip


def test_an_empty_text_is_null(link: Any) -> None:
    assert rows(link, "SELECT NVL('', 'none'), 'a' || NULL, NVL(:1, 'none') FROM DUAL", "") == [("none", "a", "none")]


def test_a_date_may_lie_before_the_first_year(stand: Oracle, link: Any) -> None:
    stand.run(f"CREATE TABLE {USER}.OLD (D DATE)\n/\nINSERT INTO {USER}.OLD VALUES (DATE '0044-03-15 BC')")
    with pytest.raises(ValueError, match="year -44"):  # what the driver makes of it
        rows(link, "SELECT D FROM OLD")
    assert rows(link, "SELECT TO_CHAR(D, 'SYYYY-MM-DD') FROM OLD") == [("-0044-03-15",)]


def test_arrow_batches_have_what_rows_have(stand: Oracle, link: Any) -> None:
    stand.run(f"CREATE TABLE {USER}.BATCHES (ID NUMBER(9), K VARCHAR2(10), NV NVARCHAR2(10), C CLOB, P NUMBER(9,2))")
    given = [
        (i, None if i % 3 else "same", f"n{i // 4}", "c" * (i % 5 * 9000) or None, Decimal(i) / 4) for i in range(250)
    ]
    with closing(link.cursor()) as cursor:
        cursor.executemany("INSERT INTO BATCHES VALUES (:1, :2, :3, :4, :5)", given)
    link.commit()
    found: list[Any] = []
    for frame in link.fetch_df_batches("SELECT * FROM BATCHES ORDER BY ID", size=100, fetch_decimals=True):
        found += [tuple(row.values()) for row in pa.table(frame).to_pylist()]
    assert found == given


def test_lobs_by_locator(stand: Oracle, link: Any) -> None:
    stand.run(
        f"CREATE TABLE {USER}.LOBS (C CLOB, B BLOB)\n/\nINSERT INTO {USER}.LOBS VALUES ('héllo', HEXTORAW('00FF'))"
    )
    with closing(link.cursor()) as cursor:
        cursor.execute("SELECT C, B FROM LOBS")
        text, raw = cursor.fetchone()
        assert (text.size(), text.read(2, 3), raw.read()) == (5, "éll", b"\0\xff")


def test_an_scn_shows_the_rows_of_its_moment_to_everybody(stand: Oracle, link: Any) -> None:
    stand.run(f"CREATE TABLE {USER}.PAST (ID NUMBER(9))\n/\nINSERT INTO {USER}.PAST VALUES (1)")
    with closing(link.cursor()) as cursor:
        cursor.execute("INSERT INTO PAST VALUES (2)")  # open while the moment is taken
        scn = stand.query("SELECT CURRENT_SCN FROM V$DATABASE")[0][0]
        link.commit()
        cursor.execute("DELETE FROM PAST WHERE ID = 1")
        link.commit()
    assert rows(link, f"SELECT ID FROM PAST AS OF SCN {scn}") == [(1,)]
    with stand.session(USER, "pw") as another:
        assert rows(another, "SELECT ID FROM PAST AS OF SCN :1", scn) == [(1,)]
        assert rows(another, "SELECT ID FROM PAST") == [(2,)]
    later = stand.query("SELECT CURRENT_SCN FROM V$DATABASE")[0][0]
    assert later > scn
    stand.order(kind="expire")
    assert refused(link, f"SELECT ID FROM PAST AS OF SCN {scn}") == 1555


def test_a_moment_never_shows_half_of_what_was_committed_before(stand: Oracle) -> None:
    """Who takes an SCN while others commit sees a transaction at all of its rows or at none, and the later SCN more."""
    stand.run(f"CREATE TABLE {USER}.BUSY (ID NUMBER(9))")
    stop = threading.Event()

    def write() -> None:
        with stand.session(USER, "pw") as writer, closing(writer.cursor()) as cursor:
            while not stop.is_set():
                cursor.executemany("INSERT INTO BUSY VALUES (:1)", [(n,) for n in range(3)])
                writer.commit()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        counts = []
        with stand.session() as reader:
            for _ in range(8):
                scn = rows(reader, "SELECT CURRENT_SCN FROM V$DATABASE")[0][0]
                counts.append(int(rows(reader, f"SELECT COUNT(*) FROM {USER}.BUSY AS OF SCN {scn}")[0][0]))
    finally:
        stop.set()
        thread.join()
    assert [c % 3 for c in counts] == [0] * 8
    assert counts == sorted(counts)


def test_rows_are_found_by_ranges_of_their_rowids(stand: Oracle, link: Any) -> None:
    stand.run(f"CREATE TABLE {USER}.RANGES (ID NUMBER(9), V VARCHAR2(200))")
    with closing(link.cursor()) as cursor:
        cursor.executemany("INSERT INTO RANGES VALUES (:1, :2)", [(i, "v" * 150) for i in range(1000)])
    link.commit()
    cut = rows(link, "SELECT ROWIDTOCHAR(ROWID) FROM RANGES WHERE ID = 600")[0][0]
    where = "SELECT COUNT(*) FROM RANGES WHERE ROWID"
    assert rows(link, f"{where} < CHARTOROWID(:1)", cut) == [(600,)]
    assert rows(link, f"{where} >= CHARTOROWID(:1)", cut) == [(400,)]
    assert rows(link, "SELECT ROWID FROM RANGES WHERE ID = 600") == [(cut,)]
    assert refused(link, f"{where} < CHARTOROWID(:1)", "nonsense") == 1410


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM NOT_THERE", 942),
        ("SELECT NOT_THERE FROM REFUSALS", 904),
        ("INSERT INTO REFUSALS VALUES (1, 1)", 1),
        ("INSERT INTO REFUSALS VALUES (NULL, 1)", 1400),
        ("INSERT INTO REFUSALS VALUES (2, -1)", 2290),
        ("SELECT * FROM RULES_OTHER.HIDDEN", 942),
        ("SELECT * FROM V$DATABASE", 942),
        ("ALTER SYSTEM KILL SESSION '1,1'", 1031),
    ],
)
def test_it_refuses_with_the_vendors_numbers(stand: Oracle, link: Any, sql: str, code: int) -> None:
    if not stand.query("SELECT 1 FROM ALL_USERS WHERE USERNAME = 'RULES_OTHER'"):
        stand.create_user("RULES_OTHER", "pw")
        stand.run("CREATE TABLE RULES_OTHER.HIDDEN (ID NUMBER)")
        stand.run(
            f"CREATE TABLE {USER}.REFUSALS (ID NUMBER PRIMARY KEY, N NUMBER CHECK (N > 0))\n/\n"
            f"INSERT INTO {USER}.REFUSALS VALUES (1, 1)"
        )
    assert refused(link, sql) == code


def test_rows_of_others_need_a_grant_and_their_past_another(stand: Oracle, link: Any) -> None:
    stand.create_user("RULES_OWNER", "pw")
    stand.run("CREATE TABLE RULES_OWNER.T (ID NUMBER)")
    assert refused(link, "SELECT * FROM RULES_OWNER.T") == 942
    stand.query(f"GRANT SELECT ON RULES_OWNER.T TO {USER}")
    assert rows(link, "SELECT * FROM RULES_OWNER.T") == []
    scn = stand.query("SELECT CURRENT_SCN FROM V$DATABASE")[0][0]
    assert refused(link, f"SELECT * FROM RULES_OWNER.T AS OF SCN {scn}") == 1031
    stand.query(f"GRANT FLASHBACK ON RULES_OWNER.T TO {USER}")
    assert rows(link, f"SELECT * FROM RULES_OWNER.T AS OF SCN {scn}") == []


def test_the_catalogue_shows_what_was_declared(stand: Oracle, link: Any) -> None:
    stand.run(
        f"""CREATE TABLE {USER}.SHOWN (ID NUMBER GENERATED BY DEFAULT ON NULL AS IDENTITY, A NUMBER(*,2), B FLOAT,
        C VARCHAR2(10 BYTE) DEFAULT 'x' NOT NULL, U VARCHAR2(20) GENERATED ALWAYS AS (UPPER(C)) VIRTUAL,
        T TIMESTAMP(3) WITH LOCAL TIME ZONE, CONSTRAINT SHOWN_PK PRIMARY KEY (ID), CONSTRAINT SHOWN_A CHECK (A > 0))
/
CREATE INDEX {USER}.SHOWN_U ON {USER}.SHOWN (UPPER(C), A DESC)
/
COMMENT ON COLUMN {USER}.SHOWN.A IS 'an amount'
/
CREATE SEQUENCE {USER}.SHOWN_SEQ START WITH 7 INCREMENT BY 3"""
    )
    shown = rows(
        link,
        "SELECT COLUMN_NAME, DATA_TYPE, DATA_PRECISION, DATA_SCALE, CHAR_USED, NULLABLE, VIRTUAL_COLUMN "
        "FROM ALL_TAB_COLS WHERE TABLE_NAME = 'SHOWN' ORDER BY COLUMN_ID",
    )
    assert shown == [
        ("ID", "NUMBER", None, None, None, "N", "NO"),
        ("A", "NUMBER", None, 2, None, "Y", "NO"),
        ("B", "FLOAT", 126, None, None, "Y", "NO"),
        ("C", "VARCHAR2", None, None, "B", "N", "NO"),
        ("U", "VARCHAR2", None, None, "B", "Y", "YES"),
        ("T", "TIMESTAMP(3) WITH LOCAL TIME ZONE", None, 3, None, "Y", "NO"),
    ]
    assert rows(link, "SELECT GENERATION_TYPE FROM ALL_TAB_IDENTITY_COLS WHERE TABLE_NAME = 'SHOWN'") == [
        ("BY DEFAULT",)
    ]
    constraints = "SELECT CONSTRAINT_NAME, CONSTRAINT_TYPE, SEARCH_CONDITION_VC FROM ALL_CONSTRAINTS"
    found = rows(link, f"{constraints} WHERE TABLE_NAME = 'SHOWN' AND GENERATED = 'USER NAME' ORDER BY 1")
    assert found == [("SHOWN_A", "C", "A > 0"), ("SHOWN_PK", "P", None)]
    expressions = (
        "SELECT COLUMN_EXPRESSION FROM ALL_IND_EXPRESSIONS WHERE INDEX_NAME = 'SHOWN_U' ORDER BY COLUMN_POSITION"
    )
    assert rows(link, expressions) == [("UPPER(C)",), ('"A"',)]
    assert rows(link, "SELECT COMMENTS FROM ALL_COL_COMMENTS WHERE COLUMN_NAME = 'A' AND TABLE_NAME = 'SHOWN'") == [
        ("an amount",)
    ]
    sequence = "SELECT LAST_NUMBER, INCREMENT_BY FROM ALL_SEQUENCES WHERE SEQUENCE_NAME = 'SHOWN_SEQ'"
    assert rows(link, sequence) == [(7, 3)]


def test_ordered_errors_and_cuts_come(stand: Oracle, link: Any) -> None:
    stand.order(kind="error", code=1466, match="FROM DUAL /*here*/")
    assert refused(link, "SELECT 1 FROM DUAL /*here*/") == 1466
    assert rows(link, "SELECT 1 FROM DUAL /*here*/") == [(1,)]
    stand.order(kind="cut", match="FROM DUAL /*there*/")
    with pytest.raises(oracledb.Error, match="DPY-4011"):
        rows(link, "SELECT 1 FROM DUAL /*there*/")


# --- the grammar ------------------------------------------------------------------------------------------------------

BROKEN = [
    'MERGE INTO "T" t USNG "S" s ON (t."ID" = s."ID") WHEN MATCHED THEN UPDATE SET t."V" = s."V"',
    'SELECT "ID" FROM "T" ORDER BY "ID" LIMIT 10',
    'SELECT t."ID" FROM "T" AS t',
    'INSERT INTO "T" ("ID") VALUES (1), (2)',
    'CREATE TABLE "T" ("ID" NUMBER(19), PRIMARY KEY ("ID")',
    'SELECT "ID" FROM "T" AS OF SCN WHERE 1 = 1',
]


@pytest.mark.parametrize("sql", BROKEN)
def test_what_we_send_is_refused_where_the_grammar_refuses_it(stand: Oracle, sql: str) -> None:
    where = f"127.0.0.1:{stand.port}/STAND"
    with closing(oracledb.connect(user=USER, password="pw", dsn=where, program="whimbrel")) as ours:
        assert refused(ours, sql) == 900
        assert rows(ours, "SELECT 1 FROM DUAL") == [(1,)]


@pytest.mark.parametrize("exemption", EXEMPT, ids=lambda e: e.reason)
def test_what_is_exempt_still_needs_to_be(stand: Oracle, exemption: Any) -> None:
    settings = stand.grammar()
    grammar = Grammar(*settings)
    try:
        assert exemption.pattern.search(exemption.example)
        assert grammar.refusal(exemption.example) is not None
    finally:
        grammar.close()
