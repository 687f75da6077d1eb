"""OpenAPI as it is: the key that paths need, and no answers that FastAPI only assumes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.gate import PUBLIC
from api.routes import ROUTERS
from whimbrel.errors import AuthFailed

_ABOUT = """Moves databases: schema, data, then every change.

Every answer, errors included, is `{"success", "result", "error", "duration"}`, with `logs` on operations.
Send `Authorization: Bearer <key>`; `whimbrel keys create` makes a key."""


def describe(app: FastAPI) -> None:
    """Let ``/openapi.json`` tell what the gate and the error handlers do."""

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            schema = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes)
            app.openapi_schema = _with_whole_examples(_corrected(schema))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _corrected(schema: dict[str, Any]) -> dict[str, Any]:
    components = schema.setdefault("components", {})
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for name in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(name, None)
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            answers = operation["responses"]
            answers.pop("422", None)
            if path != PUBLIC:
                operation["security"] = [{"key": []}]
            else:
                answers.pop(str(AuthFailed.status), None)
            operation["responses"] = dict(sorted(answers.items()))
    return schema


def _with_whole_examples(schema: dict[str, Any]) -> dict[str, Any]:
    """FastAPI leaves out what is null, in examples too, which have to have all fields."""
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                for method in route.methods or ():
                    answer = schema["paths"][route.path][method.lower()]["responses"]["200"]
                    answer["content"]["application/json"]["example"] = _example(route)
    return schema


def _example(route: APIRoute) -> Any:
    return route.responses[200]["content"]["application/json"]["example"]
