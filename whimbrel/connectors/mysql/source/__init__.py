"""MySQL and MariaDB as a source: definitions, snapshot and log."""
