"""PostgreSQL as a source: definitions, snapshot and log."""
