"""What may stand behind the question mark: the parameters that a path is documented with, and no others."""

from __future__ import annotations

from fastapi import FastAPI, Request

from whimbrel.errors import InvalidRequest

Known = dict[tuple[str, str], frozenset[str]]  # by path with its placeholders, and method


async def refuse_unknown_query(request: Request) -> None:
    """A dependency of every route of ``/v1``. Raises InvalidRequest naming the parameter."""
    if not request.scope["query_string"]:
        return
    path = str(getattr(request.scope.get("route"), "path", ""))
    known = _known(request.app).get((path, request.method))
    unknown = next((name for name in request.query_params if known is not None and name not in known), None)
    if unknown is not None:
        listed = f"; it has {', '.join(sorted(known))}" if known else "; it has none"
        raise InvalidRequest(
            f"{unknown[:80]!r} is no query parameter of {request.method} {path}{listed}", field=unknown[:80]
        )


def _known(app: FastAPI) -> Known:
    found: Known | None = getattr(app.state, "query_parameters", None)
    if found is None:
        found = app.state.query_parameters = {
            (path, method.upper()): frozenset(p["name"] for p in entry.get("parameters", ()) if p["in"] == "query")
            for path, methods in app.openapi()["paths"].items()
            for method, entry in methods.items()
        }
    return found
