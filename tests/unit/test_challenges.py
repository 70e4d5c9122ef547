"""The challenges in WWW-Authenticate, and the GraphQL errors, by which an API refuses a token."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from auth_plugins import graphql_unauthenticated
from auth_plugins._protocol.challenges import bearer_errors

#: A header, and the errors of its Bearer and DPoP challenges.
CHALLENGES: dict[str | None, list[str]] = {
    None: [],
    "": [],
    "Bearer": [],
    'Bearer realm="a"': [],
    'Bearer error="invalid_token"': ["invalid_token"],
    "Bearer error=invalid_token": ["invalid_token"],
    'bearer realm="a, b", ERROR = "invalid_token", error_description="it expired"': ["invalid_token"],
    'DPoP algs="ES256", error="invalid_token"': ["invalid_token"],
    'Basic realm="x", Bearer scope="a", error="insufficient_scope"': ["insufficient_scope"],
    'Bearer realm="x", Basic error="invalid_token"': [],
    'Negotiate abc/+d==, Bearer error="invalid_token"': ["invalid_token"],
    'Bearer error="invalid_token", DPoP error="insufficient_scope"': ["invalid_token", "insufficient_scope"],
    'Bearer error_description="error=\\"invalid_token\\"", error="other"': ["other"],
    'Bearer realm="Bearer error=invalid_token"': [],
    'Bearer error="invalid\\_token"': ["invalid_token"],
    'Bearer error="invalid_token': ["invalid_token"],
    'Bearer error=""': [""],
    "Bearer error=": [""],
    'error="invalid_token"': [],
    '"" ,, =, Bearer ,error="invalid_token"': ["invalid_token"],
    f'Bearer realm="{"x" * 5000}", error="invalid_token"': [],
}


@pytest.mark.parametrize(("header", "errors"), CHALLENGES.items())
def test_the_errors_of_bearer_challenges(header: str | None, errors: list[str]) -> None:
    """The error of each Bearer and DPoP challenge is read, of no other scheme and of no quoted text."""
    assert bearer_errors(header) == errors


@pytest.mark.parametrize("part", ['"', '\\"', 'a="', "a = ", "a ", "= ", ',"\\'])
def test_a_long_header_is_read_at_once(part: str) -> None:
    """A header that is made to be read slowly takes no time."""
    began = time.perf_counter()
    bearer_errors("Bearer " + part * 30_000)
    assert time.perf_counter() - began < 0.5


UNAUTHENTICATED = '{"data": null, "errors": [{"message": "no", "extensions": {"code": "UNAUTHENTICATED"}}]}'


@pytest.mark.parametrize(
    ("content_type", "body", "is_refused"),
    [
        ("application/json", UNAUTHENTICATED, True),
        ("application/graphql-response+json; charset=utf-8", UNAUTHENTICATED, True),
        ("Application/JSON", f'[{{"data": {{}}}}, {UNAUTHENTICATED}]', True),
        ("text/html", UNAUTHENTICATED, False),
        ("", UNAUTHENTICATED, False),
        ("application/json", UNAUTHENTICATED.replace("UNAUTHENTICATED", "FORBIDDEN"), False),
        ("application/json", UNAUTHENTICATED.replace("extensions", "UNAUTHENTICATED"), False),
        ("application/json", '{"errors": [7, {"extensions": 7}, {"extensions": {"code": 7}}]}', False),
        ("application/json", '{"errors": 7}', False),
        ("application/json", '{"data": {}}', False),
        ("application/json", '"UNAUTHENTICATED"', False),
        ("application/json", "no JSON", False),
        ("application/json", "", False),
        ("application/json", "[" * 100_000, False),
    ],
)
def test_graphql_unauthenticated(content_type: str, body: str, is_refused: bool) -> None:
    """An error whose ``extensions.code`` is UNAUTHENTICATED refuses the token; nothing else does, nor raises."""
    response: Any = requests.Response()
    response._content, response.headers["Content-Type"] = body.encode(), content_type
    assert graphql_unauthenticated(response) is is_refused
