"""Mutual TLS in each library and mode: a token by a certificate, its renewal, its rotation, and refusals."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import requests

from auth_plugins import (
    ClientCredentials,
    FileCache,
    MemoryCache,
    TLSClientAuth,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from tests.support.certificates import pair_of, swap
from tests.support.drivers import ALL, Driver, each
from tests.support.forks import forks, in_child
from tests.support.keep_alive import KeepAlive, make_certificate
from tests.support.loopback import Clock, Loopback

each_driver = pytest.mark.parametrize("driver", each(ALL))


class Bank:
    """A token endpoint that knows two clients by their certificates, and files that point to one of them."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.ca, self.link = directory, make_certificate(directory), directory / "current"
        self.clients = {name: pair_of(directory, name)[0].parent for name in ("first", "second", "unknown")}
        self.use("first")

    def use(self, name: str) -> None:
        swap(self.link, self.clients[name])

    def files(self, name: str = "") -> dict[str, Any]:
        folder = self.clients[name] if name else self.link
        return {"certificate": folder / "certificate.pem", "key": folder / "key.pem"}

    def endpoint(self, version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> KeepAlive:
        known = [self.clients[name] / "certificate.pem" for name in ("first", "second")]
        return KeepAlive(self.ca, known, version)

    def grant(self, endpoint: KeepAlive, name: str = "") -> ClientCredentials:
        return ClientCredentials(endpoint.url, "id", client_auth=TLSClientAuth(**self.files(name), ca=self.ca))


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


@each_driver
def test_a_token_by_a_certificate(driver: Driver, bank: Bank, server: Loopback) -> None:
    """The certificate gets a token, one for all requests, and another one after a 401; also by way of a TokenSource."""
    server.live.add("token-of-id")
    with bank.endpoint() as endpoint:
        auth = driver.auth(bank.grant(endpoint))
        assert [driver.get(server.api_url, auth).status for _ in range(3)] == [200] * 3
        server.refuse_once()
        assert driver.get(server.api_url, auth).history == [401]
        assert endpoint.peers == ["first"] * 2
        source = TokenSource(bank.grant(endpoint), cache=MemoryCache())
        assert driver.get(server.api_url, driver.auth(source)).status == 200
    assert endpoint.peers == ["first"] * 3


@each_driver
def test_variables_get_a_token(driver: Driver, bank: Bank, server: Loopback) -> None:
    """Variables get a token, with a certificate or only a CA; so does a TokenSource of variables."""
    server.live.add("token-of-id")
    client = {"ACME_CLIENT_ID": "id", "ACME_CA_BUNDLE": str(bank.ca)}
    secret = {"ACME_CLIENT_SECRET": "s3cr3t", "ACME_CLIENT_AUTH": "client_secret_post"}
    names = {"ACME_CERTIFICATE": "certificate", "ACME_CERTIFICATE_KEY": "key"}
    files = {"ACME_CLIENT_AUTH": "tls_client_auth", **{name: str(bank.files()[key]) for name, key in names.items()}}
    with bank.endpoint() as endpoint, KeepAlive(bank.ca) as plain:
        for environ in (
            {**client, **files, "ACME_TOKEN_URL": endpoint.url},
            {**client, **secret, "ACME_TOKEN_URL": plain.url},
        ):
            auth = type(driver.auth(bank.grant(endpoint))).from_env("ACME", environ, cache=MemoryCache())
            assert driver.get(server.api_url, auth).status == 200
            assert TokenSource.from_env("ACME", environ, cache=MemoryCache()).token().access_token == "token-of-id"
    assert (len(endpoint.requests), len(plain.requests)) == (2, 2)


@each_driver
def test_a_refused_certificate_that_rotates(driver: Driver, bank: Bank, server: Loopback) -> None:
    """A refused client is remembered, and the error names the certificate; a new certificate is tried at once."""
    server.live.add("token-of-id")
    with bank.endpoint() as endpoint:
        endpoint.refused.add("first")
        auth = driver.auth(bank.grant(endpoint))
        for _ in range(2):
            with pytest.raises(TokenRequestError, match="check that the server knows client_id by the certi") as caught:
                driver.get(server.api_url, auth)
        assert (caught.value.error, endpoint.peers) == ("invalid_client", ["first"])
        assert f"the certificate in {str(bank.link / 'certificate.pem')!r}" in caught.value.advice
        bank.use("second")
        assert driver.get(server.api_url, auth).status == 200
    assert endpoint.peers == ["first", "second"]


@each_driver
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_unknown_certificate(
    driver: Driver, version: ssl.TLSVersion, bank: Bank, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handshake that the server refuses is an error that names the certificate, without a retry."""
    clock = Clock()
    clock.rule(monkeypatch)
    with bank.endpoint(version) as endpoint, pytest.raises(driver.base_error) as caught:
        driver.get(server.api_url, driver.auth(bank.grant(endpoint, "unknown")))
    error = caught.value
    assert isinstance(error, TokenTransportError)
    assert (error.trouble, endpoint.requests, clock.sleeps) == ("client_certificate", [], [])
    assert str(bank.clients["unknown"] / "certificate.pem") in error.advice


def test_the_certificate_of_a_session(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, the certificate is that of the session, and the error for a refused client says so."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bank.ca))
    with bank.endpoint() as endpoint:
        endpoint.refused.add("first")
        grant = ClientCredentials(endpoint.url, "id", client_auth="self_signed_tls_client_auth")
        with requests.Session() as session:
            session.cert = str(bank.clients["first"] / "certificate-and-key.pem")
            source = ALL[0].auth(grant, session=session).source
            with pytest.raises(TokenRequestError, match="by the certificate of session= or client=, or give another"):
                source.token()


def test_other_certificates_share_nothing(bank: Bank, tmp_path: Path) -> None:
    """Grants that differ in the certificate share no refusal and no token, in memory or in a shared cache."""
    with bank.endpoint() as endpoint:
        endpoint.refused.add("first")
        first, second = (bank.grant(endpoint, name) for name in ("first", "second"))
        with pytest.raises(TokenRequestError):
            TokenSource(first).token()
        assert TokenSource(second).token() == TokenSource(second).token()
        assert endpoint.peers == ["first", "second"]
        endpoint.refused.clear()
        for grant in (first, first, second, second):
            TokenSource(grant, cache=FileCache(tmp_path / "cache")).token()
    assert endpoint.peers[2:] == ["first", "second"]


@forks
def test_a_forked_child(bank: Bank) -> None:
    """A child that is forked between two token requests presents the certificate as well."""
    with bank.endpoint() as endpoint:
        source = TokenSource(bank.grant(endpoint), cache=MemoryCache())
        source.invalidate(source.token())
        in_child(lambda: source.token().access_token == "token-of-id")
        source.token()
    assert endpoint.peers == ["first"] * 3
