"""The independent reader of what we send to Databricks is alive, and its exemptions are needed.

That it understands all that a run sent is checked where the run ends: by the fixture ``fleet``.
"""

from __future__ import annotations

import pytest

from tests.conftest import NOT_HERE
from tests.dialects.databricks import EXEMPT, READER
from tests.servers.databricks import PYTHON

BROKEN = (
    "MERGE INTO `t` USNG s ON `t`.`id` = s.`id` WHEN MATCHED THEN DELETE",
    "MERGE INTO `t` USING s ON `t`.`id` = s.`id` WHEN NOT MATCHED THEN DELETE",
    "CREATE TABLE `t` (`id` BIGINT, CONSTRAINT `p` PRIMARY KEY (`id`)",
    "CREATE TABLE `t` (`id` BIGINT NOT)",
    "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
    "UPDATE `t` AS t SET `a` = s.`a` FROM `s` AS s WHERE t.`id` = s.`id`",
    "COPY INTO `s`.`t` FROM '/Volumes/c/s/v/f' FILEFORMAT = PARQUET",  # not as we write it
    "REMOVE '/tmp/x'",
)
SOUND = (
    "CREATE TABLE IF NOT EXISTS `s`.`t` (`id` BIGINT NOT NULL, `a b` STRING, `n` TIMESTAMP_NTZ, "
    "CONSTRAINT `t_pk` PRIMARY KEY (`id`)) TBLPROPERTIES ('delta.columnMapping.mode' = 'name')",
    "MERGE INTO `s`.`t` AS t USING (SELECT r.`id` AS `id`, r.`#o` AS `#o` FROM READ_FILES('/Volumes/c/s/v/f.parquet', "
    "format => 'parquet', datetimeRebaseMode => 'CORRECTED') AS r "
    "WHERE EXISTS (SELECT 1 FROM `whimbrel`.`progress` WHERE epoch = 7)) AS s "
    "ON t.`id` = s.`id` WHEN MATCHED AND s.`#o` = 'D' THEN DELETE WHEN MATCHED THEN UPDATE SET `id` = s.`id` "
    "WHEN NOT MATCHED THEN INSERT (`id`) VALUES (s.`id`)",
    "SELECT CAST(CONV(SUBSTR(SHA2(`a`, 256), 1, 15), 16, 10) AS DECIMAL(38, 0)) FROM `s`.`t`",
)


def test_broken_statements_are_refused_and_sound_ones_understood() -> None:
    if not PYTHON.exists():
        pytest.skip(f"{NOT_HERE}sqlfluff is not installed (make servers)")
    examples = [e.example for e in EXEMPT]
    said = READER.read([*BROKEN, *SOUND, *examples])
    assert [sql for sql in (*BROKEN, *examples) if said[sql] is None] == []
    assert {sql: said[sql] for sql in SOUND} == dict.fromkeys(SOUND)
    assert set(READER.refused([*BROKEN, *SOUND, *examples])) == set(BROKEN)
