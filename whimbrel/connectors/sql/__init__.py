"""What targets share that are written to by bulk files and SQL: warehouses, above all.

An engine gives a ``Dialect`` (how things are written there), a type map, a ``Session`` (how statements run) and a
``Stage`` (how files come near to the tables); definitions, ledger, loader and applier are the same for all.
"""
