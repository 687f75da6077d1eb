"""MySQL and MariaDB as a target: definitions, load, changes and what is done before and after the rows."""
