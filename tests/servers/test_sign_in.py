"""People sign in at Authlib's own server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from auth_plugins import AuthorizationCode, DeviceCode, Issuer, LoginRequiredError
from auth_plugins._base.runtime import runtime
from tests.servers.authlib_sign_in import AuthlibSignIn
from tests.support.drivers import ALL, Driver, each
from tests.support.sources import wait_for


@pytest.fixture(scope="module")
def running() -> Iterator[AuthlibSignIn]:
    with AuthlibSignIn() as server:
        yield server


@pytest.fixture
def server(running: AuthlibSignIn) -> AuthlibSignIn:
    running.reset()
    running.allows, running.slow, running.expired, running.polls = None, False, False, 0
    return running


@pytest.fixture
def pauses(server: AuthlibSignIn, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each pause between two requests for the outcome, which takes none."""
    found: list[float] = []
    wait = runtime.wait

    def wait_briefly(future: Any, seconds: float) -> None:
        found.append(seconds)
        wait(future, 0.01)

    monkeypatch.setattr(runtime, "wait", wait_briefly)
    return found


def person(answer: str) -> Any:
    def prompt(url: str) -> None:
        assert "Allow" in requests.get(url, timeout=20).text
        requests.post(url, data={"answer": answer}, timeout=20)

    return prompt


@pytest.mark.parametrize("driver", each(ALL))
def test_a_person_allows(server: AuthlibSignIn, driver: Driver) -> None:
    """Code, challenge and ``iss`` are right; then the token is refreshed."""
    grant = AuthorizationCode(
        Issuer(server.url), server.client_id, server.client_secret, scope="read", prompt=person("yes")
    )
    for _ in range(2):
        assert driver.get(server.api_url, driver.auth(grant)).status == 200
        server.revoke_access_tokens()
    assert [call.form["grant_type"] for call in server.token_requests()] == ["authorization_code", "refresh_token"]
    assert [call.status for call in server.token_requests()] == [200, 200]


def test_a_person_denies(server: AuthlibSignIn) -> None:
    """The error says so, and no token is requested."""
    grant = AuthorizationCode(Issuer(server.url), server.client_id, server.client_secret, prompt=person("no"))
    with pytest.raises(LoginRequiredError, match="was denied"):
        ALL[0].get(server.api_url, ALL[0].auth(grant))
    assert server.token_requests() == []


def device(server: AuthlibSignIn, prompt: Any) -> DeviceCode:
    return DeviceCode(Issuer(server.url), server.client_id, server.client_secret, scope="read", prompt=prompt)


@pytest.mark.parametrize("driver", each(ALL[:1]))
def test_a_device(server: AuthlibSignIn, driver: Driver, pauses: list[float]) -> None:
    """Pending, ``slow_down``, and allowed; then the token is refreshed."""
    server.slow = True

    def prompt(url: str, user_code: str) -> None:
        assert url == f"{server.url}/activate"
        assert len(user_code) == 9
        assert wait_for(lambda: server.polls >= 4)
        server.allows = True

    grant = device(server, prompt)
    for _ in range(2):
        assert driver.get(server.api_url, driver.auth(grant)).status == 200
        server.revoke_access_tokens()
    assert server.token_requests()[-1].form["grant_type"] == "refresh_token"
    assert {1.0, 6.0} <= set(pauses)


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize(("change", "words"), [({"allows": False}, "was denied"), ({"expired": True}, "expired")])
def test_a_device_without_a_token(server: AuthlibSignIn, change: dict[str, bool], words: str) -> None:
    """Denied and expired have errors of their own."""
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(LoginRequiredError, match=words):
        ALL[0].get(server.api_url, ALL[0].auth(device(server, lambda *_: None)))
