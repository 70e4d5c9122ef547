"""The adapters against authorization servers that others wrote, started on loopback."""

from __future__ import annotations

import base64
import functools
import importlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import requests

from auth_plugins import ClientCredentials, MemoryCache, Password, TokenRequestError
from tests.servers import AuthorizationServer

LIBRARIES = ("requests", "httpx", "httpx2")


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[[str], AuthorizationServer]]:
    """Start a server by its name; the second call returns the same one."""
    with ExitStack() as running:

        @functools.cache
        def start(name: str) -> AuthorizationServer:
            module, _, kind = name.partition(":")
            server: AuthorizationServer = getattr(importlib.import_module(f".{module}", __package__), kind)()
            return running.enter_context(server)

        yield start


@pytest.fixture(params=["authlib_flask:AuthlibFlask", "django_toolkit:DjangoToolkit"], ids=["authlib", "toolkit"])
def server(request: pytest.FixtureRequest, start: Callable[[str], AuthorizationServer]) -> AuthorizationServer:
    server = start(request.param)
    server.reset()
    return server


class Opener:
    """Opens sessions and clients with an auth; those of one test share a cache."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._cache = MemoryCache()

    def __call__(self, library: str, grant: object) -> Any:
        http = importlib.import_module(library)
        client = self._stack.enter_context(http.Session() if library == "requests" else http.Client())
        client.auth = importlib.import_module(f"auth_plugins.{library}").OAuth2Auth(grant, cache=self._cache)
        return client


@pytest.fixture
def connect() -> Iterator[Opener]:
    with ExitStack() as stack:
        yield Opener(stack)


def client_credentials(server: AuthorizationServer, **changes: Any) -> ClientCredentials:
    return ClientCredentials(server.token_url, server.client_id, **{"client_secret": server.client_secret, **changes})


def password(server: AuthorizationServer, **changes: Any) -> Password:
    return Password(
        server.token_url,
        server.username,
        client_id=server.password_client_id,
        client_secret=server.password_client_secret,
        **{"password": server.password, **changes},
    )


def grant_types(server: AuthorizationServer) -> list[str]:
    return [asked.form["grant_type"] for asked in server.token_requests()]


# The servers themselves: without these tests, the ones below might pass for no reason.


def ask(server: AuthorizationServer, **parameters: str) -> requests.Response:
    """A token request as the client of the password grant."""
    credentials = {"client_id": server.password_client_id, "client_secret": server.password_client_secret}
    return requests.post(server.token_url, {**parameters, **credentials}, timeout=10)


def visit(server: AuthorizationServer, access_token: str) -> int:
    return requests.get(server.api_url, headers={"Authorization": f"Bearer {access_token}"}, timeout=10).status_code


def test_a_refresh_token_that_is_spent_twice_ends_the_session(server: AuthorizationServer) -> None:
    """Each server detects a refresh token that is used twice, and revokes the tokens of that session."""
    first = ask(server, grant_type="password", username=server.username, password=server.password).json()
    second = ask(server, grant_type="refresh_token", refresh_token=first["refresh_token"]).json()
    assert visit(server, second["access_token"]) == 200
    assert server.reuses == 0

    again = ask(server, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert server.reuses == 1
    assert visit(server, second["access_token"]) == 401
    after = ask(server, grant_type="refresh_token", refresh_token=second["refresh_token"])
    assert (after.status_code, after.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("encode", "statuses"),
    [
        (functools.partial(quote, safe=""), {"authlib": 200, "django-oauth-toolkit": 200}),
        (quote_plus, {"authlib": 401, "django-oauth-toolkit": 200}),
        (str, {"authlib": 401, "django-oauth-toolkit": 401}),
    ],
    ids=["percent-encoded", "form-encoded", "raw"],
)
def test_basic_credentials_are_decoded(
    server: AuthorizationServer, encode: Callable[[str], str], statuses: dict[str, int]
) -> None:
    """Each server decodes percent-encoded Basic credentials (RFC 6749 §2.3.1), and refuses raw special characters."""
    pair = base64.b64encode(f"{encode(server.client_id)}:{encode(server.client_secret)}".encode()).decode()
    response = requests.post(
        server.token_url, {"grant_type": "client_credentials"}, headers={"Authorization": f"Basic {pair}"}, timeout=10
    )
    assert response.status_code == statuses[server.name]


# The adapters.


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("client_auth", ["client_secret_basic", "client_secret_post"])
def test_one_token_serves_many_requests(
    server: AuthorizationServer, connect: Opener, library: str, client_auth: str
) -> None:
    """One token request serves many API requests, with special characters in id and secret."""
    client = connect(library, client_credentials(server, client_auth=client_auth))
    for _ in range(4):
        response = client.get(server.api_url)
        assert (response.status_code, response.json()) == (200, {"client": server.client_id})

    (asked,) = server.token_requests()
    assert (asked.method, asked.form["grant_type"], asked.status) == ("POST", "client_credentials", 200)
    assert ("client_secret" in asked.form) == (client_auth == "client_secret_post")


def test_the_libraries_share_a_token(server: AuthorizationServer, connect: Opener) -> None:
    """Auths of three libraries share one token."""
    for library in LIBRARIES:
        assert connect(library, client_credentials(server)).get(server.api_url).status_code == 200
    assert grant_types(server) == ["client_credentials"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_token_revoked_early_is_replaced(server: AuthorizationServer, connect: Opener, library: str) -> None:
    """A token that the server revoked early is replaced, and each API request succeeds."""
    client = connect(library, client_credentials(server))
    for _ in range(3):
        assert client.get(server.api_url).status_code == 200
        server.revoke_access_tokens()
    assert grant_types(server) == ["client_credentials"] * 3


def test_the_server_says_how_long_a_token_lives(server: AuthorizationServer, connect: Opener) -> None:
    """A token's expiry is that of the server's answer."""
    server.set_lifetime(1234)
    before = time.time()
    token = connect("requests", client_credentials(server)).auth.source.token()
    assert before + 1234 - 1 <= token.expires_at <= time.time() + 1234


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_password_is_sent_once(server: AuthorizationServer, connect: Opener, library: str) -> None:
    """The password is sent once; then each refresh token is used once."""
    client = connect(library, password(server))
    for _ in range(6):
        response = client.get(server.api_url)
        assert (response.status_code, response.json()) == (200, {"client": server.password_client_id})
        server.revoke_access_tokens()

    first, *later = server.token_requests()
    assert (first.form["grant_type"], first.form["password"]) == ("password", server.password)
    assert [asked.form["grant_type"] for asked in later] == ["refresh_token"] * 5
    assert not any("password" in asked.form for asked in later)
    assert len({asked.form["refresh_token"] for asked in later}) == 5
    assert server.reuses == 0


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_refused_refresh_token_costs_one_password_request(
    server: AuthorizationServer, connect: Opener, library: str
) -> None:
    """A refused refresh token is followed by one password request."""
    client = connect(library, password(server))
    assert client.get(server.api_url).status_code == 200
    server.forget_refresh_tokens()
    server.revoke_access_tokens()
    for _ in range(3):
        assert client.get(server.api_url).status_code == 200

    assert [(asked.form["grant_type"], asked.status) for asked in server.token_requests()] == [
        ("password", 200),
        ("refresh_token", 400),
        ("password", 200),
    ]


@pytest.mark.parametrize("libraries", [*((each,) for each in LIBRARIES), LIBRARIES], ids=[*LIBRARIES, "all-three"])
def test_thirty_threads_never_spend_a_refresh_token_twice(
    server: AuthorizationServer, connect: Opener, libraries: tuple[str, ...]
) -> None:
    """Thirty threads use each refresh token once, over five revocations, and each request succeeds."""
    clients = [connect(library, password(server)) for library in libraries]
    barrier = threading.Barrier(30)

    def get(number: int) -> int:
        barrier.wait(timeout=10)
        status: int = clients[number % len(clients)].get(server.api_url).status_code
        return status

    with ThreadPoolExecutor(30) as threads:
        assert set(threads.map(get, range(30))) == {200}
        for _ in range(5):
            server.revoke_access_tokens()
            assert set(threads.map(get, range(30))) == {200}

    assert server.reuses == 0
    assert grant_types(server) == ["password"] + ["refresh_token"] * 5


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_wrong_secret_is_an_error(server: AuthorizationServer, connect: Opener, library: str) -> None:
    """A wrong client secret raises a TokenRequestError that is also the library's; it is sent once."""
    secret = f"{server.client_secret}-{library}"
    http = importlib.import_module(library)
    with pytest.raises(TokenRequestError) as caught:
        connect(library, client_credentials(server, client_secret=secret)).get(server.api_url)

    assert caught.value.error == "invalid_client"
    assert caught.value.status_code == 401
    assert isinstance(caught.value, http.RequestException if library == "requests" else http.RequestError)
    assert [asked.status for asked in server.token_requests()] == [401]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_wrong_password_is_an_error(server: AuthorizationServer, connect: Opener, library: str) -> None:
    """A wrong password raises a TokenRequestError; it is sent once."""
    wrong = f"{server.password}-{library}"
    with pytest.raises(TokenRequestError) as caught:
        connect(library, password(server, password=wrong)).get(server.api_url)

    # RFC 6749 §5.2 says invalid_grant; Authlib's server does not.
    assert caught.value.error == {"authlib": "invalid_request"}.get(server.name, "invalid_grant")
    assert caught.value.status_code == 400
    assert grant_types(server) == ["password"]
