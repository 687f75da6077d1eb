"""The statements that bring a file's rows into a table where each statement is a transaction: one MERGE a table, which
reads the file itself and writes nothing where its fence does not hold."""

from __future__ import annotations

from whimbrel.connectors.sql.merge import GONE, MASK, NUMBER, OP, PUT, Pair, origin


def put(pair: Pair, rows: str, fence: str, *, removing: bool, masked: bool = False) -> str:
    """``rows``: the file as a table expression. With ``removing`` those marked GONE go. With ``masked`` what the source
    left out is taken from the target's own row, as it was when the statement began."""
    d = pair.dialect
    op = f"s.{d.identifier(OP)}"
    on = " AND ".join(f"t.{d.identifier(k)} = s.{d.identifier(k)}" for k in pair.key)
    marked = f" AND {op} = '{PUT}'" if removing else ""
    parts = [f"MERGE INTO {pair.table} AS t USING ({_source(pair, rows, fence, removing, masked)}) AS s ON {on}"]
    if removing:
        parts.append(f"WHEN MATCHED AND {op} = '{GONE}' THEN DELETE")
    # a table of key columns alone has nothing to update, but is counted as if
    sets = [c for c in pair.columns if c.name not in pair.key] or [pair.target.column(pair.key[0])]
    updates = ", ".join(f"{d.identifier(c.name)} = s.{d.identifier(c.name)}" for c in sets)
    parts.append(f"WHEN MATCHED{marked} THEN UPDATE SET {updates}")
    values = ", ".join(f"s.{d.identifier(c.name)}" for c in pair.columns)
    names = d.identifiers(c.name for c in pair.columns)
    parts.append(f"WHEN NOT MATCHED{marked} THEN INSERT ({names}) VALUES ({values})")  # noqa: S608
    return " ".join(parts)


def _source(pair: Pair, rows: str, fence: str, removing: bool, masked: bool) -> str:
    d = pair.dialect
    outputs = []
    for n, column in enumerate(pair.columns):
        name = d.identifier(column.name)
        value = d.from_staged(column, f"r.{name}")
        if masked:
            left_out = f"SUBSTR(r.{d.identifier(MASK)}, {n + 1}, 1) = '1'"
            value = f"CASE WHEN {left_out} THEN o.{name} ELSE {value} END"
        outputs.append(f"{value} AS {name}")
    if removing:
        outputs.append(f"r.{d.identifier(OP)} AS {d.identifier(OP)}")
    joined = f" LEFT JOIN {pair.table} AS o ON {_origin(pair)}" if masked else ""
    return f"SELECT {', '.join(outputs)} FROM {rows} AS r{joined} WHERE {fence}"  # noqa: S608


def not_found(pair: Pair, rows: str) -> str:
    """The numbers of rows with left out values that the target does not have."""
    d = pair.dialect
    mask, key = f"r.{d.identifier(MASK)}", f"o.{d.identifier(pair.key[0])}"
    return (
        f"SELECT r.{d.identifier(NUMBER)} FROM {rows} AS r LEFT JOIN {pair.table} AS o ON {_origin(pair)} "  # noqa: S608
        f"WHERE {mask} <> '' AND {key} IS NULL"
    )


def _origin(pair: Pair) -> str:
    d = pair.dialect
    mask = f"r.{d.identifier(MASK)} <> ''"
    return " AND ".join([mask, *(f"o.{d.identifier(k)} = r.{d.identifier(origin(n))}" for n, k in enumerate(pair.key))])
