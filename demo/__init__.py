"""``make demo``: a shop database moves, stays in step while it is written to, and proves itself equal."""
