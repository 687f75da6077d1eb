"""A stand-in for a Databricks SQL warehouse: the vendor's own client talks to it, and DuckDB does the work.

It speaks what the client speaks: TCLIService (Thrift) over HTTP, results as Arrow, PUT, REMOVE and LIST of files in a
volume by addresses that it hands out, tokens of users and of service principals.

**What it proves.** The client's path (login, sessions, statements, results, errors, uploads, its own repeating of
requests), the order and number of our statements, and what comes of a kill or a refusal between any two of them: each
statement is a transaction of its own, and is there after a kill or not at all. What DuckDB takes and Databricks does
not, it refuses: a MERGE with two source rows for one target row, types that Databricks does not have, columns with
spaces without a mapping of names, constraints it does not know, transactions of several statements (where it is told to
have them, COPY INTO inside one). COPY INTO loads each path once into a table, whatever the file is by then, and takes a
file's columns by name and only in their types. Names of schemas and tables are folded to lower case.

**What it does not.** Delta's optimistic concurrency: statements run one after the other, and a conflict only comes when
it is ordered. The parser (tests/dialects has an independent one), the optimizer, limits of size and time, the storage
of the cloud, grants (a refusal comes when it is ordered), the numbers that Photon and Spark print, and the words of
errors beyond those in Databricks' documentation.

Files: ``serve`` (HTTP), ``service`` (Thrift), ``warehouse`` (statements), ``translate`` (Databricks' SQL into
DuckDB's), ``volumes``; and beside this folder what stand-ins share: ``faults`` (what a test orders) and ``log``.
"""
