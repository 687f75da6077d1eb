"""The routes: login that checks, queries of one session one by one, sessions that can be ended."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import fakesnow.server as server
import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.emulators.snowflake import mends
from tests.emulators.snowflake.instance import Instance
from tests.emulators.snowflake.sessions import Session, Sessions

Handler = Callable[[Request], Awaitable[Response]]
STAGE_KEYS = {  # what clients of version 5 ask for besides
    "region": "us-west",
    "storageAccount": None,
    "isClientSideEncrypted": False,
    "endPoint": None,
    "path": "",
    "useS3RegionalUrl": False,
    "useRegionalUrl": False,
    "volumeHash": None,
}


def application(settings: dict[str, Any]) -> Starlette:
    """fakesnow's application with our routes in the place of some of its own."""
    mends.apply()
    instance = Instance(Path(settings["folder"]))
    server.shared_fs = instance
    stage_info = server.gcs_stage_info
    server.gcs_stage_info = lambda *given: {**stage_info(*given), **STAGE_KEYS}
    sessions = Sessions(
        Path(settings["statements"]), settings["idle_seconds"], settings["warehouses"], settings["roles"]
    )
    ours = {
        "/session/v1/login-request": _login(sessions, settings["users"]),
        "/queries/v1/query-request": _query(sessions),
        "/queries/v1/abort-request": _abort(sessions),
        "/session": _session(sessions),
        "/session/heartbeat": _session(sessions),
    }
    kept = [route for route in server.routes if route.path not in ours]
    return Starlette(routes=[*kept, *(Route(path, handler, methods=["POST"]) for path, handler in ours.items())])


def _refused(code: str, message: str) -> JSONResponse:
    return JSONResponse({"data": {"errorCode": code}, "code": code, "message": message, "success": False})


async def _json(request: Request) -> dict[str, Any]:
    body = await request.body()
    if request.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    found: dict[str, Any] = json.loads(body)
    return found


def _login(sessions: Sessions, users: dict[str, dict[str, str]]) -> Handler:
    async def login(request: Request) -> Response:
        said = (await _json(request))["data"]
        name = str(said.get("LOGIN_NAME", "")).upper()
        if said.get("AUTHENTICATOR") == "SNOWFLAKE_JWT":
            reason = _why_not_signed(said, name, users.get(name, {}).get("public_key"))
            if reason:
                return _refused("390144", f"JWT token is invalid. {reason}")
        elif name not in users or users[name]["password"] != said.get("PASSWORD"):
            return _refused("390100", "Incorrect username or password was specified.")
        role = request.query_params.get("roleName", "").upper()
        if role and role not in sessions.roles:
            return _refused(
                "390189",
                f"Role '{role}' specified in the connect string does not exist or not authorized. "
                "Contact your local system administrator, or attempt to login with another role, e.g. PUBLIC.",
            )
        answer = json.loads((await server.login_request(request)).body)
        token = answer["data"]["token"]
        session = sessions.opened(token, server.sessions[token], name, request.query_params, said)
        answer["data"] |= {
            "masterToken": token,
            "validityInSeconds": 3600,
            "masterValidityInSeconds": 14400,
            "sessionId": session.id,
            "displayUserName": name,
        }
        return JSONResponse(answer)

    return login


def _why_not_signed(said: dict[str, Any], name: str, public_key: str | None) -> str | None:
    if public_key is None:
        return "The user has no public key."
    try:
        claims = jwt.decode(said["TOKEN"], load_pem_public_key(public_key.encode()), algorithms=["RS256"])  # type: ignore[arg-type]
    except jwt.InvalidTokenError as e:
        return str(e)
    subject = str(claims.get("sub", ""))
    issuer = str(claims.get("iss", ""))
    if subject.rpartition(".")[2] != name or not issuer.startswith(f"{subject}.SHA256:"):
        return f"It is {issuer}'s for {subject}."
    return None


def _query(sessions: Sessions) -> Handler:
    async def query(request: Request) -> Response:
        session = _of(sessions, request)
        if session is None:
            return _refused("390111", "Session no longer exists. New login required to access the service.")
        sessions.log(session, (await _json(request))["sqlText"])
        async with session.turn:  # one statement of a session after the other, its result included
            answer: Response = await server.query_request(request)
        if answer.status_code >= 500:  # the client would ask again for minutes
            said = json.loads(bytes(answer.body))
            return _refused("000603", f"The stand-in cannot do this: {said['message']}")
        return answer

    return query


def _abort(sessions: Sessions) -> Handler:
    async def abort(request: Request) -> Response:
        session = _of(sessions, request)
        if session is not None:
            session.cancel()
        return JSONResponse({"success": True, "data": None, "code": None, "message": None})

    return abort


def _session(sessions: Sessions) -> Handler:
    async def heartbeat_or_end(request: Request) -> Response:
        session = _of(sessions, request)
        if session is None:
            return _refused("390111", "Session no longer exists. New login required to access the service.")
        if request.query_params.get("delete"):
            async with session.turn:
                await asyncio.to_thread(sessions.end, session.id)
        return JSONResponse({"data": None, "code": None, "message": None, "success": True})

    return heartbeat_or_end


def _of(sessions: Sessions, request: Request) -> Session | None:
    try:
        return sessions.of_token(server.to_token(request))
    except server.ServerError:
        return None
