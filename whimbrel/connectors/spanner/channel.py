"""The channel to the service: who logs in, and how a link that has gone silent is found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import google.auth
import grpc
from google.cloud.spanner_v1.services.spanner.transports.grpc import SpannerGrpcTransport
from google.oauth2 import credentials as user_credentials
from google.oauth2 import service_account

from whimbrel.connectors.spanner.config import HOST

_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
# A link that has gone silent is found without an answer that is waited for.
_OPTIONS: Final = [
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


def open_channel(parameters: Mapping[str, Any]) -> Any:
    """One that nothing was asked over yet. Raises what the vendor's library raises for a key that is none."""
    if "emulator_host" in parameters:
        return grpc.insecure_channel(parameters["emulator_host"], options=_OPTIONS)
    if "credentials_json" in parameters:
        key = json.loads(parameters["credentials_json"])
        made: Any = (
            user_credentials.Credentials.from_authorized_user_info
            if key.get("type") == "authorized_user"
            else service_account.Credentials.from_service_account_info
        )
        credentials = made(key, scopes=_SCOPES)
    else:
        credentials, _ = google.auth.default(scopes=_SCOPES)
    host = parameters.get("endpoint", HOST)
    return SpannerGrpcTransport.create_channel(host, credentials=credentials, scopes=_SCOPES, options=_OPTIONS)
