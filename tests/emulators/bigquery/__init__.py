"""A stand-in for BigQuery: local-bigquery, which has its REST protocol and SQL over DuckDB, with mends.

What it proves: that Google's own client, with a service account's key, and our statements, files, jobs, scripts and
the errors that come back do together what they should; that a script which ends itself leaves nothing.

What it cannot: that the real service understands each statement (a parser that somebody else wrote reads them, see
tests/dialects), its optimizer and limits, quotas, roles, and the words of its errors beyond those of its documentation.

local-bigquery alone lets through what BigQuery refuses, and fails where it does not; ``mends`` has each point.
"""
