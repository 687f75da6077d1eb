"""``whimbrel``: a thin client of the REST API, and the commands that start its processes."""
