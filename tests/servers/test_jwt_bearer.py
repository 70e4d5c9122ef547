"""The JWT bearer grant against Authlib's own server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from auth_plugins import JWTBearer, SignedJWT, TokenRequestError
from tests.servers.authlib_jwt_bearer import AuthlibJWTBearer
from tests.support.drivers import ALL, Driver, each
from tests.support.keys import pem


@pytest.fixture(scope="module")
def running() -> Iterator[AuthlibJWTBearer]:
    with AuthlibJWTBearer() as server:
        yield server


@pytest.fixture
def server(running: AuthlibJWTBearer) -> AuthlibJWTBearer:
    running.reset()
    return running


def grant(server: AuthlibJWTBearer, number: int = 0, **changes: Any) -> JWTBearer:
    return JWTBearer(server.token_url, SignedJWT(pem("ES256", number), **{"issuer": server.issuer, **changes}))


@pytest.mark.parametrize("driver", each(ALL))
@pytest.mark.parametrize("subject", [None, AuthlibJWTBearer.subject])
def test_a_signed_assertion_is_accepted(server: AuthlibJWTBearer, driver: Driver, subject: str | None) -> None:
    """The server accepts each assertion, and no assertion comes twice: neither after a 401 nor in another library."""
    auth = driver.auth(grant(server, subject=subject))
    for _ in range(3):
        assert driver.get(server.api_url, auth).status == 200
        server.revoke_access_tokens()
    calls = server.token_requests()
    assert [call.status for call in calls] == [200] * 3
    assert len({call.form["assertion"] for call in calls}) == 3


@pytest.mark.parametrize(
    "changes",
    [{"number": 1}, {"issuer": "other"}, {"subject": "bob"}, {"audience": "https://other.example.com"}],
    ids=["key", "issuer", "subject", "audience"],
)
def test_a_wrong_assertion_is_refused(server: AuthlibJWTBearer, changes: dict[str, Any]) -> None:
    """The error says what to check, and the assertion is sent once."""
    auth = ALL[0].auth(grant(server, **changes))
    for _ in range(2):
        with pytest.raises(TokenRequestError, match="trusts the issuer for this subject") as caught:
            ALL[0].get(server.api_url, auth)
        assert caught.value.error == "invalid_grant"
    assert len(server.token_requests()) == 1
