"""The independent reader of what we send to Snowflake is alive, and its exemptions are needed.

That it understands all that a run sent is checked where the run ends: by the fixture ``fleet``.
"""

from __future__ import annotations

import pytest

from tests.conftest import NOT_HERE
from tests.dialects.reader import shape
from tests.dialects.snowflake import EXEMPT, READER
from tests.servers.snowflake import PYTHON

BROKEN = (
    'MERGE INTO "t" USNG s ON "t"."id" = s."id" WHEN MATCHED THEN DELETE',
    'MERGE INTO "t" USING s ON "t"."id" = s."id" WHEN NOT MATCHED BY SOURCE THEN DELETE',
    "COPY INTO t FROM @files/x FILE_FORMAT = (TYPE = PARQUET USE_LOGICALTYPE = TRUE)",
    'CREATE TABLE "t" ("id" NUMBER(38,0), PRIMARY KEY ("id")',
    'CREATE TABLE "t" ("id" NUMBER(38,0), "b" LONGBLOB)',
    "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
)
SOUND = (
    'CREATE TABLE "s"."t" ("id" NUMBER(38,0) NOT NULL, "j" VARIANT, "at" TIMESTAMP_TZ(6), PRIMARY KEY ("id"))',
    'MERGE INTO "s"."t" AS t USING (SELECT * FROM stage_0) AS s ON t."id" = s."id" WHEN MATCHED AND s.op = 3 THEN '
    'DELETE WHEN MATCHED THEN UPDATE SET "j" = s."j" WHEN NOT MATCHED THEN INSERT ("id") VALUES (s."id")',
    "COPY INTO t FROM @files/x FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = "
    "CASE_SENSITIVE ON_ERROR = ABORT_STATEMENT",
)


def test_broken_statements_are_refused_and_sound_ones_understood() -> None:
    if not PYTHON.exists():
        pytest.skip(f"{NOT_HERE}sqlfluff is not installed (make servers)")
    said = READER.read([*BROKEN, *SOUND, *(e.example for e in EXEMPT)])
    assert [sql for sql in (*BROKEN, *(e.example for e in EXEMPT)) if said[sql] is None] == []
    assert {sql: said[sql] for sql in SOUND} == dict.fromkeys(SOUND)
    assert set(READER.refused([*BROKEN, *SOUND, *(e.example for e in EXEMPT)])) == set(BROKEN)


def test_statements_that_differ_in_values_only_are_read_once() -> None:
    one = "SELECT a1 FROM t WHERE b IN ('x', 'it''s', 'y') AND n IN (1, 2.5) AND f = '\\''"
    assert shape(one) == shape("SELECT a1 FROM t  WHERE b IN ('z') AND n IN (77) AND f = ''")
    assert shape(one) != shape(one.replace("a1", "a2"))
