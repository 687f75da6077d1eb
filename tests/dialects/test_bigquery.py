"""The independent reader of what we send to BigQuery is alive.

That it understands all that a run sent is checked where the run ends: by the fixture ``fleet``.
"""

from __future__ import annotations

import pytest

from tests.conftest import NOT_HERE
from tests.dialects.bigquery import PYTHON, READER

BROKEN = (
    "MERGE INTO `s`.`t` t USNG `s`.`u` s ON t.`id` = s.`id` WHEN MATCHED THEN DELETE",
    "CREATE TABLE `s`.`t` (`id` INT64 NOT NULL, PRIMARY KEY (`id`) NOT ENFORCED",
    "BEGIN TRANSACTION;\nUPDATE `s`.`t` SET `a` = 1 WHERE TRUE;\nIF @@row_count != 1 THEN RAISE USING MESSAGE = 'x';",
    "INSERT INTO `s`.`t` VALUES (1) ON CONFLICT DO NOTHING",
    "SELECT `a` FROM `s`.`t` WHERE",
)
SOUND = (
    "CREATE TABLE IF NOT EXISTS `s`.`t` (`id` INT64 NOT NULL, `n` NUMERIC(20,4), `j` JSON, PRIMARY KEY (`id`) NOT "
    "ENFORCED) CLUSTER BY `id`",
    "DECLARE counted INT64;\nBEGIN TRANSACTION;\nUPDATE `s`.`p` SET position = 'x' WHERE epoch = 7;\n"
    "IF @@row_count != 1 THEN RAISE USING MESSAGE = 'whimbrel:fenced'; END IF;\n"
    "SET counted = (SELECT COUNT(*) FROM `s`.`u` s);\n"
    "MERGE INTO `s`.`t` t USING `s`.`u` s ON t.`id` = s.`id` WHEN MATCHED AND s.`op` = 'D' THEN DELETE "
    "WHEN MATCHED THEN UPDATE SET `j` = PARSE_JSON(s.`j`) WHEN NOT MATCHED THEN INSERT (`id`) VALUES (s.`id`);\n"
    "COMMIT TRANSACTION;",
)


def test_broken_statements_are_refused_and_sound_ones_understood() -> None:
    if not PYTHON.exists():
        pytest.skip(f"{NOT_HERE}sqlfluff is not installed (make servers)")
    said = READER.read([*BROKEN, *SOUND])
    assert [sql for sql in BROKEN if said[sql] is None] == []
    assert {sql: said[sql] for sql in SOUND} == dict.fromkeys(SOUND)
