"""The protocol engine: Authlib's OAuth2 client builds what is asked and reads what is answered.

The only file that imports Authlib; none of its types or errors leaves it. It does no I/O: every HTTP library and mode
shares it. ``tests/test_authlib_contract.py`` pins what it relies on.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from authlib.oauth2.client import OAuth2Client

from .messages import Redactor, RequestFacts, TokenRequest

__all__ = ["CLIENT_AUTH_METHODS", "build", "members_of"]

_Parts = tuple[str, dict[str, str], str]  # URL, headers, form-encoded parameters
_Pair = tuple[str, Any]


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _client_secret_basic(client: Any, _method: str, url: str, headers: dict[str, str], body: str) -> _Parts:
    """RFC 6749 §2.3.1; a space as ``%20``, which every server seen decodes where some fail on ``+``."""
    headers["Authorization"] = _basic(quote(client.client_id, safe=""), quote(client.client_secret, safe=""))
    return url, headers, body


def _client_secret_basic_raw(client: Any, _method: str, url: str, headers: dict[str, str], body: str) -> _Parts:
    """RFC 7617, which many servers want in spite of RFC 6749; Authlib's own is Latin-1, and fails on ``€``."""
    headers["Authorization"] = _basic(client.client_id, client.client_secret)
    return url, headers, body


def _client_secret_post(client: Any, _method: str, url: str, headers: dict[str, str], body: str) -> _Parts:
    """RFC 6749 §2.3.1, the parameters."""
    credentials = urlencode({"client_id": client.client_id, "client_secret": client.client_secret})
    return url, headers, f"{body}&{credentials}"


def _none(client: Any, _method: str, url: str, headers: dict[str, str], body: str) -> _Parts:
    """RFC 6749 §3.2.1: a public client names itself; where there is no client at all, nothing is sent."""
    return url, headers, f"{body}&{urlencode({'client_id': client.client_id})}" if client.client_id else body


_ClientAuth = Callable[[Any, str, str, dict[str, str], str], _Parts]

#: ``token_endpoint_auth_method`` by name, as in the IANA registry; ``client_secret_basic_raw`` is ours.
CLIENT_AUTH_METHODS: Mapping[str, _ClientAuth] = {
    "client_secret_basic": _client_secret_basic,
    "client_secret_basic_raw": _client_secret_basic_raw,
    "client_secret_post": _client_secret_post,
    "none": _none,
}


#: Names of parameters and headers that say it.
_SECRET_NAMES = r"(?i)secret|pass|pwd|pin\b|key|token|assert|code|otp|sign|auth|cred|proof|cookie"
#: What no dictionary has: eight characters or more, letters and digits.
_ODD_WORD = r"(?=.{8})(?=.*\d)(?=.*[^\W\d])"
_SECRET_PARAMETERS = frozenset({"password", "refresh_token", "token"})
#: Parameters, and a header, that prove who the client is.
_PROOFS = frozenset({"client_secret", "client_assertion", "authorization"})
#: The scope, and tokens to be renewed or revoked, which need none.
_SCOPED = frozenset({"scope", "refresh_token", "token"})
#: What people copy from elsewhere, and what such a copy brings along.
_TYPED = ("client_id", "client_secret", "username", "password", "refresh_token", "scope")
_ODD_ENDS = " \t\r\n\v\f\xa0\ufeff\"'`"
#: No HTTP cache on the way may store secrets and tokens (RFC 9111 §5.2.1.5).
_HEADERS = {"Accept": "application/json", "Cache-Control": "no-store"}


class _Client(OAuth2Client):  # type: ignore[misc]  # Authlib has no type hints (authlib#460)
    """Authlib's client, which hands over a prepared request where it would send one."""

    def _fetch_token(self, url: str, body: str, headers: Mapping[str, str], auth: Any, method: str) -> _Parts:
        parts: _Parts = auth.prepare(method, url, dict(headers), body)
        return parts

    def _http_post(self, url: str, body: str, auth: Any, headers: Mapping[str, str]) -> _Parts:
        return self._fetch_token(url, body, headers, auth, "POST")


def build(
    url: str,
    parameters: Mapping[str, str],
    *,
    resources: Sequence[str],
    params: Sequence[_Pair],
    headers: Sequence[tuple[str, str]],
    client_id: str | None,
    client_secret: str | None,
    client_auth: str,
    encoding: str,
    method: str,
    endpoint: str = "token_url",
) -> TokenRequest:
    """Build a token request, or a revocation request where *parameters* hold no ``grant_type``.

    :param resources: one ``resource`` parameter each (RFC 8707 §2); Authlib cannot repeat one.
    :param endpoint: the option that holds *url*.
    :param params: the user's own parameters, applied last: they replace a standard one of the same name, and
        ``None`` takes it out.
    """
    query_of_ones_own = url.partition("?")[2]
    client = _Client(
        session=None, client_id=client_id, client_secret=client_secret, token_endpoint_auth_method=client_auth
    )
    client.register_client_auth_method((client_auth, CLIENT_AUTH_METHODS[client_auth]))
    ask = client.fetch_token if "grant_type" in parameters else client.revoke_token
    auth = client.client_auth(client_auth)
    url, own_headers, body = ask(url, auth=auth, headers=dict(_HEADERS), **parameters)
    pairs: list[_Pair] = [*parse_qsl(body, keep_blank_values=True), *(("resource", each) for each in resources)]
    for name, value in params:
        pairs = [pair for pair in pairs if pair[0] != name]
        if value is not None:
            pairs += [(name, each) for each in value] if isinstance(value, tuple) else [(name, value)]

    content = b""
    if encoding == "query" or method == "GET":
        # %20 and not +: some servers decode a query by the rules of a path.
        query = urlencode([(name, _as_text(value)) for name, value in pairs], quote_via=quote, safe="")
        url = f"{url}{'&' if '?' in url else '?'}{query}" if query else url
    elif encoding == "json":
        own_headers["Content-Type"] = "application/json"
        content = json.dumps(_gathered(pairs)).encode()
    else:
        own_headers["Content-Type"] = "application/x-www-form-urlencoded"
        content = urlencode([(name, _as_text(value)) for name, value in pairs]).encode("ascii")

    hidden = [value for name, value in parameters.items() if name in _SECRET_PARAMETERS]
    hidden += [value for _, value in parse_qsl(query_of_ones_own)]
    # What the user adds may be a secret as well.
    hidden += [word for pair in (*params, *headers) for word in _secrets_in(*pair)]
    if client_secret:
        hidden += [client_secret, _basic(client_id or "", client_secret), own_headers.get("Authorization", "")]
    for name, value in headers:
        own_headers = {known: old for known, old in own_headers.items() if known.lower() != name.lower()}
        own_headers[name] = value
    redact = Redactor(value.removeprefix("Basic ") for value in hidden)
    sent = {**{name.lower(): "" for name in own_headers}, **dict(pairs)}
    facts = _facts(endpoint, {**parameters, "client_id": client_id, "client_secret": client_secret}, client_auth, sent)
    return TokenRequest(method=method, url=url, headers=own_headers, body=content, redact=redact, facts=facts)


def _facts(endpoint: str, values: Mapping[str, str | None], client_auth: str, sent: Mapping[str, Any]) -> RequestFacts:
    """What is true of the *values* of the grant, and of the parameters and headers that are *sent*."""
    pair = [value for name in ("client_id", "client_secret") if (value := values[name])]
    return RequestFacts(
        endpoint=endpoint,
        grant_type=str(sent.get("grant_type", "")),
        is_refresh="refresh_token" in sent,
        has_client=bool(values["client_id"]),
        has_secret=not _PROOFS.isdisjoint(sent),
        has_scope=not _SCOPED.isdisjoint(sent),
        odd_ends=tuple(name for name in _TYPED if (value := values.get(name)) and value != value.strip(_ODD_ENDS)),
        has_spellings="basic" in client_auth and any(quote(each, safe="") != each for each in pair),
    )


def _secrets_in(name: str, value: Any) -> list[str]:
    """What may be secret in a parameter or header: by its name any word, behind a scheme too; else odd ones.

    Ordinary words are not, or they would be taken out of every message.
    """
    values = value if isinstance(value, tuple) else (value,)
    words = [word for text in values if isinstance(text, str) for word in (text, *text.split())]
    return words if re.search(_SECRET_NAMES, name) else [word for word in words if re.search(_ODD_WORD, word)]


def _as_text(value: Any) -> str:
    """A parameter's value in a form or query; ``True`` is spelt as in JSON, not as in Python."""
    return value if isinstance(value, str) else json.dumps(value)


def _gathered(pairs: Sequence[_Pair]) -> dict[str, Any]:
    """A JSON object of *pairs*; a repeated name becomes an array."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name not in members:
            members[name] = value
        elif isinstance(members[name], list):
            members[name].append(value)
        else:
            members[name] = [members[name], value]
    return members


def members_of(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Let Authlib take in an answer that passed our own checks.

    It is asked last, not first: it takes any JSON object for a token, ``{"message": …}`` with a status of 400 too.
    """
    client = _Client(session=None)
    return dict(client.parse_response_token(_Checked(answer)))


class _Checked:
    """The part of a response that Authlib looks at, over members that have been checked."""

    status_code = 200

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = dict(members)

    def json(self) -> dict[str, Any]:
        return self._members
