"""Measurements of the running product; raw figures are kept in ``results/``."""
