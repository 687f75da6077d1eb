"""Comparing the rows of source and target, and putting right what differs."""
