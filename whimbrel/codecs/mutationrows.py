# cython: annotation_typing=False, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Columns written as the rows of Spanner's mutations: each value a ``google.protobuf.Value`` in its row's list.

Written column by column: ``measure_*`` adds the size of each row's next value to ``sizes``, ``write_*`` writes it at
the row's place in ``out`` and moves the place behind it. Compiled, no object is made for a value. Offsets and places
are trusted. A null is four bytes, as a boolean is.
"""

from __future__ import annotations

import cython

PLAIN = 0  # a text as it is
BASE64 = 1  # bytes
MOMENT = 2  # a text like 2026-11-27 20:00:00.000000, written with T in place of the blank and Z behind it

_ALPHABET: bytes = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDING: int = cython.declare(cython.uchar, 61)
_NAN: bytes = b"NaN"
_INFINITE: bytes = b"-Infinity"


@cython.locals(
    offsets="const long long[::1]",
    valid="const unsigned char[::1]",
    nulls="bint",
    kind="int",
    sizes="long long[::1]",
    row="Py_ssize_t",
    text="long long",
    inner="long long",
    number="long long",
)
def measure_texts(offsets: memoryview, valid: memoryview, nulls: bool, kind: int, sizes: memoryview) -> None:
    for row in range(len(sizes)):
        if nulls and not valid[row >> 3] >> (row & 7) & 1:
            sizes[row] += 4
            continue
        text = offsets[row + 1] - offsets[row]
        if kind == 1:
            text = (text + 2) // 3 * 4
        elif kind == 2:
            text += 1
        inner = text + 2
        number = text >> 7
        while number:
            inner += 1
            number >>= 7
        sizes[row] += inner + 2
        number = inner >> 7
        while number:
            sizes[row] += 1
            number >>= 7


@cython.locals(
    data="const unsigned char[::1]",
    offsets="const long long[::1]",
    valid="const unsigned char[::1]",
    nulls="bint",
    kind="int",
    out="unsigned char[::1]",
    places="long long[::1]",
    row="Py_ssize_t",
    at="long long",
    start="long long",
    end="long long",
    text="long long",
    inner="long long",
    number="long long",
    begun="long long",
    alphabet="const unsigned char[::1]",
    three="unsigned int",
    left="long long",
)
def write_texts(
    data: memoryview,
    offsets: memoryview,
    valid: memoryview,
    nulls: bool,
    kind: int,
    out: memoryview,
    places: memoryview,
) -> None:
    alphabet = memoryview(_ALPHABET)
    for row in range(len(places)):
        at = places[row]
        out[at] = 10
        at += 1
        if nulls and not valid[row >> 3] >> (row & 7) & 1:
            out[at] = 2
            out[at + 1] = 8
            out[at + 2] = 0
            places[row] = at + 3
            continue
        start, end = offsets[row], offsets[row + 1]
        text = end - start
        if kind == 1:
            text = (text + 2) // 3 * 4
        elif kind == 2:
            text += 1
        inner = text + 2
        number = text >> 7
        while number:
            inner += 1
            number >>= 7
        number = inner
        while number > 127:
            out[at] = number & 127 | 128
            number >>= 7
            at += 1
        out[at] = number
        out[at + 1] = 26
        at += 2
        number = text
        while number > 127:
            out[at] = number & 127 | 128
            number >>= 7
            at += 1
        out[at] = number
        at += 1
        begun = at
        if kind == 1:
            while start < end:
                left = end - start
                three = data[start] << 16
                if left > 1:
                    three |= data[start + 1] << 8
                if left > 2:
                    three |= data[start + 2]
                out[at] = alphabet[three >> 18]
                out[at + 1] = alphabet[three >> 12 & 63]
                out[at + 2] = alphabet[three >> 6 & 63] if left > 1 else _PADDING
                out[at + 3] = alphabet[three & 63] if left > 2 else _PADDING
                at += 4
                start += 3
        else:
            while start < end:
                out[at] = data[start]
                at += 1
                start += 1
            if kind == 2:
                out[begun + 10] = 84
                out[at] = 90
                at += 1
        places[row] = at


@cython.locals(
    numbers="const double[::1]",
    valid="const unsigned char[::1]",
    nulls="bint",
    sizes="long long[::1]",
    row="Py_ssize_t",
    value="double",
)
def measure_numbers(numbers: memoryview, valid: memoryview, nulls: bool, sizes: memoryview) -> None:
    for row in range(len(sizes)):
        value = numbers[row]
        if nulls and not valid[row >> 3] >> (row & 7) & 1:
            sizes[row] += 4
        elif value != value:
            sizes[row] += 7
        elif value - value != 0:
            sizes[row] += 13 if value < 0 else 12
        else:
            sizes[row] += 11


@cython.locals(
    numbers="const double[::1]",
    data="const unsigned char[::1]",
    valid="const unsigned char[::1]",
    nulls="bint",
    out="unsigned char[::1]",
    places="long long[::1]",
    row="Py_ssize_t",
    at="long long",
    place="Py_ssize_t",
    value="double",
    word="const unsigned char[::1]",
    first="Py_ssize_t",
    length="Py_ssize_t",
)
def write_numbers(
    numbers: memoryview, data: memoryview, valid: memoryview, nulls: bool, out: memoryview, places: memoryview
) -> None:
    """``data`` are the same numbers as bytes."""
    for row in range(len(places)):
        at = places[row]
        value = numbers[row]
        out[at] = 10
        if nulls and not valid[row >> 3] >> (row & 7) & 1:
            out[at + 1] = 2
            out[at + 2] = 8
            out[at + 3] = 0
            places[row] = at + 4
        elif value - value != 0:  # NaN or infinite, which JSON has no number for
            word, first = memoryview(_NAN if value != value else _INFINITE), 0
            if value > 0:
                first = 1
            length = len(word) - first
            out[at + 1] = length + 2
            out[at + 2] = 26
            out[at + 3] = length
            for place in range(length):
                out[at + 4 + place] = word[first + place]
            places[row] = at + 4 + length
        else:
            out[at + 1] = 9
            out[at + 2] = 17
            for place in range(8):
                out[at + 3 + place] = data[row * 8 + place]
            places[row] = at + 11


@cython.locals(
    flags="const unsigned char[::1]",
    valid="const unsigned char[::1]",
    nulls="bint",
    out="unsigned char[::1]",
    places="long long[::1]",
    row="Py_ssize_t",
    at="long long",
)
def write_flags(flags: memoryview, valid: memoryview, nulls: bool, out: memoryview, places: memoryview) -> None:
    """A byte for each row, 0 or 1."""
    for row in range(len(places)):
        at = places[row]
        out[at] = 10
        out[at + 1] = 2
        if nulls and not valid[row >> 3] >> (row & 7) & 1:
            out[at + 2] = 8
            out[at + 3] = 0
        else:
            out[at + 2] = 32
            out[at + 3] = flags[row]
        places[row] = at + 4


@cython.locals(
    sizes="const long long[::1]",
    tag="unsigned char",
    out="unsigned char[::1]",
    places="long long[::1]",
    row="Py_ssize_t",
    at="long long",
    number="long long",
)
def frame(sizes: memoryview, tag: int, out: memoryview, places: memoryview) -> None:
    """The head of each row: the field that it is of its message, and how long its values are."""
    for row in range(len(places)):
        at = places[row]
        out[at] = tag
        at += 1
        number = sizes[row]
        while number > 127:
            out[at] = number & 127 | 128
            number >>= 7
            at += 1
        out[at] = number
        places[row] = at + 1
