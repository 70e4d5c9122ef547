"""DPoP at the token endpoint (RFC 9449 §5, §8): keys, proofs, nonces, what tokens depend on, and the variables."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from auth_plugins import (
    ClientCredentials,
    ConfigurationError,
    DPoPKey,
    FileCache,
    Issuer,
    JWTBearer,
    MemoryCache,
    Password,
    PrivateKeyJWT,
    RefreshToken,
    SecretFile,
    Token,
    TokenExchange,
    TokenRequestError,
    TokenSource,
    from_env,
)
from auth_plugins._protocol.tokens import jwt_claims
from auth_plugins.requests import OAuth2Auth
from tests.support.dpop import DPoPServer
from tests.support.keys import MAKERS, jwk, pem
from tests.support.loopback import Loopback, as_json
from tests.support.stores import forget

URL = "https://id.example.com/token"


def grant_at(server: Loopback, dpop: Any = True, **options: Any) -> ClientCredentials:
    return ClientCredentials(server.token_url, "client", "s3cr3t", dpop=dpop, **options)


@pytest.mark.parametrize("nonces", [False, True])
@pytest.mark.parametrize(
    "dpop",
    [
        *(DPoPKey.generate(algorithm) for algorithm in (*MAKERS, "PS256")),
        True, DPoPKey(pem("ES384")), DPoPKey(jwk("RS256", alg="PS512", kid="k")), DPoPKey(lambda: pem("ES256")),
    ],
    ids=str,
)  # fmt: skip
def test_each_token_request_has_a_proof(server: Loopback, dpop: Any, nonces: bool) -> None:
    """A proof of any kind of key is accepted; a nonce challenge is answered by one retry; the nonce is remembered."""
    peer = DPoPServer(server, token_nonces=nonces)
    source = TokenSource(grant_at(server, dpop))
    token = source.token()
    assert (token.token_type, token.header_value) == ("DPoP", f"DPoP {token.access_token}")
    source.invalidate(token)
    assert source.token() != token
    assert peer.refusals == ["token nonce"] * nonces
    assert len(server.token_requests) == 2 + nonces


def test_a_nonce_on_a_200_is_used_next(server: Loopback) -> None:
    """A server that sends its next nonce with each answer challenges the first request only."""
    peer = DPoPServer(server, token_nonces=True)
    source = TokenSource(grant_at(server))
    plain = server.token_play

    def rotating(received: Any) -> Any:
        response = plain(received)
        if response.status_code == 200:
            peer.rotate("token")
            response.headers["DPoP-Nonce"] = peer.nonces["token"]
        return response

    server.token_play = rotating
    for _ in range(3):
        source.invalidate(source.token())
    assert peer.refusals == ["token nonce"]
    assert len({claims["nonce"] for claims in peer.proofs}) == 3


@pytest.mark.parametrize(
    ("status", "body", "headers", "count"),
    [
        (400, {"error": "use_dpop_nonce"}, {"DPoP_Nonce": "n"}, 2),
        (401, {}, {"DPoP_Nonce": "n", "WWW_Authenticate": 'DPoP error="use_dpop_nonce"'}, 2),
        (400, {"error": "invalid_dpop_proof"}, {"DPoP_Nonce": "n"}, 2),  # so some call a nonce that is too old
        (400, {"error": "invalid_grant"}, {"DPoP_Nonce": "n"}, 1),
        (400, {"error": "use_dpop_nonce"}, {}, 1),
        (400, {"error": "use_dpop_nonce"}, {"DPoP_Nonce": 'a "nonce"'}, 1),
    ],
)
def test_a_challenge_is_answered_once(
    server: Loopback, status: int, body: dict[str, str], headers: dict[str, str], count: int
) -> None:
    """A server that asks for its nonce again and again gets one retry, and the error names DPoP."""
    server.token_play = lambda _: as_json(body, status, **headers)
    with pytest.raises(TokenRequestError) as caught:
        TokenSource(grant_at(server)).token()
    assert len(server.token_requests) == count
    assert len({request.headers["dpop"] for request in server.token_requests}) == count
    assert "DPoP" in str(caught.value) or status == 401
    assert server.token_requests[-1].headers["dpop"] not in str(caught.value)


def test_a_retry_has_the_nonce_that_came_with_its_challenge(server: Loopback) -> None:
    """Another token request by the same key may hear an older nonce before the retry is built."""
    peer, key = DPoPServer(server, token_nonces=True), DPoPKey(pem("ES256"))
    prover: Any = key.prover(None)

    def secret() -> str:
        if server.token_requests:
            prover.note("token endpoint", server.url, "older")
        return "s3cr3t"

    assert TokenSource(ClientCredentials(server.token_url, "client", secret, dpop=key)).token().token_type == "DPoP"
    assert peer.refusals == ["token nonce"]


@pytest.mark.parametrize(("token_type", "sent"), [("dpop", "DPoP"), ("DPOP", "DPoP"), ("Bearer", "Bearer")])
def test_the_server_says_the_type(server: Loopback, token_type: str, sent: str) -> None:
    """A token is DPoP or Bearer as the server says, in any case of letters."""
    DPoPServer(server).token_type = token_type
    assert TokenSource(grant_at(server)).token().header_value.partition(" ")[0] == sent


def test_a_refresh_token_is_bound_to_the_key(server: Loopback, tmp_path: Path) -> None:
    """A refresh has a proof by the same key; after another key came, the grant itself is used."""
    peer, path = DPoPServer(server, token_nonces=True), tmp_path / "key.pem"
    path.write_text(pem("ES256"))
    source = TokenSource(ClientCredentials(server.token_url, "app", scope="refresh", dpop=DPoPKey(SecretFile(path))))
    source.invalidate(source.token())
    source.invalidate(source.token())
    assert b"refresh_token" in server.token_requests[-1].body
    path.write_text(pem("ES256", 1))
    thumbprint = peer.tokens[source.token().access_token]
    assert thumbprint != peer.tokens["dpop-token-1"]
    assert b"client_credentials" in server.token_requests[-1].body


def test_a_changed_key_ends_a_remembered_refusal(server: Loopback, tmp_path: Path) -> None:
    """Another key in the file is tried at once."""
    path = tmp_path / "key.pem"
    path.write_text(pem("ES256"))
    server.token_play = lambda _: as_json({"error": "invalid_dpop_proof"}, 400)
    source = TokenSource(grant_at(server, DPoPKey(SecretFile(path))))
    for key, count in ((0, 1), (0, 1), (1, 2)):
        path.write_text(pem("ES256", key))
        with pytest.raises(TokenRequestError, match=r"check that this machine's clock is right"):
            source.token()
        assert len(server.token_requests) == count


def test_a_revocation_has_no_proof(server: Loopback) -> None:
    """A revocation request is no token request."""
    [request] = grant_at(server, revocation_url=server.token_url).revocation_requests("tok", None)
    assert "DPoP" not in request.headers


GRANTS: list[Any] = [
    lambda **options: ClientCredentials(URL, "id", **options),
    lambda **options: Password(URL, "ann", "p4ss", **options),
    lambda **options: RefreshToken(URL, "r3fr3sh", **options),
    lambda **options: JWTBearer(URL, "a.b.c", **options),
    lambda **options: TokenExchange(URL, "subject", **options),
]


@pytest.mark.parametrize("make", GRANTS)
def test_tokens_depend_on_the_key(make: Any) -> None:
    """The key is part of a grant's equality and identity, and in no text or entry; without dpop nothing changes."""
    plain, own, given, other = (
        make(),
        make(dpop=True),
        make(dpop=DPoPKey(pem("ES256"))),
        make(dpop=DPoPKey(jwk("ES384"))),
    )
    assert len({plain, own, given, other, make(dpop=True), make(dpop=False), make(dpop=DPoPKey(pem("ES256")))}) == 4
    identities = [each.identity() for each in (plain, own, given, other)]
    assert "dpop" not in identities[0]
    assert len({str(each) for each in identities}) == 4
    assert "PRIVATE" not in str(identities) + repr(given) + repr(given.dpop)
    assert make(dpop=DPoPKey(pem("ES256"))).identity() == make(dpop=DPoPKey(jwk("ES256"))).identity()
    assert pickle.loads(pickle.dumps(given)) == given
    assert pickle.loads(pickle.dumps(own)) == own
    assert ("dpop=True" in repr(own), "dpop=DPoPKey()" in repr(given)) == (True, True)


def test_equal_grants_have_one_key_and_copies_keep_it(server: Loopback) -> None:
    """``dpop=True`` is one key for equal grants and their copies, while there is one; it is not pickled."""
    first, second = grant_at(server), grant_at(server)
    one: Any = first.prover()
    assert second.prover() is one
    assert replace(first, token_url=URL).prover() is one
    assert grant_at(server, scope="other").prover() is not one
    away = pickle.loads(pickle.dumps(first))
    del first, second
    assert away.prover() is one  # in this process it is the same
    thumbprint = one.load().thumbprint()
    del one, away
    again: Any = grant_at(server).prover()
    assert again.load().thumbprint() != thumbprint


def test_a_shared_cache_needs_a_key(tmp_path: Path, server: Loopback) -> None:
    """Another process cannot use a token without its key, so the key must be given; then one request serves both."""
    with pytest.raises(
        ConfigurationError, match=r"cache.*dpop.*DPoPKey\(SecretFile\(path\)\).*DPOP_KEY_FILE"
    ) as caught:
        TokenSource(grant_at(server), cache=FileCache(tmp_path))
    assert caught.value.argument == "cache"
    TokenSource(grant_at(server), cache=MemoryCache())
    DPoPServer(server)
    (tmp_path / "key").write_text(pem("ES256"))
    grant = grant_at(server, DPoPKey(SecretFile(tmp_path / "key")))
    token = TokenSource(grant, cache=FileCache(tmp_path / "cache")).token()
    forget()
    assert TokenSource(grant, cache=FileCache(tmp_path / "cache")).token() == token
    assert token.token_type == "DPoP"
    stored = "".join(path.read_text() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert "PRIVATE" not in stored


def test_the_issuers_endpoints_get_proofs_by_the_same_key(server: Loopback) -> None:
    """With an Issuer, tokens are bound to the key of the grant."""
    peer, issuer = DPoPServer(server), server.url
    server.api = lambda _: as_json({"issuer": issuer, "token_endpoint": server.token_url})
    grant = ClientCredentials(Issuer(issuer), "client", "s3cr3t", dpop=True)
    token, prover = TokenSource(grant).token(), grant.prover()
    assert prover is not None
    assert peer.tokens[token.access_token] == prover.load().thumbprint()


def test_a_seeded_token_may_be_bound(server: Loopback) -> None:
    """The members of an answer with ``token_type`` DPoP can be seeded if the grant has a key, else not."""
    members = {"access_token": "tok", "token_type": "dpop"}
    source = TokenSource(grant_at(server))
    source.seed(members)
    assert source.token().header_value == "DPoP tok"
    with pytest.raises(ConfigurationError, match="token_type"):
        TokenSource(grant_at(server, None)).seed(members)
    assert Token(access_token="a", token_type="dPoP").header_value == "DPoP a"


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: grant_at_url("yes"), r"dpop must be True or a DPoPKey, got an object of type str; give DPoPKey\(Sec"),
        (lambda: grant_at_url(True, headers={"dpop": "x"}), "headers must not have DPoP with dpop"),
        (lambda: DPoPKey("nonsense"), "key is no key.*; give a private key of your own, which no server has to know"),
        (lambda: DPoPKey(lambda: "nonsense").signing_key(), "key is no key.*; give a private key of your own"),
        (lambda: DPoPKey(pem("ES256").replace("PRIVATE", "PUBLIC")), "key must be a private key, and is a public key"),
        (lambda: DPoPKey.generate("HS256"), "algorithm must be one of RS256"),
    ],
)
def test_what_cannot_work_is_refused(make: Any, problem: str) -> None:
    """A wrong key, or a place that DPoP does not know, is a ConfigurationError that names the argument."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        make()
    assert "\n" not in str(caught.value)


def grant_at_url(dpop: Any, **options: Any) -> ClientCredentials:
    return ClientCredentials(URL, "id", dpop=dpop, **options)


CLIENT = {"TOKEN_URL": URL, "CLIENT_ID": "me", "CLIENT_SECRET": "s3cr3t"}


@pytest.mark.parametrize(
    ("variables", "dpop"),
    [
        ({"DPOP": "true"}, True),
        ({"DPOP": "off"}, None),
        ({"DPOP_KEY": pem("ES256")}, DPoPKey(pem("ES256"))),
        ({"DPOP": "yes", "DPOP_KEY_FILE": "/run/key"}, DPoPKey(SecretFile("/run/key"))),
    ],
)
def test_variables_make_the_same_grant(variables: dict[str, str], dpop: Any) -> None:
    """``DPOP=true`` and ``DPOP_KEY(_FILE)`` are ``dpop=`` of the grant, beside any client authentication."""
    environ = {f"ACME_{name}": value for name, value in {**CLIENT, **variables}.items()}
    assert from_env("ACME", environ) == ClientCredentials(URL, "me", "s3cr3t", dpop=dpop)
    del environ["ACME_CLIENT_SECRET"]
    environ |= {"ACME_CLIENT_AUTH": "private_key_jwt", "ACME_PRIVATE_KEY": pem("ES256")}
    expected = ClientCredentials(URL, "me", client_auth=PrivateKeyJWT(pem("ES256")), dpop=dpop)
    assert from_env("ACME", environ) == expected


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"DPOP": "maybe"}, "ACME_DPOP is not valid; expected true or false"),
        ({"DPOP": "false", "DPOP_KEY": pem("ES256")}, "ACME_DPOP_KEY contradicts ACME_DPOP=false; unset one of them"),
        ({"DPOP_KEY": "s3cr3t-k3y"}, "ACME_DPOP_KEY is no key"),
        ({"DPOP_KEY": "/run/key.pem"}, "ACME_DPOP_KEY must be the text of a key, and is a path"),
    ],
)
def test_a_wrong_variable_is_named(variables: dict[str, str], problem: str) -> None:
    """An error names the variable, and does not show the key."""
    with pytest.raises(ConfigurationError, match=re.escape(problem)) as caught:
        from_env("ACME", {f"ACME_{name}": value for name, value in {**CLIENT, **variables}.items()})
    assert "s3cr3t" not in str(caught.value)


def test_few_nonces_are_kept() -> None:
    """The nonces of the latest 256 servers are remembered, so that no number of hosts fills the memory."""
    prover: Any = grant_at_url(DPoPKey.generate()).prover()

    def nonce_for(number: int) -> str | None:
        claims = jwt_claims(prover.api_proof("GET", f"https://h{number}.example.com/", "tok"))
        assert claims is not None
        return claims.get("nonce")

    for number in range(300):
        assert prover.note_api(f"https://h{number}.example.com:443/x", {"DPoP-Nonce": f"n{number}"})
    assert [nonce_for(number) for number in (0, 43, 44, 299)] == [None, None, "n44", "n299"]


def test_few_meetings_are_kept() -> None:
    """Of the latest 256 servers it is known that they were met."""
    auth, prover = OAuth2Auth(grant := grant_at_url(DPoPKey.generate())), grant.prover()
    auth.source.seed({"access_token": "tok", "token_type": "DPoP"})
    for number in range(300):
        auth(requests.Request("GET", f"https://h{number}.example.com/").prepare())
    assert prover is not None
    assert [*prover.meetings][::255] == ["https://h44.example.com", "https://h299.example.com"]


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("HTTPS://user:pass@API.example.com:443?q=1#f", "https://api.example.com/"),
        ("http://[::1]:8080/a%2Fb;c", "http://[::1]:8080/a%2Fb;c"),
        ("http://localhost:80/", "http://localhost/"),
        ("https://Bücher.example/ä/b%2f?q=ä", "https://xn--bcher-kva.example/%C3%A4/b%2f"),
    ],
)
def test_a_proof_names_the_url_in_its_normal_form(url: str, named: str) -> None:
    """The URL in a proof has no user, query, fragment and default port, and a host in lower case."""
    prover: Any = grant_at_url(True).prover()
    claims: Any = jwt_claims(prover.api_proof("GET", url, "tok"))
    assert claims["htu"] == named
