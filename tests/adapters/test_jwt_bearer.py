"""``JWTBearer`` and ``SignedJWT``: what is sent, in each library and mode, and what is signed."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest

from auth_plugins import (
    ClientAssertion,
    ConfigurationError,
    FileCache,
    JWTBearer,
    PrivateKeyJWT,
    SecretFile,
    SignedJWT,
    TokenRequestError,
    TokenSource,
    from_env,
)
from auth_plugins.requests import OAuth2Auth
from tests.support.drivers import ALL, Driver, each, succeeded
from tests.support.frames import variables_of
from tests.support.keys import MAKERS, jwk, key, opened, pem
from tests.support.loopback import Clock, Loopback, Received, as_json
from tests.support.sources import Endpoint, refusal, source
from tests.support.stores import forget

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

URL = "https://id.example.com/token"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION = "ready-made.assertion"
PEM = pem("ES256").strip()


def signed(**options: Any) -> SignedJWT:
    return SignedJWT(PEM, **{"issuer": "robot@example.com", **options})


def sent(request: Any) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode()))


def claims_of(assertion: str) -> dict[str, Any]:
    return opened(assertion, key("ES256"))[1]


@pytest.mark.parametrize("driver", each(ALL))
def test_each_attempt_has_a_new_assertion(driver: Driver, server: Loopback) -> None:
    """A token is requested by an assertion, a retry and a request after a 401 by another one."""
    outages = iter([503, 200, 200])

    def play(received: Received) -> Response:
        return as_json({}, 503) if next(outages) == 503 else server.issue(received)

    server.token_play = play
    auth = driver.auth(JWTBearer(server.token_url, signed()))
    assert driver.get(server.api_url, auth).status == 200
    server.revoke()
    assert driver.get(server.api_url, auth).status == 200
    claims = [claims_of(sent(each)["assertion"]) for each in server.token_requests]
    assert len({each["jti"] for each in claims}) == len(claims) == 3
    assert [(each["iss"], each["sub"], each["aud"]) for each in claims] == [
        ("robot@example.com", "robot@example.com", server.token_url)
    ] * 3
    assert sent(server.token_requests[0]).keys() == {"grant_type", "assertion"}
    assert sent(server.token_requests[0])["grant_type"] == GRANT


@pytest.mark.parametrize("driver", each(ALL))
def test_many_requests_sign_one_assertion(driver: Driver, server: Loopback) -> None:
    """50 requests at once, each with an auth of its own, cost one token request."""
    server.latency = 0.1
    auths = [driver.auth(JWTBearer(server.token_url, signed(claims={"scope": "a"}))) for _ in range(50)]
    assert succeeded(driver.get_all(server.api_url, auths))
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("algorithm", [*MAKERS, "PS256"])
def test_each_kind_of_key_signs(algorithm: str, clock: Clock) -> None:
    """The algorithm follows from the key, PEM or JWK, and the key's own ``kid`` is sent unless another is given."""
    kind, given = ("RS256", "PS256") if algorithm == "PS256" else (algorithm, None)
    own = jwk(kind, kid="own")
    for text, key_id, kid in ((pem(kind), None, None), (pem(kind), "k1", "k1"), (own, None, "own"), (own, "k1", "k1")):
        assertion = SignedJWT(text, issuer="me", key_id=key_id, algorithm=given).sign(URL)
        header, _ = opened(assertion, key(kind))
        assert (header["alg"], header.get("kid")) == (algorithm, kid)


def test_the_claims_of_an_assertion(clock: Clock) -> None:
    """Times are whole numbers, and the issue is some seconds ago; arguments and claims are as given."""
    claims = claims_of(signed().sign(URL))
    assert claims.keys() == {"iss", "sub", "aud", "iat", "exp", "jti"}
    assert isinstance(claims["iat"], int)
    assert clock.now - 11 <= claims["iat"] <= clock.now - 9
    assert claims["exp"] == claims["iat"] + 300
    given = {"scope": "a b", "tenant": {"ids": [1, 2.5, None, True]}}
    assertion = signed(subject="ada", audience="https://login.example.com", claims=given, lifetime=3600)
    claims = claims_of(assertion.sign(URL))
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("robot@example.com", "ada", "https://login.example.com")
    assert claims["exp"] == claims["iat"] + 3600
    assert {name: claims[name] for name in given} == given


def test_a_standard_claim_can_be_left_out(clock: Clock) -> None:
    """``None`` as its value removes a standard claim, as it removes a parameter; of any other claim it is sent."""
    claims = claims_of(signed(claims={"sub": None, "jti": None, "tenant": None}).sign(URL))
    assert claims.keys() == {"iss", "aud", "iat", "exp", "tenant"}
    assert claims["tenant"] is None


def test_equal_assertions_are_equal() -> None:
    """What is signed makes a grant equal to another one, claims included; a copy is equal."""
    same = [signed(claims={"a": [1, {"b": 2}], "c": 1}), signed(claims={"c": 1, "a": [1, {"b": 2}]})]
    assert same[0] == same[1]
    assert len({*same, *pickle.loads(pickle.dumps(same)), dataclasses.replace(same[0])}) == 1
    assert JWTBearer(URL, same[0]) == JWTBearer(URL, same[1])
    claims: list[Any] = [{"c": 1}, {"c": True}, {"c": "1"}, {"c": {}}, None]
    others = [signed(claims=each) for each in claims]
    others += [
        signed(issuer="other"),
        signed(subject="ada"),
        signed(audience="a"),
        signed(lifetime=60),
        signed(key_id="k"),
    ]
    assert len({JWTBearer(URL, each) for each in (*same, *others)}) == 11
    assert signed(claims={}) == signed()


def test_nothing_secret_is_shown() -> None:
    """Neither key nor claims nor assertion is in a repr."""
    assertion = signed(claims={"password": "cl4im"})
    shown = repr([assertion, vars(assertion), JWTBearer(URL, assertion), JWTBearer(URL, ASSERTION)])
    assert "issuer='robot@example.com'" in shown
    for text in ("cl4im", ASSERTION, *PEM.split("\n")[1:3]):
        assert text not in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"issuer": ""}, "issuer must not be empty"),
        ({"issuer": None}, "issuer must be a str, got None"),
        ({"algorithm": "RS256"}, "algorithm must be ES256, as key is EC P-256"),
        ({"algorithm": "none"}, "algorithm must be one of"),
        ({"lifetime": 0}, "lifetime must be a number of seconds, more than 0$"),
        ({"claims": "scope"}, "claims must be a mapping, got str"),
        ({"claims": {"iss": "a"}}, "claims must not have iss; give issuer"),
        ({"claims": {"exp": 1}}, "claims must not have exp; give lifetime"),
        ({"claims": {"jti": "a"}}, "claims must not have jti, which is new in each assertion; leave it out"),
        ({"claims": {"a": {1, 2}}}, "claims must be a mapping of what JSON is made of"),
        ({"claims": {"a": float("nan")}}, "claims must be a mapping of what JSON is made of"),
        ({"claims": {1: "a"}}, "claims must be a mapping of what JSON is made of"),
    ],
)
def test_an_argument_that_cannot_work(options: dict[str, Any], message: str) -> None:
    """The error names the argument, and what to give in its place."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        signed(**options)
    assert PEM not in variables_of(caught.value)


@pytest.mark.parametrize(
    ("assertion", "message"),
    [
        ("", "assertion must not be empty"),
        (None, "assertion must be a str or a callable"),
        ("a\nb", "assertion must not have a control character"),
        (JWTBearer(URL, "a.b.c"), "assertion must be a str or a callable that returns one, got JWTBearer; for the to"),
        (TokenSource(JWTBearer(URL, "a.b.c")), "got TokenSource; for the token of a TokenSource, give a function"),
    ],
)
def test_an_assertion_that_cannot_be(assertion: Any, message: str) -> None:
    """An assertion is a text, a callable or a SignedJWT."""
    with pytest.raises(ConfigurationError, match=message):
        JWTBearer(URL, assertion)


def test_a_ready_made_assertion(server: Loopback, tmp_path: Path) -> None:
    """An assertion of a file is read for each attempt, and the options of OAuth grants hold."""
    path = tmp_path / "assertion"
    path.write_text(f"{ASSERTION}\n")
    outage = iter([as_json({}, 503)])

    def play(received: Received) -> Response:
        path.write_text("second.assertion\n")
        return next(outage, None) or server.issue(received)

    server.token_play = play
    OAuth2Auth(JWTBearer(server.token_url, SecretFile(path), "app", "s3cr3t", scope=["a", "b"])).source.token()
    assert [sent(each)["assertion"] for each in server.token_requests] == [ASSERTION, "second.assertion"]
    assert sent(server.token_requests[0])["scope"] == "a b"
    assert server.token_requests[0].headers["authorization"].startswith("Basic ")


def test_a_retry_has_a_new_assertion_of_the_client_too(server: Loopback) -> None:
    """With a client that authenticates by a key too, a retry has two new assertions."""
    outage = iter([as_json({}, 503)])
    server.token_play = lambda received: next(outage, None) or server.issue(received)
    grant = JWTBearer(server.token_url, signed(), "app", client_auth=PrivateKeyJWT(PEM))
    OAuth2Auth(grant).source.token()
    first, second = map(sent, server.token_requests)
    assert len({first["assertion"], second["assertion"], first["client_assertion"], second["client_assertion"]}) == 4


class Minted:
    """Assertions of the user's own, another one each time."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return f"minted-{self.count}.assertion"


@pytest.mark.parametrize(
    ("assertion", "advice"),
    [
        (lambda: ASSERTION, "check that assertion has not expired"),
        (Minted, "check that assertion has not expired"),
        (signed, "check that the server knows the public key of private_key"),
    ],
    ids=["text", "callable", "signed"],
)
def test_a_refused_assertion_is_remembered(endpoint: Endpoint, assertion: Callable[[], Any], advice: str) -> None:
    """The error of a refused assertion is raised again without a request, and says what to check."""
    endpoint.script = [refusal("invalid_grant", 400)]
    tokens = source(endpoint, JWTBearer(URL, assertion()))
    for _ in range(2):
        with pytest.raises(TokenRequestError, match=advice):
            tokens.token()
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("code", ["invalid_client", "unknown"])
def test_a_client_without_an_id_is_known_by_its_assertion(endpoint: Endpoint, code: str) -> None:
    """The error for a refused client that sends an assertion alone names the assertion."""
    endpoint.script = [refusal(code)]
    grant = JWTBearer(URL, ASSERTION, client_auth=ClientAssertion("a.b.c"))
    with pytest.raises(TokenRequestError, match="check that client_assertion has not expired"):
        source(endpoint, grant).token()


def test_a_new_key_ends_a_refusal(endpoint: Endpoint, tmp_path: Path) -> None:
    """When the file of the key changes, the next call tries again, with the new key."""
    path = tmp_path / "key.pem"
    path.write_text(PEM)
    endpoint.script = [refusal("invalid_grant", 400)]
    tokens = source(endpoint, JWTBearer(URL, SignedJWT(SecretFile(path), issuer="me")))
    with pytest.raises(TokenRequestError):
        tokens.token()
    path.write_text(pem("EdDSA"))
    tokens.token()
    assert opened(sent(endpoint.requests[-1])["assertion"], key("EdDSA"))[0]["alg"] == "EdDSA"


def test_a_refused_refresh_token_costs_one_more_assertion(rotating: Endpoint, clock: Clock) -> None:
    """A refresh token is used where the server sends one; when it is refused, another assertion is sent, once."""
    tokens = source(rotating, JWTBearer(URL, signed()))
    for step in (None, refusal("invalid_request", 400), refusal("invalid_client")):
        rotating.script = [step] if step else []
        if step and step[0]["error"] == "invalid_client":
            with pytest.raises(TokenRequestError, match="invalid_client"):
                tokens.token()
        else:
            tokens.token()
        clock.forward(3600)
    assert ["assertion" in sent(each) for each in rotating.requests] == [True, False, True, False]


@pytest.mark.parametrize(
    "assertion", [lambda: signed(claims={"scope": "a"}), lambda: ASSERTION], ids=["signed", "text"]
)
def test_processes_share_the_token(endpoint: Endpoint, tmp_path: Path, assertion: Callable[[], Any]) -> None:
    """In a shared cache the key names the token, and not the assertion, which is another one each time."""
    for _ in range(3):
        forget()
        tokens = source(endpoint, JWTBearer(URL, assertion()), cache=FileCache(tmp_path / "tokens"))
        assert tokens.token().access_token == "token-1"
    entries = b"".join(each.read_bytes() for each in (tmp_path / "tokens").iterdir())
    assert PEM.split("\n")[1].encode() not in entries
    assert ASSERTION.encode() not in entries


def from_variables(**variables: str) -> Any:
    return from_env("A", {"A_TOKEN_URL": URL, **{f"A_{name}": value for name, value in variables.items()}})


def test_a_ready_made_assertion_from_the_environment() -> None:
    """ASSERTION implies the grant type; its file is read for each attempt."""
    assert from_variables(ASSERTION=ASSERTION) == JWTBearer(URL, ASSERTION)
    assert from_variables(ASSERTION_FILE="/run/jwt", CLIENT_ID="app", CLIENT_SECRET="s3cr3t", SCOPE="a") == JWTBearer(
        URL, SecretFile("/run/jwt"), "app", "s3cr3t", scope="a"
    )
    by_key = PrivateKeyJWT(PEM)
    client = {"CLIENT_ID": "app", "CLIENT_AUTH": "private_key_jwt", "PRIVATE_KEY": PEM}
    assert from_variables(ASSERTION=ASSERTION, **client) == JWTBearer(URL, ASSERTION, "app", client_auth=by_key)


def test_a_signed_assertion_from_the_environment(tmp_path: Path) -> None:
    """A key and JWT_ISSUER make a SignedJWT; the key authenticates the client too, if CLIENT_AUTH says so."""
    path = tmp_path / "key.pem"
    path.write_text(PEM)
    plain = {"JWT_ISSUER": "robot@example.com", "PRIVATE_KEY": PEM}
    assert from_variables(**plain) == JWTBearer(URL, signed())
    assert from_variables(GRANT_TYPE="jwt_bearer", JWT_ISSUER="me", PRIVATE_KEY_FILE=str(path)) == JWTBearer(
        URL, SignedJWT(SecretFile(path), issuer="me")
    )
    full = {**plain, "JWT_SUBJECT": "ada", "KEY_ID": "k1", "ALGORITHM": "ES256", "CLIENT_ID": "app"}
    assertion = signed(subject="ada", key_id="k1", algorithm="ES256")
    assert from_variables(**full) == JWTBearer(URL, assertion, "app")
    by_key = PrivateKeyJWT(PEM, key_id="k1", algorithm="ES256")
    expected = JWTBearer(URL, assertion, "app", client_auth=by_key)
    assert from_variables(**full, CLIENT_AUTH="private_key_jwt") == expected


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"GRANT_TYPE": "jwt_bearer"},
            r"A_ASSERTION \(or A_ASSERTION_FILE\) is not set; .* needs it, or A_PRIVATE_KEY and A_JWT_ISSUER",
        ),
        ({"JWT_ISSUER": "me"}, r"A_PRIVATE_KEY \(or A_PRIVATE_KEY_FILE\) is not set; A_JWT_ISSUER needs it"),
        ({"JWT_SUBJECT": "me"}, "A_PRIVATE_KEY .* and A_JWT_ISSUER are not set"),
        ({"ASSERTION": ASSERTION, "JWT_SUBJECT": "me"}, "A_JWT_SUBJECT contradicts A_ASSERTION; unset one of them"),
        ({"ASSERTION": ASSERTION, "REFRESH_TOKEN": "r"}, "contradicts"),
        ({"JWT_ISSUER": "me", "PRIVATE_KEY": "s3cr3t-nonsense"}, "A_PRIVATE_KEY is no key"),
        ({"JWT_ISSUER": "me", "PRIVATE_KEY": "/run/key.pem"}, "A_PRIVATE_KEY must be the text of a key"),
        ({"CLIENT_ID": "app", "CLIENT_SECRET": "s3cr3t", "JWT_ISSUER": "me"}, "A_PRIVATE_KEY .* is not set"),
    ],
)
def test_variables_that_cannot_work(variables: dict[str, str], message: str) -> None:
    """The error names the variable, and no secret."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        from_variables(**variables)
    assert "s3cr3t" not in str(caught.value)


def test_other_prefixes_of_assertions_are_known() -> None:
    """A prefix that has an assertion is a configuration of its own, beside which another prefix may stand."""
    other = {"B_TOKEN_URL": URL, "B_ASSERTION_FILE": "/run/jwt"}
    assert from_variables(ASSERTION=ASSERTION, **other) == JWTBearer(URL, ASSERTION)
