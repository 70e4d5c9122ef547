"""Builds token requests and revocation requests by Authlib's OAuth2 client; no I/O.

With ``sign_in/authorization.py`` the only module that imports Authlib; none of its types or errors leaves it.
``tests/unit/test_authlib_contract.py`` states what it relies on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from authlib.oauth2.client import OAuth2Client

from auth_plugins._base.validation import has_odd_ends

from .client_authentication import CLIENT_AUTH_METHODS, Parts, basic
from .messages import RequestFacts, TokenRequest
from .redaction import Redactor, secret_words

_Pairs = Sequence[tuple[str, Any]]

_SECRET_PARAMETERS = frozenset(
    {
        "password", "refresh_token", "token", "client_assertion", "assertion", "subject_token", "actor_token",
        "code", "code_verifier", "device_code",
    }
)  # fmt: skip
#: Parameters, and a header, that prove who the client is.
_PROOFS = frozenset({"client_secret", "client_assertion", "authorization"})
#: Requests that need no scope have one of these, but for the first.
_SCOPED = frozenset({"scope", "refresh_token", "token", "code", "device_code"})
_CREDENTIALS = ("client_id", "client_secret", "username", "password")
#: No HTTP cache on the way may store secrets and tokens (RFC 9111 §5.2.1.5).
_HEADERS = {"Accept": "application/json", "Cache-Control": "no-store"}


class _Client(OAuth2Client):  # type: ignore[misc]  # Authlib has no type hints (authlib#460)
    """Authlib's client, which returns a prepared request instead of sending it."""

    def _fetch_token(self, url: str, body: str, headers: Mapping[str, str], auth: Any, method: str) -> Parts:
        parts: Parts = auth.prepare(method, url, dict(headers), body)
        return parts

    def _http_post(self, url: str, body: str, auth: Any, headers: Mapping[str, str]) -> Parts:
        return self._fetch_token(url, body, headers, auth, "POST")


def build(
    url: str,
    parameters: Mapping[str, str],
    *,
    resources: Sequence[str],
    params: _Pairs,
    headers: Sequence[tuple[str, str]],
    client_id: str | None,
    client_secret: str | None,
    client_auth: str,
    encoding: str,
    method: str,
    endpoint: str = "token_url",
    called: Sequence[str] = (),
    proof: Mapping[str, str] = MappingProxyType({}),
    names: Mapping[str, str] = MappingProxyType({}),
) -> TokenRequest:
    """Build a token request, or a revocation request where *parameters* hold no ``grant_type``.

    :param resources: one ``resource`` parameter each (RFC 8707 §2); Authlib cannot repeat one.
    :param endpoint: the option that holds *url*.
    :param params: the user's own parameters, applied last: they replace a standard one of the same name, and
        ``None`` removes it.
    :param called: the values among *params* and *headers* that callables returned: secrets, whatever their names.
    :param proof: parameters that authenticate the client, where *client_auth* alone does not.
    :param names: other names for standard parameters.
    """
    values = {**parameters, "client_id": client_id, "client_secret": client_secret}
    sent_url, sent_headers, body = _authlib_parts(url, parameters, client_id, client_secret, client_auth)
    own = [*_by_both_names(params, names), *headers, *(("secret", value) for value in called)]
    secrets = _secrets(url, {**parameters, **proof}, own)
    if client_secret:
        headers_of_client = (basic(client_id or "", client_secret), sent_headers.get("Authorization", ""))
        secrets += [client_secret, *(value.removeprefix("Basic ") for value in headers_of_client)]
    standard = [*parse_qsl(body, keep_blank_values=True), *proof.items(), *(("resource", each) for each in resources)]
    pairs = _replaced(_renamed(standard, names, params), params)
    sent_url, content_type, content = _encoded(sent_url, pairs, "query" if method == "GET" else encoding)
    if content_type:
        sent_headers["Content-Type"] = content_type
    sent_headers = _replaced_headers(sent_headers, headers)
    sent = {**dict.fromkeys(map(str.lower, sent_headers), ""), **_standard(pairs, names)}
    facts = _facts(endpoint, values, client_auth, sent)
    return TokenRequest(
        method=method, url=sent_url, headers=sent_headers, body=content, redact=Redactor(secrets), facts=facts
    )


def _secrets(url: str, parameters: Mapping[str, str], own: _Pairs) -> list[str]:
    """Return what may be secret in a request, but for the client: what the user adds, and the endpoint's own query."""
    secrets = [value for name, value in parameters.items() if name in _SECRET_PARAMETERS]
    secrets += [value for _, value in parse_qsl(url.partition("?")[2])]
    return secrets + [word for pair in own for word in secret_words(*pair)]


def _authlib_parts(
    url: str, parameters: Mapping[str, str], client_id: str | None, client_secret: str | None, client_auth: str
) -> Parts:
    """Have Authlib put together the standard parameters, and call our client authentication."""
    client = _Client(
        session=None, client_id=client_id, client_secret=client_secret, token_endpoint_auth_method=client_auth
    )
    client.register_client_auth_method((client_auth, CLIENT_AUTH_METHODS[client_auth]))
    prepare = client.fetch_token if "grant_type" in parameters else client.revoke_token
    parts: Parts = prepare(url, auth=client.client_auth(client_auth), headers=dict(_HEADERS), **parameters)
    return parts


def _renamed(pairs: _Pairs, names: Mapping[str, str], params: _Pairs) -> _Pairs:
    """Return standard *pairs* under their other *names*, without those that *params* remove by their standard name."""
    removed = {name for name, value in params if value is None}
    return [(names.get(name, name), value) for name, value in pairs if name not in removed]


def _by_both_names(params: _Pairs, names: Mapping[str, str]) -> _Pairs:
    """Return *params* by their own name and the standard one that it stands for: either says what is secret."""
    known = {other: name for name, other in names.items()}
    return [(f"{name} {known.get(name, '')}", value) for name, value in params]


def _standard(pairs: _Pairs, names: Mapping[str, str]) -> dict[str, Any]:
    """Return *pairs* by their standard names."""
    known = {other: name for name, other in names.items()}
    return {known.get(name, name): value for name, value in pairs}


def _replaced(pairs: _Pairs, params: _Pairs) -> _Pairs:
    """Return *pairs* with the user's own *params* in place of those of the same name."""
    for name, value in params:
        pairs = [pair for pair in pairs if pair[0] != name]
        if value is not None:
            pairs += [(name, each) for each in value] if isinstance(value, tuple) else [(name, value)]
    return pairs


def _replaced_headers(sent: Mapping[str, str], headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the headers *sent* with the user's own *headers* in place of those of the same name."""
    return dict({name.lower(): (name, value) for name, value in (*sent.items(), *headers)}.values())


def _encoded(url: str, pairs: _Pairs, encoding: str) -> tuple[str, str, bytes]:
    """Return URL, content type and body for *pairs*."""
    if encoding == "json":
        return url, "application/json", json.dumps(_members(pairs)).encode()
    # True is spelt as in JSON, not as in Python.
    texts = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in pairs]
    if encoding == "form":
        return url, "application/x-www-form-urlencoded", urlencode(texts).encode("ascii")
    # %20 and not +: some servers decode a query by the rules of a path.
    query = urlencode(texts, quote_via=quote, safe="")
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url, "", b""


def _members(pairs: _Pairs) -> dict[str, Any]:
    """Return *pairs* as the members of a JSON object; a repeated name becomes an array."""
    members: dict[str, list[Any]] = {}
    for name, value in pairs:
        members.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in members.items()}


def _facts(endpoint: str, values: Mapping[str, str | None], client_auth: str, sent: Mapping[str, Any]) -> RequestFacts:
    """Return what is true of the *values* of the grant, and of the parameters and headers that are *sent*."""
    given = {name: value for name, value in values.items() if value}
    client = [given[name] for name in ("client_id", "client_secret") if name in given]
    return RequestFacts(
        endpoint=endpoint,
        grant_type=str(sent.get("grant_type", "")),
        is_refresh="refresh_token" in sent,
        credentials=tuple(name for name in _CREDENTIALS if name in given),
        has_secret=not _PROOFS.isdisjoint(sent),
        has_scope=not _SCOPED.isdisjoint(sent),
        odd_ends=tuple(name for name in (*_CREDENTIALS, "refresh_token", "scope") if has_odd_ends(given.get(name, ""))),
        has_spellings="basic" in client_auth and any(quote(each, safe="") != each for each in client),
    )
