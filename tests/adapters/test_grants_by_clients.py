"""Each grant with each client authentication, by URL and by issuer, in code and by variables.

Libraries and caches take turns.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from auth_plugins import (
    ClientAssertion,
    ClientCredentials,
    FileCache,
    Issuer,
    JWTBearer,
    MemoryCache,
    Password,
    PrivateKeyJWT,
    RefreshToken,
    SecretFile,
    SignedJWT,
    TLSClientAuth,
    TokenExchange,
    TokenRequestError,
    TokenSource,
    from_env,
)
from auth_plugins._protocol.tokens import jwt_claims
from tests.support.certificates import pair_of
from tests.support.drivers import SYNC
from tests.support.frames import variables_of
from tests.support.issuers import Published
from tests.support.keys import form_of, pem
from tests.support.loopback import Clock, Loopback, Received, as_json

KEY, SECRET, ASSERTION = pem("ES256").strip(), "s3cr3t-of-client", "eyJh.eyJz.s1gnature"
#: What no message, dump and entry shows.
HIDDEN = ("s3cr3t-", ASSERTION, KEY.split("\n")[1])
Variables = Mapping[str, object]


class Files:
    """The files that grants read, and the certificate of a client."""

    def __init__(self, directory: Path) -> None:
        self.key, self.assertion = directory / "key.pem", directory / "assertion"
        self.key.write_text(KEY)
        self.assertion.write_text(f"{ASSERTION}\n")
        self.certificate, self.certificate_key = pair_of(directory, "client")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("files"))


#: By name: what makes ``client_secret`` and ``client_auth``, and the variables that mean the same.
CLIENTS: dict[str, tuple[Callable[[Files], tuple[str | None, Any]], Callable[[Files], Variables]]] = {
    "none": (lambda _: (None, None), lambda _: {"CLIENT_AUTH": "none"}),
    **{
        name: (
            lambda _, name=name: (SECRET, name),  # type: ignore[misc]
            lambda _, name=name: {"CLIENT_SECRET": SECRET, "CLIENT_AUTH": name},  # type: ignore[misc]
        )
        for name in ("client_secret_basic", "client_secret_post", "client_secret_jwt")
    },
    "key": (
        lambda files: (None, PrivateKeyJWT(SecretFile(files.key), key_id="k")),
        lambda files: {"CLIENT_AUTH": "private_key_jwt", "PRIVATE_KEY_FILE": files.key, "KEY_ID": "k"},
    ),
    "assertion": (
        lambda files: (None, ClientAssertion(SecretFile(files.assertion))),
        lambda files: {"CLIENT_ASSERTION_FILE": files.assertion},
    ),
    "certificate": (
        lambda files: (None, TLSClientAuth(files.certificate, files.certificate_key)),
        lambda files: {
            "CLIENT_AUTH": "tls_client_auth",
            "CERTIFICATE": files.certificate,
            "CERTIFICATE_KEY": files.certificate_key,
        },
    ),
    "session's certificate": (lambda _: (None, "tls_client_auth"), lambda _: {"CLIENT_AUTH": "tls_client_auth"}),
}


def source_of(name: str, server: Loopback) -> TokenSource:
    return TokenSource(ClientCredentials(server.token_url, name, "s3cr3t-of-it"), cache=MemoryCache())


def exchange(url: Any, files: Files, server: Loopback, **options: Any) -> TokenExchange:
    return TokenExchange(url, source_of("subject", server), actor_token=source_of("actor", server), **options)


#: By name: what makes the grant, and the variables that mean the same; none: there are none.
GRANTS: dict[str, tuple[Callable[..., Any], Callable[[Files], Variables] | None]] = {
    "client credentials": (lambda url, *_, **options: ClientCredentials(url, **options), lambda _: {}),
    "password": (
        lambda url, *_, **options: Password(url, "ann", "s3cr3t-of-ann", **options),
        lambda _: {"USERNAME": "ann", "PASSWORD": "s3cr3t-of-ann"},
    ),
    "refresh token": (
        lambda url, *_, **options: RefreshToken(url, "s3cr3t-refresh", **options),
        lambda _: {"REFRESH_TOKEN": "s3cr3t-refresh"},
    ),
    "signed assertion": (
        lambda url, files, _, **options: JWTBearer(
            url, SignedJWT(SecretFile(files.key), issuer="me", key_id="k"), **options
        ),
        lambda files: {"PRIVATE_KEY_FILE": files.key, "KEY_ID": "k", "JWT_ISSUER": "me"},
    ),
    "ready-made assertion": (
        lambda url, files, _, **options: JWTBearer(url, SecretFile(files.assertion), **options),
        lambda files: {"ASSERTION_FILE": files.assertion},
    ),
    "subject": (
        lambda url, *_, **options: TokenExchange(url, "s3cr3t-subject", **options),
        lambda _: {"SUBJECT_TOKEN": "s3cr3t-subject"},
    ),
    "sources": (exchange, None),
}
CACHES: list[Callable[[Path], Any]] = [
    lambda _: MemoryCache(),
    FileCache,
    lambda path: FileCache(path, key=Fernet.generate_key()),
]
each_way = pytest.mark.parametrize("by_issuer", [False, True], ids=["url", "issuer"])
each_client = pytest.mark.parametrize("client", CLIENTS)


class Bank:
    """An issuer that has further endpoints for clients with a certificate, and what was sent to them."""

    def __init__(self, server: Loopback, files: Files) -> None:
        self.server, self.files, self.published = server, files, Published(server)
        self.sent: list[tuple[str, dict[str, str], Received]] = []
        self.statuses: list[int] = []
        named = {"token_endpoint": "/t", "revocation_endpoint": "/r"}
        self.published.document |= {name: f"{server.url}{path}" for name, path in named.items()}
        mutual = {name: f"{server.url}/mtls{path}" for name, path in named.items()}
        self.published.document["mtls_endpoint_aliases"] = mutual
        self.published.plays |= dict.fromkeys(("/t", "/r", "/mtls/t", "/mtls/r"), self._answer)

    def _answer(self, received: Received) -> Any:
        self.sent.append((f"{self.server.url}{received.target}", form_of(received), received))
        status = self.statuses.pop(0) if self.statuses else 200
        return self.server.issue(received) if status == 200 else as_json({"error": "invalid_client"}, status)

    def grant(self, kind: str, client: str, *, by_issuer: bool) -> Any:
        secret, client_auth = CLIENTS[client][0](self.files)
        options = {"client_id": "id", "client_secret": secret, "client_auth": client_auth}
        url: Any = Issuer(self.published.issuer) if by_issuer else f"{self.server.url}/t"
        if not by_issuer:
            options["revocation_url"] = f"{self.server.url}/r"
        return GRANTS[kind][0](url, self.files, self.server, **options)

    def check(self, client: str, *, endpoint: str, token_url: str, times: int) -> None:
        """Check what was sent, and forget it: each request goes to *endpoint*, and proves the client in one way."""
        assert [url for url, _, _ in self.sent] == [endpoint] * times
        ids = []
        for _, form, received in self.sent:
            assert ("authorization" in received.headers) == (client == "client_secret_basic")
            assert form.get("client_id") == (None if client == "client_secret_basic" else "id")
            assert form.get("client_secret") == (SECRET if client == "client_secret_post" else None)
            proofs = {name: form.get(name, "") for name in ("client_assertion", "assertion")}
            assert (proofs.pop("client_assertion") == ASSERTION) == (client == "assertion")
            for text in (form.get("client_assertion"), *proofs.values()):
                if text and text != ASSERTION and (claims := jwt_claims(text)):
                    assert claims["aud"] == token_url
                    ids.append(claims["jti"])
        assert len({*ids}) == len(ids)
        self.sent.clear()


@pytest.fixture
def bank(server: Loopback, files: Files, clock: Clock) -> Bank:
    return Bank(server, files)


@each_way
@each_client
@pytest.mark.parametrize("kind", GRANTS)
def test_all_fit_together(bank: Bank, kind: str, client: str, by_issuer: bool, tmp_path: Path) -> None:
    """A token is fetched after two 503, replaced after a 401, revoked, seeded and pickled; nothing secret shows."""
    turn = [*GRANTS].index(kind) + [*CLIENTS].index(client) + by_issuer
    driver, server = SYNC[turn % 3], bank.server
    grant = bank.grant(kind, client, by_issuer=by_issuer)
    base = f"{server.url}{'/mtls' if by_issuer and 'certificate' in client else ''}"
    auth = driver.auth(grant, cache=CACHES[turn // 3 % 3](tmp_path / "cache"))
    bank.statuses = [503, 503]
    assert driver.get(server.api_url, auth).status == 200
    bank.check(client, endpoint=f"{base}/t", token_url=f"{base}/t", times=3)
    server.revoke()
    assert driver.get(server.api_url, auth).history == [401]
    bank.check(client, endpoint=f"{base}/t", token_url=f"{base}/t", times=1)
    token = auth.source.token().access_token
    auth.source.revoke()
    assert bank.sent[0][1]["token"] == token
    bank.check(client, endpoint=f"{base}/r", token_url=f"{base}/t", times=1)
    auth.source.seed({"access_token": "seeded", "expires_in": 100})
    assert auth.source.token().access_token == "seeded"
    auth.source.invalidate(auth.source.token())
    bank.statuses = [401] * 9
    with pytest.raises(TokenRequestError) as caught:
        driver.get(server.api_url, auth)
    shown = f"{caught.value} {variables_of(caught.value)} {auth!r} {auth.source!r} {grant!r}"
    shown += "".join(path.read_text("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    assert not [word for word in HIDDEN if word in shown]
    copied = pickle.loads(pickle.dumps(grant))
    assert (copied == grant, hash(copied) == hash(grant)) == (True, True)


@each_way
@each_client
@pytest.mark.parametrize("kind", [kind for kind, (_, variables) in GRANTS.items() if variables])
def test_variables_make_the_same(bank: Bank, kind: str, client: str, by_issuer: bool) -> None:
    """The variables of the grant, of the client and of the place make the grant that the arguments make."""
    of_grant: Any = GRANTS[kind][1]
    given = {**of_grant(bank.files), **CLIENTS[client][1](bank.files), "CLIENT_ID": "id"}
    place = {"TOKEN_URL": f"{bank.server.url}/t", "REVOCATION_URL": f"{bank.server.url}/r"}
    given |= {"ISSUER": bank.published.issuer} if by_issuer else place
    made = from_env("ACME", {f"ACME_{name}": str(value) for name, value in given.items()})
    expected = bank.grant(kind, client, by_issuer=by_issuer)
    assert (made == expected, made.identity()) == (True, expected.identity())
