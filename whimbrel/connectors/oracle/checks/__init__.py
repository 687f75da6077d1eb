"""What must be true of an Oracle database before a migration."""
