"""What must be true of a PostgreSQL server before a migration works."""
