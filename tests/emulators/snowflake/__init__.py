"""A private stand-in for Snowflake: ``fakesnow`` (Snowflake's SQL and HTTP protocol over DuckDB) with mends of our own.

It runs as a process in an environment of its own (``.cache/snowflake``, made by scripts/servers.sh), since it needs
other versions than we do; ``tests/servers/snowflake.py`` starts it and talks to it through the vendor's client.

What it proves: the vendor's client against its protocol, the login by password and by key pair, PUT and COPY INTO, the
order and the outcome of our statements, transactions that are cut anywhere, sessions that vanish in one, locks between
sessions, names in the case they have, duplicates in a MERGE refused, keys that are not enforced. What it does not:
Snowflake's own optimizer, its limits of size and time, its roles and warehouses, its cloud storage, the texts of its
errors, and its compiler: DuckDB knows what Snowflake's SQL means only as far as sqlglot translates it, which is why
``tests/dialects`` has all that was sent here read by an independent parser. No two names may differ in case only.
"""
