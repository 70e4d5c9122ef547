"""Client authentication by a key or an assertion, from environment variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from auth_plugins import (
    ClientAssertion,
    ClientCredentials,
    ClientSecretJWT,
    ConfigurationError,
    Password,
    PrivateKeyJWT,
    SecretFile,
    from_env,
)
from tests.support.keys import jwk, pem

URL = "https://id.example.com/token"
CLIENT = {"TOKEN_URL": URL, "CLIENT_ID": "me"}
SECRET = {"CLIENT_SECRET": "s3cr3t"}
BY_KEY = {"CLIENT_AUTH": "private_key_jwt", "PRIVATE_KEY": pem("ES256")}


def made(variables: dict[str, str]) -> Any:
    return from_env("ACME", {f"ACME_{name}": value for name, value in {**CLIENT, **variables}.items()})


def granted(client_auth: Any, *secret: str) -> ClientCredentials:
    return ClientCredentials(URL, "me", *secret, client_auth=client_auth)


MADE: dict[str, tuple[dict[str, str], Any]] = {
    "a key": (BY_KEY, granted(PrivateKeyJWT(pem("ES256")))),
    "a key with options": (
        {"CLIENT_AUTH": "Private-Key-JWT", "PRIVATE_KEY": jwk("RS256"), "KEY_ID": "k", "ALGORITHM": "ps256"},
        granted(PrivateKeyJWT(jwk("RS256"), key_id="k", algorithm="PS256")),
    ),
    "a key's file": (
        {"CLIENT_AUTH": "private_key_jwt", "PRIVATE_KEY_FILE": "/run/key.pem"},
        granted(PrivateKeyJWT(SecretFile("/run/key.pem"))),
    ),
    "an assertion": ({"CLIENT_ASSERTION": "a.b.c"}, granted(ClientAssertion("a.b.c"))),
    "an assertion's file": (
        {"CLIENT_ASSERTION_FILE": "/run/token", "CLIENT_AUTH": "private_key_jwt"},
        granted(ClientAssertion(SecretFile("/run/token"))),
    ),
    "the secret signs": ({"CLIENT_AUTH": "client_secret_jwt", **SECRET}, granted("client_secret_jwt", "s3cr3t")),
    "the secret signs by another algorithm": (
        {"CLIENT_AUTH": "client_secret_jwt", "ALGORITHM": "HS512", **SECRET},
        granted(ClientSecretJWT(algorithm="HS512"), "s3cr3t"),
    ),
    "another grant": (
        {**BY_KEY, "USERNAME": "ann", "PASSWORD": "pa55"},
        Password(URL, "ann", "pa55", "me", client_auth=PrivateKeyJWT(pem("ES256"))),
    ),
    "a provider": (
        {"PROVIDER": "keycloak", "BASE_URL": "https://a", "REALM": "r", "CLIENT_ASSERTION": "a.b.c", "TOKEN_URL": ""},
        ClientCredentials(
            "https://a/realms/r/protocol/openid-connect/token", "me", client_auth=ClientAssertion("a.b.c")
        ),
    ),
}


@pytest.mark.parametrize(("variables", "grant"), MADE.values(), ids=MADE)
def test_these_variables_make_this_grant(variables: dict[str, str], grant: Any) -> None:
    """The variables of a key or an assertion make the same grant as its arguments do."""
    assert made(variables) == grant


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "no key": (
        {"CLIENT_AUTH": "private_key_jwt"},
        "ACME_PRIVATE_KEY (or ACME_PRIVATE_KEY_FILE) is not set; ACME_CLIENT_AUTH=private_key_jwt needs it",
    ),
    "no way": (
        {"PRIVATE_KEY": pem("ES256")},
        "ACME_CLIENT_AUTH is not set; ACME_PRIVATE_KEY needs it, as private_key_jwt",
    ),
    "a path": (
        {**BY_KEY, "PRIVATE_KEY": "/run/key.pem"},
        "ACME_PRIVATE_KEY must be the text of a key, and is a path; give the path by ACME_PRIVATE_KEY_FILE",
    ),
    "another algorithm": (
        {**BY_KEY, "ALGORITHM": "RS256"},
        "ACME_ALGORITHM must be ES256, as ACME_PRIVATE_KEY is EC P-256",
    ),
    "no algorithm": ({**BY_KEY, "ALGORITHM": "none"}, "ACME_ALGORITHM is not valid; expected RS256 or"),
    "a secret besides": ({**BY_KEY, **SECRET}, "ACME_CLIENT_AUTH private_key_jwt sends no ACME_CLIENT_SECRET"),
    "a key without use": (
        {"CLIENT_AUTH": "client_secret_post", **SECRET, "KEY_ID": "k"},
        "ACME_KEY_ID contradicts ACME_CLIENT_AUTH=client_secret_post, which has no use for it; unset one of them",
    ),
    "a key besides an assertion": (
        {"CLIENT_ASSERTION": "a.b.c", "PRIVATE_KEY": pem("ES256")},
        "ACME_PRIVATE_KEY contradicts ACME_CLIENT_ASSERTION",
    ),
    "an assertion without use": (
        {"CLIENT_ASSERTION_FILE": "/run/token", "CLIENT_AUTH": "none"},
        "ACME_CLIENT_ASSERTION_FILE contradicts ACME_CLIENT_AUTH=none",
    ),
    "the secret is missing": ({"CLIENT_AUTH": "client_secret_jwt"}, "ACME_CLIENT_SECRET (or"),
}


@pytest.mark.parametrize(("variables", "said"), REFUSED.values(), ids=REFUSED)
def test_mistakes_are_named(variables: dict[str, str], said: str) -> None:
    """A missing or contradictory variable is named, and no key is shown."""
    with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
        made(variables)
    assert "BEGIN" not in str(caught.value)


def test_the_variable_of_a_wrong_file_is_named(tmp_path: Path) -> None:
    """The token request names the variable whose file has no key."""
    (tmp_path / "key").write_text("-----BEGIN CERTIFICATE-----")
    grant = made({"CLIENT_AUTH": "private_key_jwt", "PRIVATE_KEY_FILE": str(tmp_path / "key")})
    with pytest.raises(ConfigurationError, match="the file of ACME_PRIVATE_KEY_FILE must be a private key"):
        grant.request_token(lambda _: pytest.fail("sent"))
