"""``make soak``: mixed writes and a fault every half minute, and at the end two databases that must be equal."""
