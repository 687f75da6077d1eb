"""The body of a request: read whole or not at all, and JSON as strict as what reads it back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from starlette.types import Receive

from whimbrel.errors import InvalidRequest

BODY_LIMIT = 1024 * 1024
BODY_SECONDS = 30.0


class ClientGone(Exception):
    """The connection ended before the request was whole. Nobody waits for an answer, and nothing may run: half a
    request, or none of it, reads like one that asks for the defaults."""


async def read_body(receive: Receive) -> bytes:
    """The whole body, which is small. Raises InvalidRequest when it is not, is not JSON or takes too long, and
    ClientGone."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _read(receive)
    except TimeoutError as e:
        raise InvalidRequest(f"body: did not arrive within {BODY_SECONDS:g} s", field="body") from e
    if body:
        _check_json(body)
    return body


def given_twice(names: Sequence[str]) -> InvalidRequest:
    """The error that names the first of the names that stands there again."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return InvalidRequest(f"{name[:80]}: given twice", field=name[:80])
        seen.add(name)
    raise ValueError("no name is given twice")


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_LIMIT:
            raise InvalidRequest(f"body: longer than {BODY_LIMIT} bytes", field="body")
    return bytes(body)


def _check_json(body: bytes) -> None:
    """Refuse what Python's reader lets pass and a database would not: NaN, numbers beyond a double, lone surrogates, a
    key given twice."""
    try:
        text = body.decode("utf-8-sig")
        parsed = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_no_duplicates)
        json.dumps(parsed, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as e:
        raise InvalidRequest("body: nested too deeply", field="body") from e
    except ValueError as e:
        # The reader's own message says where; that of a failed encoding would quote the value.
        where = f" ({e.msg} at line {e.lineno} column {e.colno})" if isinstance(e, json.JSONDecodeError) else ""
        raise InvalidRequest(f"body: not valid JSON in UTF-8{where}", field="body") from e


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise given_twice([name for name, _ in pairs])
    return found
