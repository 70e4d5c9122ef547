"""Tests that share no token: ``pytest isolated_tests.py``."""

from collections.abc import Iterator

import httpx
import pytest
import requests

import auth_plugins.requests
from auth_plugins import ClientCredentials, MemoryCache, TokenRequestError
from auth_plugins.httpx import OAuth2Auth
from auth_plugins.sandbox import Sandbox

GRANT = ClientCredentials(
    "https://id.example.com/token", "orders", "s3cr3t-of-orders"
)


def answer(request: httpx.Request) -> httpx.Response:
    """Play the token endpoint and the API."""
    if request.url.path == "/token":
        token = {"access_token": "abc", "expires_in": 60}
        return httpx.Response(200, json=token)
    sent = {"sent": request.headers["Authorization"]}
    return httpx.Response(200, json=sent)


def test_with_a_mocked_client() -> None:
    """The token endpoint and the API are mocked."""
    client = httpx.Client(transport=httpx.MockTransport(answer))
    # A cache of its own: no token of another test.
    auth = OAuth2Auth(GRANT, client=client, cache=MemoryCache())
    response = client.get("https://api.example.com/", auth=auth)
    assert response.json() == {"sent": "Bearer abc"}


def test_without_a_token_request() -> None:
    """A token that the test hands over: no token request is sent."""
    client = httpx.Client(transport=httpx.MockTransport(answer))
    auth = OAuth2Auth(GRANT, cache=MemoryCache())
    auth.source.seed({"access_token": "seeded", "expires_in": 3600})
    response = client.get("https://api.example.com/", auth=auth)
    assert response.json() == {"sent": "Bearer seeded"}


def test_a_refusal() -> None:
    """The token endpoint refuses: nothing is sent to the API."""
    refusal = httpx.Response(401, json={"error": "invalid_client"})
    transport = httpx.MockTransport(lambda _: refusal)
    client = httpx.Client(transport=transport)
    auth = OAuth2Auth(GRANT, client=client, cache=MemoryCache())
    with pytest.raises(TokenRequestError) as caught:
        client.get("https://api.example.com/", auth=auth)
    assert caught.value.error == "invalid_client"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Real servers on loopback."""
    with Sandbox(lifetime=60) as sandbox:
        yield sandbox


def test_with_real_servers(sandbox: Sandbox) -> None:
    """A token that is revoked early is replaced."""
    system = sandbox["jwt-api"]
    auth = auth_plugins.requests.OAuth2Auth.from_env(
        "ACME", system.variables("ACME"), cache=MemoryCache()
    )
    assert requests.get(system.api_url, auth=auth, timeout=60).ok
    system.revoke()
    response = requests.get(system.api_url, auth=auth, timeout=60)
    assert response.ok
    assert response.history[0].status_code == 401
    assert len(system.token_requests) == 2
