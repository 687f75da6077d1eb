"""A bench for targets where a transaction is one script, sent as one job."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.bench import Bench, Row, noted, position, table
from tests.engines import side_of
from tests.servers.bigquery import BigQuery
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.protocols import Applier
from whimbrel.model.change import Segment

DATASET = "scripted"
Make = Callable[..., Bench]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def stand(bigquery: BigQuery) -> BigQuery:
    bigquery.create_database(DATASET)
    return bigquery


@pytest.fixture
def bench(stand: BigQuery, tmp_path: Path) -> Iterator[Make]:
    made: list[Bench] = []

    def make(*keys: Sequence[str]) -> Bench:
        tables = [table(f"t{n}", key=key) for n, key in enumerate(keys or [("id",)])]
        made.append(Bench(side_of(stand, "bigquery", DATASET, DATASET), tables, tmp_path, f"script{next(_numbers)}"))
        return made[-1]

    yield make
    for b in made:
        with closing(b):
            b.target.cleanup(b.job)
            b.drop_tables()
    stand.order("none")
    assert stand.staged(DATASET) == []


def slices(b: Bench, *parts: Sequence[tuple[int, Row]]) -> list[Segment]:
    """One transaction of the first table that comes in so many slices."""
    of, builder, made = b.tables[0], SegmentBuilder(position(1)), []
    builder.begin()
    for number, changes in enumerate(parts):
        noted(builder, of, changes)
        if number == len(parts) - 1:
            builder.commit(position(2), 1)
        made.append(builder.cut())
    return made


def applied(b: Bench, applier: Applier, segments: Sequence[Segment]) -> None:
    """As one transaction."""
    for segment in segments:
        applier.apply(segment, b.refetch)
    applier.commit(b.epoch, segments[-1].position)
