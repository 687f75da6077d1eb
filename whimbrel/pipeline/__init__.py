"""The engine-free movement of rows and changes. Knows the connectors' protocols, never an engine."""
