"""``auth-plugins check`` for clients with a key or an assertion: what it says of them, and of their refusals."""

from __future__ import annotations

import base64
import inspect
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from auth_plugins import ConfigurationError, providers
from auth_plugins._cli.main import cli
from tests.support.keys import form_of, jwk, pem
from tests.support.loopback import Loopback, Received, as_json

Run = Callable[..., Result]


def unsigned(**claims: Any) -> str:
    """A JWT without a valid signature."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims)]
    return ".".join([*parts, "s1gnature"])


@pytest.fixture
def check(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``auth-plugins check ACME``; neither a key nor an assertion may be printed."""

    def check(*words: str, **variables: str) -> Result:
        given = {"TOKEN_URL": server.token_url, "CLIENT_ID": "client", **variables}
        result = CliRunner().invoke(cli, ["check", "ACME", *words], env={f"ACME_{k}": v for k, v in given.items()})
        sent = [form_of(received).get("client_assertion", "-" * 9) for received in server.token_requests]
        for secret in (*pem("ES256").splitlines()[1:-1], *json.loads(jwk("RS256")).values(), *sent):
            assert len(secret) < 5 or secret not in result.output
        return result

    return check


EXPIRED = unsigned(iss="https://k8s", sub="ns:app", aud="x", exp=1000)
LASTING = unsigned(iss="https://k8s", sub="ns:app", aud=["x"], exp=int(time.time()) + 900)
BY_KEY = {"CLIENT_AUTH": "private_key_jwt"}
SAID: dict[str, tuple[dict[str, str], str]] = {
    "a key": (
        {**BY_KEY, "PRIVATE_KEY": pem("ES256"), "KEY_ID": "k1"},
        "ok      key: EC P-256, signs by ES256, kid k1",
    ),
    "a JWK": ({**BY_KEY, "PRIVATE_KEY": jwk("RS256", kid="k2")}, "key: RSA, 2048 bits, signs by RS256, kid k2\n"),
    "no kid": (
        {**BY_KEY, "PRIVATE_KEY": pem("ES256")},
        "-       key: EC P-256, signs by ES256, no kid\n        → many servers demand a kid: set ACME_KEY_ID\n",
    ),
    "the method": ({**BY_KEY, "PRIVATE_KEY": pem("ES256")}, "client_auth private_key_jwt, encoding form"),
    "an assertion": (
        {"CLIENT_ASSERTION": LASTING},
        'ok      assertion: iss "https://k8s", sub "ns:app", aud ["x"]',
    ),
    "an expired one": ({"CLIENT_ASSERTION": EXPIRED}, "        → renew what ACME_CLIENT_ASSERTION has, or compare"),
    "an empty one": ({"CLIENT_ASSERTION": unsigned()}, "assertion: none of the claims that a server needs\n"),
    "no JWT": ({"CLIENT_ASSERTION": "a.b.c"}, "-       assertion: ACME_CLIENT_ASSERTION is no JWT\n"),
    "a signed assertion": (
        {"JWT_ISSUER": "me", "PRIVATE_KEY": pem("ES256")},
        'ok      assertion: iss "me", sub "me", aud "http://127.0.0.1:',
    ),
    "what a key signs": (
        {**BY_KEY, "PRIVATE_KEY": pem("ES256")},
        'ok      assertion: iss "client", sub "client", aud "http://127.0.0.1:',
    ),
    "a ready-made assertion": ({"ASSERTION": LASTING}, 'ok      assertion: iss "https://k8s", sub "ns:app"'),
    "a subject token": (
        {"SUBJECT_TOKEN": LASTING, "GRANT_TYPE": "token_exchange"},
        'ok      subject token: iss "https://k8s"',
    ),
    "an expired subject token": ({"SUBJECT_TOKEN": EXPIRED}, "        → renew what ACME_SUBJECT_TOKEN has, or compare"),
    "an opaque subject token": ({"SUBJECT_TOKEN": "s3cr3t-subject"}, "ok      token: Bearer"),
    "a short secret": (
        {"CLIENT_SECRET": "s3cr3t", "CLIENT_AUTH": "client_secret_jwt"},
        "key: ACME_CLIENT_SECRET has 6 bytes, and RFC 7518 §3.2 asks for 32 or more\n",
    ),
}


@pytest.mark.parametrize(("variables", "said"), SAID.values(), ids=SAID)
def test_a_key_or_an_assertion_is_described(check: Run, variables: dict[str, str], said: str) -> None:
    """Kind, size, algorithm and kid of a key, and the claims of an assertion are shown, and what to do about them."""
    result = check(**variables)
    assert said in result.output
    assert result.exit_code == ("an expired" in said or EXPIRED in variables.values())


def test_a_long_secret_is_not_mentioned(check: Run) -> None:
    """A secret that is long enough needs no step."""
    assert "key:" not in check(CLIENT_SECRET="s" * 40, CLIENT_AUTH="client_secret_jwt").output


def test_a_wrong_key_is_a_wrong_configuration(check: Run, tmp_path: Path) -> None:
    """A file without a usable key ends the check, and the error names the variable."""
    (tmp_path / "key").write_text("-----BEGIN CERTIFICATE-----")
    result = check(**BY_KEY, PRIVATE_KEY_FILE=str(tmp_path / "key"))
    assert isinstance(result.exception, ConfigurationError)
    assert str(result.exception).startswith("the file of ACME_PRIVATE_KEY_FILE must be a private key, and is a certif")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({**BY_KEY, "PRIVATE_KEY": pem("ES256")}, "the public key of ACME_PRIVATE_KEY under this ACME_KEY_ID"),
        ({"CLIENT_ASSERTION": LASTING}, "check that ACME_CLIENT_ASSERTION has not expired"),
        ({"CLIENT_SECRET": "s" * 40, "CLIENT_AUTH": "client_secret_jwt"}, "lets this client use client_secret_jwt"),
    ],
    ids=["key", "assertion", "secret"],
)
def test_a_refusal_is_explained(check: Run, server: Loopback, variables: dict[str, str], said: str) -> None:
    """The advice about a refused client names its variables; a client without a secret is tried in no other way."""
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    result = check("--try-others", **variables)
    assert (result.exit_code, said in result.output) == (1, True)
    assert len(server.token_requests) == (3 if "CLIENT_SECRET" in variables else 1)


def test_the_file_of_a_provider_is_named(
    check: Run, server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advice about the token of a Kubernetes service account names its file, as no variable has it."""
    path = tmp_path / "token"
    path.write_text(LASTING)
    monkeypatch.setattr(inspect.unwrap(providers.kubernetes_service_account), "__defaults__", (str(path),))
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    assert f"check that the file '{path}' has not expired" in check(PROVIDER="kubernetes-service-account").output
    path.write_text(EXPIRED)
    assert f"renew what the file '{path}' has" in check(PROVIDER="kubernetes-service-account").output


@pytest.mark.parametrize("code", ["invalid_client", "unknown"])
def test_another_way_is_tried_with_a_signed_assertion(check: Run, server: Loopback, code: str) -> None:
    """``--try-others`` tries a way that sends something else of the client, although no two assertions are alike."""

    def play(received: Received) -> Any:
        known = form_of(received).get("client_secret") == "s3cr3t"
        return server.issue(received) if known else as_json({"error": code}, 401)

    server.token_play = play
    result = check("--try-others", JWT_ISSUER="me", PRIVATE_KEY=pem("ES256"), CLIENT_SECRET="s3cr3t")
    is_tried = code == "invalid_client"  # else the assertion may have been judged
    assert ("client_secret_post works: set ACME_CLIENT_AUTH=client_secret_post" in result.output) == is_tried
    assert len(server.token_requests) == 1 + is_tried


def test_the_secret_may_have_to_sign(check: Run, server: Loopback) -> None:
    """``--try-others`` finds a server that wants ``client_secret_jwt``."""

    def play(received: Received) -> Any:
        known = "client_assertion" in form_of(received)
        return server.issue(received) if known else as_json({"error": "invalid_client"}, 401)

    server.token_play = play
    result = check("--try-others", CLIENT_SECRET="s3cr3t")
    assert "client_secret_jwt works: set ACME_CLIENT_AUTH=client_secret_jwt" in result.output
