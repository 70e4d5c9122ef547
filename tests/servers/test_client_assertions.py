"""Client assertions against Authlib's authorization server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc.jwk import KeySet, import_key
from jwcrypto import jwk, jwt

from auth_plugins import (
    ClientAssertion,
    ClientCredentials,
    ClientSecretJWT,
    MemoryCache,
    PrivateKeyJWT,
    TokenRequestError,
    TokenSource,
)
from auth_plugins._client_auth.keys import load_key
from tests.servers.authlib_assertions import AuthlibAssertions
from tests.support.drivers import SYNC, Driver, each
from tests.support.keys import MAKERS, key, pem
from tests.support.keys import jwk as private_jwk
from tests.support.loopback import Clock


@pytest.fixture(scope="module")
def running() -> Iterator[AuthlibAssertions]:
    with AuthlibAssertions() as server:
        public = [key(name).as_dict(private=False, kid=name) for name in MAKERS]
        server.keys = KeySet([import_key(each) for each in public])
        yield server


@pytest.fixture
def server(running: AuthlibAssertions) -> AuthlibAssertions:
    running.reset()
    return running


def source(server: AuthlibAssertions, client_auth: Any, client: str = "key", secret: str | None = None) -> TokenSource:
    return TokenSource(
        ClientCredentials(server.token_url, client, secret, client_auth=client_auth), cache=MemoryCache()
    )


@pytest.mark.parametrize("algorithm", [*MAKERS, "PS256"])
def test_each_kind_of_key_is_accepted(server: AuthlibAssertions, algorithm: str) -> None:
    """The server accepts each algorithm, of PEM and JWK, and each renewal."""
    name = "RS256" if algorithm == "PS256" else algorithm
    for auth in (
        PrivateKeyJWT(pem(name), key_id=name, algorithm=algorithm),
        PrivateKeyJWT(private_jwk(name, kid=name), algorithm=algorithm),
    ):
        tokens = source(server, auth)
        first = tokens.token()
        tokens.invalidate(first)
        assert tokens.token().access_token != first.access_token


@pytest.mark.parametrize("algorithm", [*MAKERS, "PS256"])
def test_another_library_verifies_the_signature(algorithm: str) -> None:
    """jwcrypto, which shares no code with joserfc, accepts each signature."""
    name = "RS256" if algorithm == "PS256" else algorithm
    public = jwk.JWK.from_json(json.dumps(key(name).as_dict(private=False)))
    token = load_key("key", pem(name)).sign({"alg": algorithm}, {"iss": "me"})
    assert json.loads(jwt.JWT(jwt=str(token), key=public, algs=[algorithm]).claims) == {"iss": "me"}


@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
def test_the_secret_is_accepted(server: AuthlibAssertions, algorithm: str) -> None:
    """The server accepts an assertion that the client secret signs, though RFC 7518 wants a longer one."""
    assert source(server, ClientSecretJWT(algorithm=algorithm), "secret", server.client_secret).token().access_token


def test_an_assertion_is_accepted_once(server: AuthlibAssertions) -> None:
    """A ready-made assertion is accepted; sent again, the server refuses it, and the error says what to check."""
    source(server, PrivateKeyJWT(pem("ES256"), key_id="ES256")).token()
    server.seen.clear()
    ready = source(server, ClientAssertion(server.token_requests()[0].form["client_assertion"]))
    ready.invalidate(ready.token())
    with pytest.raises(TokenRequestError, match=r"JWT ID is used before.*check that client_assertion has not expired"):
        ready.token()


@pytest.mark.parametrize("driver", each(SYNC))
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key_id": "other"}, "kid"),
        ({}, "kid"),
        ({"key_id": "ES256", "audience": "https://other.example.com"}, "aud"),
        ({"key_id": "ES384"}, ""),
    ],
    ids=["another kid", "no kid", "another audience", "another key"],
)
def test_a_wrong_assertion_is_explained(
    server: AuthlibAssertions, driver: Driver, options: dict[str, Any], said: str
) -> None:
    """A wrong kid, audience or key is refused; the error names what to change."""
    grant = ClientCredentials(server.token_url, "key", client_auth=PrivateKeyJWT(pem("ES256"), **options))
    with pytest.raises(TokenRequestError) as caught:
        driver.get(server.api_url, driver.auth(grant, cache=MemoryCache()))
    for word in (said, "public key", "kid", "audience", "clock"):
        assert word in str(caught.value)
    assert len(server.token_requests()) == 1


@pytest.mark.parametrize("ahead", [-40, 9])
def test_a_clock_that_is_seconds_off_does_not_matter(server: AuthlibAssertions, clock: Clock, ahead: float) -> None:
    """A server without any leeway accepts an assertion of a machine whose clock is some seconds off."""
    clock.forward(ahead)
    assert source(server, PrivateKeyJWT(pem("ES256"), key_id="ES256")).token()


@pytest.mark.parametrize("ahead", [-300, 300])
def test_a_clock_that_is_minutes_off_is_named(server: AuthlibAssertions, clock: Clock, ahead: float) -> None:
    """A clock that is five minutes off is refused, and the error names it."""
    clock.forward(ahead)
    with pytest.raises(TokenRequestError, match="this machine's clock is right"):
        source(server, PrivateKeyJWT(pem("ES256"), key_id="ES256")).token()
