"""The reading side of an Oracle database."""
