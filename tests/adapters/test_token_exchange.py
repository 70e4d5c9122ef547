"""``TokenExchange``: its wire and its arguments; and a source as subject, in each library and mode."""

from __future__ import annotations

import itertools
import pickle
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
import requests

from auth_plugins import (
    ClientCredentials,
    ConfigurationError,
    SecretFile,
    TokenExchange,
    TokenRequestError,
    TokenSource,
    from_env,
)
from auth_plugins.requests import OAuth2Auth
from tests.support.drivers import ALL, Driver, each, succeeded
from tests.support.forks import forks, in_child
from tests.support.loopback import Loopback, Received, as_json

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

URL = "https://id.example.com/token"
URN = "urn:ietf:params:oauth:token-type:"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
SUBJECT = "subject-s3cr3t"


class Exchange:
    """A server that issues a subject's tokens, and exchanges those that it has issued last."""

    def __init__(self, server: Loopback) -> None:
        self.url, self._numbers = server.token_url, itertools.count(1)
        self.server, server.token_play = server, self
        #: What was exchanged.
        self.exchanged: list[str] = []
        self.subject = ""

    def __call__(self, received: Received) -> Response:
        sent = dict(parse_qsl(received.body.decode()))
        if sent["grant_type"] == "client_credentials":
            self.subject = f"subject-{next(self._numbers)}"
            return as_json({"access_token": self.subject, "expires_in": 3600})
        self.exchanged.append(sent["subject_token"])
        if sent["subject_token"] != self.subject:
            return as_json({"error": "invalid_request"}, 400)
        answer = self.server.issue(received).get_json()
        return as_json({**answer, "issued_token_type": f"{URN}jwt", "token_type": "N_A"})


@pytest.fixture
def exchange(server: Loopback) -> Exchange:
    return Exchange(server)


def subject_of(exchange: Exchange) -> TokenSource:
    return TokenSource(ClientCredentials(exchange.url, "subject", "s3cr3t"))


@pytest.mark.parametrize("driver", each(ALL))
def test_a_token_is_exchanged_and_replaced(driver: Driver, exchange: Exchange, server: Loopback) -> None:
    """The exchanged token is sent as Bearer, whatever its type.

    Where an API rejects it, the subject's is exchanged again; so it is where the subject's changes.
    """
    subject = subject_of(exchange)
    auth = driver.auth(TokenExchange(exchange.url, subject, "gateway", "g4teway"))
    assert driver.get(server.api_url, auth).status == 200
    token = auth.source.token()
    assert (token.token_type, token.extra["issued_token_type"]) == ("N_A", f"{URN}jwt")
    server.revoke()
    answer = driver.get(server.api_url, auth)
    assert (answer.status, len(exchange.exchanged)) == (200, 2)
    subject.invalidate(subject.token())
    assert driver.get(server.api_url, auth).status == 200
    assert driver.get(server.api_url, auth).status == 200
    assert exchange.exchanged == ["subject-1", "subject-1", "subject-2"]
    assert server.api_requests[-1].headers["authorization"] == "Bearer token-3"


@pytest.mark.parametrize("driver", each(ALL))
def test_many_requests_make_one_exchange(driver: Driver, exchange: Exchange, server: Loopback) -> None:
    """50 requests at once, each with an auth of its own, cost one token of the subject and one exchange."""
    server.latency = 0.2
    auths = [driver.auth(TokenExchange(exchange.url, subject_of(exchange), "gateway", "g4teway")) for _ in range(50)]
    assert succeeded(driver.get_all(server.api_url, auths))
    assert len(server.token_requests) == 2


@pytest.mark.parametrize("driver", each(ALL))
def test_errors_of_the_subject_are_the_librarys_own(driver: Driver, exchange: Exchange, server: Loopback) -> None:
    """What the subject's source raises is raised as the library's own error, too."""
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    auth = driver.auth(TokenExchange(exchange.url, subject_of(exchange), "gateway", "g4teway"))
    with pytest.raises(TokenRequestError, match="invalid_client") as caught:
        driver.get(server.api_url, auth)
    assert isinstance(caught.value, driver.base_error)
    assert len(server.token_requests) == 1


@forks
def test_a_forked_child_uses_the_exchanged_token(exchange: Exchange, server: Loopback) -> None:
    """A child goes on with the token of its parent, and a pickled auth with its subject."""
    auth = OAuth2Auth(TokenExchange(exchange.url, subject_of(exchange), "gateway", "g4teway"))
    assert requests.get(server.api_url, auth=auth, timeout=10).status_code == 200
    in_child(lambda: requests.get(server.api_url, auth=auth, timeout=10).status_code == 200)
    copy = pickle.loads(pickle.dumps(auth))
    assert requests.get(server.api_url, auth=copy, timeout=10).status_code == 200
    assert len(exchange.exchanged) == 1


def sent(server: Loopback, **options: Any) -> dict[str, str]:
    """The parameters of the request for an exchange."""
    grant = TokenExchange(server.token_url, SUBJECT, **options)
    OAuth2Auth(grant).source.token()
    return dict(parse_qsl(server.token_requests[-1].body.decode()))


def test_the_parameters_of_an_exchange(server: Loopback) -> None:
    """RFC 8693 §2.1: short names are sent as the URNs of §3, and other types as they are given."""
    basic = {"grant_type": GRANT, "subject_token": SUBJECT, "subject_token_type": f"{URN}access_token"}
    assert sent(server) == basic
    full = sent(
        server,
        client_id="gateway",
        audience="orders",
        resource="https://orders.example.com",
        scope=["read", "write"],
        subject_token_type="jwt",
        actor_token="actor-s3cr3t",
        actor_token_type="https://example.com/own-type",
        requested_token_type="saml2",
    )
    assert full == {
        **basic,
        "client_id": "gateway",
        "audience": "orders",
        "resource": "https://orders.example.com",
        "scope": "read write",
        "subject_token_type": f"{URN}jwt",
        "actor_token": "actor-s3cr3t",
        "actor_token_type": "https://example.com/own-type",
        "requested_token_type": f"{URN}saml2",
    }


def test_types_by_short_name_and_urn_are_equal() -> None:
    """A short name is the same as its URN."""
    for name in ("access_token", "refresh_token", "id_token", "jwt", "saml1", "saml2"):
        assert TokenExchange(URL, SUBJECT, subject_token_type=name) == TokenExchange(
            URL, SUBJECT, subject_token_type=URN + name
        )


def test_its_repr_shows_no_token() -> None:
    """Neither token is in the repr."""
    shown = repr(TokenExchange(URL, SUBJECT, actor_token=SUBJECT, requested_token_type="jwt"))
    assert SUBJECT not in shown
    assert f"requested_token_type='{URN}jwt'" in shown
    shown = repr(vars(TokenExchange(URL, TokenSource(ClientCredentials(URL, "a", "s3cr3t")))))
    assert "TokenSource(ClientCredentials(" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize(
    ("subject", "options", "message"),
    [
        ("", {}, "subject_token must not be empty"),
        (None, {}, "subject_token must be a str or a callable that returns one, got None"),
        (
            ClientCredentials(URL, "a"),
            {},
            r"subject_token must be .* got ClientCredentials; give TokenSource\(\.\.\.\)",
        ),
        (OAuth2Auth(ClientCredentials(URL, "a")), {}, "subject_token must be .* got OAuth2Auth; give its source"),
        (SUBJECT, {"actor_token": 1}, "actor_token must be a str or a callable that returns one, got int"),
        (SUBJECT, {"subject_token_type": "bearer"}, "subject_token_type must be one of access_token, .*, or a URI"),
        (SUBJECT, {"requested_token_type": ""}, "requested_token_type must not be empty"),
        (SUBJECT, {"actor_token_type": "a b:c"}, "actor_token_type must be one of"),
    ],
)
def test_an_argument_that_cannot_work(subject: Any, options: Any, message: str) -> None:
    """The error names the argument, and what to give in its place."""
    with pytest.raises(ConfigurationError, match=message):
        TokenExchange(URL, subject, **options)


def test_n_a_is_no_bearer_token_elsewhere(server: Loopback) -> None:
    """Only an exchange may answer ``token_type: N_A``."""
    server.token_play = lambda _: as_json({"access_token": "tok-1", "token_type": "N_A"})
    with pytest.raises(TokenRequestError, match="type 'n_a'"):
        TokenSource(ClientCredentials(server.token_url, "client", "s3cr3t")).token()


def test_an_error_that_quotes_a_token_does_not_show_it(server: Loopback) -> None:
    """The server's words are shown without the tokens that were sent."""
    server.token_play = lambda _: as_json(
        {"error": "invalid_request", "error_description": f"bad {SUBJECT} actor-s3"}, 400
    )
    with pytest.raises(TokenRequestError, match=r"bad \*\*\* \*\*\*.*check that subject_token is valid"):
        sent(server, actor_token="actor-s3")


VARIABLES = {"A_TOKEN_URL": URL, "A_SUBJECT_TOKEN": SUBJECT}


@pytest.mark.parametrize("implied", [{}, {"A_GRANT_TYPE": "token_exchange"}])
def test_an_exchange_from_the_environment(implied: dict[str, str]) -> None:
    """SUBJECT_TOKEN implies the grant type, with a client or without one."""
    assert from_env("A", {**VARIABLES, **implied}) == TokenExchange(URL, SUBJECT)
    client = {"A_CLIENT_ID": "gateway", "A_CLIENT_SECRET": "g4teway", "A_AUDIENCE": "orders", "A_SCOPE": "read"}
    expected = TokenExchange(URL, SUBJECT, "gateway", "g4teway", audience="orders", scope="read")
    assert from_env("A", {**VARIABLES, **implied, **client}) == expected


def test_a_subject_token_from_a_file() -> None:
    """SUBJECT_TOKEN_FILE is read at each token request."""
    assert from_env("A", {"A_TOKEN_URL": URL, "A_SUBJECT_TOKEN_FILE": "/run/token"}) == TokenExchange(
        URL, SecretFile("/run/token")
    )


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"A_TOKEN_URL": URL, "A_GRANT_TYPE": "token_exchange"},
            r"A_SUBJECT_TOKEN \(or A_SUBJECT_TOKEN_FILE\) is not set",
        ),
        ({**VARIABLES, "A_PASSWORD": "pw"}, "A_SUBJECT_TOKEN contradicts A_PASSWORD"),
        ({**VARIABLES, "A_SUBJECT_TOKEN_FILE": "/run/token"}, "are both set"),
    ],
)
def test_variables_that_cannot_work(variables: dict[str, str], message: str) -> None:
    """The error names the variable, and not the token."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        from_env("A", variables)
    assert SUBJECT not in str(caught.value)
