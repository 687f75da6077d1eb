"""Numbers in JSON that a reader which keeps doubles would change: where they stand in tab text, and their paths.

MySQL's JSON holds integers of 64 bits, doubles and DECIMAL, but makes a double of every number in a text that is no
such integer. Rows are looked at a block at a time; a row is visited by itself only when it has such a number.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from whimbrel.codecs.binlog_json import number

DIGITS, SCALE = 65, 30  # of a DECIMAL in MySQL, and how many of them may stand behind the point

_DOUBLES = 15  # digits that every double keeps
_WIDE, _WIDEST = 19, 20  # characters of an integer that may, or may not, have more than 64 bits
_BEFORE = np.isin(np.arange(256), np.frombuffer(b"[:, -\t\nntr", np.uint8))  # n, t, r: an escaped blank
_BEHIND = np.isin(np.arange(256), np.frombuffer(b"]},\t\n \\eE", np.uint8))
_INTEGER = re.compile(r"-?[0-9]+\Z")
_EXPONENT = re.compile(r"[eE]")
_TOKEN = re.compile(rb"[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_UNESCAPED = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\0": "\0", "\\\\": "\\"}
_ESCAPE = re.compile(r"\\.", re.S)


class Fate(Enum):
    """What becomes of a number that is read as JSON."""

    KEPT = "kept"
    DECIMAL = "decimal"  # kept if it is handed over as one
    LOST = "lost"  # nothing there can hold it


@dataclass(frozen=True)
class Exact:
    """A number that must be put into a document. ``path`` has keys and array indexes; ``text`` is plain digits."""

    path: tuple[str | int, ...]
    text: str
    fate: Fate


def rows_to_visit(text: bytes | memoryview, columns: Sequence[int], width: int) -> NDArray[np.int64]:
    """Of whole lines of tab text with ``width`` fields, the numbers of those that have, in one of ``columns``, what may
    be such a number; some of it may turn out to stand inside a string."""
    data = np.frombuffer(text, np.uint8)
    starts, ends = _suspects(data)
    if not len(starts):
        return np.empty(0, np.int64)
    separators = np.flatnonzero((data == 0x09) | (data == 0x0A))
    fields = np.searchsorted(separators, starts)
    wanted = np.isin(fields % width, np.asarray(columns))
    starts, ends, rows = starts[wanted], ends[wanted], fields[wanted] // width
    open_ = ~_doubles(data, starts, ends)
    found, last = [], -1
    for start, end, row in zip(*(a[open_].tolist() for a in (starts, ends, rows)), strict=True):
        if row != last and _may_change(text, start, end):
            found.append(row)
            last = row
    return np.asarray(found, np.int64)


def _suspects(data: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where runs of digits and points begin and end that are long, or have a zero behind the point at their end."""
    points = data == 0x2E
    inside = (data - np.uint8(0x30)) < 10  # wraps around below '0'
    inside |= points
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    if len(inside) and inside[0]:
        edges = np.concatenate(([0], edges))
    if len(edges) % 2:
        edges = np.append(edges, len(data))
    starts, ends = edges[::2], edges[1::2]
    size = ends - starts
    few = (size > _DOUBLES + 1) | ((size > 3) & (data[ends - 1] == 0x30))
    starts, ends = starts[few], ends[few]
    before = data[np.maximum(starts - 1, 0)]
    behind = data[np.minimum(ends, len(data) - 1)]
    few = (_BEFORE[before] | (starts == 0)) & (_BEHIND[behind] | (ends == len(data)))
    starts, ends = starts[few], ends[few]
    if not len(starts):
        return starts, ends
    places = np.flatnonzero(points)
    counts = np.searchsorted(places, ends) - np.searchsorted(places, starts)
    size = ends - starts
    zeros = (data[ends - 1] == 0x30) & (data[ends - 2] != 0x2E)
    few = ((counts == 1) & (zeros | (size > _DOUBLES + 1))) | (
        (counts == 0) & (size >= _WIDE + (data[starts - 1] != 0x2D))
    )
    return starts[few], ends[few]


def _doubles(data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these are doubles with all their digits, and shown so everywhere: most of what is long."""
    if not len(starts):
        return np.zeros(0, np.bool_)
    size = ends - starts
    offsets = np.concatenate(([0], np.cumsum(size)))
    gathered = data[np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], size)]
    offsets = pa.py_buffer(offsets.astype(np.int32).tobytes())
    texts = pa.StringArray.from_buffers(len(starts), offsets, pa.py_buffer(gathered.tobytes()))
    plain = pc.match_substring_regex(texts, r"^[0-9]{1,15}\.[0-9]+$")
    shown = pc.if_else(plain, texts, "0").cast(pa.float64()).cast(pa.string())
    exponent = np.isin(data[np.minimum(ends, len(data) - 1)], (0x45, 0x65))
    return np.asarray(pc.equal(shown, texts)) & ~exponent


def _may_change(text: bytes | memoryview, start: int, end: int) -> bool:
    found = _TOKEN.match(text, start)
    if found is None or found.end() < end:
        return False
    sign = start > 0 and text[start - 1] == 0x2D
    return fate_of(("-" if sign else "") + found[0].decode()) is not Fate.KEPT


def fate_of(text: str) -> Fate:
    """What becomes of a JSON number. With an exponent its value counts, else all digits: ``1.50`` is not ``1.5``."""
    double = float(text)
    if _INTEGER.match(text):
        if len(text) < _WIDE or (len(text) <= _WIDEST and -(1 << 63) <= int(text) < 1 << 64):
            return Fate.KEPT
    elif _shown_alike(text, double):
        return Fate.KEPT
    power = _EXPONENT.search(text)
    if not power and len(text) <= SCALE:
        return Fate.DECIMAL
    try:
        exact = Decimal(text)
    except InvalidOperation:  # an exponent beyond all reason
        return Fate.LOST
    same = math.isfinite(double) and exact == Decimal(repr(double))
    if same and power:
        return Fate.KEPT
    if _fits(exact):
        return Fate.DECIMAL
    return Fate.KEPT if same else Fate.LOST


def _shown_alike(text: str, double: float) -> bool:
    """Whether the server shows the double as this text, which is no integer."""
    if -1e15 < double < 1e15 and repr(double) == text:  # quick, and right for nearly all
        return True
    zeros = text[-1] == "0" and text[-2] != "."
    return not zeros and math.isfinite(double) and number(double) == text


def _fits(exact: Decimal) -> bool:
    _, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int)
    return -exponent <= SCALE and max(len(digits), -exponent) + max(exponent, 0) <= DIGITS


def exact_numbers(field: bytes) -> list[Exact]:
    """The numbers of a document in a field of tab text that would be changed. Of duplicate keys the last one counts.
    What is no JSON has none: whoever reads it says so."""
    text = field.decode()
    if "\\" in text:
        text = _ESCAPE.sub(lambda m: _UNESCAPED.get(m[0], m[0][1:]), text)
    try:
        whole = json.loads(text, parse_float=_marked, parse_int=_marked)
    except (ValueError, RecursionError):
        return []
    return list(_found(whole, ()))


@dataclass(frozen=True)
class _Number:
    text: str
    fate: Fate


def _marked(text: str) -> _Number | None:
    fate = fate_of(text)
    return None if fate is Fate.KEPT else _Number(text, fate)


def _found(value: Any, path: tuple[str | int, ...]) -> Iterator[Exact]:
    if isinstance(value, _Number):
        yield Exact(path, _plain(value.text) if value.fate is Fate.DECIMAL else value.text, value.fate)
    elif isinstance(value, dict):
        for key, member in value.items():
            if member is not None:
                yield from _found(member, (*path, key))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            if element is not None:
                yield from _found(element, (*path, index))


def _plain(text: str) -> str:
    return f"{Decimal(text):f}" if _EXPONENT.search(text) else text
