"""Fields of protobuf's wire format, for messages that are put together from parts that are bytes already."""

from __future__ import annotations


def field(number: int, content: bytes) -> bytes:
    """A field of a message that has a length."""
    return bytes((number << 3 | 2,)) + varint(len(content)) + content


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
