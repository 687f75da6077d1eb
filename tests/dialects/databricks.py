"""What we send to Databricks, read by sqlfluff's grammar of it: at the end of a run all that the stand-in was asked.

The stand-in takes what sqlglot can translate for DuckDB, which is more than Databricks does; sqlfluff refuses what is
not Databricks'. It knows neither tables nor types of expressions: those only Databricks can judge.
"""

from __future__ import annotations

import re

from tests.dialects.reader import Exemption, Reader
from tests.servers.databricks import PYTHON

_FILES = "sqlfluff has no statement for the files of a volume; docs: "
EXEMPT = (
    Exemption(
        re.compile(r"PUT '__input_stream__' INTO '/Volumes/[^']+' OVERWRITE\Z"),
        "PUT '__input_stream__' INTO '/Volumes/c/s/v/f.parquet' OVERWRITE",
        _FILES + "PUT 'local' INTO 'path' [ OVERWRITE ], where the client takes __input_stream__ for a stream",
    ),
    Exemption(re.compile(r"REMOVE '/Volumes/[^']+'\Z"), "REMOVE '/Volumes/c/s/v/f.parquet'", _FILES + "REMOVE 'path'"),
    Exemption(re.compile(r"LIST '/Volumes/[^']+'\Z"), "LIST '/Volumes/c/s/v/f'", _FILES + "LIST 'path'"),
    Exemption(
        re.compile(
            r"COPY INTO `[^`]+`\.`[^`]+` FROM '/Volumes/[^']+' FILEFORMAT = PARQUET FILES = \('[^']+'\) "
            r"FORMAT_OPTIONS \('datetimeRebaseMode' = 'CORRECTED'\) COPY_OPTIONS \('mergeSchema' = 'false'\)\Z"
        ),
        "COPY INTO `s`.`t` FROM '/Volumes/c/s/v/f' FILEFORMAT = PARQUET FILES = ('x.parquet') "
        "FORMAT_OPTIONS ('datetimeRebaseMode' = 'CORRECTED') COPY_OPTIONS ('mergeSchema' = 'false')",
        "sqlfluff has no COPY INTO; docs: COPY INTO t FROM source FILEFORMAT = s [ FILES = (…) ] …_OPTIONS (…)",
    ),
)
READER = Reader("databricks", PYTHON, EXEMPT)
