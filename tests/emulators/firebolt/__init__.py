"""A stand-in for Firebolt, as Core and as an engine of an account: the vendor's driver talks to it, and DuckDB does the
work.

It speaks what the driver speaks: statements as POST over HTTP with their settings in the address, results as JSON,
whole or line by line, session state in headers, ``multipart/form-data`` for files that ``upload://`` names, and for
accounts the token of a service account, the address of the account's engine, and ``USE``.

**What it proves.** The driver's path (login, renewed tokens, sessions, transactions, results, errors), the order and
number of our statements, one a request, and what comes of a kill, a lost answer, a conflict or an ended transaction
between any two of them. What DuckDB takes and Firebolt's documentation does not have, it refuses: types, keys, checks,
comments, temporary tables, PRIMARY INDEX over columns that take NULL, a MERGE with two source rows for one row, NUL in
texts, days outside the years 1 to 9999, a file's column of another type than the table's, settings it does not know,
statements after a transaction has ended. DELETE without WHERE and TRUNCATE of a table with its schema say that they
have worked, and leave the rows where they are, as Firebolt Core 5.0.1 is reported to do. No statement says how many
rows it wrote.

**What it does not.** Firebolt looks for conflicts when a transaction commits, and the first to commit stays; here the
second writer of a row stays, if the first has not committed when it writes. Statements run one after the other. The
parser, the planner, limits of size and time, engines that scale, roles (a refusal comes when it is ordered), the
storage of the cloud, how it prints binary floats, and the words of its errors, of which its documentation has few.

Files: ``serve`` (HTTP and logins), ``engine`` (databases, transactions, statements), ``translate`` (Firebolt's SQL into
DuckDB's), ``answers`` (types and values as JSON), ``errors``, ``bucket`` (objects of a bucket, as S3 gives them); and
beside this folder ``faults`` and ``log``.
"""
