"""Tests that share no token: ``pytest isolated_tests.py``."""

import httpx
import pytest
import requests

import auth_plugins.requests
from auth_plugins import ClientCredentials, TokenRequestError
from auth_plugins.httpx import OAuth2Auth
from auth_plugins.testing import FakeTokens, TokenServer

GRANT = ClientCredentials(
    "https://id.example.com/token", "orders", "s3cr3t-of-orders"
)


def answer(request: httpx.Request) -> httpx.Response:
    """Play the API."""
    sent = {"sent": request.headers["Authorization"]}
    return httpx.Response(200, json=sent)


def test_without_a_token_request(fake_tokens: FakeTokens) -> None:
    """Every grant has a token; nothing is sent to a token endpoint."""
    client = httpx.Client(transport=httpx.MockTransport(answer))
    auth = OAuth2Auth(GRANT)
    response = client.get("https://api.example.com/", auth=auth)
    assert response.json() == {"sent": fake_tokens.token.header_value}
    fake_tokens.expire()
    response = client.get("https://api.example.com/", auth=auth)
    assert response.json() == {"sent": fake_tokens.token.header_value}
    assert fake_tokens.requests == [GRANT, GRANT]


def test_a_refusal(fake_tokens: FakeTokens) -> None:
    """The token endpoint refuses: nothing is sent to the API."""
    fake_tokens.refuse("invalid_client", "unknown client")
    auth = OAuth2Auth(GRANT)
    with pytest.raises(TokenRequestError) as caught:
        httpx.get("https://api.example.com/", auth=auth)
    assert caught.value.error == "invalid_client"


def test_with_real_servers(token_server: TokenServer) -> None:
    """A token that is revoked early is replaced."""
    grant = ClientCredentials(token_server.token_url, "any", "secret")
    auth = auth_plugins.requests.OAuth2Auth(grant)
    assert requests.get(token_server.api_url, auth=auth, timeout=60).ok
    token_server.revoke()
    response = requests.get(token_server.api_url, auth=auth, timeout=60)
    assert response.ok
    assert response.history[0].status_code == 401
    assert len(token_server.token_requests) == 2


@pytest.mark.usefixtures("fresh_tokens")
def test_with_a_mock_of_your_own() -> None:
    """Any mock of the library sees token requests too."""
    refusal = httpx.Response(401, json={"error": "invalid_client"})
    transport = httpx.MockTransport(lambda _: refusal)
    client = httpx.Client(transport=transport)
    auth = OAuth2Auth(GRANT, client=client)
    with pytest.raises(TokenRequestError):
        client.get("https://api.example.com/", auth=auth)
