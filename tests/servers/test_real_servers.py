"""The adapters against authorization servers that others wrote, started on loopback."""

from __future__ import annotations

import base64
import functools
import importlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import requests

from auth_plugins import (
    ClientCredentials,
    DeviceCode,
    Issuer,
    LoginRequiredError,
    MemoryCache,
    Password,
    TokenRequestError,
    TokenSource,
)
from tests.servers import AuthorizationServer
from tests.support.drivers import SYNC, Driver, each
from tests.support.sources import wait_for


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
    return [sent.form["grant_type"] for sent in server.token_requests()]


# The servers themselves: without these tests, the ones below might pass for no reason.


def request_token(server: AuthorizationServer, **parameters: str) -> requests.Response:
    """A token request as the client of the password grant."""
    credentials = {"client_id": server.password_client_id, "client_secret": server.password_client_secret}
    return requests.post(server.token_url, {**parameters, **credentials}, timeout=10)


def get_api(server: AuthorizationServer, access_token: str) -> int:
    return requests.get(server.api_url, headers={"Authorization": f"Bearer {access_token}"}, timeout=10).status_code


def test_a_refresh_token_that_is_spent_twice_ends_the_session(server: AuthorizationServer) -> None:
    """Each server detects a refresh token that is used twice, and revokes the tokens of that session."""
    first = request_token(server, grant_type="password", username=server.username, password=server.password).json()
    second = request_token(server, grant_type="refresh_token", refresh_token=first["refresh_token"]).json()
    assert get_api(server, second["access_token"]) == 200
    assert server.reuses == 0

    again = request_token(server, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert server.reuses == 1
    assert get_api(server, second["access_token"]) == 401
    after = request_token(server, grant_type="refresh_token", refresh_token=second["refresh_token"])
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


@pytest.mark.parametrize("client_auth", ["client_secret_basic", "client_secret_post"])
def test_one_token_serves_many_requests(server: AuthorizationServer, client_auth: str) -> None:
    """One token request serves all libraries, with special characters in id and secret; the expiry is the server's."""
    server.lifetime = 1234
    before = time.time()
    for driver in SYNC:
        auth = driver.auth(client_credentials(server, client_auth=client_auth))
        for _ in range(2):
            answer = driver.get(server.api_url, auth)
            assert (answer.status, json.loads(answer.text)) == (200, {"client": server.client_id})
    assert before + 1233 <= auth.source.token().expires_at <= time.time() + 1234

    (sent,) = server.token_requests()
    assert (sent.method, sent.form["grant_type"], sent.status) == ("POST", "client_credentials", 200)
    assert ("client_secret" in sent.form) == (client_auth == "client_secret_post")


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_token_revoked_early_is_replaced(server: AuthorizationServer, driver: Driver) -> None:
    """A token that the server revoked early is replaced, and each API request succeeds."""
    auth = driver.auth(client_credentials(server))
    for _ in range(3):
        assert driver.get(server.api_url, auth).status == 200
        server.revoke_access_tokens()
    assert grant_types(server) == ["client_credentials"] * 3


@pytest.mark.parametrize("driver", each(SYNC))
def test_the_password_is_sent_once(server: AuthorizationServer, driver: Driver) -> None:
    """The password is sent once, then each refresh token once; after a refused one, the password is sent once more."""
    auth = driver.auth(password(server))
    for _ in range(4):
        answer = driver.get(server.api_url, auth)
        assert (answer.status, json.loads(answer.text)) == (200, {"client": server.password_client_id})
        server.revoke_access_tokens()
    server.forget_refresh_tokens()
    for _ in range(2):
        assert driver.get(server.api_url, auth).status == 200

    first, *refreshes, refused, last = server.token_requests()
    assert [(sent.form["grant_type"], sent.form["password"]) for sent in (first, last)] == [
        ("password", server.password)
    ] * 2
    assert not any("password" in sent.form for sent in refreshes)
    assert len({sent.form["refresh_token"] for sent in (*refreshes, refused)}) == 4
    assert (refused.status, server.reuses) == (400, 0)


def test_thirty_threads_never_spend_a_refresh_token_twice(server: AuthorizationServer) -> None:
    """Thirty threads with three libraries use each refresh token once, over revocations; each request succeeds."""
    auths = [(driver, driver.auth(password(server))) for driver in SYNC]
    barrier = threading.Barrier(30)

    def get(number: int) -> int:
        driver, auth = auths[number % 3]
        barrier.wait(timeout=10)
        return driver.get(server.api_url, auth).status

    with ThreadPoolExecutor(30) as threads:
        for _ in range(4):
            assert set(threads.map(get, range(30))) == {200}
            server.revoke_access_tokens()

    assert server.reuses == 0
    assert grant_types(server) == ["password"] + ["refresh_token"] * 3


@pytest.mark.parametrize("driver", each(SYNC))
def test_wrong_credentials_are_an_error(server: AuthorizationServer, driver: Driver) -> None:
    """A wrong client secret or password raises a TokenRequestError that is the library's too; it is sent once."""
    # RFC 6749 §5.2 says invalid_grant; Authlib's server does not.
    refused = "invalid_request" if server.name == "authlib" else "invalid_grant"
    for grant, status, error in (
        (client_credentials(server, client_secret=f"{server.client_secret}-{driver}"), 401, "invalid_client"),
        (password(server, password=f"{server.password}-{driver}"), 400, refused),
    ):
        with pytest.raises(TokenRequestError) as caught:
            driver.get(server.api_url, driver.auth(grant))
        assert (caught.value.status_code, caught.value.error) == (status, error)
        assert isinstance(caught.value, driver.base_error)
    assert [sent.status for sent in server.token_requests()] == [401, 400]


# Its metadata


@pytest.mark.parametrize("driver", each(SYNC))
def test_the_metadata_of_a_real_server(driver: Driver, start: Callable[[str], AuthorizationServer]) -> None:
    """The toolkit's metadata name its token endpoint, and no other; a slash at the end makes another issuer."""
    server = start("django_toolkit:DjangoToolkit")
    server.reset()
    grant = ClientCredentials(Issuer(f"{server.url}/o"), server.client_id, server.client_secret)
    auth = driver.auth(grant)
    assert driver.get(server.api_url, auth).status == 200
    assert server.token_requests() == []  # its own token endpoint is /o/token/
    with pytest.raises(TokenRequestError, match=f"has the issuer {server.url}/o, not {server.url}/o/ .a slash"):
        driver.get(server.api_url, driver.auth(ClientCredentials(Issuer(f"{server.url}/o/"), "id", "s3cr3t")))


@pytest.mark.parametrize(
    ("status", "words"), [("authorized", ""), ("denied", "was denied"), ("expired", "sign-in expired")]
)
def test_a_person_enters_a_code_at_the_toolkit(
    start: Callable[[str], AuthorizationServer], status: str, words: str
) -> None:
    """Pending first; then there is a token, which is refreshed, or an error that says why there is none."""
    server: Any = start("django_toolkit:DjangoToolkit")
    server.reset()

    def decide(_: str, user_code: str) -> None:
        assert wait_for(lambda: len(server.token_requests()) > 0)
        server.decide(user_code, status)

    device_url = f"{server.url}/o/device-authorization/"
    grant = DeviceCode(server.token_url, server.device_client_id, device_url=device_url, scope="read", prompt=decide)
    source = TokenSource(grant, cache=MemoryCache())
    if words:
        with pytest.raises(LoginRequiredError, match=words):
            source.token()
        return
    source.invalidate(source.token())
    source.token()
    assert [call.status for call in server.token_requests()] == [400, 200, 200]
    assert server.token_requests()[-1].form["grant_type"] == "refresh_token"


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_real_server_revokes_tokens(driver: Driver, start: Callable[[str], AuthorizationServer]) -> None:
    """The toolkit accepts neither token after they were revoked; the next request sends the password."""
    server = start("django_toolkit:DjangoToolkit")
    server.reset()
    auth = driver.auth(password(server, revocation_url=f"{server.url}/o/revoke_token/"))
    assert driver.get(server.api_url, auth).status == 200
    token = auth.source.token()
    auth.source.revoke()
    assert get_api(server, token.access_token) == 401
    assert request_token(server, grant_type="refresh_token", refresh_token=token.refresh_token).status_code == 400
    assert driver.get(server.api_url, auth).history == []
    assert grant_types(server) == ["password", "refresh_token", "password"]
