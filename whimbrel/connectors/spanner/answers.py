"""Values of the vendor's answers as rows of Python's, for what is asked of catalogues and records, never for tables."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import grpc
from google.cloud.spanner_v1 import types as api

Row = tuple[Any, ...]


def rows(types: Sequence[int], values: Sequence[Any]) -> Iterator[Row]:
    """``values`` of whole rows, whose columns have these type codes."""
    read: list[Callable[[Any], Any]] = [_READERS.get(code, _text) for code in types]
    for at in range(0, len(values), len(read)):
        yield tuple(
            None if value.WhichOneof("kind") == "null_value" else how(value)
            for how, value in zip(read, values[at : at + len(read)], strict=True)
        )


def _text(value: Any) -> str:
    return str(value.string_value)


def _number(value: Any) -> float:
    return float(value.string_value or value.number_value)


_READERS: Final[dict[int, Callable[[Any], Any]]] = {
    api.TypeCode.BOOL: lambda value: bool(value.bool_value),
    api.TypeCode.INT64: lambda value: int(value.string_value),
    api.TypeCode.FLOAT64: _number,
    api.TypeCode.FLOAT32: _number,
    api.TypeCode.BYTES: lambda value: base64.b64decode(value.string_value),
    api.TypeCode.NUMERIC: lambda value: Decimal(value.string_value),
}


class Said:
    """A ``google.rpc.Status`` as an error of gRPC's."""

    def __init__(self, status: Any) -> None:
        codes = {code.value[0]: code for code in grpc.StatusCode}
        self.code, self.message = codes.get(status.code, grpc.StatusCode.UNKNOWN), status.message
