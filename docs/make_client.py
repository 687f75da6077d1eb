"""Writes the typed client from /openapi.json: ``python docs/make_client.py``. A test compares the two.

``whimbrel/cli/shapes.py`` has what goes over the wire, ``whimbrel/cli/contract.py`` a method for each endpoint.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from api.app import create_app
from api.orchestrator import TemporalOrchestrator
from whimbrel.catalog.store import Catalog
from worker.settings import Settings

Json = dict[str, Any]
CLI = Path(__file__).resolve().parents[1] / "whimbrel" / "cli"
METHODS = {  # endpoint -> method of the client
    "GET /v1/health": "health",
    "PUT /v1/sources/{name}": "put_source",
    "GET /v1/sources/{name}": "get_source",
    "GET /v1/sources": "list_sources",
    "DELETE /v1/sources/{name}": "delete_source",
    "POST /v1/sources/test": "test_source",
    "PUT /v1/targets/{name}": "put_target",
    "GET /v1/targets/{name}": "get_target",
    "GET /v1/targets": "list_targets",
    "DELETE /v1/targets/{name}": "delete_target",
    "POST /v1/targets/test": "test_target",
    "POST /v1/queues/test": "test_queue",
    "PUT /v1/migrations/{name}": "put_migration",
    "GET /v1/migrations/{name}": "get_migration",
    "GET /v1/migrations": "list_migrations",
    "DELETE /v1/migrations/{name}": "delete_migration",
    "POST /v1/prereqs": "prereqs",
    "POST /v1/validate": "check",
    "POST /v1/migrations/{name}/schema/extract": "extract_schema",
    "POST /v1/migrations/{name}/schema/apply": "apply_schema",
    "POST /v1/migrations/{name}/objects/apply": "apply_objects",
    "POST /v1/migrations/{name}/data": "start_data",
    "POST /v1/migrations/{name}/replication": "start_replication",
    "POST /v1/migrations/{name}/replication/pause": "pause_replication",
    "POST /v1/migrations/{name}/replication/resume": "resume_replication",
    "POST /v1/migrations/{name}/replication-queue": "start_replication_queue",
    "POST /v1/migrations/{name}/replication-queue/pause": "pause_replication_queue",
    "POST /v1/migrations/{name}/replication-queue/resume": "resume_replication_queue",
    "POST /v1/migrations/{name}/data-replication": "start_data_replication",
    "POST /v1/migrations/{name}/reset": "reset",
    "POST /v1/migrations/{name}/validate": "validate_data",
    "GET /v1/migrations/{name}/status": "status",
    "GET /v1/operations": "list_operations",
    "GET /v1/operations/{id}": "get_operation",
    "POST /v1/operations/{id}/cancel": "cancel_operation",
    "POST /v1/operations/{id}/stop": "stop_operation",
}
_SHAPES = '''"""What the API takes and gives; made from /openapi.json by ``python docs/make_client.py``, do not edit."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

'''
_CONTRACT = '''"""A method for each endpoint, made from /openapi.json by ``python docs/make_client.py``; do not edit.

Every method returns the envelope's ``result`` or raises its error as a class of ``whimbrel.errors``.
"""

from __future__ import annotations

from typing import Literal, cast

from whimbrel.cli import shapes
from whimbrel.cli.client import ApiClient, path


class Contract(ApiClient):
    """The REST API, typed. ``request_id`` makes a start safe to repeat; starts are repeated when the line breaks."""
'''


def document() -> Json:
    """The OpenAPI document of the application."""
    with tempfile.TemporaryDirectory() as home:
        catalog = Catalog.open(Path(home))
        try:
            found: Json = create_app(catalog, TemporalOrchestrator(Settings())).openapi()
        finally:
            catalog.close()
    return found


def render(openapi: Json) -> dict[str, str]:
    """The two files by name, formatted."""
    schemas = openapi["components"]["schemas"]
    kept = {n: s for n, s in schemas.items() if not n.startswith("Envelope") and s.get("type") == "object"}
    shapes = _SHAPES + "".join(_shape(name, schema, schemas) for name, schema in kept.items())
    calls = [_method(name, *endpoint.split(), openapi) for endpoint, name in METHODS.items()]
    return {"shapes.py": _formatted(shapes), "contract.py": _formatted(_CONTRACT + "".join(calls))}


def _shape(name: str, schema: Json, schemas: Json) -> str:
    required, fields = set(schema.get("required", ())), ""
    for field, value in schema.get("properties", {}).items():
        type = _type(value, schemas)
        fields += f"    {field}: {type if field in required else f'NotRequired[{type}]'}\n"
    return f"\nclass {_name(name)}(TypedDict):\n{fields or '    pass'}\n"


def _method(name: str, verb: str, template: str, openapi: Json) -> str:
    operation, schemas = openapi["paths"][template][verb.lower()], openapi["components"]["schemas"]
    parameters = operation.get("parameters", [])
    signature = ["self", *(f"{p['name']}: str" for p in parameters if p["in"] == "path")]
    options: list[str] = []
    if "requestBody" in operation:
        given = _type(operation["requestBody"]["content"]["application/json"]["schema"], schemas, "shapes.")
        if "EmptyBody" not in given:
            signature.append(f"body: {given}" + (" = None" if given.endswith("None") else ""))
            options.append("body=body")
    query = [p for p in parameters if p["in"] == "query"]
    if query:
        signature += ["*", *(f"{p['name']}: {_optional(_type(p['schema'], schemas, 'shapes.'))} = None" for p in query)]
        options.append("query={" + ", ".join(f"{p['name']!r}: {p['name']}" for p in query) + "}")
    if any(p["name"] == "X-Request-Id" for p in parameters):
        signature.append("request_id: str | None = None")
        options.append("start=True, request_id=request_id")
    result = _result(operation, schemas)
    parts = ", ".join(p.strip("{}") if p.startswith("{") else f'"{p}"' for p in template.split("/")[2:])
    call = ", ".join([f'"{verb}"', f"path({parts})", *options])
    return (
        f"\n    def {name}({', '.join(signature)}) -> {result}:\n"
        f'        """{operation["description"].splitlines()[0].partition(". ")[0].rstrip(".")}."""\n'
        f"        return cast({result}, self.call({call}))\n"
    )


def _result(operation: Json, schemas: Json) -> str:
    envelope = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return _type(schemas[envelope]["properties"]["result"], schemas, "shapes.").removesuffix(" | None")


def _optional(type: str) -> str:
    return type if type.endswith("None") else f"{type} | None"


def _type(schema: Json, schemas: Json, prefix: str = "") -> str:
    """The Python type of a JSON schema, as far as ours go."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return prefix + _name(name) if schemas[name].get("type") == "object" else _type(schemas[name], schemas, prefix)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        found = list(dict.fromkeys(_type(c, schemas, prefix) for c in choices))
        return " | ".join(sorted(found, key=lambda t: t == "None"))
    if "const" in schema:
        return f"Literal[{schema['const']!r}]"
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    if schema.get("type") == "array":
        return f"list[{_type(schema['items'], schemas, prefix)}]"
    if schema.get("type") == "object":
        more = schema.get("additionalProperties")
        return f"dict[str, {_type(more, schemas, prefix) if isinstance(more, dict) and more else 'Any'}]"
    simple = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
    return simple.get(schema.get("type", ""), "Any")


def _name(name: str) -> str:
    return name.replace("-", "_")


def _formatted(text: str) -> str:
    argv = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(CLI / "x.py"), "-"]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    for file, content in render(document()).items():
        (CLI / file).write_text(content)
