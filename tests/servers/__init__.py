"""Real servers for tests and the demo, started privately on free ports and ended by process id."""
