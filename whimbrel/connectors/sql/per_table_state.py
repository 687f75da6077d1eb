"""What a target keeps of a migration where every statement is a transaction of its own: see ``per_table_ledger``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from whimbrel.model.names import TableName
from whimbrel.model.position import Position

TABLES: Final = {
    "progress": (
        "migration {text} NOT NULL, epoch {number} NOT NULL, version {number} NOT NULL, owner {text} NOT NULL, "
        "position {text}, writing {text}, state {text} NOT NULL, holder {text}, held_until {moment}"
    ),
    "chunks": (
        "plan {text} NOT NULL, number {number} NOT NULL, bounds {text} NOT NULL, planned_rows {number} NOT NULL, "
        "planned_bytes {number} NOT NULL"
    ),
    "announced": "plan {text} NOT NULL, number {number} NOT NULL, file {text} NOT NULL, file_rows {number} NOT NULL",
    "loaded": "plan {text} NOT NULL, number {number} NOT NULL, loaded_rows {number} NOT NULL",
    "owned": "migration {text} NOT NULL, target_schema {text} NOT NULL, target_table {text} NOT NULL",
}


@dataclass(frozen=True)
class Entry:
    """What the row has of a table. ``emptying``: the target table that is to lose its rows before this counts."""

    fingerprint: str
    finished: bool = False
    plan: str | None = None
    emptying: TableName | None = None


@dataclass(frozen=True)
class State:
    operation: str = ""
    complete: bool = False
    snapshots: int = 0
    tables: Mapping[TableName, Entry] = field(default_factory=dict)

    def to_json(self) -> str:
        tables = [
            [n.schema, n.table, e.fingerprint, e.finished, e.plan, e.emptying and [e.emptying.schema, e.emptying.table]]
            for n, e in self.tables.items()
        ]
        return json.dumps([self.operation, self.complete, self.snapshots, tables])

    @classmethod
    def from_json(cls, text: str) -> State:
        operation, complete, snapshots, tables = json.loads(text)
        entries = {
            TableName(schema, name): Entry(fingerprint, finished, plan, emptying and TableName(*emptying))
            for schema, name, fingerprint, finished, plan, emptying in tables
        }
        return cls(operation, complete, snapshots, entries)

    def with_entries(self, entries: Mapping[TableName, Entry]) -> State:
        return replace(self, tables={**self.tables, **entries})


@dataclass(frozen=True)
class Row:
    """A migration's row as it is now; ``held``: a repair keeps it just now. ``holder``: who keeps it, or kept it last;
    it changes with each hold, and so tells of one that is over already."""

    epoch: int
    version: int
    position: Position | None
    writing: Position | None
    state: State
    text: str
    held: bool
    holder: str


@dataclass(frozen=True)
class ChunkFacts:
    """``loaded``: rows, once that is recorded; ``file`` and ``file_rows``: of the file that an attempt announced."""

    plan: str
    loaded: int | None
    file: str | None
    file_rows: int
