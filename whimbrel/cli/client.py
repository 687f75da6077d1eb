"""Requests to the REST API, and its envelope turned back into results and errors."""

from __future__ import annotations

import ssl
import time
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from whimbrel.errors import (
    HostUnreachable,
    InternalError,
    InvalidRequest,
    OperationTimeout,
    TlsFailed,
    WhimbrelError,
    from_json,
)

SYNC_SECONDS = 16 * 60.0  # a little more than the API's own bound
TRIES = 3
_URL_REMEDY = "Give --url or WHIMBREL_URL like https://127.0.0.1:9443."


def path(*parts: str) -> str:
    """``/v1/a/b`` with each part quoted."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


class ApiClient:
    """One connection pool. Every call returns ``result`` or raises the envelope's error as its own class."""

    def __init__(self, url: str, api_key: str, verify: ssl.SSLContext) -> None:
        """Raises InvalidRequest unless the URL is one of HTTPS: over HTTP everybody on the way could read the key."""
        _require_https(url)
        self._url = url
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"},
            verify=verify,
            timeout=httpx.Timeout(SYNC_SECONDS, connect=10.0),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        start: bool = False,
        request_id: str | None = None,
    ) -> Any:
        """Any request; ``start`` as in ``start`` below. Parts of ``query`` that are None are left out."""
        if start:
            return self.start(path, body or {}, request_id)
        given = {k: v for k, v in (query or {}).items() if v is not None}
        return self._send(method, path, params=given, json=body)

    def get(self, path: str, **query: Any) -> Any:
        return self._send("GET", path, params={k: v for k, v in query.items() if v is not None})

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return self._send("PUT", path, json=body)

    def delete(self, path: str) -> Any:
        return self._send("DELETE", path)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._send("POST", path, json=body)

    def start(self, path: str, body: Mapping[str, Any], request_id: str | None) -> Any:
        """Start an operation; sent again under the same id when the connection breaks, it is started once."""
        headers = {"X-Request-Id": request_id or str(uuid.uuid4())}
        for attempt in range(1, TRIES + 1):
            try:
                return self._send("POST", path, json=body, headers=headers)
            except HostUnreachable:
                if attempt == TRIES:
                    raise
                time.sleep(attempt)
        raise AssertionError("unreachable")

    def _send(self, method: str, path: str, **options: Any) -> Any:
        try:
            return unwrap(self._http.request(method, path, **options))
        except httpx.ReadTimeout as e:
            raise OperationTimeout(f"{self._url} did not answer within {SYNC_SECONDS:g} s") from e
        except httpx.HTTPError as e:
            if isinstance(e.__cause__, ssl.SSLError) or "CERTIFICATE_VERIFY" in str(e):
                raise TlsFailed(
                    f"{self._url}: {e}", remedy="Set WHIMBREL_CA to the certificate (or CA) of this API.", api=self._url
                ) from e
            raise HostUnreachable(
                f"the API at {self._url} cannot be reached: {e}",
                remedy="Start it with 'whimbrel up' or 'whimbrel serve', or set WHIMBREL_URL.",
                api=self._url,
            ) from e


def _require_https(url: str) -> None:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as e:
        raise InvalidRequest(f"{url!r} is not a URL: {e}", remedy=_URL_REMEDY) from e
    if parsed.scheme != "https" or not parsed.host:
        raise InvalidRequest(f"{url!r} is not a URL of HTTPS, which is all that the API speaks", remedy=_URL_REMEDY)


def unwrap(response: httpx.Response) -> Any:
    """The envelope's result. Raises its error, or InternalError when the answer is no envelope."""
    try:
        envelope = response.json()
        success, result, error = envelope["success"], envelope.get("result"), envelope.get("error")
    except (ValueError, KeyError, TypeError) as e:
        raise InternalError(
            f"{response.url} answered HTTP {response.status_code}, which is no Whimbrel API",
            remedy="Check --url or WHIMBREL_URL, and what stands between here and there.",
            api=str(response.url),
        ) from e
    if success:
        return result
    raise _error(error or {})


def _error(error: dict[str, Any]) -> WhimbrelError:
    raised = from_json(error)
    raised.code = error.get("code", raised.code)  # type: ignore[misc]  # a newer API may know more codes than we do
    return raised
