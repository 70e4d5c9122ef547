"""A request that a system received, taken apart: its parameters, and where its credentials travelled."""

import hashlib
import json
import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, parse_qsl

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


class Seen:
    """One request that a system received. Its ``repr`` leaves out everything that may hold a secret."""

    def __init__(
        self, at: str, method: str, target: str, headers: Mapping[str, str], body: bytes, certificate: bytes | None
    ) -> None:
        #: ``token``, ``refresh`` (auth-api's second endpoint), ``metadata`` or ``api`` (all other paths).
        self.at = at
        self.method, self.body = method, body
        self.target = target  #: As in the request line, with the query.
        self.headers = headers  #: Names in lower case; repeated ones are joined by a comma.
        #: The thumbprint (``x5t#S256``) of the client's certificate; empty if there was none.
        self.certificate = "" if certificate is None else digest(certificate)
        self.status = 0  #: The HTTP status of the answer.
        self.error = ""  #: The error code of a refusal.
        self.time = 0.0  #: When it was received, by the sandbox's clock: Unix seconds.
        self.media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self.in_query, self.in_body, self.is_malformed = dict[str, str](), dict[str, str](), False
        if at != "api":
            try:
                self.in_query = _read_form(target.partition("?")[2])
                read = {FORM: _read_form, JSON: _read_json}.get(self.media_type)
                self.in_body = read(body.decode()) if read else {}
            except ValueError:
                self.is_malformed = True
        self.grant_type = (self.in_query | self.in_body).get("grant_type", "")  #: As sent; empty if there was none.
        scheme, _, self.authorization = headers.get("authorization", "").partition(" ")
        query = parse_qs(target.partition("?")[2], keep_blank_values=True) if at == "api" else {}
        #: The access token of an API request, in whichever place; empty if there was none.
        self.token = self.authorization or headers.get("x-auth-token", "") or ", ".join(query.get("access_token", []))
        self.basic = ""  #: The decoded Basic credentials; empty if they are not Base64.
        with suppress(ValueError):
            self.basic = b64decode(self.authorization, validate=True).decode()
        self.places = self._places_of_credentials(scheme, {*self.in_query, *query})
        #: Where the credentials travelled: ``Basic``, ``Basic, URL-encoded``, ``Bearer``, ``DPoP``, ``Authorization``
        #: (any other scheme or spelling), ``X-API-Key``, ``X-Auth-Token``, ``query``, ``form``, ``JSON body``,
        #: ``client assertion``, ``certificate`` (of a token request), ``refresh token in form``, ``none``. Several,
        #: which are always refused, are joined by ``and``.
        self.credentials = " and ".join(self.places) or "none"

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in ("at", "method", "status", "credentials", "grant_type")}
        return f"Seen({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def _places_of_credentials(self, scheme: str, query: set[str]) -> list[str]:
        # Credentials that hold an unencoded character, such as +, were sent as they are.
        encoded = "%" in self.basic and re.fullmatch(r"(?:[\w.~:-]|%[0-9A-Fa-f]{2})*", self.basic, re.ASCII)
        schemes = {"Basic": "Basic, URL-encoded" if encoded else "Basic", "Bearer": "Bearer", "DPoP": "DPoP"}
        secret = {"client_id", "client_secret", "username", "password", "app_id", "app_secret"}
        # With these, the id is no more than a name.
        has_assertion, has_certificate = "client_assertion" in self.in_body, self.certificate and self.at == "token"
        in_body = secret - ({"client_id"} if has_assertion or has_certificate else set())
        places = {
            schemes.get(scheme, "Authorization"): "authorization" in self.headers,
            "X-API-Key": "x-api-key" in self.headers,
            "X-Auth-Token": "x-auth-token" in self.headers,
            "query": query & ({"access_token"} if self.at == "api" else {*secret, "client_assertion"}),
            "JSON body" if self.media_type == JSON else "form": in_body & self.in_body.keys(),
            "client assertion": has_assertion,
            "certificate": has_certificate,
            "refresh token in form": self.at == "refresh" and "refresh_token" in self.in_body,
        }
        return [place for place, used in places.items() if used]


def digest(content: bytes) -> str:
    """Return the SHA-256 of *content* in Base64, as ``ath`` and ``x5t#S256`` have it."""
    return urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def _read_form(text: str) -> dict[str, str]:
    if not re.fullmatch(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*", text):
        raise ValueError
    return _unique(parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict"))


def _read_json(text: str) -> dict[str, str]:
    parameters = json.loads(text or "{}", object_pairs_hook=_unique)
    if type(parameters) is not dict:
        raise ValueError
    return parameters


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, str]:
    parameters = dict(pairs)
    if len(parameters) < len(pairs) or not all(isinstance(value, str) for value in parameters.values()):
        raise ValueError
    return parameters
