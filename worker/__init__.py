"""The process that polls Temporal and runs workflows and activities."""
