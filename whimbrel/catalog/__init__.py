"""What must survive: endpoints (secrets encrypted), migrations, operations, progress."""
