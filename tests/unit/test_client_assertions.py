"""Client authentication by assertions: what is sent, what it depends on, and what contradicts it."""

from __future__ import annotations

import base64
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OctKey

from auth_plugins import (
    ClientAssertion,
    ClientCredentials,
    ClientSecretJWT,
    ConfigurationError,
    Password,
    PrivateKeyJWT,
    RefreshToken,
    SecretFile,
    Token,
)
from auth_plugins._protocol.messages import TokenRequest
from tests.support.keys import form_of, jwk, key, opened, pem
from tests.support.loopback import Clock, Received

URL = "https://id.example.com/token"
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SECRET = "7rg6Gt+hUiob="


def requested(grant: Any, *, refresh: bool = False) -> TokenRequest:
    """The request that the grant makes."""
    if refresh:
        return grant.refresh_request("r3fr3sh")
    requests: list[TokenRequest] = []
    grant.request_token(lambda request: requests.append(request) or Token(access_token="t"))  # type: ignore[func-returns-value]
    return requests[0]


def sent(request: TokenRequest) -> dict[str, str]:
    return form_of(Received(request.method, request.url, request.headers, request.body))


def with_key(**options: Any) -> ClientCredentials:
    return ClientCredentials(URL, "me", client_auth=PrivateKeyJWT(pem("ES256"), **options))


def test_a_signed_assertion_has_these_claims(clock: Clock) -> None:
    """The client is issuer and subject, the token endpoint the audience; times are integers, ``iat`` in the past."""
    clock.now = 1_000_000.9
    form = sent(requested(with_key()))
    assertion = form.pop("client_assertion")
    assert form == {"grant_type": "client_credentials", "client_id": "me", "client_assertion_type": TYPE}
    header, claims = opened(assertion, key("ES256"))
    assert header == {"typ": "JWT", "alg": "ES256"}
    assert len(claims.pop("jti")) == 32
    assert claims == {"iss": "me", "sub": "me", "aud": URL, "iat": 999_990, "exp": 1_000_050}


def test_each_option_of_an_assertion_is_sent(clock: Clock) -> None:
    """``key_id``, ``algorithm``, ``audience`` and ``lifetime`` are in the assertion."""
    clock.now = 1_000_000.0
    options: dict[str, Any] = {"algorithm": "PS256", "audience": "https://id.example.com", "lifetime": 6.0}
    for auth, kid in (
        (PrivateKeyJWT(pem("RS256"), key_id="k2", **options), "k2"),
        (PrivateKeyJWT(jwk("RS256", kid="k1"), **options), "k1"),
        (PrivateKeyJWT(jwk("RS256", kid="k1"), key_id="k2", **options), "k2"),
    ):
        form = sent(requested(ClientCredentials(URL, "me", client_auth=auth)))
        header, claims = opened(form["client_assertion"], key("RS256"))
        assert header == {"typ": "JWT", "alg": "PS256", "kid": kid}
        assert (claims["aud"], claims["iat"], claims["exp"]) == ("https://id.example.com", 999_999, 1_000_005)


@pytest.mark.parametrize(
    ("client_auth", "algorithm", "secret"),
    [
        ("client_secret_jwt", "HS256", SECRET),
        (ClientSecretJWT(), "HS256", SECRET * 3),
        (ClientSecretJWT(algorithm="HS512"), "HS512", lambda: "€"),
        ("client_secret_jwt", "HS256", pem("ES256", 1).replace("\n", " ")),
    ],
)
def test_the_client_secret_signs_an_assertion(client_auth: Any, algorithm: str, secret: Any) -> None:
    """The secret is the key of the assertion, a short one too, and is not sent."""
    request = requested(ClientCredentials(URL, "me", secret, client_auth=client_auth))
    form, value = sent(request), (secret() if callable(secret) else secret).encode()
    header, claims = opened(form["client_assertion"], OctKey(value, value))
    assert (header["alg"], claims["iss"], claims["aud"], form["client_id"]) == (algorithm, "me", URL, "me")
    assert value not in request.body
    assert "Authorization" not in request.headers


def test_a_ready_made_assertion_is_read_for_each_attempt(tmp_path: Path) -> None:
    """The text is sent without whitespace around it; a file and a callable are read again."""
    file, numbers = tmp_path / "token", iter("123")
    for assertion in (" a.b.1\n", SecretFile(file), lambda: f"\n a.b.{next(numbers)}\n"):
        file.write_text("\n a.b.1 \n\n")
        request = requested(ClientCredentials(URL, "me", client_auth=ClientAssertion(assertion)))
        form = sent(request)
        assert (form["client_assertion"], form["client_assertion_type"]) == ("a.b.1", TYPE)
        file.write_text("a.b.2")
        again = sent(request.again())["client_assertion"]
        assert again == ("a.b.1" if isinstance(assertion, str) else "a.b.2")


def test_a_client_without_an_id_may_have_an_assertion() -> None:
    """RFC 7521 §4.2: the assertion says who the client is; ``params`` remove the id where a server refuses it."""
    auth = ClientAssertion("a.b.c")
    assert "client_id" not in sent(requested(RefreshToken(URL, "r3fr3sh", client_auth=auth)))
    assert "client_id" not in sent(
        requested(ClientCredentials(URL, "me", client_auth=auth, params={"client_id": None}))
    )


@pytest.mark.parametrize("auth", [PrivateKeyJWT(pem("ES256")), ClientSecretJWT(), "client_secret_jwt"], ids=str)
def test_each_request_and_each_attempt_has_an_assertion_of_its_own(auth: Any) -> None:
    """Refresh requests, revocation requests and retries have new assertions, for the token endpoint."""
    secret = None if isinstance(auth, PrivateKeyJWT) else SECRET
    grant = Password(
        URL, "ann", "pa55", "me", secret, client_auth=auth, refresh_url=f"{URL}2", revocation_url=f"{URL}3"
    )
    requests = [requested(grant), requested(grant, refresh=True), *grant.revocation_requests("a", "r")]
    requests += [request.again() for request in requests]
    assertions = [sent(request)["client_assertion"] for request in requests]
    assert len(set(assertions)) == len(assertions) == 8
    for request, assertion in zip(requests, assertions, strict=True):
        assert (assertion in request.redact, request.excerpt(f"x {assertion} y", 50)) == (True, "x *** y")
        assert '"aud":"https://id.example.com/token"' in decoded(assertion)
    for request in requests[:4]:
        first, second = sent(request), sent(request.again())
        assert {**first, "client_assertion": ""} == {**second, "client_assertion": ""}


def decoded(assertion: str) -> str:
    payload = assertion.split(".")[1]
    return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()


def test_without_an_assertion_the_same_request_is_sent_again() -> None:
    """A retry of a client that sends its secret is the same request."""
    request = requested(ClientCredentials(URL, "me", SECRET))
    assert request.again() is request


CONTRADICTIONS: dict[str, tuple[Callable[[], Any], str]] = {
    "no id": (
        lambda: RefreshToken(URL, "r", client_auth=PrivateKeyJWT(pem("ES256"))),
        "client_auth needs client_id; give it",
    ),
    "no id, with the secret": (
        lambda: RefreshToken(URL, "r", client_secret="s", client_auth="client_secret_jwt"),
        "client_auth needs client_id",
    ),
    "a secret besides": (
        lambda: ClientCredentials(URL, "me", "s", client_auth=PrivateKeyJWT(pem("ES256"))),
        "client_auth private_key_jwt sends no client_secret; leave one of them out",
    ),
    "no secret": (
        lambda: ClientCredentials(URL, "me", client_auth="client_secret_jwt"),
        "client_auth client_secret_jwt needs client_secret; give it",
    ),
    "a class": (
        lambda: ClientCredentials(URL, "me", "s", client_auth=ClientSecretJWT),  # type: ignore[arg-type]
        "client_auth must be an object, got the class ClientSecretJWT; give ClientSecretJWT(...)",
    ),
    "another object": (
        lambda: ClientCredentials(URL, "me", client_auth=SecretFile("x")),  # type: ignore[arg-type]
        "or an object such as PrivateKeyJWT(key), got SecretFile",
    ),
    "another name": (
        lambda: ClientCredentials(URL, "me", client_auth="private_key_jwt"),  # type: ignore[arg-type]
        "client_auth must be an object for private_key_jwt; give PrivateKeyJWT(key)",
    ),
    "an assertion of two lines": (lambda: ClientAssertion("a\nb"), "assertion must not have a control character"),
    "no assertion": (lambda: ClientAssertion(" "), "assertion must not be empty"),
    "a number": (lambda: ClientAssertion(1), "assertion must be a str"),  # type: ignore[arg-type]
    "no lifetime": (lambda: PrivateKeyJWT(pem("ES256"), lifetime=0), "lifetime must be a number of seconds"),
    "another algorithm": (lambda: ClientSecretJWT(algorithm="RS256"), "algorithm must be one of HS256, HS384, HS512"),
}


@pytest.mark.parametrize(("make", "said"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_cannot_work_is_refused(make: Any, said: str) -> None:
    """What contradicts itself is a ConfigurationError at once."""
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        make()


def test_equal_objects_make_equal_grants(tmp_path: Path) -> None:
    """Objects are equal by their arguments; so are grants, which then share a token. Each has one identity."""
    file = tmp_path / "key"
    file.write_text("a.b.e")
    rows: list[Callable[[], Any]] = [
        lambda: PrivateKeyJWT(pem("ES256")),
        lambda: PrivateKeyJWT(pem("ES256", 1)),
        lambda: PrivateKeyJWT(pem("ES256"), key_id="k"),
        lambda: ClientAssertion("a.b.c"),
        lambda: ClientAssertion(SecretFile(file)),
        lambda: ClientAssertion("a.b.d"),
    ]
    grants, others = ([ClientCredentials(URL, "me", client_auth=make()) for make in rows] for _ in range(2))
    assert grants == others
    assert [*map(hash, grants)] == [*map(hash, others)]
    assert len({*grants}) == len({json.dumps(grant.identity()) for grant in grants}) == len(rows)
    assert pickle.loads(pickle.dumps(grants[0])) == grants[0]
    for grant in grants:
        assert not [secret for secret in grant.secrets() if secret in repr(grant)]


def test_a_new_key_or_assertion_is_a_new_secret(tmp_path: Path) -> None:
    """Another text in a file changes the secrets and the identity; a callable's assertions do not."""
    file = tmp_path / "file"
    for make, one, other in (
        (PrivateKeyJWT, pem("ES256"), pem("ES256", 1)),
        (ClientAssertion, "a.b.c", "a.b.d"),
    ):
        file.write_text(one)
        grant = ClientCredentials(URL, "me", client_auth=make(SecretFile(file)))
        before = grant.secrets(), json.dumps(grant.identity())
        file.write_text(other)
        assert (grant.secrets() != before[0], json.dumps(grant.identity()) != before[1]) == (True, True)
    numbers = iter("123")
    assert ClientCredentials(URL, "me", client_auth=ClientAssertion(lambda: next(numbers))).secrets() == ()


def test_a_key_file_that_is_gone_is_named(tmp_path: Path) -> None:
    """The error of a missing file names it."""
    for make in (PrivateKeyJWT, ClientAssertion):
        with pytest.raises(ConfigurationError, match=r"the secret file '.*gone' cannot be read"):
            requested(ClientCredentials(URL, "me", client_auth=make(SecretFile(tmp_path / "gone"))))
