"""Alembic's steps from one shape of the catalog to the next."""
