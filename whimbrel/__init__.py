"""Whimbrel's engine: how databases are moved. It knows neither Temporal nor HTTP."""

__version__ = "0.1.0"
