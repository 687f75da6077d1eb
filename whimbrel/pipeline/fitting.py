"""Whether a source's tables fit a target, before anything is moved: types, names, and the tables that are there."""

from __future__ import annotations

from collections.abc import Iterator

from whimbrel.connectors.protocols import CheckResult
from whimbrel.connectors.registry import engine
from whimbrel.connectors.verdicts import listed, offenders
from whimbrel.errors import ConnectionRefused, IdentifierRefused, TypeRefused, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.pipeline.pair import Pair, open_pair


def check_fit(job: Job, *, data: bool, changes: bool) -> tuple[CheckResult, ...]:
    """What only both sides together can tell; ``data``: rows are to be loaded, ``changes``: changes are to be applied.
    Nothing of the user's is changed.

    What stops these checks and has a check of its own elsewhere (a missing table, a right) is a warning here. Raises
    a leaf of ConnectionRefused.
    """
    if not job.tables:
        return ()
    try:
        with open_pair(job) as pair:
            return tuple(_checks(pair, data, changes))
    except (TypeRefused, IdentifierRefused) as e:
        return (CheckResult("target.types", "fail", e.message, e.how_to_fix),)
    except ConnectionRefused:
        raise
    except WhimbrelError as e:
        return (CheckResult("target.types", "warn", f"could not be looked at: {e.message}", e.how_to_fix),)


def _checks(pair: Pair, data: bool, changes: bool) -> Iterator[CheckResult]:
    pair.require_columns()
    pair.target.render(pair.tables, pair.schemas, pair.job.source.type)
    yield CheckResult("target.types", "ok", "the target can hold every column, and every name")
    yield _rehearsal(pair, changes)
    if data:
        yield _rows(pair)
    names = [t.name for t in pair.target_tables]
    there = set(pair.target.existing(names))
    yield offenders(
        "target.tables_exist",
        [str(n) for n in names if n not in there],
        "all tables exist on the target",
        "not made on the target yet",
        "Run schema/extract and schema/apply (or set schema_rename, if they have other names there).",
        otherwise="warn",
    )
    differences = pair.target.differences(pair.target_tables)
    yield offenders(
        "target.table_shape",
        [str(d) for d in differences],
        "existing tables have the columns that are needed",
        "existing tables have another shape",
        "Drop them, or make them match.",
        otherwise="fail" if any(d.fatal for d in differences) else "warn",
    )
    yield offenders(
        "target.keys",
        pair.target.stricter(pair.tables, pair.target_tables),
        "existing tables tell rows apart as the source does",
        "existing tables may take two rows of the source for one, which is then refused",
        "Drop these unique keys on the target, or give their columns the source's collation; or make sure that the "
        "source has no such rows, now and later.",
        otherwise="warn",  # only rows can tell
    )
    if data:
        yield offenders(
            "target.tables_empty",
            [str(n) for n in pair.target.nonempty(names)],
            "no table holds rows yet",
            "tables that hold rows, into which no new load is begun",
            "Empty them, or go on with resume.",
            otherwise="warn",
        )


def _rehearsal(pair: Pair, changes: bool) -> CheckResult:
    """Whether the target takes every table, index, key and staging table that the migration will make there."""
    id = "target.definitions"
    try:
        found = pair.target.rehearse(pair.tables, pair.schemas, pair.job.source.type, changes=changes)
    except ConnectionRefused:
        raise
    except WhimbrelError as e:
        return CheckResult(id, "warn", f"not tested: {e.message}", e.how_to_fix)
    doubts = f"the target may not take: {listed(found.doubtful)}" if found.doubtful else ""
    if found.refused:
        said = [f"the target does not take: {listed(found.refused)}", doubts, found.untested]
        return CheckResult(id, "fail", "; ".join(s for s in said if s), _REFUSED)
    if found.doubtful:
        remedy = "See that the rows fit; tables that exist already are used as they are."
        return CheckResult(id, "warn", "; ".join(s for s in (doubts, found.untested) if s), remedy)
    if found.untested:
        return CheckResult(
            id, "warn", found.untested, "Try it with fewer tables, or run schema/apply, which tells too."
        )
    return CheckResult(id, "ok", "every table, index, key and staging table was made on the target and taken back")


_REFUSED = (
    "Make on the target what is missing there (functions, extensions, collations), or change the definition on the "
    "source, or leave the table out."
)


def _rows(pair: Pair) -> CheckResult:
    """Whether the source's rows hold what the target refuses, as far as queries on the source can tell soon."""
    id = "target.rows"
    try:
        compared = engine(pair.job.target.type).capabilities.foreign_keys == "compared"
        found = pair.source.look_at_rows(pair.tables, keys=compared)
    except ConnectionRefused:
        raise
    except WhimbrelError as e:
        return CheckResult(id, "warn", f"not tested: {e.message}", e.how_to_fix)
    if found.refused:
        said = f"rows of the source that the target refuses: {listed(found.refused)}"
        remedy = "Correct these rows on the source, or drop the foreign key there, or leave the table out."
        return CheckResult(id, "fail", "; ".join(s for s in (said, found.untested) if s), remedy)
    if found.untested:
        return CheckResult(id, "warn", found.untested, "Look there yourself: the load tells only when it is there.")
    return CheckResult(id, "ok", "no row was found that the target refuses")
