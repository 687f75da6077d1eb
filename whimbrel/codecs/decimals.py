# cython: annotation_typing=False, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Columns of decimal numbers, out of text or of PostgreSQL's binary form, as Arrow keeps them: exactly or not at all.

Compiled, no object is made for a value. A number is gathered 18 digits at a time in 64 bits, and when it is longer in
``limbs`` of 32 bits: scratch for 2 * ``words`` numbers. ``powers`` has 10 to the power of 0 to 18. Both functions write
two's complement of ``words`` 64-bit words, the lowest first, of the number times 10 to the ``scale``; nothing is
rounded. Nulls are written as 0.
"""

from __future__ import annotations

import cython

DAMAGED = -2  # what ``from_numeric`` returns for bytes that are no numeric
_ONES: int = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)  # declared, as long literals are objects
_LOW: int = cython.declare(cython.ulonglong, 0xFFFFFFFF)


@cython.locals(
    data="const unsigned char[::1]",
    offsets="const int[::1]",
    valid="const unsigned char[::1]",
    nulls="bint",
    out="unsigned long long[::1]",
    words="Py_ssize_t",
    precision="Py_ssize_t",
    scale="Py_ssize_t",
    limbs="unsigned long long[::1]",
    powers="const unsigned long long[::1]",
    row="Py_ssize_t",
    at="Py_ssize_t",
    end="Py_ssize_t",
    first="Py_ssize_t",
    i="Py_ssize_t",
    negative="bint",
    long="bint",
    whole="Py_ssize_t",
    fraction="Py_ssize_t",
    pending="Py_ssize_t",
    missing="Py_ssize_t",
    value="unsigned long long",
)
def from_text(
    data: memoryview,
    offsets: memoryview,
    valid: memoryview,
    nulls: bool,
    out: memoryview,
    words: int,
    precision: int,
    scale: int,
    limbs: memoryview,
    powers: memoryview,
) -> int:
    """Digits with an optional minus and point; the offsets are trusted to lie within the data. Return the first row
    that is no such number, or -1."""
    for row in range(len(out) // words):
        for i in range(words):
            out[row * words + i] = 0
        if nulls and not valid[row >> 3] >> (row & 7) & 1:
            continue
        at, end = offsets[row], offsets[row + 1]
        negative = at < end and data[at] == 45
        if negative:
            at += 1
        first, long = at, False
        whole, fraction, pending, value = 0, 0, 0, 0
        while at < end and data[at] == 48:
            at += 1
        while at < end and data[at] != 46:
            if data[at] < 48 or data[at] > 57 or whole + scale >= precision:
                return row
            if pending == 18:
                _append(limbs, 2 * words, long, value, 18, powers)
                long, value, pending = True, 0, 0
            value = value * 10 + (data[at] - 48)
            whole, pending, at = whole + 1, pending + 1, at + 1
        if at == first:
            return row
        if at < end:
            at += 1
            if at == end:
                return row
            while at < end:
                if data[at] < 48 or data[at] > 57:
                    return row
                if fraction < scale:
                    if pending == 18:
                        _append(limbs, 2 * words, long, value, 18, powers)
                        long, value, pending = True, 0, 0
                    value = value * 10 + (data[at] - 48)
                    fraction, pending = fraction + 1, pending + 1
                elif data[at] != 48:
                    return row
                at += 1
        missing = scale - fraction
        if not long and pending + missing <= 18:
            out[row * words] = value * powers[missing]
        else:
            _append(limbs, 2 * words, long, value, pending, powers)
            _finish(limbs, missing, out, row * words, words, powers)
        if negative:
            _negate(out, row * words, words)
    return -1


@cython.locals(
    data="const unsigned char[::1]",
    starts="const int[::1]",
    lengths="const int[::1]",
    columns="Py_ssize_t",
    column="Py_ssize_t",
    out="unsigned long long[::1]",
    words="Py_ssize_t",
    precision="Py_ssize_t",
    scale="Py_ssize_t",
    limbs="unsigned long long[::1]",
    powers="const unsigned long long[::1]",
    row="Py_ssize_t",
    at="Py_ssize_t",
    size="Py_ssize_t",
    i="Py_ssize_t",
    count="Py_ssize_t",
    sign="int",
    long="bint",
    seen="bint",
    exponent="Py_ssize_t",
    digits="Py_ssize_t",
    pending="Py_ssize_t",
    digit="unsigned int",
    part="unsigned int",
    value="unsigned long long",
)
def from_numeric(
    data: memoryview,
    starts: memoryview,
    lengths: memoryview,
    columns: int,
    column: int,
    out: memoryview,
    words: int,
    precision: int,
    scale: int,
    limbs: memoryview,
    powers: memoryview,
) -> int:
    """What numeric_send writes: digits to the base of 10,000 with the weight of the first. Value ``row * columns +
    column`` has ``lengths`` bytes from ``starts`` on, which must lie within the data; it is null below 0. Return the
    first row that has no place in the type, -1 if there is none, DAMAGED for bytes that are no numeric."""
    for row in range(len(out) // words):
        for i in range(words):
            out[row * words + i] = 0
        at, size = starts[row * columns + column], lengths[row * columns + column]
        if size < 0:
            continue
        if size < 8:
            return DAMAGED
        count = data[at] << 8 | data[at + 1]
        exponent = (data[at + 2] << 8 | data[at + 3]) - ((data[at + 2] & 128) << 9)
        sign = data[at + 4] << 8 | data[at + 5]
        if size != 8 + 2 * count:
            return DAMAGED
        if sign == 0xC000 or sign == 0xD000 or sign == 0xF000:  # NaN and the infinities
            return row
        if sign != 0 and sign != 0x4000:
            return DAMAGED
        exponent = exponent * 4 + scale  # of ten, by which the digit at hand is multiplied
        long, seen, pending, value = False, False, 0, 0
        at += 8
        for i in range(count):
            digit = data[at + 2 * i] << 8 | data[at + 2 * i + 1]
            if digit > 9999:
                return DAMAGED
            if digit and not seen:
                seen = True
                digits = 4 if digit > 999 else 3 if digit > 99 else 2 if digit > 9 else 1
                if exponent + digits > precision:
                    return row
            if seen and exponent > -4:
                digits = 4
                if exponent < 0:
                    part, digits = powers[-exponent], 4 + exponent
                    if digit % part:
                        return row
                    digit //= part
                if pending + digits > 18:
                    _append(limbs, 2 * words, long, value, pending, powers)
                    long, value, pending = True, 0, 0
                value = value * powers[digits] + digit
                pending += digits
            elif digit:
                return row
            exponent -= 4
        exponent = exponent + 4 if seen and exponent > -4 else 0  # zeros that are not written
        if not long and pending + exponent <= 18:
            out[row * words] = value * powers[exponent]
        else:
            _append(limbs, 2 * words, long, value, pending, powers)
            _finish(limbs, exponent, out, row * words, words, powers)
        if sign:
            _negate(out, row * words, words)
    return -1


@cython.cfunc
@cython.exceptval(check=False)
@cython.returns(cython.void)
@cython.locals(
    limbs="unsigned long long[::1]",
    count="Py_ssize_t",
    begun="bint",
    value="unsigned long long",
    digits="Py_ssize_t",
    powers="const unsigned long long[::1]",
    i="Py_ssize_t",
)
def _append(limbs: memoryview, count: int, begun: bool, value: int, digits: int, powers: memoryview) -> None:
    """Append up to 18 decimal digits to the number in ``limbs``, which begins with them unless it has ``begun``."""
    if not begun:
        for i in range(count):
            limbs[i] = 0
    if digits > 9:  # products of 32 bits and nine digits fit into 64 bits
        _multiply(limbs, count, powers[digits - 9], value // powers[9])
        _multiply(limbs, count, powers[9], value % powers[9])
    else:
        _multiply(limbs, count, powers[digits], value)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
@cython.returns(cython.void)
@cython.locals(
    limbs="unsigned long long[::1]",
    count="Py_ssize_t",
    factor="unsigned long long",
    carry="unsigned long long",
    i="Py_ssize_t",
)
def _multiply(limbs: memoryview, count: int, factor: int, carry: int) -> None:
    for i in range(count):
        carry += limbs[i] * factor
        limbs[i] = carry & _LOW
        carry >>= 32


@cython.cfunc
@cython.exceptval(check=False)
@cython.returns(cython.void)
@cython.locals(
    limbs="unsigned long long[::1]",
    zeros="Py_ssize_t",
    out="unsigned long long[::1]",
    at="Py_ssize_t",
    words="Py_ssize_t",
    powers="const unsigned long long[::1]",
    i="Py_ssize_t",
)
def _finish(limbs: memoryview, zeros: int, out: memoryview, at: int, words: int, powers: memoryview) -> None:
    """Append so many zeros, and write the number to ``out``."""
    while zeros > 0:
        _append(limbs, 2 * words, True, 0, zeros if zeros < 18 else 18, powers)
        zeros -= 18
    for i in range(words):
        out[at + i] = limbs[2 * i] | limbs[2 * i + 1] << 32


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
@cython.returns(cython.void)
@cython.locals(
    out="unsigned long long[::1]",
    at="Py_ssize_t",
    words="Py_ssize_t",
    i="Py_ssize_t",
    carry="bint",
    value="unsigned long long",
)
def _negate(out: memoryview, at: int, words: int) -> None:
    carry = True
    for i in range(at, at + words):
        value = out[i]
        if carry and value:
            value, carry = _ONES - value + 1, False
        elif not carry:
            value = _ONES - value
        out[i] = value
