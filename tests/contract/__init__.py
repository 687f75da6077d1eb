"""What every target must do, tested once for all of them: a synthetic source, and the target's own client as witness.

An engine joins by its class in ``tests/engines`` and its server in ``conftest.ENGINES``. Where one does otherwise and
may, its test says so with ``differs`` and the error that is raised instead; that the difference is gone fails too.
"""
