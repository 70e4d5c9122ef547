"""What the package relies on in Authlib, which builds its requests, and the traps that it avoids.

"Relied on" must stay so in a new release; where a "trap" is gone, what avoids it may go.
"""

from __future__ import annotations

import base64
import gc
import sys
from typing import Any
from urllib.parse import parse_qsl

import pytest
from authlib.common.urls import url_decode
from authlib.oauth2.client import OAuth2Client

from auth_plugins._protocol.client_authentication import CLIENT_AUTH_METHODS

URL = "https://id.example.com/token"
Call = tuple[tuple[Any, ...], dict[str, Any]]


class Client(OAuth2Client):
    """As ours: what would be sent is returned."""

    def _fetch_token(self, *args: Any, **kwargs: Any) -> Call:
        return args, kwargs

    def _http_post(self, *args: Any, **kwargs: Any) -> Call:
        return args, kwargs


class Answer:
    """The part of a response that Authlib reads."""

    status_code = 200

    def json(self) -> dict[str, Any]:
        return {"access_token": "tok"}


class Session:
    """What Authlib's own sending does with a session."""

    def __init__(self) -> None:
        self.posted: dict[str, Any] = {}

    def post(self, url: str, **kwargs: Any) -> Answer:
        self.posted = {"url": url, **kwargs}
        return Answer()


def client(**options: Any) -> Any:
    return Client(session=None, **{"client_id": "id", "client_secret": "s3cr3t", **options})


def test_fetch_token_hands_over_what_it_was_given() -> None:
    """Relied on: URL, auth and headers reach `_fetch_token` as they were given, and what that returns is returned."""
    auth, headers = object(), {"Accept": "application/json"}
    args, kwargs = client().fetch_token(URL, auth=auth, headers=headers, grant_type="g", a="b")
    assert args == (URL,)
    assert kwargs == {"auth": auth, "headers": headers, "body": "grant_type=g&a=b", "method": "POST"}


def test_the_body_is_a_form_that_reads_back() -> None:
    """Relied on: every parameter in its order, after `grant_type`, read back as it was by the standard library."""
    sent = {"username": "0", "password": "s +/&=%€\n;", "scope": "a b", "audience": "urn:x", "refresh_token": "r"}
    _, kwargs = client().fetch_token(URL, grant_type="password", **sent)
    assert parse_qsl(kwargs["body"]) == [("grant_type", "password"), *sent.items()]


def test_revoke_token_hands_over_what_it_was_given() -> None:
    """Relied on: the token and its kind reach `_http_post` as a form, behind the URL."""
    auth = object()
    args, kwargs = client().revoke_token(
        URL, auth=auth, headers={"Accept": "a"}, token="t +", token_type_hint="access_token"
    )
    assert args == (URL, "token=t+%2B&token_type_hint=access_token")
    assert kwargs["auth"] is auth
    assert kwargs["headers"]["Accept"] == "a"


@pytest.mark.parametrize("name", CLIENT_AUTH_METHODS)
def test_registered_client_authentication_wins(name: str) -> None:
    """Relied on: ours is called in place of Authlib's of the same name, with the credentials as attributes."""
    seen: list[Any] = []

    def ours(*args: Any) -> Any:
        seen.extend(args)
        return "url", {}, "body"

    authlib = client()
    authlib.register_client_auth_method((name, ours))
    assert authlib.client_auth(name).prepare("POST", URL, {"A": "b"}, "a=b") == ("url", {}, "body")
    who, *rest = seen
    assert (who.client_id, who.client_secret, rest) == ("id", "s3cr3t", ["POST", URL, {"A": "b"}, "a=b"])


def test_a_client_goes_without_a_sound(monkeypatch: pytest.MonkeyPatch) -> None:
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
    """Trap: RFC 6749 wants id and secret encoded, and `€` raises; so Basic is ours."""
    parts = client(client_id="a:b").client_auth("client_secret_basic").prepare("POST", URL, {}, "")
    assert base64.b64decode(parts[1]["Authorization"].removeprefix("Basic ")) == b"a:b:s3cr3t"
    with pytest.raises(UnicodeEncodeError):
        client(client_secret="€").client_auth("client_secret_basic").prepare("POST", URL, {}, "")


def test_no_client_is_called_none() -> None:
    """Trap: where there is no client, the server is told that there is one named None; so `none` is ours."""
    parts = client(client_id=None, client_secret=None).client_auth("none").prepare("POST", URL, {}, "a=b")
    assert parts[2] == "a=b&client_id=None"


def test_parameters_vanish_and_collapse() -> None:
    """Trap: falsy parameters vanish, lists raise, repeated ones collapse; so those of the user are added by us."""
    _, kwargs = client().fetch_token(URL, grant_type="g", a="", b=0, c=False, d="0")
    assert kwargs["body"] == "grant_type=g&d=0"
    with pytest.raises(TypeError):
        client().fetch_token(URL, grant_type="g", resource=["a", "b"])
    session = Session()
    OAuth2Client(session=session, client_id="id").fetch_token(URL, grant_type="g", body="resource=a&resource=b")
    assert session.posted["data"] == {"resource": "b", "grant_type": "g"}
    assert "timeout" not in session.posted
    assert "allow_redirects" not in session.posted, "and requests follows them, with the secret"


def test_a_renewal_forgets_what_the_grant_said() -> None:
    """Trap: a renewal sends the scope, and no audience; so a renewal is a `fetch_token` with its own grant type."""
    session = Session()
    authlib = OAuth2Client(session=session, client_id="id", scope="x", audience="y")
    authlib.refresh_token(URL, refresh_token="r")
    assert session.posted["data"] == {"grant_type": "refresh_token", "refresh_token": "r", "scope": "x"}


def test_a_guessed_grant_type_sticks() -> None:
    """Trap: what the first request was guessed to be, the next ones are; so the grant type is always passed."""
    authlib = client()
    authlib.fetch_token(URL, username="u", password="p")
    assert authlib.fetch_token(URL, a="b")[1]["body"] == "grant_type=password&a=b"


def test_an_error_shows_secrets() -> None:
    """Trap: a body that is no form is quoted whole; so what Authlib returns is parsed by the standard library."""
    with pytest.raises(ValueError, match="s3cr3t"):
        url_decode("password=s3cr3t€")
