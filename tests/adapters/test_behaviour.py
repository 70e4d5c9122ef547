"""What a user sees, written down once for requests, httpx and httpx2, in threads, asyncio and trio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from werkzeug.wrappers import Response

from auth_plugins import (
    ApiKey,
    ClientCredentials,
    ConfigurationError,
    InsecureTransportError,
    SecretFile,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from tests.support.drivers import ALL, Call, Driver, each
from tests.support.loopback import Clock, Loopback, Received, as_json

pytestmark = pytest.mark.parametrize("driver", each(ALL))


def bearer(received: Received) -> str:
    return received.headers.get("authorization", "")


def test_a_token_is_fetched_once(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """Five requests with one auth cost one token request."""
    auth = driver.auth(grant)
    assert [driver.get(server.api_url, auth).status for _ in range(5)] == [200] * 5
    assert len(server.token_requests) == 1
    assert {bearer(received) for received in server.api_requests} == {"Bearer token-1"}


def test_equal_grants_share_a_token(driver: Driver, server: Loopback) -> None:
    """Auths that are built for each call from equal arguments share one token."""
    for _ in range(5):
        auth = driver.auth(ClientCredentials(server.token_url, "client", "s3cr3t", scope=["a", "b"]))
        assert driver.get(server.api_url, auth).status == 200
    assert len(server.token_requests) == 1


def test_other_credentials_get_another_token(driver: Driver, server: Loopback) -> None:
    """A tenant never gets another tenant's token, though only the secret differs."""
    for secret in ("a", "b"):
        driver.get(server.api_url, driver.auth(ClientCredentials(server.token_url, "client", secret)))
    assert [bearer(received) for received in server.api_requests] == ["Bearer token-1", "Bearer token-2"]


def test_a_refused_token_is_replaced_and_the_request_sent_again(
    driver: Driver, server: Loopback, grant: ClientCredentials
) -> None:
    """A 401 is answered by one replay with a new token, and stands in the history."""
    auth = driver.auth(grant)
    driver.get(server.api_url, auth)
    server.revoke()
    answer = driver.get(server.api_url, auth)
    assert (answer.status, answer.history) == (200, [401])
    assert len(server.token_requests) == 2
    assert "token_url" not in str(answer.response.history), "a token response never shows"


def test_a_second_401_is_returned(driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock) -> None:
    """An API that rejects every token costs two token requests, and one more after 30 s; the 401 is returned."""
    server.api = lambda _: as_json({"error": "invalid_token"}, 401)
    auth = driver.auth(grant)
    assert {driver.get(server.api_url, auth).status for _ in range(20)} == {401}
    assert len(server.token_requests) == 2
    clock.forward(30)
    assert {driver.get(server.api_url, auth).status for _ in range(20)} == {401}
    assert len(server.token_requests) == 3


def test_a_token_that_was_accepted_may_be_revoked_at_any_time(
    driver: Driver, server: Loopback, grant: ClientCredentials
) -> None:
    """Each token that the API accepted, in a replay or not, is replaced when it is rejected, within seconds too."""
    auth = driver.auth(grant)
    for _ in range(3):
        assert driver.get(server.api_url, auth).status == 200
        server.revoke()
    assert driver.send(Call("POST", server.api_url, driver.chunks([b"a", b"b"])), auth).status == 401
    assert driver.get(server.api_url, auth).status == 200
    server.revoke()
    assert driver.get(server.api_url, auth).history == [401]
    assert len(server.token_requests) == 5


def test_a_403_is_returned(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A 403 is returned without a retry."""
    server.api = lambda _: as_json({"error": "insufficient_scope"}, 403)
    answer = driver.get(server.api_url, driver.auth(grant))
    assert (answer.status, answer.history, len(server.token_requests)) == (403, [], 1)


def test_the_same_token_is_sent_again_if_the_server_issues_it_again(
    driver: Driver, server: Loopback, grant: ClientCredentials
) -> None:
    """The same token, issued once more, is sent in the replay: the API may have been out of step."""
    server.token_play = lambda _: as_json({"access_token": "same", "expires_in": 3600})
    server.api = lambda _: as_json({})
    server.refuse_once()
    answer = driver.get(server.api_url, driver.auth(grant))
    assert (answer.status, answer.history, len(server.token_requests)) == (200, [401], 2)


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_nothing_goes_to_another_origin(
    driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials, header: str
) -> None:
    """A redirect to another origin carries no token, and the 401 of that origin costs none."""
    server.api = lambda _: Response(status=302, headers={"Location": other_server.api_url})
    other_server.api = lambda _: as_json({}, 401)
    auth = driver.auth(grant, header=header, scheme="Bearer")
    answer = driver.get(server.api_url, auth)
    assert (answer.status, answer.history, len(server.token_requests)) == (401, [302], 1)
    assert "token-1" in server.api_requests[0].headers[header.lower()]
    assert len(other_server.api_requests) == 1
    assert "token" not in str(other_server.api_requests)


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_a_redirect_within_the_origin_keeps_the_token(
    driver: Driver, server: Loopback, grant: ClientCredentials, header: str
) -> None:
    """A redirect from ``/things`` to ``/things/`` keeps the token."""

    def play(received: Received) -> Response:
        if received.target == "/api":
            return Response(status=307, headers={"Location": "/api/"})
        return as_json({}, 200 if received.headers.get(header.lower()) == "Bearer token-1" else 401)

    server.api = play
    answer = driver.send(Call("POST", server.api_url, {"content": b"body"}), driver.auth(grant, header=header))
    assert (answer.status, answer.history) == (200, [307])
    assert [received.body for received in server.api_requests] == [b"body", b"body"]


def test_after_a_redirect_only_the_refused_request_is_sent_again(
    driver: Driver, server: Loopback, grant: ClientCredentials
) -> None:
    """After POST, 303 and 401 the GET is replayed, and not the POST."""

    def play(received: Received) -> Response:
        if received.method == "POST":
            return Response(status=303, headers={"Location": "/done"})
        return as_json({}, 401 if bearer(received) == "Bearer token-1" else 200)

    server.api = play
    answer = driver.send(Call("POST", server.api_url, {"content": b"body"}), driver.auth(grant))
    assert answer.status == 200
    assert [received.method for received in server.api_requests] == ["POST", "GET", "GET"]


def test_only_allowed_hosts_get_the_token(
    driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials
) -> None:
    """A request to a host that is not allowed carries no token, and none is fetched for it."""
    auth = driver.auth(grant, allowed_hosts=[server.url.removeprefix("http://")])
    assert driver.get(other_server.api_url, auth).status == 401
    assert server.token_requests == []
    urls = [server.api_url, other_server.api_url] * 2
    assert [driver.get(url, auth).status for url in urls] == [200, 401] * 2
    assert {bearer(received) for received in other_server.api_requests} == {""}


def test_http_is_for_loopback(driver: Driver, grant: ClientCredentials, server: Loopback) -> None:
    """A token is not sent over ``http://`` to another machine; the error is the library's own as well."""
    with pytest.raises(InsecureTransportError, match="https://") as caught:
        driver.get("http://api.example.com/things", driver.auth(grant))
    assert isinstance(caught.value, driver.base_error)
    assert server.token_requests == []


def test_http_token_endpoints_are_for_loopback(driver: Driver, server: Loopback, clock: Clock) -> None:
    """A secret is not sent over ``http://`` to another machine, unless ``allow_http`` permits it."""
    grant = ClientCredentials("http://id.example.invalid/token", "client", "s3cr3t")
    with pytest.raises(InsecureTransportError, match=r"http://id\.example\.invalid"):
        driver.get(server.api_url, driver.auth(grant))
    with pytest.raises(TokenTransportError):
        driver.get(server.api_url, driver.auth(grant, allow_http=True, timeout=1))


def test_a_refusal_is_the_librarys_error_too(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A refused token request raises an error that is the library's own as well; the API request is not sent."""
    server.token_play = lambda _: as_json({"error": "invalid_client", "error_description": "no s3cr3t here"}, 401)
    with pytest.raises(TokenRequestError, match="invalid_client") as caught:
        driver.get(server.api_url, driver.auth(grant))
    assert isinstance(caught.value, driver.base_error)
    error: Any = caught.value
    assert (error.error, error.description, error.status_code) == ("invalid_client", "no *** here", 401)
    assert "s3cr3t" not in str(error)
    assert server.api_requests == []
    assert error.request.url == server.api_url


def test_an_unreachable_server_is_the_librarys_error_too(
    driver: Driver, server: Loopback, other_server: Loopback, clock: Clock
) -> None:
    """If the token endpoint cannot be reached, error and cause are the library's own, and show no secret."""
    other_server.stop()
    grant = ClientCredentials(
        other_server.token_url, "client", "s3cr3t/+", client_auth="client_secret_post", encoding="query"
    )
    with pytest.raises(TokenTransportError, match="could not be reached") as caught:
        driver.get(server.api_url, driver.auth(grant))
    error: BaseException | None = caught.value
    assert isinstance(error, driver.base_error)
    assert isinstance(error.__cause__, driver.base_error)
    while error is not None:
        assert "s3cr3t" not in str(error)
        assert "s3cr3t" not in repr(error)
        error = error.__cause__ or error.__context__


def test_the_repr_of_an_auth_shows_its_grant(driver: Driver, grant: ClientCredentials) -> None:
    """The ``repr`` of an auth shows its grant, and no secret."""
    assert repr(driver.auth(grant)) == f"OAuth2Auth({grant!r})"
    assert "s3cr3t" not in repr(driver.auth(grant))


def test_an_api_key_goes_into_its_header(driver: Driver, server: Loopback, tmp_path: Path) -> None:
    """A constant key is read again after a 401, and sent again if it changed."""
    file = tmp_path / "key"
    file.write_text("old\n")
    keys = {"old"}
    server.api = lambda received: as_json({}, 200 if received.headers.get("x-api-key") in keys else 401)
    auth = driver.auth(ApiKey(SecretFile(file)))
    assert driver.get(server.api_url, auth).status == 200
    keys = {"new"}
    assert driver.get(server.api_url, auth).status == 401
    file.write_text("new\n")
    answer = driver.get(server.api_url, auth)
    assert (answer.status, answer.history) == (200, [401])
    assert [received.headers["x-api-key"] for received in server.api_requests] == ["old", "old", "old", "new"]
    assert {bearer(received) for received in server.api_requests} == {""}


def test_a_source_may_be_given_in_place_of_a_grant(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A ``TokenSource`` that is given to an auth shares its token, also with ``session=`` or ``allow_http=``."""
    source = TokenSource(grant)
    assert driver.auth(source).source is source
    assert driver.auth(source, allow_http=True).source.token() == source.token()
    session, name = ("Session", "session") if driver.library == "requests" else ("Client", "client")
    with getattr(driver.module, session)() as mine:
        mine.headers["X-Mine"] = "1"
        auth = driver.auth(source, **{name: mine})
        source.invalidate(source.token())
        assert driver.get(server.api_url, auth).status == 200
    assert server.token_requests[-1].headers["x-mine"] == "1"
    assert source.token() is auth.source.token()


def test_wrong_arguments_are_refused_at_once(driver: Driver, grant: ClientCredentials) -> None:
    """An argument that is not valid is an error that names it, before any request is made."""
    session = "session" if driver.library == "requests" else "client"
    for arguments, named in (
        ({"leeway": -1}, "leeway"),
        ({"timeout": 0}, "timeout"),
        ({"allow_http": "yes"}, "^allow_http must be True or False, got an object of type str$"),
        ({"refresh_ahead": "no"}, "refresh_ahead"),
        ({"header": "X API Key"}, "header"),
        ({"header": ""}, "header"),
        ({"scheme": "B\nearer"}, "header"),
        ({"allowed_hosts": ["https://api.example.com"]}, "allowed_hosts"),
        ({session: object()}, f"^{session} must be an? {driver.library}[.]"),
        ({"cache": {}}, "cache"),
    ):
        with pytest.raises(ConfigurationError, match=named):
            driver.auth(grant, **arguments)
    with pytest.raises(ConfigurationError, match="no grant"):
        driver.auth("https://id.example.com/token")
    with pytest.raises(ConfigurationError, match="its own cache and policy"):
        driver.auth(TokenSource(grant), leeway=5)
    for unknown in ("leway", "alowed_hosts", "verify"):
        with pytest.raises(TypeError, match=unknown):
            driver.auth(grant, **{unknown: 5})
