"""GTID sets: carried along in positions so that people and other replicas can read them."""

from __future__ import annotations

import struct

from whimbrel.codecs.binlog import Gtid
from whimbrel.errors import InvalidRequest


class MySQLGtids:
    """``uuid:1-5:7,uuid:1``: what has been executed. Untracked (text '') when it began as ''."""

    def __init__(self, text: str) -> None:
        self._tracked = bool(text)
        self._sets: dict[str, list[tuple[int, int]]] = {}
        for part in filter(None, "".join(text.split()).split(",")):
            source, *intervals = part.split(":")
            if not all(i.replace("-", "").isdigit() for i in intervals):
                self._tracked = False  # tagged GTIDs of MySQL 8.3 and later are not followed
                return
            for interval in intervals:
                first, _, last = interval.partition("-")
                self._sets.setdefault(source.lower(), []).append((int(first), int(last or first)))

    def add(self, gtid: Gtid) -> None:
        if not gtid.source:
            self._tracked = False
            return
        intervals = self._sets.setdefault(gtid.source, [])
        for i, (first, last) in enumerate(intervals):
            if first <= gtid.number <= last:
                return
            if gtid.number == last + 1:
                intervals[i] = (first, gtid.number)
                if i + 1 < len(intervals) and intervals[i + 1][0] == gtid.number + 1:
                    intervals[i] = (first, intervals.pop(i + 1)[1])
                return
            if gtid.number < first:
                intervals.insert(i, (gtid.number, gtid.number))
                return
        intervals.append((gtid.number, gtid.number))

    @property
    def text(self) -> str:
        if not self._tracked:
            return ""
        return ",".join(
            source + "".join(f":{a}-{b}" if b > a else f":{a}" for a, b in intervals)
            for source, intervals in sorted(self._sets.items())
        )

    def is_older_than(self, text: str) -> bool:
        """Whether another set has a newer transaction of some server; never, when either is untracked."""
        other = MySQLGtids(text)
        if not self._tracked or not other._tracked:
            return False
        return any(
            max(last for _, last in intervals) > max((last for _, last in self._sets.get(source, [])), default=0)
            for source, intervals in other._sets.items()
        )

    def encode(self) -> bytes:
        """The form of COM_BINLOG_DUMP_GTID. Raises InvalidRequest when the set has tags."""
        if not self._tracked:
            raise InvalidRequest("position: a GTID set with tags cannot be started from", field="position")
        parts = [struct.pack("<Q", len(self._sets))]
        for source, intervals in sorted(self._sets.items()):
            parts.append(bytes.fromhex(source.replace("-", "")) + struct.pack("<Q", len(intervals)))
            parts += [struct.pack("<QQ", first, last + 1) for first, last in intervals]
        return b"".join(parts)


class MariaDBGtids:
    """``0-1-100,1-2-5``: the newest transaction of each domain. Untracked (text '') when it began as ''."""

    def __init__(self, text: str) -> None:
        self._tracked = bool(text)
        self._last = {part.partition("-")[0]: part for part in "".join(text.split()).split(",") if part}

    def add(self, gtid: Gtid) -> None:
        self._last[gtid.source.partition("-")[0]] = f"{gtid.source}-{gtid.number}"

    @property
    def text(self) -> str:
        return ",".join(self._last[domain] for domain in sorted(self._last, key=int)) if self._tracked else ""


def same_mariadb(one: str, other: str) -> bool:
    """Whether two MariaDB GTID positions are the same point."""
    return set(one.split(",")) == set(other.split(","))
