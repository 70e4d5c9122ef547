"""A token in the query of the URL: there once, or not at all, and in no message of ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from auth_plugins import ApiKey, ClientCredentials
from tests.support.drivers import ALL, Driver, each
from tests.support.loopback import Loopback, Received, as_json

all_drivers = pytest.mark.parametrize("driver", each(ALL))


def check(server: Loopback) -> Any:
    """An API that accepts a live token as ``access_token``, once and in no header."""

    def play(received: Received) -> Any:
        return as_json({}, 200 if tokens_of(received)[-1:] and tokens_of(received)[0] in server.live else 401)

    return play


def tokens_of(received: Received) -> list[str]:
    """The tokens that a request carried in its query; in a header there is none."""
    assert "token-" not in str(received.headers)
    assert "authorization" not in received.headers
    return [value for name, value in parse_qsl(urlsplit(received.target).query) if name == "access_token"]


@all_drivers
def test_the_query_carries_the_token(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """The token is in the query, once and in no header; after a refusal the replay has the fresh one, once."""
    server.api = check(server)
    auth = driver.auth(grant, query="access_token")
    assert driver.get(server.api_url, auth).status == 200
    server.revoke()
    assert driver.get(f"{server.api_url}?a=1&access_token=old&b=2#there", auth).history == [401]
    assert [received.target for received in server.api_requests] == [
        "/api?access_token=token-1",
        "/api?a=1&access_token=token-1&b=2",
        "/api?a=1&access_token=token-2&b=2",
    ]
    assert not [each for each in server.api_requests if len(tokens_of(each)) != 1]


@all_drivers
def test_a_key_may_be_in_the_query(driver: Driver, server: Loopback) -> None:
    """An ApiKey names the parameter that carries it."""
    server.api = lambda _: as_json({})
    assert driver.get(server.api_url, driver.auth(ApiKey("k3y of mine&+", query="api_key"))).status == 200
    assert server.api_requests[0].target == "/api?api_key=k3y%20of%20mine%26%2B"
    assert "k3y" not in str(server.api_requests[0].headers)
