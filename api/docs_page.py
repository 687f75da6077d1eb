"""The page at /docs: the OpenAPI document as plain HTML, made here, so that it needs neither a script nor a network."""

from __future__ import annotations

import json
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: .7rem; border-radius: 6px; overflow-x: auto; }
.method { display: inline-block; min-width: 4.2rem; font-weight: 700; }
.get { color: #2a7de1; } .post { color: #2c9a4b; } .put { color: #c77700; } .delete { color: #d0342c; }
td, th { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top; } .dim { opacity: .7; }
"""


def render(openapi: dict[str, Any]) -> str:
    """One page with every operation: parameters, body, an example of the answer, errors, and the call by curl."""
    by_tag: dict[str, list[str]] = {}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            shown = _operation(path, method, operation, openapi)
            by_tag.setdefault((operation.get("tags") or ["Other"])[0], []).append(shown)
    sections = "".join(f"<h2>{escape(tag)}</h2>{''.join(shown)}" for tag, shown in by_tag.items())
    info = openapi["info"]
    about = escape(info.get("description", "")).replace("\n\n", "<p>")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])} API</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f"<h1>{escape(info['title'])} API <span class=dim>{escape(info['version'])}</span></h1><p>{about}</p>"
        f"<p><a href='/openapi.json'>/openapi.json</a> is the same for machines.</p>{sections}</html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any], openapi: dict[str, Any]) -> str:
    body = _body_example(operation, openapi)
    parts = [
        f"<p>{escape(operation.get('description', ''))}</p>",
        _parameters(operation),
        _code("Call", _curl(path, method, operation, body)),
        _code("Answer", _answer_example(operation)),
        _errors(operation),
    ]
    summary = f"<span class='method {method}'>{method.upper()}</span> <code>{escape(path)}</code>"
    first = escape(operation.get("description", "").split(".")[0])
    return f"<details><summary>{summary} <span class=dim>{first}</span></summary>{''.join(parts)}</details>"


def _parameters(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code><td>{escape(p['in'])}<td>{escape(p.get('description', ''))}"
        for p in operation.get("parameters", [])
    )
    return f"<table>{rows}</table>" if rows else ""


def _body_example(operation: dict[str, Any], openapi: dict[str, Any]) -> Any:
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    for choice in (schema, *schema.get("anyOf", [])):
        name = choice.get("$ref", "").rpartition("/")[2]
        examples = openapi["components"]["schemas"].get(name, {}).get("examples")
        if examples:
            return examples[0]
    return None


def _answer_example(operation: dict[str, Any]) -> str:
    content = operation["responses"].get("200", {}).get("content", {})
    return json.dumps(content.get("application/json", {}).get("example"), indent=2, ensure_ascii=False)


def _curl(path: str, method: str, operation: dict[str, Any], body: Any) -> str:
    key = "" if "security" not in operation else ' -H "Authorization: Bearer $KEY"'
    data = "" if not body else f" \\\n  -d '{json.dumps(body, ensure_ascii=False)}'"
    return f'curl --cacert server.crt -X {method.upper()}{key} "$URL{path}"{data}'


def _errors(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(status)}<td><code>{escape(answer['description'])}</code>"
        for status, answer in operation["responses"].items()
        if status != "200"
    )
    return f"<table>{rows}</table>"


def _code(title: str, text: str) -> str:
    return f"<p class=dim>{title}<pre>{escape(text)}</pre>"
