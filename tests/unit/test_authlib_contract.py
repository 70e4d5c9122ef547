"""What the package relies on in Authlib, which builds its requests, and the traps that it avoids.

"Relied on" must stay so in a new release; where a "trap" is gone, what avoids it may go.
"""

from __future__ import annotations

import base64
import gc
import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl

import pytest
from authlib.common.urls import url_decode
from authlib.oauth2.client import OAuth2Client

from auth_plugins._protocol.client_authentication import CLIENT_AUTH_METHODS

URL = "https://id.example.com/token"
Call = tuple[tuple[Any, ...], dict[str, Any]]


class Client(OAuth2Client):
    """Returns what would be sent, as the package's client does."""

    def _fetch_token(self, *args: Any, **kwargs: Any) -> Call:
        return args, kwargs

    _http_post = _fetch_token


def client(**options: Any) -> Any:
    return Client(session=None, **{"client_id": "id", "client_secret": "s3cr3t", **options})


def test_what_would_be_sent_is_returned() -> None:
    """Relied on: URL, auth, headers and a form reach `_fetch_token` and `_http_post`, whose result is returned."""
    auth, headers = object(), {"Accept": "application/json"}
    args, kwargs = client().fetch_token(URL, auth=auth, headers=headers, grant_type="g", a="b")
    assert args == (URL,)
    assert kwargs == {"auth": auth, "headers": headers, "body": "grant_type=g&a=b", "method": "POST"}
    args, kwargs = client().revoke_token(URL, auth=auth, headers=headers, token="t +", token_type_hint="access_token")
    assert args == (URL, "token=t+%2B&token_type_hint=access_token")
    assert (kwargs["auth"], kwargs["headers"]["Accept"]) == (auth, "application/json")


def test_the_body_is_a_form_that_reads_back() -> None:
    """Relied on: every parameter in its order, after `grant_type`, read back as it was by the standard library."""
    sent = {"username": "0", "password": "s +/&=%€\n;", "scope": "a b", "audience": "urn:x", "refresh_token": "r"}
    _, kwargs = client().fetch_token(URL, grant_type="password", **sent)
    assert parse_qsl(kwargs["body"]) == [("grant_type", "password"), *sent.items()]


@pytest.mark.parametrize("name", CLIENT_AUTH_METHODS)
def test_registered_client_authentication_is_used(name: str) -> None:
    """Relied on: a registered function replaces Authlib's of that name, and gets the credentials as attributes."""
    ours = mock.Mock(return_value=("url", {}, "body"))
    authlib = client()
    authlib.register_client_auth_method((name, ours))
    assert authlib.client_auth(name).prepare("POST", URL, {"A": "b"}, "a=b") == ("url", {}, "body")
    given, *rest = ours.call_args.args
    assert (given.client_id, given.client_secret, rest) == ("id", "s3cr3t", ["POST", URL, {"A": "b"}, "a=b"])


def test_a_client_without_a_session_needs_no_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relied on: a client with `session=None` needs no closing. Trap: `__del__` fails where there is no `session`."""
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    authlib: Any = client()
    del authlib
    gc.collect()
    assert unraisable == []
    with pytest.raises(AttributeError, match="session"):
        OAuth2Client.__new__(OAuth2Client).__del__()
    gc.collect()


def test_basic_is_latin_1_and_unencoded() -> None:
    """Trap: RFC 6749 wants id and secret encoded, and `€` raises; so Basic is the package's own."""
    parts = client(client_id="a:b").client_auth("client_secret_basic").prepare("POST", URL, {}, "")
    assert base64.b64decode(parts[1]["Authorization"].removeprefix("Basic ")) == b"a:b:s3cr3t"
    with pytest.raises(UnicodeEncodeError):
        client(client_secret="€").client_auth("client_secret_basic").prepare("POST", URL, {}, "")


def test_an_absent_client_is_sent_as_none() -> None:
    """Trap: without a client, Authlib sends one that is called None; so `none` is the package's own."""
    parts = client(client_id=None, client_secret=None).client_auth("none").prepare("POST", URL, {}, "a=b")
    assert parts[2] == "a=b&client_id=None"


def posted(send: Any, **options: Any) -> dict[str, Any]:
    """How a client that *send* uses has called its session."""
    answer = SimpleNamespace(status_code=200, json=lambda: {"access_token": "tok"})
    session = mock.Mock(post=mock.Mock(return_value=answer))
    send(OAuth2Client(session=session, client_id="id", **options))
    call: dict[str, Any] = session.post.call_args.kwargs
    return call


def test_parameters_vanish_and_collapse() -> None:
    """Trap: falsy parameters vanish, lists raise, repeated ones collapse; so the package adds those of the user."""
    _, kwargs = client().fetch_token(URL, grant_type="g", a="", b=0, c=False, d="0")
    assert kwargs["body"] == "grant_type=g&d=0"
    with pytest.raises(TypeError):
        client().fetch_token(URL, grant_type="g", resource=["a", "b"])
    call = posted(lambda authlib: authlib.fetch_token(URL, grant_type="g", body="resource=a&resource=b"))
    assert call["data"] == {"resource": "b", "grant_type": "g"}
    assert "timeout" not in call
    assert "allow_redirects" not in call, "and requests follows them, with the secret"


def test_a_refresh_loses_parameters_of_the_grant() -> None:
    """Trap: a refresh sends the scope, and no audience; so a refresh is a `fetch_token` with its own grant type."""
    call = posted(lambda authlib: authlib.refresh_token(URL, refresh_token="r"), scope="x", audience="y")
    assert call["data"] == {"grant_type": "refresh_token", "refresh_token": "r", "scope": "x"}


def test_a_guessed_grant_type_is_kept() -> None:
    """Trap: the grant type that is guessed for the first request is that of all others; so it is always passed."""
    authlib = client()
    authlib.fetch_token(URL, username="u", password="p")
    assert authlib.fetch_token(URL, a="b")[1]["body"] == "grant_type=password&a=b"


def test_an_error_shows_secrets() -> None:
    """Trap: a body that is no form is quoted whole; so the standard library parses what Authlib returns."""
    with pytest.raises(ValueError, match="s3cr3t"):
        url_decode("password=s3cr3t€")
