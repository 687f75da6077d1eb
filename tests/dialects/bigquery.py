"""What we send to BigQuery, read by sqlfluff's grammar of it: at the end of a run all that the stand-in was asked.

The stand-in takes what sqlglot can translate for DuckDB, which is more than BigQuery does; sqlfluff refuses what is not
BigQuery's. It knows neither tables nor types of expressions: those only BigQuery can judge, or ZetaSQL, the parser
that Google has published of it (docs/engines/bigquery.md says when that has read them all).
"""

from __future__ import annotations

from tests.dialects.reader import Exemption, Reader
from tests.servers.databricks import PYTHON  # the environment of the stand-ins, which has sqlfluff

__all__ = ["EXEMPT", "PYTHON", "READER"]

EXEMPT: tuple[Exemption, ...] = ()
READER = Reader("bigquery", PYTHON, EXEMPT)
