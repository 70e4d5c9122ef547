"""The adapters against authorization servers in other languages: ``tox -e peers``."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from auth_plugins import (
    ApiKey,
    ClientCredentials,
    DPoPKey,
    Issuer,
    MemoryCache,
    Password,
    PrivateKeyJWT,
    RefreshToken,
    TLSClientAuth,
    TokenExchange,
    TokenRequestError,
    TokenSource,
)
from tests.servers.peers import KEYS, SECRET, LemonLDAP, NodePeer, Peer
from tests.support.certificates import pair_of
from tests.support.drivers import SYNC, Driver, each, succeeded
from tests.support.keys import MAKERS, pem

if "PEERS" not in os.environ:
    pytest.skip("the servers in other languages: tox -e peers", allow_module_level=True)

SERVERS: dict[str, Callable[[], Peer]] = {
    "oidc-provider": functools.partial(NodePeer, "oidc_provider"),
    "oauth2-server": functools.partial(NodePeer, "oauth2_server"),
    "better-auth": functools.partial(NodePeer, "better_auth"),
    "LemonLDAP::NG": LemonLDAP,
}


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[[str], Peer]]:
    """Start a server by its name; the second call returns the same one."""
    with ExitStack() as running:
        yield functools.cache(lambda name: running.enter_context(SERVERS[name]()))


@dataclass(frozen=True)
class Flow:
    """A way to get tokens: *make* makes its grant for a server whose URLs are known."""

    make: Callable[[Any], Any]
    #: Of the token requests: the first, after a 401, and a renewal.
    statuses: tuple[int, ...] = (200, 200, 200)
    #: Whether the API wants a nonce first.
    has_nonces: bool = False
    api: str = "api_url"


def of(peer: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Options of a grant: a callable makes one for the server."""
    return {name: value(peer) if callable(value) else value for name, value in options.items()}


def credentials(client: str = "client", secret: str | None = SECRET, *, url: str = "token_url", **more: Any) -> Flow:
    """Client credentials; *url* is ``issuer``, or the name of the token endpoint."""
    values = {name: more.pop(name) for name in ("statuses", "has_nonces", "api") if name in more}

    def make(peer: Any) -> ClientCredentials:
        place = Issuer(peer[url]) if url == "issuer" else peer[url]
        return ClientCredentials(place, client, secret, **of(peer, more))

    return Flow(make, **values)


def refresh(client: str = "user", secret: str | None = SECRET, *, dpop: Any = None, **values: Any) -> Flow:
    """The refresh token of a login."""

    def make(peer: Any) -> RefreshToken:
        return RefreshToken(peer["token_url"], peer.control(client), client, secret, **of(peer, {"dpop": dpop}))

    return Flow(make, **values)


def own_key(_: Peer) -> DPoPKey:
    """A key for which no nonce is known."""
    return DPoPKey.generate()


def signed(name: str = "ES256") -> PrivateKeyJWT:
    return PrivateKeyJWT(pem(name), key_id=name)


def certificate(peer: NodePeer) -> TLSClientAuth:
    return TLSClientAuth(*peer.certificates["client"], ca=peer.certificates["server"][0])


def exchange(peer: Peer) -> TokenExchange:
    subject = TokenSource(credentials("post", client_auth="client_secret_post").make(peer))
    return TokenExchange(peer["token_url"], subject, "basic", SECRET)


NONCES: dict[str, Any] = {"statuses": (400, 200, 200, 200), "has_nonces": True}
FLOWS: dict[str, dict[str, Flow]] = {
    "oidc-provider": {
        "basic": credentials("basic"),
        "post": credentials("post", client_auth="client_secret_post"),
        "client_secret_jwt": credentials("secret-jwt", client_auth="client_secret_jwt"),
        **{f"private_key_jwt {name}": credentials("key", None, client_auth=signed(name)) for name in KEYS},
        "tls_client_auth": credentials("certificate", None, url="tls_url", client_auth=certificate),
        "self_signed_tls": credentials("self-signed", None, url="tls_url", client_auth=certificate),
        "refresh": refresh(),
        "refresh, user information": refresh(api="userinfo_url"),
        "exchange": Flow(exchange, (200, 200, 400, 200, 200, 200)),  # the subject's token was revoked too
        "DPoP": credentials("bound", dpop=own_key, **NONCES),
        "DPoP private_key_jwt": credentials("bound-key", None, client_auth=signed(), dpop=own_key, **NONCES),
        "DPoP refresh": refresh("bound-user", None, dpop=lambda _: DPoPKey.generate("EdDSA"), **NONCES),
        "DPoP user information": refresh(dpop=own_key, api="userinfo_url", **NONCES),
        "issuer basic": credentials("basic", url="issuer"),
        "issuer private_key_jwt": credentials("key", None, url="issuer", client_auth=signed()),
        "issuer tls_client_auth": credentials("certificate", None, url="issuer", client_auth=certificate),
        "issuer DPoP": credentials("bound", url="issuer", dpop=own_key, **NONCES),
    },
    "oauth2-server": {
        "basic": credentials(client_auth="client_secret_basic_raw"),  # it decodes no percent-encoding
        "post": credentials(client_auth="client_secret_post"),
        "password, refresh": Flow(
            lambda peer: Password(
                peer["token_url"], "ada", SECRET, client_id="client", client_secret=SECRET,
                client_auth="client_secret_post",
            )
        ),
    },
    "better-auth": {
        "basic": credentials("basic"),
        "post": credentials("post", client_auth="client_secret_post"),
        **{f"private_key_jwt {name}": credentials("key", None, client_auth=signed(name)) for name in KEYS},
        "refresh": refresh(),
        "DPoP": credentials("bound", dpop=own_key, has_nonces=True),
        "DPoP private_key_jwt": credentials("key", None, client_auth=signed(), dpop=own_key, has_nonces=True),
        "DPoP refresh": refresh(dpop=own_key, has_nonces=True),
        "issuer basic": credentials("basic", url="issuer"),
        # At its revocation endpoint it expects its issuer as the audience.
        "issuer private_key_jwt": credentials(
            "key", None, url="issuer",
            client_auth=lambda peer: PrivateKeyJWT(pem("ES256"), key_id="ES256", audience=peer["issuer"]),
        ),
        "issuer DPoP": credentials("bound", url="issuer", dpop=own_key, has_nonces=True),
    },
    "LemonLDAP::NG": {
        "basic": credentials(client_auth="client_secret_basic_raw"),  # it decodes no percent-encoding
        "post": credentials(client_auth="client_secret_post"),
        "issuer post": credentials(url="issuer", client_auth="client_secret_post"),
        "password, refresh": Flow(
            lambda peer: Password(
                peer["token_url"], "dwho", "dwho", client_id="client", client_secret=SECRET, scope="openid",
                client_auth="client_secret_post",
            )
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize("driver", each(SYNC))
@pytest.mark.parametrize(("server", "name"), [(server, name) for server, flows in FLOWS.items() for name in flows])
def test_each_way_works(start: Callable[[str], Peer], server: str, name: str, driver: Driver) -> None:
    """A token is had, replaced after a 401, and renewed, by as many token requests as that takes."""
    peer, flow = start(server), FLOWS[server][name]
    assert_works(peer, flow, driver, driver.auth(flow.make(peer), cache=MemoryCache()))


def assert_works(peer: Peer, flow: Flow, driver: Driver, auth: Any) -> None:
    peer.control("statuses")
    first = driver.get(peer[flow.api], auth)
    assert (first.status, first.history) == (200, [401] * flow.has_nonces), first.text
    peer.control("revoke")
    second = driver.get(peer[flow.api], auth)
    assert (second.status, second.history) == (200, [401])
    auth.source.invalidate(auth.source.token())
    third = driver.get(peer[flow.api], auth)
    assert (third.status, third.history) == (200, [])
    assert peer.control("statuses") == list(flow.statuses)


#: Variables for oidc-provider; values in capitals stand for those of the server, or for new ones.
VARIABLES = {
    "client_secret_jwt": "CLIENT_AUTH=client_secret_jwt CLIENT_ID=secret-jwt CLIENT_SECRET=SECRET",
    "private_key_jwt": "CLIENT_AUTH=private_key_jwt CLIENT_ID=key PRIVATE_KEY=KEY KEY_ID=ES256",
    "tls_client_auth": (
        "CLIENT_AUTH=tls_client_auth CLIENT_ID=certificate CERTIFICATE=CERTIFICATE CERTIFICATE_KEY=PRIVATE CA_BUNDLE=CA"
    ),
    "DPoP": "CLIENT_ID=bound CLIENT_SECRET=SECRET DPOP_KEY=NEW_KEY",
    "refresh": "GRANT_TYPE=refresh_token CLIENT_ID=user CLIENT_SECRET=SECRET REFRESH_TOKEN=REFRESH_TOKEN",
}


@pytest.mark.parametrize("driver", each(SYNC))
@pytest.mark.parametrize("name", VARIABLES)
def test_each_way_works_by_variables(start: Callable[[str], Peer], name: str, driver: Driver) -> None:
    """The same with the server's metadata and the settings of the environment."""
    peer: Any = start("oidc-provider")
    (certificate, private), (ca, _) = peer.certificates["client"], peer.certificates["server"]
    made = {"SECRET": SECRET, "KEY": pem("ES256"), "CERTIFICATE": certificate, "PRIVATE": private, "CA": ca}
    made |= {"NEW_KEY": MAKERS["ES256"]().as_pem(private=True).decode(), "REFRESH_TOKEN": peer.control("user")}
    pairs = (pair.split("=") for pair in VARIABLES[name].split())
    environ = {"ACME_ISSUER": peer["issuer"]} | {f"ACME_{key}": str(made.get(value, value)) for key, value in pairs}
    auth = type(driver.auth(ApiKey("k"))).from_env("ACME", environ, cache=MemoryCache())
    flow = Flow(lambda _: None, **(NONCES if name == "DPoP" else {}))
    assert_works(peer, flow, driver, auth)


@pytest.mark.parametrize("driver", each(SYNC))
@pytest.mark.parametrize(
    ("server", "name"),
    [
        ("oidc-provider", "issuer basic"),
        ("oidc-provider", "issuer private_key_jwt"),
        ("oidc-provider", "issuer tls_client_auth"),
        ("oidc-provider", "issuer DPoP"),
        ("better-auth", "issuer basic"),
        ("better-auth", "issuer private_key_jwt"),
        ("better-auth", "issuer DPoP"),
    ],
)
def test_a_token_is_revoked(start: Callable[[str], Peer], server: str, name: str, driver: Driver) -> None:
    """The API refuses a token that was revoked at the endpoint of the metadata; the next request gets another one."""
    peer, flow = start(server), FLOWS[server][name]
    auth = driver.auth(flow.make(peer), cache=MemoryCache())
    assert driver.get(peer["api_url"], auth).status == 200
    token = auth.source.token()
    auth.source.revoke()
    headers = {"Authorization": token.header_value}
    assert requests.get(peer["api_url"], headers=headers, timeout=10).status_code == 401
    assert driver.get(peer["api_url"], auth).history == []
    assert auth.source.token() != token


@pytest.mark.parametrize("driver", each(SYNC))
@pytest.mark.parametrize("server", ["oidc-provider", "better-auth"])
def test_a_nonce_that_changes_costs_no_token(start: Callable[[str], Peer], server: str, driver: Driver) -> None:
    """A nonce of the API that changes costs one replay, and no token request."""
    peer, flow = start(server), FLOWS[server]["DPoP"]
    auth = driver.auth(flow.make(peer), cache=MemoryCache())
    for _ in range(3):
        peer.control("nonce")
        peer.control("statuses")
        answer = driver.get(peer["api_url"], auth)
        assert (answer.status, answer.history) == (200, [401])
    assert peer.control("statuses") == []


@pytest.mark.parametrize("server", ["oidc-provider", "oauth2-server", "better-auth"])
def test_threads_spend_each_refresh_token_once(start: Callable[[str], Peer], server: str) -> None:
    """Thirty threads of three libraries use a refresh token that rotates once after each revocation."""
    peer = start(server)
    name = "password, refresh" if server == "oauth2-server" else "DPoP refresh"
    grant, cache = FLOWS[server][name].make(peer), MemoryCache()
    peer.control("statuses")
    for _ in range(4):
        for driver in SYNC:
            assert succeeded(driver.get_all(peer["api_url"], [driver.auth(grant, cache=cache)] * 10))
        peer.control("revoke")
    assert [status for status in peer.control("statuses") if status != 400] == [200] * 4


def other_certificate(peer: NodePeer) -> TLSClientAuth:
    """A certificate that the server does not know."""
    pair = pair_of(Path(tempfile.mkdtemp(dir=peer.folder)), "other.example.com")
    return TLSClientAuth(*pair, ca=peer.certificates["server"][0])


def unknown(url: str = "token_url", **options: Any) -> Flow:
    return credentials("key", None, url=url, client_auth=PrivateKeyJWT(pem("ES256", 1), **options))


def stale(client: str = "user", secret: str | None = SECRET, **options: Any) -> Flow:
    return Flow(lambda peer: RefreshToken(peer["token_url"], "unknown-token", client, secret, **options))


POST = {"client_auth": "client_secret_post"}
#: The error code, and a part of the message.
REFUSALS: dict[str, list[tuple[Flow, str | None, str]]] = {
    "oidc-provider": [
        (credentials("basic", "wrong-secret"), "invalid_client", "check client_id and client_secret"),
        (
            credentials("secret-jwt", "wrong" * 9, client_auth="client_secret_jwt"),
            "invalid_client",
            "client_secret_jwt",
        ),
        (unknown(key_id="ES256"), "invalid_client", "public key"),
        (
            credentials("certificate", None, url="tls_url", client_auth=other_certificate),
            "invalid_client",
            "certificate",
        ),
        (credentials("certificate", None, client_auth=certificate), "invalid_client", "address for mutual TLS"),
        (credentials("bound"), "invalid_grant", "DPoP"),
        (refresh("bound-user", None), "invalid_grant", "DPoP"),
        (stale(), "invalid_grant", "signing in again"),
        (credentials("bound", dpop=lambda _: DPoPKey.generate("ES384")), "invalid_dpop_proof", "algorithm"),
        (Flow(lambda peer: ClientCredentials(Issuer(peer["issuer"] + "/"), "basic")), None, "a slash at the end"),
    ],
    "oauth2-server": [
        (credentials(), "invalid_client", "client_secret_basic_raw"),
        (stale("client", **POST), "invalid_grant", "signing in again"),
    ],
    "better-auth": [
        (credentials("basic", "wrong-secret"), "invalid_client", "check client_id and client_secret"),
        (credentials("post"), "invalid_client", "client_auth"),
        (unknown(key_id="ES256"), "invalid_client", "public key"),
        (credentials("bound"), "invalid_dpop_proof", "set dpop"),
        (stale(), "invalid_grant", "signing in again"),
        (credentials("basic", scope="admin"), "invalid_scope", "scope"),
    ],
    "LemonLDAP::NG": [
        (credentials(), "invalid_client", "client_secret_basic_raw"),
        (credentials(secret="wrong-secret", **POST), "invalid_client", "check client_id and client_secret"),
        (stale("client", **POST), "invalid_request", "if the refresh token is expired"),
    ],
}


@pytest.mark.parametrize("driver", each(SYNC))
@pytest.mark.parametrize(("server", "number"), [(name, n) for name, rows in REFUSALS.items() for n in range(len(rows))])
def test_a_refusal_says_what_to_do(start: Callable[[str], Peer], server: str, number: int, driver: Driver) -> None:
    """What the server refuses is an error of the library too, with its code, and names what to change."""
    peer, (flow, code, advice) = start(server), REFUSALS[server][number]
    with pytest.raises(TokenRequestError, match=advice) as caught:
        driver.get(peer["api_url"], driver.auth(flow.make(peer), cache=MemoryCache()))
    assert caught.value.error == code
    assert isinstance(caught.value, driver.base_error)
