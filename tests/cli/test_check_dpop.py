"""``auth-plugins check`` for tokens that are bound to a key: the key, the token request, the API, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auth_plugins import ConfigurationError, DPoPKey, Token
from auth_plugins._cli.check.proof import PresentedToken
from auth_plugins._cli.main import cli
from tests.support.dpop import DPoPServer
from tests.support.keys import key, pem
from tests.support.loopback import Loopback, as_json

Run = Callable[..., Result]
CHECKED = f"DPoP: EC P-256, signs proofs by ES256, thumbprint {key('ES256').thumbprint()}\n"


@pytest.fixture
def check(server: Loopback) -> Run:
    """Runs ``auth-plugins check ACME``; neither key, token nor proof may be printed."""

    def check(*words: str, **variables: str) -> Result:
        given = {"TOKEN_URL": server.token_url, "CLIENT_ID": "client", "CLIENT_SECRET": "s3cr3t", **variables}
        result = CliRunner().invoke(cli, ["check", "ACME", *words], env={f"ACME_{k}": v for k, v in given.items()})
        proofs = [each.headers.get("dpop", "-" * 9) for each in (*server.token_requests, *server.api_requests)]
        for secret in (*pem("ES256").splitlines()[1:-1], *proofs, "dpop-token"):
            assert secret not in result.output
        return result

    return check


@pytest.mark.parametrize("nonces", [False, True])
def test_key_token_and_api_are_tried(check: Run, server: Loopback, nonces: bool) -> None:
    """The key is described, nonces of both servers are sent, and the API gets one good request."""
    peer = DPoPServer(server, token_nonces=nonces, api_nonces=nonces)
    result = check("--url", f"{server.api_url}?q=1", DPOP_KEY=pem("ES256"))
    assert result.exit_code == 0, result.output
    assert f"ok      {CHECKED}" in result.output
    assert "ok      token: DPoP, ends in" in result.output
    challenge = "400 (which asked for a nonce in the DPoP proof, as RFC 9449 §8 has it: nothing is wrong), then "
    assert f"token request: answered {challenge * nonces}200 to requests" in " ".join(result.output.split())
    assert f"ok      API: {server.api_url}?... answered 200" in result.output
    assert peer.refusals == ["token nonce", "api nonce"] * nonces


def test_a_key_of_each_process_is_called_so(check: Run, server: Loopback) -> None:
    """``DPOP=true`` is described too, and a server that answers a bearer token is noted."""
    DPoPServer(server).token_type = "Bearer"
    result = check(DPOP="true")
    assert "ok      DPoP: a new key of each process, EC P-256, signs proofs by ES256, thumbprint " in result.output
    assert "-       DPoP: the server answered a bearer token" in result.output
    assert "enable it for this client, or unset ACME_DPOP\n" in result.output


def test_a_shared_cache_needs_a_key_of_all(check: Run, server: Loopback) -> None:
    """A cache with a key of each process is a mistake in the variables, as in every program; nothing is sent."""
    result = check(DPOP="true", CACHE="file")
    assert isinstance(result.exception, ConfigurationError)
    assert "ACME_CACHE contradicts ACME_DPOP=true" in str(result.exception)
    assert "set ACME_DPOP_KEY_FILE to a key that all processes have, or unset ACME_CACHE" in str(result.exception)
    assert server.token_requests == []


@pytest.mark.parametrize("code", ["invalid_dpop_proof", "invalid_grant"])
def test_a_refused_proof_is_explained(check: Run, server: Loopback, code: str) -> None:
    """Whatever the server calls it, the advice names the clock, the key and the URL; no other way is tried."""
    server.token_play = lambda _: as_json({"error": code}, 400)
    result = check("--try-others", DPOP_KEY=pem("ES256"))
    assert result.exit_code == 1
    assert "may not accept the DPoP proof: check that this machine's clock is right" in result.output
    assert "the key for ACME_DPOP, and that ACME_TOKEN_URL is the URL" in result.output
    assert len(server.token_requests) == 1


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"DPOP": "true"}, "the API refuses the DPoP proof: compare the clocks"),
        ({}, "the API asks for DPoP (RFC 9449): set ACME_DPOP=true"),
    ],
)
def test_an_api_that_refuses_the_proof(check: Run, server: Loopback, variables: dict[str, str], said: str) -> None:
    """An API's refusal of a proof is not a refusal of the token."""
    if variables:
        DPoPServer(server)
    server.api = lambda _: as_json({}, 401, WWW_Authenticate='DPoP error="invalid_dpop_proof"')
    result = check("--url", server.api_url, **variables)
    assert (result.exit_code, said in result.output) == (1, True)
    assert len(server.token_requests) == 1


def test_a_wrong_key_is_a_wrong_configuration(check: Run, tmp_path: Path) -> None:
    """A file without a usable key ends the check, and the error names the variable."""
    (tmp_path / "key").write_text("-----BEGIN CERTIFICATE-----")
    result = check(DPOP_KEY_FILE=str(tmp_path / "key"))
    assert isinstance(result.exception, ConfigurationError)
    assert str(result.exception).startswith(
        "the file of ACME_DPOP_KEY_FILE must be a private key, and is a certificate"
    )


def test_the_presented_token_is_a_secret() -> None:
    """The token that ``check`` shows an API counts as a secret of its grant."""
    prover = DPoPKey.generate().prover(None)
    assert PresentedToken(Token(access_token="tok"), prover).secrets() == ("tok",)
