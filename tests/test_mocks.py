"""Users mock: their requests-mock and MockTransport see our token requests too."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

import pytest
import requests
from requests_mock import Mocker  # noqa: TC002 - pytest reads the annotations

import auth_plugins.requests
from auth_plugins import ClientCredentials

GRANT = ClientCredentials("https://id.example.com/token", "client", "s3cr3t", scope="read")
API = "https://api.example.com/things"


def test_requests_mock_sees_the_token_request(requests_mock: Mocker) -> None:
    """I mock both URLs with the fixture, as I mock anything else, and look at the history."""
    requests_mock.post("https://id.example.com/token", json={"access_token": "abc", "expires_in": 60})
    requests_mock.get(API, json={"ok": True})
    assert requests.get(API, auth=auth_plugins.requests.OAuth2Auth(GRANT), timeout=5).json() == {"ok": True}
    token_request, api_request = requests_mock.request_history
    assert token_request.text == "grant_type=client_credentials&scope=read"
    assert api_request.headers["Authorization"] == "Bearer abc"


def test_requests_mock_sees_a_renewal(requests_mock: Mocker) -> None:
    """A mocked 401 has the token renewed by another mocked request; nothing waits for a lock that the mock holds."""
    tokens = [{"json": {"access_token": name, "expires_in": 60}} for name in ("old", "new")]
    requests_mock.post("https://id.example.com/token", tokens)
    requests_mock.get(API, [{"status_code": 401}, {"text": "fine"}])
    response = requests.get(API, auth=auth_plugins.requests.OAuth2Auth(GRANT), timeout=5)
    assert (response.text, [each.status_code for each in response.history]) == ("fine", [401])
    assert [each.headers.get("Authorization") for each in requests_mock.request_history[1::2]] == [
        "Bearer old",
        "Bearer new",
    ]


@pytest.mark.parametrize("module", ["httpx", "httpx2"])
def test_mock_transport_sees_the_token_request(module: str) -> None:
    """I give client= a MockTransport, and see the token request in it."""
    library, plugin = importlib.import_module(module), importlib.import_module(f"auth_plugins.{module}")
    seen: list[Any] = []

    def play(request: Any) -> Any:
        seen.append(request)
        if request.url.path == "/token":
            return library.Response(200, json={"access_token": "abc", "expires_in": 60})
        return library.Response(200, json={"ok": request.headers.get("authorization")})

    transport = library.MockTransport(play)
    with library.Client(transport=transport) as client:
        auth = plugin.OAuth2Auth(GRANT, client=client)
        with library.Client(transport=transport, auth=auth) as api:
            assert api.get(API).json() == {"ok": "Bearer abc"}

        async def main() -> Any:
            async with library.AsyncClient(transport=transport, auth=auth) as api:
                return (await api.get(API)).json()

        assert asyncio.run(main()) == {"ok": "Bearer abc"}
    assert [request.url.path for request in seen] == ["/token", "/things", "/things"]
    assert seen[0].content == b"grant_type=client_credentials&scope=read"


@pytest.mark.parametrize("module", ["httpx", "httpx2"])
def test_the_flow_by_hand(module: str) -> None:
    """The auth flow is a generator: I drive it by hand, as the library's own tests do, without any network."""
    library, plugin = importlib.import_module(module), importlib.import_module(f"auth_plugins.{module}")
    answers = iter("ab")

    def play(request: Any) -> Any:
        return library.Response(200, json={"access_token": next(answers), "expires_in": 60})

    with library.Client(transport=library.MockTransport(play)) as client:
        request = library.Request("GET", API)
        flow = plugin.OAuth2Auth(GRANT, client=client).sync_auth_flow(request)
        assert next(flow).headers["Authorization"] == "Bearer a"
        assert flow.send(library.Response(401, request=request)).headers["Authorization"] == "Bearer b"
        with pytest.raises(StopIteration):
            flow.send(library.Response(200, request=request))
