"""Durations as Go writes them, which is what the contract asks for."""

from __future__ import annotations


def go_duration(seconds: float) -> str:
    """``850ms``, ``1.5s``, ``2m15s``, ``1h2m3s``; whole microseconds, ``0s`` for none."""
    micros = max(0, round(seconds * 1_000_000))
    if micros == 0:
        return "0s"
    if micros < 1_000:
        return f"{micros}µs"
    if micros < 1_000_000:
        return f"{_decimal(micros, 1_000)}ms"
    minutes, rest = divmod(micros, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 1_000_000)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    digits = str(fraction).zfill(len(str(unit)) - 1).rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
