"""Where the token stands on a request, on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from auth_plugins import ApiKey, ClientCredentials
from tests.support.drivers import ALL, Driver, each
from tests.support.loopback import Loopback, as_json

all_drivers = pytest.mark.parametrize("driver", each(ALL))


@pytest.mark.parametrize("header", ["Authorization", "X-Auth"])
@all_drivers
def test_a_scheme_may_say_where_the_token_stands(
    driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials, header: str
) -> None:
    """``{token}`` in a scheme is replaced by the token, in a replay too; no other origin gets it."""
    auth = driver.auth(grant, header=header, scheme="CWSAuth Bearer={token}")
    plays = iter([as_json({}, 401), as_json({}), as_json({}, 302, Location=other_server.api_url)])
    server.api = lambda _: next(plays)
    other_server.api = lambda _: as_json({})
    assert driver.get(server.api_url, auth).history == [401]
    assert driver.get(server.api_url, auth).history == [302]
    shown = [received.headers.get(header.lower()) for received in server.api_requests]
    assert shown == [f"CWSAuth Bearer=token-{number}" for number in (1, 2, 2)]
    assert "token-2" not in str(other_server.api_requests)


@all_drivers
def test_a_key_may_have_such_a_scheme(driver: Driver, server: Loopback) -> None:
    """``{token}`` in the scheme of an ApiKey is replaced by the key; other braces are sent as they are."""
    server.api = lambda _: as_json({})
    for scheme, value in (("key={token}", "key=k3y-of-mine"), ("{token}", "k3y-of-mine"), ("{x}", "{x} k3y-of-mine")):
        assert driver.get(server.api_url, driver.auth(ApiKey("k3y-of-mine", scheme=scheme))).status == 200
        assert server.api_requests[-1].headers["x-api-key"] == value


@all_drivers
def test_the_place_comes_from_the_environment(driver: Driver, server: Loopback) -> None:
    """HEADER and SCHEME say where the token stands."""
    variables = {"A_TOKEN_URL": server.token_url, "A_CLIENT_ID": "me", "A_CLIENT_SECRET": "s3cr3t"}
    kind: Any = type(driver.auth(ApiKey("k3y")))
    server.api = lambda _: as_json({})
    driver.get(server.api_url, kind.from_env("A", {**variables, "A_HEADER": "X-Auth", "A_SCHEME": "a={token}"}))
    assert server.api_requests[0].headers["x-auth"] == "a=token-1"
