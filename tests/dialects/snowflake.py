"""What we send to Snowflake, read by sqlfluff's grammar of it: at the end of a run all that the stand-in was asked.

The stand-in takes what sqlglot can translate for DuckDB, which is more than Snowflake does; sqlfluff refuses what is
not Snowflake's. It knows neither tables nor types of expressions: those only Snowflake can judge.
"""

from __future__ import annotations

import re

from tests.dialects.reader import Exemption, Reader
from tests.servers.snowflake import PYTHON

EXEMPT = (
    Exemption(
        re.compile(r"SHOW (PRIMARY|UNIQUE|IMPORTED) KEYS IN (TABLE|SCHEMA) "),
        'SHOW PRIMARY KEYS IN SCHEMA "suite"',
        "sqlfluff knows these without IN only; docs: SHOW PRIMARY KEYS [ IN { ACCOUNT | DATABASE | SCHEMA | TABLE } ]",
    ),
)
READER = Reader("snowflake", PYTHON, EXEMPT)
