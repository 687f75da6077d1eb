"""Writes docs/errors.md from the error tree: ``python docs/make_errors.py``. A test compares the two."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from whimbrel.errors import RequestError, SourceNotFound, TargetNotFound, WhimbrelError, leaves

_HEAD = """# Errors

Made from `whimbrel/errors.py` by `python docs/make_errors.py`; do not edit.

Every error of the API is `{"code", "message", "details"}` inside the envelope. `code` is what a client branches on;
`details.reason` tells the cases of one code apart, `details.remedy` says what a person can do. Steps that fail with a
retryable reason are tried again by the worker before anybody hears of them.

| code | HTTP | when |
|---|---|---|
"""
_BASES = (WhimbrelError, RequestError)  # never raised themselves


def render() -> str:
    """The whole page."""
    by_code: dict[str, list[type[WhimbrelError]]] = defaultdict(list)
    for kind in leaves():
        if kind not in _BASES:
            by_code[kind.code].append(kind)
    table = "".join(f"| [`{c}`](#{c.lower()}) | {_status(k[0])} | {_summary(k[0])} |\n" for c, k in by_code.items())
    sections = "".join(_section(code, kinds) for code, kinds in by_code.items())
    return _HEAD + table + sections


def _section(code: str, kinds: list[type[WhimbrelError]]) -> str:
    rows = "".join(
        f"| `{k.reason()}` | {'yes' if k.retryable else 'no'} | {_summary(k)} | {_cell(k.remedy)} |\n" for k in kinds
    )
    return f"\n## {code}\n\n| reason | retryable | when | remedy |\n|---|---|---|---|\n{rows}"


def _status(kind: type[WhimbrelError]) -> str:
    if kind.code == "CONNECTION_REFUSED":
        return "500; 200 from a `/test` whose far end could not be reached"
    if kind in (SourceNotFound, TargetNotFound):
        return "404; 400 when a body names it"
    return str(kind.status)


def _summary(kind: type[WhimbrelError]) -> str:
    return _cell(" ".join((kind.__doc__ or "").split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path(__file__).with_name("errors.md").write_text(render(), encoding="utf-8")
