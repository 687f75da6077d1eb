"""Progress on its way to the catalog: gathered without waiting, written in batches, kept when writing fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from whimbrel.model.progress import ChangeProgress, TableChangeTotals, TableProgress

if TYPE_CHECKING:
    from whimbrel.catalog.store import Catalog


class Journal:
    """What one operation has to tell and the catalog does not know yet. The newest figures win. Thread-safe."""

    def __init__(self, operation: str, catalog: Catalog) -> None:
        self._operation = operation
        self._catalog = catalog
        self._lock = threading.Lock()
        self._flags: dict[str, Any] = {}
        self._tables: dict[str, TableProgress] = {}
        self._totals: dict[str, TableChangeTotals] = {}
        self._change: ChangeProgress | None = None
        self._lines: dict[str, list[str]] = {}

    def resting(self, resting: bool) -> None:
        with self._lock:
            self._flags["resting"] = resting

    def phase(self, name: str) -> None:
        with self._lock:
            self._flags["phase"] = name

    def tables(self, progress: Sequence[TableProgress]) -> None:
        with self._lock:
            self._tables.update((p.table, p) for p in progress)

    def change_totals(self, totals: TableChangeTotals) -> None:
        with self._lock:
            self._totals[totals.table] = totals

    def change(self, progress: ChangeProgress) -> None:
        with self._lock:
            self._change = progress

    def retained(self, bytes: int) -> None:
        with self._lock:
            self._flags["retained"] = bytes

    def trouble(self, error: dict[str, Any] | None) -> None:
        with self._lock:
            self._flags["trouble"] = error

    def line(self, role: str, text: str) -> None:
        with self._lock:
            self._lines.setdefault(role, []).append(text)

    def write(self) -> None:
        """Write all that has gathered. Called by one thread at a time.

        Figures come before 'resting', so that a paused operation shows its last ones. Raises what the catalog raises;
        then nothing is lost, and a later call writes it.
        """
        self._write_flags({"phase": self._catalog.set_phase})
        self._write_tables()
        self._write_changes()
        self._write_flags(
            {
                "retained": self._catalog.save_retained,
                "trouble": self._catalog.set_trouble,
                "resting": self._catalog.set_paused,
            }
        )
        self._write_lines()

    def _write_flags(self, writers: dict[str, Callable[[str, Any], None]]) -> None:
        for flag, write in writers.items():
            with self._lock:
                if flag not in self._flags:
                    continue
                value = self._flags.pop(flag)
            try:
                write(self._operation, value)
            except BaseException:
                with self._lock:
                    self._flags.setdefault(flag, value)
                raise

    def _write_tables(self) -> None:
        with self._lock:
            tables, self._tables = self._tables, {}
        try:
            if tables:
                self._catalog.save_table_progress(self._operation, list(tables.values()))
        except BaseException:
            with self._lock:
                self._tables = tables | self._tables
            raise

    def _write_changes(self) -> None:
        with self._lock:
            totals, self._totals = self._totals, {}
            change, self._change = self._change, None
        try:
            if totals or change is not None:
                self._catalog.save_change(self._operation, change, list(totals.values()))
        except BaseException:
            with self._lock:
                self._totals, self._change = totals | self._totals, self._change or change
            raise

    def _write_lines(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, {}
        for role, texts in list(lines.items()):
            try:
                self._catalog.append_log(self._operation, role, "\n".join(texts))
            except BaseException:
                with self._lock:
                    for unwritten, kept in lines.items():
                        self._lines[unwritten] = kept + self._lines.get(unwritten, [])
                raise
            del lines[role]
