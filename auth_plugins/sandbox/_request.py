"""One HTTP request, taken apart: its parameters, and where its credentials travelled."""

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True)
class Seen:
    """One request that a system received. Its ``repr`` leaves out everything that may hold a secret."""

    at: str  #: ``token``, ``refresh`` (auth-api's second endpoint) or ``api`` (all other paths).
    method: str
    target: str = field(repr=False)  #: As in the request line, with the query.
    headers: Mapping[str, str] = field(repr=False)  #: Names in lower case; repeated ones are joined by a comma.
    body: bytes = field(repr=False)
    status: int  #: The HTTP status of the answer.
    #: Where the credentials travelled: ``Basic``, ``Basic, URL-encoded``, ``Bearer``, ``Authorization`` (any other
    #: scheme or spelling), ``X-API-Key``, ``query``, ``form``, ``JSON body``, ``refresh token in form`` or ``none``.
    #: Several, which are always refused, are joined by ``and``.
    credentials: str
    grant_type: str  #: As sent; empty if there was none.


class Request:
    """A request to a system; its parameters are read unless it is for the API."""

    def __init__(self, at: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        self.at, self.method, self.target, self.headers, self.body = at, method, target, headers, body
        self.media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self.in_query: dict[str, str] = {}
        self.in_body: dict[str, str] = {}
        self.is_malformed = False
        if at != "api":
            try:
                self.in_query = _read_form(target.partition("?")[2])
                read = {FORM: _read_form, JSON: _read_json}.get(self.media_type)
                self.in_body = read(body.decode()) if read else {}
            except ValueError:
                self.is_malformed = True
        self.grant_type = (self.in_query | self.in_body).get("grant_type", "")
        scheme, _, self.authorization = headers.get("authorization", "").partition(" ")
        self.basic = ""  # the decoded Basic credentials; empty if they are not Base64
        with suppress(ValueError):
            self.basic = b64decode(self.authorization, validate=True).decode()
        self.places = self._places_of_credentials(scheme)
        self.credentials = " and ".join(self.places) or "none"

    def _places_of_credentials(self, scheme: str) -> list[str]:
        # Credentials that hold an unencoded character, such as +, were sent as they are.
        encoded = "%" in self.basic and re.fullmatch(r"(?:[\w.~:-]|%[0-9A-Fa-f]{2})*", self.basic, re.ASCII)
        schemes = {"Basic": "Basic, URL-encoded" if encoded else "Basic", "Bearer": "Bearer"}
        secret = {"client_id", "client_secret", "username", "password"}
        places = {
            schemes.get(scheme, "Authorization"): "authorization" in self.headers,
            "X-API-Key": "x-api-key" in self.headers,
            "query": secret & self.in_query.keys(),
            "JSON body" if self.media_type == JSON else "form": secret & self.in_body.keys(),
            "refresh token in form": self.at == "refresh" and "refresh_token" in self.in_body,
        }
        return [place for place, used in places.items() if used]

    def seen(self, status: int) -> Seen:
        """Record the request, and the status that it was answered with."""
        sent = self.at, self.method, self.target, self.headers, self.body
        return Seen(*sent, status, self.credentials, self.grant_type)


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
