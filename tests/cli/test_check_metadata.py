"""``auth-plugins check`` with an issuer: where its metadata are, what they say, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli import test_check
from tests.cli.test_check import CLIENT, RAW, SECRET, Outcome, Run, wanting
from tests.support.certificates import pair_of
from tests.support.endpoints import Endpoint, silent
from tests.support.issuers import OPENID, Published
from tests.support.keys import pem
from tests.support.loopback import Loopback, as_json

run = test_check.run


@pytest.fixture
def published(server: Loopback) -> Published:
    return Published(server)


@pytest.fixture
def check(run: Run, published: Published) -> Run:
    def check(*words: str, **variables: str | None) -> Outcome:
        client = {"ISSUER": published.issuer, "CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET}
        return run(*words, **{**client, **variables})

    return check


def steps(outcome: Outcome) -> list[str]:
    return [name for name in outcome.names() if name != "variable"]


def test_the_metadata_are_a_step(check: Run, published: Published, server: Loopback) -> None:
    """The steps lead to the issuer, its metadata, and the token endpoint; the metadata are fetched once."""
    outcome = check("--url", server.api_url)
    assert outcome.status == 0
    assert steps(outcome) == [
        "grant", "cache", "name resolution", "connection", "metadata", "client_auth", "token request", "clock",
        "token", "API",
    ]  # fmt: skip
    assert outcome.step("grant")[1] == (
        f"ClientCredentials at the issuer {published.issuer}, client_auth as the metadata say (by default), "
        "encoding form (by default), method POST (by default)"
    )
    assert outcome.step("metadata")[1] == f"{published.issuer}{OPENID} has the token endpoint {server.token_url}"
    assert outcome.step("client_auth")[1] == "client_secret_basic, as the metadata name no other"
    assert (len(published.requests), len(server.token_requests)) == (1, 1)


POST_OR_KEY = ["client_secret_post", "private_key_jwt"]


@pytest.mark.parametrize(
    ("supported", "client_auth", "mark", "detail"),
    [
        (POST_OR_KEY, None, "ok", "client_secret_post, one of client_secret_post private_key_jwt"),
        (POST_OR_KEY, "client_secret_post", "", ""),
        (["client_secret_basic"], "client_secret_basic_raw", "", ""),
        (POST_OR_KEY, "client_secret_jwt", "-", "the token endpoint supports client_secret_post private_key_jwt, and"),
    ],
)
def test_the_client_authentication_is_compared(
    check: Run, published: Published, supported: list[str], client_auth: str | None, mark: str, detail: str
) -> None:
    """It says which client authentication the metadata lead to, and notes one that they do not have."""
    published.document["token_endpoint_auth_methods_supported"] = supported
    outcome = check(CLIENT_AUTH=client_auth)
    if mark:
        outcome.assert_step("client_auth", mark, detail, "check ACME_CLIENT_AUTH" if mark == "-" else "")
    assert ("client_auth" in outcome.names()) is bool(mark)


@pytest.mark.parametrize("supported", ["tls_client_auth", "self_signed_tls_client_auth", "none"])
@pytest.mark.parametrize("way", ["tls_client_auth", "self_signed_tls_client_auth"])
def test_a_certificate_is_compared(check: Run, published: Published, tmp_path: Path, way: str, supported: str) -> None:
    """Either name of client authentication by a certificate is that of the other; a note has the configured one."""
    files = dict(zip(("CERTIFICATE", "CERTIFICATE_KEY"), map(str, pair_of(tmp_path, "client")), strict=True))
    published.document["token_endpoint_auth_methods_supported"] = [supported]
    outcome = check(CLIENT_AUTH=way, CLIENT_SECRET=None, **files)
    assert f", client_auth {way}, " in outcome.step("grant")[1]
    assert ("client_auth" in outcome.names()) is (supported == "none")
    if supported == "none":
        outcome.assert_step("client_auth", "-", f"the token endpoint supports none, and not {way}")


def test_a_token_endpoint_elsewhere_is_reached_too(
    check: Run, published: Published, other_server: Loopback, tmp_path: Path
) -> None:
    """Where the token endpoint has another origin, the way to it is checked as well; a refresh uses the cache."""
    published.document["token_endpoint"] = other_server.token_url
    other_server.token_play = lambda _: as_json({"access_token": "t", "refresh_token": "r3fr3sh"})
    outcome = check(CACHE=f"file:{tmp_path}", CLIENT_ID=None, CLIENT_SECRET=None, REFRESH_TOKEN="r3fr3sh")
    assert outcome.status == 0
    assert steps(outcome).count("connection") == 2
    assert (len(published.requests), len(other_server.token_requests)) == (1, 1)


@pytest.mark.parametrize(
    ("document", "detail", "advice"),
    [
        ({"issuer": "https://id.example.com"}, "has the issuer https://id.example.com, not", "set ACME_ISSUER to exa"),
        ({"issuer": "https://x/{tenantid}/"}, "has the issuer https://x/{tenantid}/, not", "set ACME_ISSUER to that"),
        ({"token_endpoint": None}, "has no token_endpoint", "the URL of the token endpoint in place of ACME_ISSUER"),
        ({"token_endpoint": "http://id.example.com/token"}, "which would get a secret", "ACME_ALLOW_HTTP"),
    ],
)
def test_what_is_wrong_with_metadata(
    check: Run, published: Published, server: Loopback, document: dict[str, Any], detail: str, advice: str
) -> None:
    """Metadata that cannot be used fail, with what to do; no token is requested then."""
    published.document.update(document)
    outcome = check()
    assert outcome.status == 1
    mark, found, todo = outcome.step("metadata")
    assert (mark, detail in found, advice in todo) == ("FAILED", True, True)
    assert outcome.step("token request")[:2] == ("-", "not tried, as the token endpoint cannot be reached")
    assert server.token_requests == []


def test_an_issuer_that_cannot_be_reached(check: Run, published: Published) -> None:
    """No metadata, no answer and no connection are named with the variable of the issuer."""
    published.plays = {}
    check().assert_step("metadata", "FAILED", f"no metadata of {published.issuer} found: ", "check ACME_ISSUER, or, if")
    check(ISSUER="http://127.0.0.1:1").assert_step("connection", "FAILED", "127.0.0.1 port 1: ", "port in ACME_ISSUER")
    with Endpoint(silent) as endpoint:
        outcome = check(ISSUER=endpoint.url, TIMEOUT="0.3")
        outcome.assert_step("metadata", "FAILED", endpoint.url, "check ACME_ISSUER, the network")


def test_other_ways_are_tried_at_the_endpoint_of_the_metadata(
    check: Run, published: Published, server: Loopback
) -> None:
    """``--try-others`` works with an issuer as well."""
    server.token_play = wanting(server, basic=RAW)
    outcome = check("--try-others")
    assert outcome.step("try client_secret_basic_raw")[:2] == ("ok", "answered 200")
    assert len(published.requests) == 1


@pytest.mark.parametrize(
    ("variables", "claims"),
    [
        ({"JWT_ISSUER": "me"}, 'iss "me", sub "me"'),
        ({"CLIENT_AUTH": "private_key_jwt", "CLIENT_SECRET": None}, f'iss "{CLIENT}", sub "{CLIENT}"'),
    ],
)
def test_an_assertion_is_for_the_endpoint_of_the_metadata(
    check: Run, server: Loopback, variables: dict[str, str | None], claims: str
) -> None:
    """The audience that is shown is the token endpoint that the metadata name, and not the issuer."""
    outcome = check(PRIVATE_KEY=pem("ES256"), **variables)
    assert outcome.status == 0
    assert outcome.step("assertion")[1] == f'{claims}, aud "{server.token_url}"'
