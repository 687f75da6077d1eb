"""Answers of MySQL's binary protocol, of one column each, for ``fuzzed``."""

from __future__ import annotations

import struct
from typing import Any

# the code of a type, then values of it; in the order of the types that are read
ANSWERS: tuple[tuple[Any, ...], ...] = (
    (1, b"\xff", b"\7"),
    (8, bytes(8), bytes(7) + b"\x80"),
    (8, bytes(8)),
    (246, b"\x0a1234567.89", b"\5-0.01"),
    (246, b"\x1e" + b"9" * 30),
    (4, bytes(4)),
    (5, bytes(8)),
    (10, b"\4\xe4\7\2\x1d"),
    (12, b"\7\xe4\7\2\x1d\1\2\3", b"\x0b\xe4\7\2\x1d\1\2\3\4\0\0\0", b"\4\xe4\7\2\x1d"),
    (7, b"\7\xe4\7\2\x1d\1\2\3"),
    (253, b"\2ab", b"\0"),
    (252, b"\xfc\3\0abc", b"\0"),
    (16, b"\1\1", b"\1\0"),
    (11, b"\0", b"\x08\1" + bytes(7)),
)


def answered(code: int, *values: bytes) -> bytes:
    definition = b"\3def\0\0\0\1c\1c\x0c\x2d\0\0\0\0\0" + bytes([code]) + bytes(5)
    payloads = [b"\1", definition, b"\xfe\0\0\2\0", *(b"\0\0" + v for v in values), b"\0\4", b"\xfe\0\0\2\0"]
    return b"".join(struct.pack("<I", len(p) | n + 1 << 24) + p for n, p in enumerate(payloads))
