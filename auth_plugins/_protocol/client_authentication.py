"""Client authentication at the token endpoint (RFC 6749 §2.3): one function for each value of ``client_auth``."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

Parts = tuple[str, dict[str, str], str]  # URL, headers, form-encoded parameters
_Method = Callable[[Any, str, str, dict[str, str], str], Parts]


def basic(user: str, password: str) -> str:
    """Return the value of ``Authorization`` for Basic (RFC 7617), in UTF-8."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _client_secret_basic(client: Any, _method: str, url: str, headers: dict[str, str], body: str) -> Parts:
    """RFC 6749 §2.3.1. A space is sent as ``%20``, which every server seen decodes where some fail on ``+``."""
    headers["Authorization"] = basic(quote(client.client_id, safe=""), quote(client.client_secret, safe=""))
    return url, headers, body


def _client_secret_basic_raw(client: Any, _method: str, url: str, headers: dict[str, str], body: str) -> Parts:
    """RFC 7617, which many servers expect in spite of RFC 6749. Authlib's own is Latin-1, and fails on ``€``."""
    headers["Authorization"] = basic(client.client_id, client.client_secret)
    return url, headers, body


def _client_secret_post(client: Any, _method: str, url: str, headers: dict[str, str], body: str) -> Parts:
    """RFC 6749 §2.3.1, as parameters."""
    credentials = urlencode({"client_id": client.client_id, "client_secret": client.client_secret})
    return url, headers, f"{body}&{credentials}"


def _none(client: Any, _method: str, url: str, headers: dict[str, str], body: str) -> Parts:
    """RFC 6749 §3.2.1: a public client sends its id; without a client, nothing is sent."""
    return url, headers, f"{body}&{urlencode({'client_id': client.client_id})}" if client.client_id else body


#: By name, as in the IANA registry of ``token_endpoint_auth_method``; ``client_secret_basic_raw`` is ours. Authlib
#: calls each with its client, which holds the credentials.
CLIENT_AUTH_METHODS: Mapping[str, _Method] = {
    "client_secret_basic": _client_secret_basic,
    "client_secret_basic_raw": _client_secret_basic_raw,
    "client_secret_post": _client_secret_post,
    "none": _none,
}
