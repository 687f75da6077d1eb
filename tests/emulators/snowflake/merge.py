"""MERGE by DuckDB's own, after a look for what Snowflake refuses: a row of the target that several rows would change.

fakesnow takes a MERGE apart into statements over a temporary table, which fails within a transaction.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlglot
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp

COUNTED = {"INSERT": "inserted", "UPDATE": "updated", "DELETE": "deleted"}


def merge(cursor: Any, statement: exp.Merge, parameters: Any) -> None:
    """Run it with the cursor of fakesnow, whose result are the counts that Snowflake gives."""
    changed = cursor._transform(statement, parameters)
    whens = changed.args["whens"].expressions
    _refuse_duplicates(cursor, changed, whens, parameters)
    for when in whens:
        if isinstance(when.args["then"], exp.Update):
            for assignment in when.args["then"].expressions:
                assignment.this.set("table", None)  # DuckDB wants the bare column
    cursor._duck_conn.execute(changed.sql(dialect="duckdb") + " RETURNING merge_action", parameters)
    done = Counter(action for (action,) in cursor._duck_conn.fetchall())
    kinds = {_kind(when) for when in whens}
    counts = ", ".join(f'{done[kind]} AS "number of rows {word}"' for kind, word in COUNTED.items() if kind in kinds)
    result = sqlglot.parse_one(f"SELECT {counts}", read="duckdb")
    result.set("merge_counts", True)
    cursor._execute(result)


def _kind(when: exp.When) -> str:
    then = when.args["then"]
    return "INSERT" if isinstance(then, exp.Insert) else "UPDATE" if isinstance(then, exp.Update) else "DELETE"


def _refuse_duplicates(cursor: Any, merge: exp.Merge, whens: list[exp.When], parameters: Any) -> None:
    """Several rows may only agree in deleting a row of the target."""
    cases = [
        f"WHEN {c.sql(dialect='duckdb') if (c := when.args.get('condition')) else 'true'} THEN '{_kind(when)}'"
        for when in whens
        if when.args.get("matched")
    ]
    if not cases:
        return
    target, source, on = (merge.args[part].sql(dialect="duckdb") for part in ("this", "using", "on"))
    found = cursor._duck_conn.execute(
        f"SELECT count(*) FROM (SELECT {merge.this.alias_or_name}.rowid AS id, CASE {' '.join(cases)} END AS what"
        f" FROM {target} JOIN {source} ON {on}) GROUP BY id"
        " HAVING count(what) > 1 AND count(*) FILTER (what = 'UPDATE') > 0 LIMIT 1",
        parameters,
    ).fetchone()
    if found:
        raise ProgrammingError(msg="Duplicate row detected during DML action", errno=100090, sqlstate="42P18")
