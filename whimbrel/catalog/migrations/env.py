"""Alembic's entry point. The connection comes from ``database.py``, which holds the lock and commits."""

from alembic import context

from whimbrel.catalog.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
