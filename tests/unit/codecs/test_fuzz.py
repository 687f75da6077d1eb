"""Any bytes are a value or an error of ours for every codec: never another error, never a loop without end."""

from __future__ import annotations

import pkgutil
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import whimbrel.codecs
from tests.unit.codecs.fuzzed import FUZZED, WITHOUT_BYTES, mutated, survives


def test_every_codec_is_in_the_list() -> None:
    modules = {m.name for m in pkgutil.iter_modules(whimbrel.codecs.__path__)}
    led_through = {name for codec in FUZZED.values() for name in codec.modules}
    assert modules == led_through | WITHOUT_BYTES
    assert not led_through & WITHOUT_BYTES


@pytest.mark.parametrize("name", FUZZED)
def test_samples_are_read(name: str) -> None:
    """Or their mutations would all end at the first byte."""
    for sample in FUZZED[name].samples:
        FUZZED[name].read(sample)


@pytest.mark.parametrize("name", FUZZED)
@pytest.mark.parametrize("each", [100, pytest.param(20_000, marks=pytest.mark.long)])
def test_mutated_samples(name: str, each: int) -> None:
    for seed in range(each):
        chance = random.Random(f"{name} {seed}")
        survives(name, mutated(chance.choice(FUZZED[name].samples), chance))


@pytest.mark.parametrize("name", FUZZED)
@settings(max_examples=20, deadline=None)
@given(data=st.binary(max_size=200))
def test_bytes_by_chance(name: str, data: bytes) -> None:
    survives(name, data)
