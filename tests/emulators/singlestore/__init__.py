"""A stand-in for SingleStore: its wire protocol and its refusals in front of a private MySQL.

The client is the vendor's own driver; a proxy of ours speaks MySQL's protocol to it, rewrites what only SingleStore
has, refuses what MySQL lets through and SingleStore does not, and passes all else to MySQL 9.7, packet by packet.

What that proves: the driver's path, the login, LOAD DATA LOCAL with its blocks, transactions with rows and position
in one of them, lock waits, killed sessions, how errors are classified, and that we keep to the rules that are written
in ``rules.py``: shard keys, unique keys, fractions of seconds, isolation, functions, one database a transaction.

What it cannot: that SingleStore's own parser takes our SQL, how it converts values, how it compares texts, what its
locks and its optimizer do over many partitions, or how a workspace of Helios sleeps and wakes. There is no parser of
SingleStore's SQL but its own. The numbers of the errors that it answers are those that its users have met; 1706, a
feature that is not supported, stands for all others.
"""
