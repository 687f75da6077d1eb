"""Many pollers of one URL over HTTPS keep-alive, in a process of their own; prints one JSON object.

    python -m benchmarks.pollers --host 127.0.0.1 --port 9443 --ca server.crt --path /v1/... --seconds 20

The key is read from WHIMBREL_API_KEY, so that ``ps`` does not show it. Requests are written and answers split by hand:
an HTTP library would spend more time than the server that is measured, on cores which both share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Samples:
    """``seconds`` of each answer, by what the migration was doing; ``wrong`` counts answers that are not HTTP 200.

    ``inside`` is what the API itself says each answer took, from the whole request's arrival on.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    inside: list[float] = field(default_factory=list)
    wrong: int = 0


async def poll(options: argparse.Namespace, context: ssl.SSLContext, samples: Samples) -> None:
    """One poller: a request, its whole answer, and a rest until its next turn. Behind time, it does not rest."""
    reader, writer = await asyncio.open_connection(options.host, options.port, ssl=context, limit=1 << 24)
    key = os.environ["WHIMBREL_API_KEY"]
    head = f"GET {options.path} HTTP/1.1\r\nHost: {options.host}\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    end = time.monotonic() + options.seconds
    turn = time.monotonic() + random.random() * options.every
    while turn < end:
        await asyncio.sleep(max(0.0, turn - time.monotonic()))
        began = time.monotonic()
        writer.write(head)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(length)
        took = time.monotonic() - began
        if answer.startswith(b"HTTP/1.1 200"):
            samples.seconds.setdefault(_doing(body), []).append(took)
            samples.inside.append(_inside(body))
        else:
            samples.wrong += 1
        turn = max(turn + options.every, time.monotonic())
    writer.close()


def _doing(body: bytes) -> str:
    """``idle``, or the mode of the running operation, which stands first, without parsing the whole answer."""
    if b'"state":"idle"' in body:
        return "idle"
    return "data" if body.partition(b'"mode":"')[2].startswith(b'data"') else "other"


def _inside(body: bytes) -> float:
    """Seconds of the envelope's duration, which stands last and is far below a minute."""
    text = body[body.rindex(b'"duration":"') + 12 : -2].decode()
    for unit, seconds in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * seconds
    raise ValueError(text)


async def main(options: argparse.Namespace) -> Samples:
    samples = Samples()
    context = ssl.create_default_context(cafile=options.ca)
    await asyncio.gather(*(poll(options, context, samples) for _ in range(options.pollers)))
    return samples


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--every", type=float, default=0.25, help="seconds between a poller's requests; 0: no rest")
    parser.add_argument("--pollers", type=int, default=20)
    found = asyncio.run(main(parser.parse_args()))
    ran, waited, _ = Path("/proc/self/schedstat").read_text().split()
    own = {"ran": int(ran) / 1e9, "waited": int(waited) / 1e9}
    print(json.dumps({"seconds": found.seconds, "inside": found.inside, "wrong": found.wrong, "own": own}))
