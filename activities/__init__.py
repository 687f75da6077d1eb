"""Temporal activities: one retryable step each. They look things up, call the pipeline, heartbeat and record."""
