"""Temporal workflows: what runs when. Deterministic, no input or output of their own."""
