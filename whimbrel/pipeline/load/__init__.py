"""The data phase: a snapshot of the source into the target, chunk by chunk."""
