"""The change phase: the source's log into targets and queues."""
