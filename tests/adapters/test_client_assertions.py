"""Client authentication by keys and assertions, over the matrix of libraries: retries, renewal, rotation, sharing."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import auth_plugins
from auth_plugins import (
    ClientAssertion,
    ClientCredentials,
    ConfigurationError,
    FileCache,
    MemoryCache,
    PrivateKeyJWT,
    SecretFile,
    TokenRequestError,
    TokenSource,
)
from tests.support.certificates import pair_of
from tests.support.drivers import ALL, SYNC, Driver, each
from tests.support.issuers import Published
from tests.support.keys import form_of, jwk, key, opened, pem
from tests.support.loopback import Clock, Loopback, as_json

#: By name, what makes client_auth of the path of a file, and what is in the file.
WAYS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a key": (lambda _: PrivateKeyJWT(pem("ES256")), ""),
    "a key's file": (lambda path: PrivateKeyJWT(SecretFile(path)), jwk("RS256", kid="k")),
    "a callable": (lambda _: PrivateKeyJWT(lambda: pem("EdDSA")), ""),
    "the secret": (lambda _: "client_secret_jwt", ""),
    "an assertion": (lambda path: ClientAssertion(SecretFile(path)), "a.b.c\n"),
}


@pytest.fixture(params=WAYS)
def grant(request: pytest.FixtureRequest, server: Loopback, tmp_path: Path) -> ClientCredentials:
    make, text = WAYS[request.param]
    (tmp_path / "file").write_text(text)
    client_auth = make(tmp_path / "file")
    secret = "s3cr3t" if client_auth == "client_secret_jwt" else None
    options: Any = {"client_auth": client_auth, "revocation_url": server.token_url}
    return ClientCredentials(server.token_url, "client", secret, **options)


def assertions(server: Loopback) -> list[str]:
    return [form_of(received)["client_assertion"] for received in server.token_requests]


def is_new_each_time(grant: ClientCredentials) -> bool:
    return not isinstance(grant.client_auth, ClientAssertion)


@pytest.mark.parametrize("driver", each(ALL))
def test_a_token_is_fetched_retried_and_renewed(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock
) -> None:
    """A token is fetched, after two 503, and replaced after a 401; each request, retries included, has an assertion."""
    statuses = [503, 503]
    server.token_play = lambda received: as_json({}, statuses.pop()) if statuses else server.issue(received)
    auth = driver.auth(grant)
    assert driver.get(server.api_url, auth).status == 200
    server.revoke()
    answer = driver.get(server.api_url, auth)
    assert (answer.status, answer.history) == (200, [401])
    assert len(assertions(server)) == 4
    assert len({*assertions(server)}) == (4 if is_new_each_time(grant) else 1)
    assert {form_of(received)["client_id"] for received in server.token_requests} == {"client"}


def test_a_revocation_is_authenticated(server: Loopback, grant: ClientCredentials, clock: Clock) -> None:
    """A revocation request has an assertion too, and its retry another one."""
    source = TokenSource(grant, cache=MemoryCache())
    source.token()
    statuses = [200, 503]
    server.token_play = lambda _: as_json({}, statuses.pop())
    source.revoke()
    assert len(assertions(server)) == 3
    assert len({*assertions(server)}) == (3 if is_new_each_time(grant) else 1)


@pytest.mark.parametrize("driver", each(SYNC))
@pytest.mark.parametrize(
    ("make", "one", "other"),
    [(PrivateKeyJWT, pem("ES256"), pem("ES256", 1)), (ClientAssertion, "a.b.c", "a.b.d")],
    ids=["key", "assertion"],
)
def test_another_file_ends_a_remembered_refusal(
    driver: Driver, server: Loopback, tmp_path: Path, make: Any, one: str, other: str
) -> None:
    """A refusal is remembered until the file changes: the next request then sends the new key's assertion."""
    file = tmp_path / "file"
    file.write_text(one)
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    auth = driver.auth(ClientCredentials(server.token_url, "client", client_auth=make(SecretFile(file))))
    for _ in range(3):
        with pytest.raises(TokenRequestError):
            driver.get(server.api_url, auth)
    assert len(server.token_requests) == 1
    file.write_text(other)
    server.token_play = server.issue
    assert driver.get(server.api_url, auth).status == 200
    if make is PrivateKeyJWT:
        opened(assertions(server)[1], key("ES256", 1))
    file.unlink()
    server.revoke()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        driver.get(server.api_url, auth)


def test_a_refusal_is_remembered_whatever_a_callable_returns(server: Loopback) -> None:
    """A callable that returns another assertion each time does not end a back-off."""
    numbers = iter(range(9))
    auth = ClientAssertion(lambda: f"a.b.{next(numbers)}")
    source = TokenSource(ClientCredentials(server.token_url, "client", client_auth=auth), cache=MemoryCache())
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    for _ in range(3):
        with pytest.raises(TokenRequestError):
            source.token()
    assert len(server.token_requests) == 1


def test_a_token_is_shared_by_a_cache(server: Loopback, grant: ClientCredentials, tmp_path: Path) -> None:
    """A shared cache gives the token to each process with the same key, and not to one with another."""
    caches = [FileCache(tmp_path / "cache") for _ in range(2)]
    tokens = [TokenSource(grant, cache=cache).token().access_token for cache in caches]
    assert (len({*tokens}), len(server.token_requests)) == (1, 1)
    other = ClientCredentials(server.token_url, "client", client_auth=PrivateKeyJWT(pem("ES384")))
    assert TokenSource(other, cache=caches[0]).token().access_token not in tokens


BY_VARIABLES = {
    "a key": {"CLIENT_AUTH": "private_key_jwt", "PRIVATE_KEY": pem("ES256"), "KEY_ID": "k"},
    "an assertion": {"CLIENT_ASSERTION": "a.b.c"},
    "the secret": {"CLIENT_AUTH": "client_secret_jwt", "CLIENT_SECRET": "s3cr3t"},
    "a signed assertion as grant": {"JWT_ISSUER": "me", "PRIVATE_KEY": pem("ES256")},
    "a ready-made assertion as grant": {"ASSERTION": "a.b.c"},
    "a subject token": {"SUBJECT_TOKEN": "s3cr3t-subject"},
    "a certificate": {"CLIENT_AUTH": "tls_client_auth", "CERTIFICATE": "client/certificate-and-key.pem"},
    "an issuer": {"ISSUER": "", "TOKEN_URL": "", "CLIENT_SECRET": "s3cr3t"},
}


@pytest.mark.unmeasured
@pytest.mark.parametrize("variables", BY_VARIABLES.values(), ids=BY_VARIABLES)
def test_processes_share_a_token(server: Loopback, variables: dict[str, str], tmp_path: Path) -> None:
    """Processes that are configured by variables send one token request; each library here then uses its token.

    Four of them at once for a key; what they wait for is the same for all, so that one is enough for the others.
    """
    count = 4 if "KEY_ID" in variables else 1
    given = {"TOKEN_URL": server.token_url, "CLIENT_ID": "me", "CACHE": f"file:{tmp_path / 'cache'}", **variables}
    if "CERTIFICATE" in given:
        pair_of(tmp_path, "client")
        given["CERTIFICATE"] = str(tmp_path / given["CERTIFICATE"])
    if "ISSUER" in given:
        given["ISSUER"] = Published(server).issuer
    environ = {f"ACME_{name}": value for name, value in given.items()}
    package = str(Path(auth_plugins.__file__).parents[1])
    code = "from auth_plugins import TokenSource; print(TokenSource.from_env('ACME').token().access_token)"
    command, environment = [sys.executable, "-W", "error", "-c", code], {**os.environ, "PYTHONPATH": package, **environ}
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    assert [process.communicate(timeout=60)[0].strip() for process in running] == ["token-1"] * count
    for driver in SYNC:
        auth = importlib.import_module(f"auth_plugins.{driver.library}").OAuth2Auth.from_env("ACME", environ)
        assert driver.get(server.api_url, auth).status == 200
    assert len(server.token_requests) == 1


ADVICE = {
    "a key": "check that the server knows the public key of private_key under this key_id (many servers demand a kid)",
    "the secret": "check client_id and client_secret, that the server lets this client use client_secret_jwt",
    "an assertion": "check that client_assertion has not expired, and that its issuer, subject and audience are those",
}


@pytest.mark.parametrize("code", ["invalid_client", "unauthorized_client"])
@pytest.mark.parametrize("grant", ADVICE, indirect=True)
def test_a_refusal_says_what_to_check(server: Loopback, grant: ClientCredentials, code: str, request: Any) -> None:
    """The error for a refused client names what to check; it shows no assertion that the server quotes."""

    def refuse(received: Any) -> Any:
        description = f"{form_of(received)['client_assertion']} is not valid"
        return as_json({"error": code, "error_description": description}, 401)

    server.token_play = refuse
    with pytest.raises(TokenRequestError) as caught:
        TokenSource(grant, cache=MemoryCache()).token()
    assert f"({code}: *** is not valid)" in str(caught.value)
    assert ADVICE[request.node.callspec.params["grant"]] in str(caught.value)
