"""A grant with an issuer by each library, in threads and event loops, against a server on loopback."""

from __future__ import annotations

import importlib
import pickle
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auth_plugins import (
    ClientCredentials,
    Issuer,
    MemoryCache,
    TLSClientAuth,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from tests.support.certificates import pair_of
from tests.support.drivers import ALL, Answer, Driver, each, succeeded
from tests.support.endpoints import LIBRARIES, TRANSPORTS, Endpoint, silent, token_source
from tests.support.issuers import OAUTH, OPENID, Published
from tests.support.keep_alive import KeepAlive, make_certificate
from tests.support.loopback import Loopback, Received, as_json

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

every_driver = pytest.mark.parametrize("driver", each(ALL))
LATENCY = 0.2


@every_driver
@pytest.mark.parametrize("place", [f"/realms/acme{OPENID}", f"{OAUTH}/realms/acme", f"/realms/acme{OAUTH}"])
def test_a_token_comes_from_the_endpoint_in_the_metadata(driver: Driver, place: str, server: Loopback) -> None:
    """Metadata at each of the three places name the endpoint, and how the secret is sent; a 401 costs a token only."""
    published = Published(server)
    published.plays = {place: published.answer}
    published.document["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    auth = driver.auth(published.grant)
    assert driver.get(server.api_url, auth).status == 200
    asked = [each.target for each in published.requests]
    assert asked[-1] == place
    server.revoke()
    assert driver.get(server.api_url, auth).status == 200
    assert len(server.token_requests) == 2
    assert [each.target for each in published.requests] == asked
    for received in server.token_requests:
        assert b"client_secret=s3cr3t" in received.body
    for received in published.requests:
        assert (received.method, received.body) == ("GET", b"")
        assert "s3cr3t" not in str(received)
        assert "authorization" not in received.headers


@every_driver
@pytest.mark.parametrize("grants", [1, 10])
def test_fifty_cold_callers_send_one_request_for_metadata(driver: Driver, grants: int, server: Loopback) -> None:
    """Fifty threads or tasks share one request for metadata, whether they have one grant or several of one issuer."""
    published = Published(server)
    published.latency = LATENCY
    auths = [
        driver.auth(ClientCredentials(Issuer(published.issuer), f"client-{number % grants}", "s3cr3t"))
        for number in range(50)
    ]
    assert succeeded(driver.get_all(server.api_url, auths))
    assert len(published.requests) == 1
    assert len(server.token_requests) == grants


@every_driver
def test_no_event_loop_is_blocked(driver: Driver, server: Loopback) -> None:
    """While metadata are fetched, other requests of the same loop are answered: none waits for the slow issuer."""
    done, answered = threading.Event(), list[bool]()

    def check(received: Received) -> Response:
        done.set()
        return server.check(received)

    def answer(received: Received) -> Response:
        answered.append(done.wait(10))
        return published.answer(received)

    server.api = check
    published = Published(server)
    published.plays = {f"/realms/acme{OPENID}": answer}
    slow, plain = driver.auth(published.grant), driver.auth(ClientCredentials(server.token_url, "other", "s3cr3t"))
    assert succeeded(driver.get_all(server.api_url, [slow, plain]))
    assert answered == [True]


@every_driver
def test_errors_are_the_librarys_own(driver: Driver, server: Loopback) -> None:
    """Metadata that are missing, or another issuer's, are an error of the package and of the library."""
    published = Published(server)
    published.document["issuer"] = f"{published.issuer}/"
    with pytest.raises(driver.base_error) as error:
        driver.get(server.api_url, driver.auth(published.grant))
    assert isinstance(error.value, TokenRequestError)
    assert f"has the issuer {published.issuer}/, not {published.issuer} (a slash" in str(error.value)
    copied: TokenRequestError = pickle.loads(pickle.dumps(error.value))
    assert (str(copied), copied.trouble) == (str(error.value), "issuer")
    assert server.token_requests == []


@every_driver
def test_an_auth_with_an_issuer_can_be_pickled(driver: Driver, server: Loopback) -> None:
    """A pickled auth has the issuer, and no endpoint of it."""
    published = Published(server)
    auth = driver.auth(published.grant)
    assert driver.get(server.api_url, auth).status == 200
    assert b"/token" not in pickle.dumps(auth)
    copied = pickle.loads(pickle.dumps(auth))
    assert repr(copied) == repr(auth)
    assert isinstance(driver.get(server.api_url, copied), Answer)
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_metadata_travel_by_the_session(library: str, server: Loopback) -> None:
    """Metadata are fetched by ``session=`` or ``client=``, with its headers, but not with its credentials."""
    published = Published(server)
    module = importlib.import_module(library)
    with (module.Session if library == "requests" else module.Client)() as session:
        session.headers.update({"X-Trace": "t", "Authorization": "Bearer of-the-api"})
        session.cookies.set("session", "of-the-api")
        token_source(library, published.grant, session).token()
        token_source(library, published.grant, session).token()
        token_source(library, published.grant).token()
    first, second = published.requests  # one by the session, one without it
    assert first.headers["x-trace"] == "t"
    assert "of-the-api" not in str(first)
    assert "x-trace" not in second.headers


@pytest.mark.parametrize("library", TRANSPORTS)
def test_an_issuer_that_does_not_answer(library: str) -> None:
    """The time for metadata is bounded by the timeout of the token request, however slowly they come."""
    with Endpoint(silent) as endpoint:
        issuer = endpoint.url.removesuffix("/token")
        source = token_source(library, ClientCredentials(Issuer(issuer), "client", "s3cr3t"), timeout=0.3)
        with pytest.raises(TokenTransportError, match=rf"^{issuer}{OPENID} could not be reached \(timed out after"):
            source.token()


@pytest.mark.parametrize("library", TRANSPORTS)
def test_a_redirect_off_the_origin_is_not_followed(library: str, server: Loopback, other_server: Loopback) -> None:
    """No library follows a redirect of metadata to another origin."""
    published = Published(server)
    for place in (f"/realms/acme{OPENID}", f"{OAUTH}/realms/acme", f"/realms/acme{OAUTH}"):
        published.plays[place] = lambda _: as_json({}, 307, Location=f"{other_server.url}/metadata")
    with pytest.raises(TokenRequestError, match="answered a redirect to another origin"):
        token_source(library, published.grant).token()
    assert other_server.api_requests == []
    published.plays = {
        f"/realms/acme{OPENID}": lambda _: as_json({}, 307, Location="/metadata"),
        "/metadata": published.answer,
    }
    assert token_source(library, published.grant).token()


@pytest.mark.parametrize("library", TRANSPORTS)
def test_metadata_that_are_huge_are_not_read_to_the_end(library: str, server: Loopback) -> None:
    """Of metadata no more than 1 MiB is read."""
    published = Published(server)
    published.document["padding"] = "x" * (4 << 20)
    with pytest.raises(TokenRequestError, match="answered no JSON object of at most 1 MiB"):
        token_source(library, published.grant).token()


@every_driver
def test_metadata_travel_by_the_tls_of_the_token_request(driver: Driver, server: Loopback, tmp_path: Path) -> None:
    """The CA of the token endpoint is that of the metadata; a client with a certificate uses its own endpoints."""
    server.live.add("token-of-id")
    ca, (certificate, key) = make_certificate(tmp_path), pair_of(tmp_path, "first")
    with KeepAlive(ca) as plain, KeepAlive(ca, [certificate]) as mutual:
        issuer = plain.url.removesuffix("/token")
        aliases = {"token_endpoint": mutual.url}
        plain.documents[OPENID] = {"issuer": issuer, "token_endpoint": plain.url, "mtls_endpoint_aliases": aliases}
        by_certificate = TLSClientAuth(certificate, key, ca=ca)
        auth = driver.auth(ClientCredentials(Issuer(issuer), "id", client_auth=by_certificate))
        assert driver.get(server.api_url, auth).status == 200
        assert (plain.requests, mutual.peers) == ([], ["first"])
        environ = {"ISSUER": issuer, "CLIENT_ID": "id", "CLIENT_SECRET": "s3cr3t", "CLIENT_AUTH": "client_secret_post"}
        environ = {f"ACME_{name}": value for name, value in {**environ, "CA_BUNDLE": str(ca)}.items()}
        source = TokenSource.from_env("ACME", environ, cache=MemoryCache())
        assert driver.get(server.api_url, driver.auth(source)).status == 200
        assert len(plain.requests) == 1
        # What one source trusts, another one does not: its metadata are not those that are known.
        distrusting = driver.auth(ClientCredentials(Issuer(issuer), "other", "s3cr3t"))
        with pytest.raises(driver.base_error, match=f"{OPENID} could not be reached .TLS certificate of"):
            driver.get(server.api_url, distrusting)
