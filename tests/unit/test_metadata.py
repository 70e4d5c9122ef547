"""Issuers as values, and the metadata that servers publish: what is read, what is refused, and what errors say."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from auth_plugins import ClientCredentials, ConfigurationError, Issuer, Password, RefreshToken, TokenRequestError
from auth_plugins._grants.issuer import with_metadata
from auth_plugins._protocol.advice import advice_for
from auth_plugins._protocol.metadata import (
    Metadata,
    Problem,
    metadata_error,
    metadata_request,
    places,
    read_metadata,
    redirected,
)
from tests.support.issuers import GOOGLE, ISSUER, PLACES, auth0, entra, keycloak, okta, response

URL = "https://id.example.com/token"
GOOD = {"issuer": ISSUER, "token_endpoint": URL}


def read(document: Any, issuer: str = ISSUER, **answer: Any) -> Metadata | TokenRequestError:
    """The metadata in an answer at the first place of *issuer*, or the error if there is no other place."""
    found = read_metadata(issuer, metadata_request(places(issuer)[0]), response(document=document, **answer))
    return metadata_error(issuer, [found]) if isinstance(found, Problem) else found


def metadata(**members: Any) -> Metadata:
    found = read({**GOOD, **members})
    assert isinstance(found, Metadata)
    return found


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "must not be empty"),
        ("login.example.com", "must be an absolute http(s) URL"),
        ("https://me@login.example.com", "must have no user"),
        ("https://login.example.com/?tenant=a", "must have no query"),
        (f"https://login.example.com{PLACES[0][-33:]}", "must not have /.well-known/; give the part before it"),
        (5, "must be a str"),
    ],
)
def test_an_issuer_is_a_url(url: Any, problem: str) -> None:
    """What cannot be an issuer is refused when the issuer is made."""
    with pytest.raises(ConfigurationError, match=r"^issuer ") as error:
        Issuer(url)
    assert problem in str(error.value)


def test_a_grant_with_an_issuer_is_a_value() -> None:
    """Issuers and their grants are comparable, hashable and picklable; a slash at the end makes another issuer."""
    grant, again, other = (ClientCredentials(Issuer(url), "id", "s3cr3t") for url in (ISSUER, ISSUER, f"{ISSUER}/"))
    plain = ClientCredentials(ISSUER, "id", "s3cr3t")
    assert grant == again == pickle.loads(pickle.dumps(grant)) == copy.deepcopy(grant)
    assert hash(grant) == hash(again)
    assert len({grant, again, other, plain}) == 3
    assert f"token_url=Issuer('{ISSUER}')" in repr(grant)
    assert "s3cr3t" not in repr(grant)
    basic = ClientCredentials(Issuer(ISSUER), "id", "s3cr3t", client_auth="client_secret_basic")
    names = [json.dumps(each.identity(), sort_keys=True) for each in (grant, again, other, plain, basic)]
    assert len(set(names)) == 4
    assert (grant.client_auth, str(grant.token_url)) == (None, ISSUER)
    with pytest.raises(ConfigurationError, match="refresh_url must be a str, got Issuer"):
        Password(URL, "me", "pw", refresh_url=Issuer(ISSUER))  # type: ignore[arg-type]


def test_the_places_of_metadata() -> None:
    """OpenID Connect's place comes first, then RFC 8414's, then the one that some servers have instead."""
    assert places(ISSUER) == places(f"{ISSUER}/") == PLACES
    assert places("https://a.example.com:8443/") == [
        "https://a.example.com:8443/.well-known/openid-configuration",
        "https://a.example.com:8443/.well-known/oauth-authorization-server",
    ]


KEYCLOAK = "https://keycloak.example.com/realms/acme"
OKTA = "https://your-domain.okta.com/oauth2/default"
AUTH0, ENTRA = "https://a.auth0.com", "https://login.microsoftonline.com"
TENANT = f"{ENTRA}/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0"


@pytest.mark.parametrize(
    ("issuer", "document", "token_endpoint", "revocation_endpoint"),
    [
        (KEYCLOAK, keycloak(KEYCLOAK), f"{KEYCLOAK}/protocol/openid-connect/token", True),
        (OKTA, okta(OKTA), f"{OKTA}/v1/token", True),
        (f"{AUTH0}/", auth0(AUTH0), f"{AUTH0}/oauth/token", True),
        (TENANT, entra("contoso.com"), f"{ENTRA}/contoso.com/oauth2/v2.0/token", False),
        ("https://accounts.google.com", GOOGLE, "https://oauth2.googleapis.com/token", True),
    ],
)
def test_the_metadata_of_well_known_servers(
    issuer: str, document: Any, token_endpoint: str, revocation_endpoint: bool
) -> None:
    """The metadata of well-known servers give the endpoints, on another host as well, and Basic for the secret."""
    found = read(document, issuer)
    assert isinstance(found, Metadata)
    grant = with_metadata(ClientCredentials(Issuer(issuer), "id", "s3cr3t"), found)
    assert (grant.token_url, grant.client_auth) == (token_endpoint, "client_secret_basic")
    assert bool(grant.revocation_url) is revocation_endpoint
    assert found.endpoint("authorization_endpoint")
    assert found.endpoint("device_authorization_endpoint")


@pytest.mark.parametrize(
    ("issuer", "document", "said", "advice"),
    [
        (AUTH0, auth0(AUTH0), f"issuer {AUTH0}/, not {AUTH0} (a slash at the end differs)", "set the Issuer (or the"),
        (
            f"{KEYCLOAK}/",
            keycloak(KEYCLOAK),
            f"issuer {KEYCLOAK}, not {KEYCLOAK}/ (a slash at the",
            "exactly its value",
        ),
        (KEYCLOAK.replace("acme", "Acme"), keycloak(KEYCLOAK), "(upper and lower case differ)", "exactly its value"),
        (
            f"{ENTRA}/common/v2.0",
            entra("common"),
            f"issuer {ENTRA}/{{tenantid}}/v2.0, not",
            "one issuer for each tenant",
        ),
        (f"{ENTRA}/contoso.com/v2.0", entra("contoso.com"), f"issuer {TENANT}, not", "exactly its value"),
    ],
)
def test_an_issuer_must_match_exactly(issuer: str, document: Any, said: str, advice: str) -> None:
    """Metadata of another issuer are refused; the error has both values, and says what differs."""
    error = read(document, issuer)
    assert isinstance(error, TokenRequestError)
    assert said in error.problem
    assert issuer in error.problem
    assert advice in error.advice
    assert not error.transient


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"<html>Not here</html>", "answered no JSON object of at most 1 MiB"),
        (b"", "answered no JSON object"),
        (b"\xff", "answered no JSON object"),
        ([GOOD], "answered no JSON object"),
        (DEEP, "answered no JSON object"),
        ({**GOOD, "more": "x" * (1 << 20)}, "answered no JSON object of at most 1 MiB"),
        ({"token_endpoint": URL}, "has no issuer"),
        ({**GOOD, "issuer": 5}, "has no issuer"),
        ({**GOOD, "issuer": "x\n" + "y" * 1000}, f"has the issuer x {'y' * 198}, not {ISSUER}"),
        ({"issuer": ISSUER}, "has no token_endpoint"),
        ({**GOOD, "token_endpoint": ["a"]}, 'has a token_endpoint that is no absolute http(s) URL: ["a"]'),
        ({**GOOD, "token_endpoint": "/token"}, "has a token_endpoint that is no absolute http(s) URL: /token"),
        ({**GOOD, "token_endpoint": "ftp://id.example.com/token"}, "has a token_endpoint that is no absolute"),
    ],
)
def test_metadata_that_are_none(document: Any, said: str) -> None:
    """What is no JSON object of this issuer with a token endpoint is refused, in one line."""
    error = read(document)
    assert isinstance(error, TokenRequestError)
    assert said in str(error)
    assert PLACES[0] in str(error)
    assert str(error).isprintable()
    assert not error.transient
    assert error.status_code == 200


def test_compressed_metadata_are_refused() -> None:
    """A body that is still compressed is not read."""
    assert isinstance(read(GOOD, **{"content-encoding": "br"}), TokenRequestError)
    assert isinstance(read(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()), Metadata)  # a byte order mark is skipped


def test_the_error_says_the_most_telling_problem() -> None:
    """Where no place has metadata, all are listed; other metadata, and a server in trouble, say more than a 404."""

    def problem(number: int, status: int, document: Any = None, **headers: str) -> Problem:
        answer = response(status, document, **headers)
        found = read_metadata(ISSUER, metadata_request(PLACES[number]), answer)
        assert isinstance(found, Problem)
        return found

    missing = [problem(0, 404), problem(1, 302), problem(2, 401)]
    error = metadata_error(ISSUER, missing)
    assert error.problem == (
        f"no metadata of {ISSUER} found: {PLACES[0]} answered 404, "
        f"{PLACES[1]} answered a redirect to another origin, or too many redirects, {PLACES[2]} answered 401"
    )
    assert advice_for(error.trouble, str.upper) == [
        "check ISSUER, or, if the server has no metadata, give the URL of the token endpoint in its place"
    ]
    other = metadata_error(ISSUER, [*missing, problem(2, 200, {"issuer": "https://b"})])
    assert other.problem == f"{PLACES[2]} has the issuer https://b, not {ISSUER}"
    for status in (503, 429):
        busy = metadata_error(ISSUER, [*missing, problem(1, status, **{"retry-after": "7"})])
        assert (busy.problem, busy.status_code) == (f"{PLACES[1]} answered {status}", status)
        assert (busy.transient, busy.retry_after) == (True, 7.0)


@pytest.mark.parametrize(
    ("status", "location", "target"),
    [
        (302, "/other", "https://id.example.com/other"),
        (308, "https://ID.example.com:443/other", "https://ID.example.com:443/other"),
        (302, "https://evil.example.com/", None),
        (302, "http://id.example.com/", None),
        (302, "https://id.example.com:8443/", None),
        (302, "https://id.example.com:x/", None),
        (302, "//[", None),
        (302, "", None),
        (200, "/other", None),
    ],
)
def test_redirects_stay_within_the_origin(status: int, location: str, target: str | None) -> None:
    """A redirect within the origin is followed; another scheme, host or port is another origin."""
    assert redirected(PLACES[0], response(status, location=location)) == target


@pytest.mark.parametrize(
    ("supported", "way"),
    [
        (None, "client_secret_basic"),
        ("client_secret_post", "client_secret_basic"),  # no list
        ([], "client_secret_basic"),
        (["client_secret_post", "client_secret_basic"], "client_secret_basic"),
        (["client_secret_jwt", "client_secret_post"], "client_secret_post"),
        (["private_key_jwt", "client_secret_jwt"], "client_secret_jwt"),
        (["private_key_jwt", 5, None], "client_secret_basic"),
    ],
)
def test_the_default_client_authentication(supported: Any, way: str) -> None:
    """Without Basic a secret is sent as a parameter, else by a JWT; a way that is given is used in any case."""
    found = metadata(token_endpoint_auth_methods_supported=supported)
    assert with_metadata(ClientCredentials(Issuer(ISSUER), "id", "s3cr3t"), found).client_auth == way
    given = ClientCredentials(Issuer(ISSUER), "id", "s3cr3t", client_auth="client_secret_basic_raw")
    assert with_metadata(given, found).client_auth == "client_secret_basic_raw"
    assert with_metadata(ClientCredentials(Issuer(ISSUER), "id"), found).client_auth == "none"


def test_what_a_grant_has_itself_counts_more() -> None:
    """A grant's own revocation and refresh endpoints stay, and so do the attributes of a subclass."""

    class Tenant(Password):
        pass

    grant = Tenant(
        Issuer(ISSUER), "me", "pw", client_id="id", refresh_url="https://a/refresh", revocation_url="https://a/revoke"
    )
    object.__setattr__(grant, "tenant", "a")
    found = with_metadata(grant, metadata(revocation_endpoint="https://id.example.com/revoke"))
    assert (found.token_url, found.refresh_url, found.revocation_url) == (URL, "https://a/refresh", "https://a/revoke")
    assert (type(found), vars(found)["tenant"]) == (Tenant, "a")
    assert grant.token_url == Issuer(ISSUER)


def test_what_the_server_supports_may_contradict_an_argument() -> None:
    """A renamed secret cannot be sent by Basic: the error says what to set."""
    grant = ClientCredentials(Issuer(ISSUER), "id", "s3cr3t", names={"client_secret": "app_secret"})
    with pytest.raises(ConfigurationError, match="set client_auth to client_secret_post"):
        with_metadata(grant, metadata())
    supported = metadata(token_endpoint_auth_methods_supported=["client_secret_post"])
    assert with_metadata(grant, supported).client_auth == "client_secret_post"


def test_endpoints_for_certificates_and_for_logins() -> None:
    """A client with a certificate uses the aliases that there are; what is no URL counts as missing."""
    found = read(keycloak(KEYCLOAK), KEYCLOAK)
    assert isinstance(found, Metadata)
    assert found.promises_iss
    mtls = found.endpoint("token_endpoint", by_certificate=True)
    assert mtls == "https://mtls.keycloak.example.com/realms/acme/protocol/openid-connect/token"
    odd = metadata(
        revocation_endpoint=5,
        mtls_endpoint_aliases={"token_endpoint": "/token"},
        authorization_response_iss_parameter_supported="false",
        token_endpoint_auth_methods_supported="none",
    )
    assert odd.client_auth_methods == ()
    assert (odd.endpoint("revocation_endpoint"), odd.promises_iss) == (None, False)
    assert odd.endpoint("token_endpoint", by_certificate=True) == URL
    assert metadata(mtls_endpoint_aliases=[]).mtls_endpoints == {}


def test_every_oauth_grant_takes_an_issuer() -> None:
    """The password and refresh token grants take one too."""
    for grant in (Password(Issuer(ISSUER), "me", "pw"), RefreshToken(Issuer(ISSUER), "r3fr3sh")):
        assert with_metadata(grant, metadata()).token_url == URL
