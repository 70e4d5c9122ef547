"""What debuggers, error reporters and pretty printers show: no secret and no token, in objects and in frames."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pprint
import reprlib
import traceback
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
import requests
import rich
import rich.console
import rich.pretty
from werkzeug.wrappers import Response

import auth_plugins.requests
from auth_plugins import (
    ApiKey,
    AuthError,
    ClientAssertion,
    ClientCredentials,
    DPoPKey,
    InsecureTransportError,
    MemoryCache,
    Password,
    PrivateKeyJWT,
    RefreshToken,
    Token,
    TokenSource,
    TokenTransportError,
)
from auth_plugins._base.hidden import Hidden
from auth_plugins._client_auth.keys import load_key
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import TokenResponse
from tests.support.frames import variables_of
from tests.support.keys import pem
from tests.support.loopback import Clock, Loopback, Received, as_json

SECRET, PASSWORD, REFRESH, ACCESS = "cl13nt-s3cr3t-7", "p4ssw0rd-of-ann", "r3fr3sh-t0k3n-7", "acc3ss-t0k3n-777"
KEY = pem("ES256")
ALL = (SECRET, PASSWORD, REFRESH, ACCESS, KEY.splitlines()[1])
TOKEN = Token(access_token=ACCESS, refresh_token=REFRESH, scope="read", extra={"a": [{"id_token": REFRESH}]})


def by_inspect(value: Any) -> str:
    console = rich.console.Console(file=StringIO(), width=200)
    rich.inspect(value, console=console, all=True)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


DUMPS: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "str": str,
    "pprint": lambda value: pprint.pformat(inspect.getmembers(value), width=5),
    "inspect.getmembers": lambda value: repr(inspect.getmembers(value)),
    "copy": lambda value: repr(inspect.getmembers(copy.deepcopy(value))),
    "reduce": lambda value: repr(value.__reduce_ex__(4)),
    "reprlib": lambda value: reprlib.repr([member for _, member in inspect.getmembers(value)]),
    "rich": lambda value: rich.pretty.pretty_repr(inspect.getmembers(value)),
    "rich, cut": lambda value: rich.pretty.pretty_repr(inspect.getmembers(value), max_string=8),
    "rich's inspect": by_inspect,
}
QUERY_URL = f"https://id.example.com/token?key={SECRET}"
OPTIONS: dict[str, Any] = {"params": {"pin": PASSWORD, "pins": [PASSWORD]}, "headers": {"X-Proof": SECRET}}
OBJECTS = [
    TOKEN,
    ClientCredentials("https://id.example.com/token", "id", SECRET, **OPTIONS),
    Password(QUERY_URL, "u", PASSWORD, "id", SECRET, **OPTIONS),
    RefreshToken(QUERY_URL, REFRESH, "id", lambda: SECRET, revocation_url=QUERY_URL),
    ApiKey(SECRET),
    ClientCredentials(QUERY_URL, "id", client_auth=PrivateKeyJWT(KEY)),
    ClientCredentials(QUERY_URL, "id", client_auth=ClientAssertion(SECRET)),
    ClientCredentials(QUERY_URL, "id", dpop=DPoPKey(KEY)),
    ClientCredentials(QUERY_URL, "id", dpop=DPoPKey(KEY)).prover(),
    load_key("key", KEY),
]


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("dump", DUMPS.values(), ids=DUMPS)
def test_a_dump_shows_no_secret(dump: Callable[[Any], str], value: object) -> None:
    """Copies, pretty printers and debuggers show neither a secret of a grant, nor a token, nor a part of it."""
    shown = dump(value)
    assert not [part for secret in ALL for part in (secret[:7], secret[-7:]) if part in shown]


def test_what_hides_itself_is_a_string_like_any() -> None:
    """A secret can be sent, joined, encoded, cut and pickled; its repr and those of its parts hide it."""
    value = TOKEN.header_value
    assert (value, f"{value}", str(value)) == (f"Bearer {ACCESS}",) * 3
    assert (value.encode(), pickle.loads(pickle.dumps(value))) == (b"Bearer " + ACCESS.encode(), value)
    secret = Hidden("first line\nsecond line")
    for part in (value, secret[:5], secret[::2], secret[0], *secret.splitlines()):
        assert repr(part) == repr(pickle.loads(pickle.dumps(part))) == "'***'"
    assert (secret[:5], secret.splitlines(keepends=True)) == ("first", ["first line\n", "second line"])
    grant = Password(QUERY_URL, "me", PASSWORD)
    assert repr(grant).startswith("Password(token_url='https://id.example.com/token?...', ")
    assert (str(grant.token_url), f"{grant.password}") == (QUERY_URL, PASSWORD)
    again = pickle.loads(pickle.dumps(grant))
    assert (again, repr(again)) == (grant, repr(grant))


# Frames


def assert_nothing_stored(error: BaseException) -> None:
    """No variable of the package's frames holds a secret."""
    stored = variables_of(error)
    assert stored, "there is no frame"
    assert [line for line in stored.splitlines() if any(secret in line for secret in ALL)] == []


def raising() -> str:
    raise LookupError("no such entry")


def echo(received: Received) -> dict[str, Any]:
    """Return members that quote the request and hold a token."""
    sent = [received.body.decode(), received.target, *received.headers.values()]
    words = [secret for secret in ALL if any(secret in text for text in sent)]
    return {"you_sent": [words, sent], **{word: {"access_token": ACCESS} for word in words}}


ANSWERS: dict[str, Callable[[Received], Response]] = {
    "a refusal": lambda received: as_json({"error": "invalid_client", **echo(received)}, 401),
    "an error in a 200": lambda received: as_json({"error": "x", "access_token": ACCESS, **echo(received)}),
    "no token": lambda received: as_json(echo(received)),
    "a token of another type": lambda _: as_json(
        {"access_token": ACCESS, "token_type": "mac", "refresh_token": REFRESH}
    ),
    "a token for no header": lambda _: as_json({"access_token": ACCESS + "\n"}),
    "a page": lambda received: Response(f"<p>{echo(received)}", 400),
    "a redirect": lambda received: as_json(echo(received), 302, Location=f"/{received.body.decode()}?{ACCESS}"),
    "too much": lambda _: as_json({"x": f"{ACCESS} " * 100_000}),
}
GRANTS: dict[str, Callable[..., Any]] = {
    "client credentials": lambda url, **options: ClientCredentials(url, "id", SECRET, **options),
    "password": lambda url, **options: Password(url, "ann", PASSWORD, "id", SECRET, **options),
    "refresh token": lambda url, **options: RefreshToken(url, REFRESH, "id", SECRET, **options),
    "key": lambda url, **options: Password(
        url, "ann", PASSWORD, "id", **{**options, "client_auth": PrivateKeyJWT(KEY)}
    ),
    "assertion": lambda url, **options: RefreshToken(
        url, REFRESH, **{**options, "client_auth": ClientAssertion(SECRET)}
    ),
}
POST: dict[str, Any] = {"client_auth": "client_secret_post", "encoding": "json"}
QUERY: dict[str, Any] = {"client_auth": "client_secret_post", "encoding": "query", "method": "GET"}


def failure(grant: Any, *, refreshes: bool, library: str = "requests") -> BaseException:
    """Return the error of the first token request, or of a refresh."""
    adapter = importlib.import_module(f"auth_plugins.{library}").OAuth2Auth
    source = adapter(grant, cache=MemoryCache(), timeout=2).source
    if refreshes:
        source.seed(TOKEN)
        source.invalidate(TOKEN)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any
        source.token()
    return caught.value


@pytest.mark.unmeasured
@pytest.mark.parametrize("refreshes", [False, True], ids=["first", "refresh"])
@pytest.mark.parametrize("options", [{}, POST, QUERY], ids=["basic", "post", "query"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("made", GRANTS.values(), ids=GRANTS)
def test_frames_of_a_refusal_hold_no_secret(
    made: Any, answer: Any, options: dict[str, Any], server: Loopback, *, refreshes: bool
) -> None:
    """An error reporter that stores each frame's variables gets no secret from a refusal, whatever was answered."""
    server.token_play = answer
    error = failure(made(server.token_url, **options), refreshes=refreshes)
    assert isinstance(error, AuthError)
    assert_nothing_stored(error)


@pytest.mark.unmeasured
@pytest.mark.parametrize("made", GRANTS.values(), ids=GRANTS)
@pytest.mark.parametrize("options", [{}, QUERY], ids=["basic", "query"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/token", "http://id.example.com/token"], ids=["closed", "insecure"])
@pytest.mark.parametrize("library", ["requests", "httpx"])
@pytest.mark.parametrize("refreshes", [False, True], ids=["first", "refresh"])
def test_frames_of_a_connection_error_hold_no_secret(
    made: Any, options: Any, url: str, library: str, monkeypatch: pytest.MonkeyPatch, *, refreshes: bool
) -> None:
    """No frame of an error before the answer holds a secret or the query, which may hold one."""
    Clock().rule(monkeypatch)
    error = failure(made(url, **options), refreshes=refreshes, library=library)
    assert isinstance(error, InsecureTransportError if "example" in url else TokenTransportError)
    assert_nothing_stored(error)
    assert "grant_type=" not in variables_of(error)


@pytest.mark.parametrize("made", GRANTS.values(), ids=GRANTS)
def test_frames_of_an_unexpected_error_hold_no_secret(made: Any) -> None:
    """No frame of an unexpected error of a session holds a secret."""
    session = requests.Session()
    session.mount("http://", Failing())
    source = auth_plugins.requests.OAuth2Auth(made("http://127.0.0.1:9/token"), session=session).source
    with pytest.raises((ValueError, AuthError)) as caught:
        source.token()
    assert_nothing_stored(caught.value)


class Failing(requests.adapters.BaseAdapter):
    """A user's own adapter, which raises an error."""

    def send(self, *_: Any, **__: Any) -> Any:
        raise ValueError("report it")

    def close(self) -> None:
        pass


@pytest.mark.parametrize("secret", [raising, lambda: SECRET + "\ud800"], ids=["raises", "odd"])
def test_frames_of_a_callable_that_fails_hold_no_secret(secret: Any) -> None:
    """The error of a secret that cannot be read holds none of the others."""
    for grant in (
        ClientCredentials("https://id.example.com/token", "id", secret),
        Password("https://id.example.com/token", "ann", PASSWORD, "id", secret),
        Password("https://id.example.com/token", "ann", secret, "id", SECRET),
        RefreshToken("https://id.example.com/token", secret, "id", SECRET),
    ):
        for refreshes in (False, True):
            assert_nothing_stored(failure(grant, refreshes=refreshes))


def test_frames_of_a_revocation_hold_no_token(server: Loopback) -> None:
    """No frame of a refused revocation holds a token."""
    server.token_play = ANSWERS["a refusal"]
    source = TokenSource(
        ClientCredentials(server.token_url, "id", SECRET, revocation_url=server.token_url), cache=MemoryCache()
    )
    source.seed(TOKEN)
    with pytest.raises(AuthError) as caught:
        source.revoke()
    assert_nothing_stored(caught.value)


def test_reading_an_answer_leaves_one_frame() -> None:
    """The frames that held the answer's members are not in the error's traceback."""
    requests: list[Any] = []
    GRANTS["password"]("https://id.example.com/token").request_token(lambda each: requests.append(each) or TOKEN)  # type: ignore[func-returns-value]
    answer = TokenResponse(status=400, headers={}, body=PASSWORD.encode(), received_at=0.0)
    with pytest.raises(AuthError) as caught:
        read(requests[0], answer, 0.0)
    assert [frame.name for frame in traceback.extract_tb(caught.tb)][1:] == ["read"]
