"""Pairs of servers that tests run on: some in ``make test``, the others by ``make test-pairs``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

Pair = tuple[str, str]


def named(pair: Pair) -> str:
    return "-".join(pair)


def first(some: Sequence[Pair], others: Sequence[Pair] = ()) -> list[Any]:
    """Parameters for all of these pairs; ``others`` are left to ``make test-pairs``."""
    later = [pytest.param(pair, id=named(pair), marks=pytest.mark.pairs) for pair in others]
    return [*(pytest.param(pair, id=named(pair)) for pair in some), *later]
