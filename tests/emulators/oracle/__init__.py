"""A stand-in for Oracle Database: Oracle Net and TTC before a private PostgreSQL 18.

What it proves: the vendor's own driver (python-oracledb thin) logs in, sends our statements and binds, and decodes what
comes back by its own code, in its own wire types; rows, transactions, concurrency and errors are those of a real
server; each statement of ours is read by an independent grammar of Oracle's SQL (``grammar.py``) and refused where that
refuses it. What it cannot prove: Oracle's own SQL semantics, its optimizer, its undo, its redo and LogMiner.
"""
