"""The vendor's driver, which is an extra of the same name as the engine's type."""

from __future__ import annotations

from importlib.util import find_spec

from whimbrel.errors import DriverMissing


def require_driver(type: str, module: str) -> None:
    """Raise DriverMissing, which names the extra, unless ``module`` can be imported; it is not imported here."""
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:  # of the package above it
        found = False
    if not found:
        raise DriverMissing(
            f"the driver of {type} is not installed",
            remedy=f"Install the extra for this engine: pip install 'whimbrel[{type}]'.",
        )
