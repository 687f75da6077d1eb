"""The error tree: drawn as it is, and every leaf survives the trips it makes."""

from __future__ import annotations

import pickle
import re

import pytest

from whimbrel import errors
from whimbrel.connectors import registry
from whimbrel.errors import WhimbrelError, leaves

ALL = list(leaves())


@pytest.mark.parametrize("leaf", ALL, ids=lambda c: c.__name__)
def test_each_leaf_survives_pickle_and_json(leaf: type[WhimbrelError]) -> None:
    error = leaf("table a.b is missing", tables=["a.b"])
    for copy in (pickle.loads(pickle.dumps(error)), errors.from_json(error.to_json())):
        assert type(copy) is leaf
        assert copy.to_json() == error.to_json()


def test_reasons_are_unique() -> None:
    assert len({c.reason() for c in ALL}) == len(ALL)


@pytest.mark.parametrize("leaf", ALL, ids=lambda c: c.__name__)
def test_each_leaf_has_a_docstring_and_a_remedy(leaf: type[WhimbrelError]) -> None:
    assert leaf.__doc__
    assert leaf.remedy
    assert re.fullmatch(r"[A-Z_]+", leaf.code)


def test_the_drawing_shows_the_tree() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or "")) | {"WhimbrelError"}
    assert drawn == {c.__name__ for c in ALL}


@pytest.mark.parametrize(
    ("type", "error", "said"),
    [
        ("postgres", ModuleNotFoundError("No module named 'psycopg'", name="psycopg"), "pip install psycopg"),
        ("test", ModuleNotFoundError("No module named 'a'", name="a"), "pip install 'whimbrel[test]'"),
        ("postgres", ImportError("libodbc.so.2: cannot open shared object file"), "libodbc.so.2"),
    ],
)
def test_a_missing_driver_is_told_by_what_exists(
    monkeypatch: pytest.MonkeyPatch, type: str, error: ImportError, said: str
) -> None:
    class Entry:
        def load(self) -> None:
            raise error

    monkeypatch.setattr(registry, "entry_points", lambda **_: [Entry()])
    with pytest.raises(errors.DriverMissing) as caught:
        registry.engine.__wrapped__(type)
    assert said in caught.value.how_to_fix
