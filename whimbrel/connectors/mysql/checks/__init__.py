"""What must be true of a MySQL and MariaDB server before a migration works."""
