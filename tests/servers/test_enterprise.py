"""The sandbox's enterprise system takes what the RFCs describe, and refuses everything else as servers do."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from auth_plugins import Token
from auth_plugins._cli.main import cli
from auth_plugins.sandbox import EnterpriseApi, Sandbox
from auth_plugins.sandbox._enterprise import _remove
from tests.support.certificates import pair_of
from tests.support.forks import forks
from tests.support.keys import Everything, key
from tests.support.loopback import Clock

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: A claim that is left out.
NONE: Any = None


def signed(by: Any, header: dict[str, Any], claims: dict[str, Any]) -> str:
    present = {name: value for name, value in claims.items() if value is not None}
    registry = Everything()
    registry.max_header_length = 1 << 13
    return jwt.encode(header, present, by, registry=registry)


class Client:
    """A client that shares no code with the package, and changes what it sends as a test says."""

    def __init__(self, system: EnterpriseApi, clock: Clock, algorithm: str = "ES256") -> None:
        self.system, self.clock = system, clock
        self.key = ECKey.import_key(Path(system.files.private_key).read_text())
        self.algorithm, self.dpop_key = algorithm, key(algorithm, 1)
        self.token_url = f"{system.url}/oauth2/token"
        self.nonces = {"token": NONE, "api": NONE}
        self._count = 0

    def jti(self) -> str:
        self._count += 1
        return f"jti-{self._count}"

    def assertion(self, *, by: Any = None, kid: str | None = "2026-11", alg: str = "ES256", **claims: Any) -> str:
        now, client = int(self.clock.now), "enterprise-client"
        usual = {"iss": client, "sub": client, "aud": self.token_url, "iat": now, "exp": now + 60, "jti": self.jti()}
        return signed(by or self.key, {"alg": alg, **({"kid": kid} if kid else {})}, {**usual, **claims})

    def proof(
        self,
        url: str,
        method: str,
        nonce: str,
        token: str | None = None,
        *,
        by: Any = None,
        header: Any = None,
        **claims: Any,
    ) -> str:
        jwk = self.dpop_key.as_dict(private=False)
        ath = urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).decode().rstrip("=") if token else None
        usual = {"htm": method, "htu": url, "iat": int(self.clock.now), "jti": self.jti(), "nonce": nonce, "ath": ath}
        header = {"alg": self.algorithm, "typ": "dpop+jwt", "jwk": jwk, **(header or {})}
        return signed(by or self.dpop_key, header, {**usual, **claims})

    def ask(
        self,
        assertion: str | None = None,
        proof: str | None = None,
        *,
        query: str = "",
        headers: Any = None,
        **form: Any,
    ) -> requests.Response:
        """A token request. An empty *proof* is left out, and so is a parameter that is None."""
        proof = self.proof(self.token_url, "POST", self.nonces["token"]) if proof is None else proof
        usual = {"grant_type": "client_credentials", "client_id": "enterprise-client", "client_assertion_type": TYPE}
        body = {**usual, "client_assertion": assertion or self.assertion(), **form}
        sent = {**({"DPoP": proof} if proof else {}), **(headers or {})}
        response = requests.post(self.token_url + query, body, headers=sent, timeout=10)
        self.nonces["token"] = response.headers["DPoP-Nonce"]
        return response

    def with_nonces(self, other: Client) -> Client:
        self.nonces = other.nonces
        return self

    def token(self) -> str:
        self.ask()
        return str(self.ask().json()["access_token"])

    def call(
        self, token: str, proof: str | None = None, scheme: str = "DPoP", path: str = "/things"
    ) -> requests.Response:
        url = self.system.url + path
        proof = self.proof(url, "GET", self.nonces["api"], token) if proof is None else proof
        headers = {"Authorization": f"{scheme} {token}", **({"DPoP": proof} if proof else {})}
        response = requests.get(f"{url}?page=1", headers=headers, timeout=10)
        self.nonces["api"] = response.headers["DPoP-Nonce"]
        return response


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def system(clock: Clock) -> Iterator[EnterpriseApi]:
    with Sandbox(clock=clock.time) as sandbox:
        yield sandbox["enterprise-api"]


@pytest.fixture
def client(system: EnterpriseApi, clock: Clock) -> Client:
    return Client(system, clock)


def outcome(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json().get("error", "")


@pytest.mark.parametrize("algorithm", ["ES256", "ES512", "RS256", "EdDSA"])
def test_a_token_is_bound_to_the_key_of_its_proof(system: EnterpriseApi, clock: Clock, algorithm: str) -> None:
    """Each endpoint asks once for its own nonce, which each answer has; the token names the key, of any kind."""
    client = Client(system, clock, algorithm)
    assert outcome(client.ask()) == (400, "use_dpop_nonce")
    response = client.ask(client.assertion(aud=system.url))
    answer = response.json()
    assert (response.status_code, answer["token_type"], answer["expires_in"]) == (200, "DPoP", 3600)
    token = answer["access_token"]
    refused = client.call(token)
    challenge = refused.headers["WWW-Authenticate"]
    assert (refused.status_code, challenge.partition(",")[0]) == (401, 'DPoP error="use_dpop_nonce"')
    assert " PS256" in challenge
    good = [
        client.call(token),
        client.call(token),
        client.call(token, path="/forbidden"),
        client.call(token, path="/x"),
    ]
    assert [each.status_code for each in good] == [200, 200, 403, 404]
    assert good[0].json()["subject"] == "enterprise-client"
    assert all(each.headers["DPoP-Nonce"].startswith("api-") for each in good)
    assert response.headers["DPoP-Nonce"].startswith("token-")
    assert Token(access_token=token).claims["cnf"] == {"jkt": client.dpop_key.thumbprint()}
    assert [(seen.at, seen.credentials, seen.error) for seen in system.seen[:4]] == [
        ("token", "client assertion", "use_dpop_nonce"),
        ("token", "client assertion", ""),
        ("api", "DPoP", "use_dpop_nonce"),
        ("api", "DPoP", ""),
    ]


#: By the error: why, and what is sent. Each is sent with the nonce that the server wants.
ASSERTIONS: dict[tuple[int, str], dict[str, Callable[[Client], requests.Response]]] = {
    (401, "invalid_client"): {
        "registered key": lambda it: it.ask(it.assertion(by=key("ES256", 2))),
        "no registered key has its kid": lambda it: it.ask(it.assertion(kid="2025-11")),
        "has its kid": lambda it: it.ask(it.assertion(kid=None)),
        "no JWT": lambda it: it.ask("s3cr3t.s3cr3t.s3cr3t"),
        "not signed": lambda it: it.ask(it.assertion(by=OctKey.import_key("s3cr3t" * 6), alg="HS256")),
        "its aud": lambda it: it.ask(it.assertion(aud=f"{it.system.url}/token")),
        "its iss": lambda it: it.ask(it.assertion(iss="other")),
        "its sub": lambda it: it.ask(it.assertion(sub=NONE)),
        "its exp": lambda it: it.ask(it.assertion(exp=NONE)),
        "exp": lambda it: it.ask(it.assertion(exp=int(it.clock.now) - 240, iat=int(it.clock.now) - 300)),
        "iat": lambda it: it.ask(it.assertion(iat=int(it.clock.now) + 300)),
        "its jti was": lambda it: [it.ask(text := it.assertion()), it.ask(text)][1],
        "too far": lambda it: it.ask(it.assertion(exp=int(it.clock.now) + 3700)),
        "its jti": lambda it: it.ask(it.assertion(jti=NONE)),
        "unknown client": lambda it: it.ask(client_id="other"),
        "credentials must be in": lambda it: it.ask(client_assertion=NONE),
        "not query": lambda it: it.ask(
            client_assertion=NONE, client_id=NONE, query=f"?client_assertion={it.assertion()}"
        ),
    },
    (400, "invalid_request"): {
        "more than one place": lambda it: it.ask(headers={"Authorization": "Basic YTpi"}),
        "exactly": lambda it: it.ask(scope="all"),
        "client_assertion_type must be": lambda it: it.ask(client_assertion_type="jwt"),
    },
    (400, "unsupported_grant_type"): {"": lambda it: it.ask(grant_type="password")},
    (400, "invalid_dpop_proof"): {
        "missing": lambda it: it.ask(proof=""),
        "no JWT": lambda it: it.ask(proof="s3cr3t"),
        "its htm": lambda it: it.ask(proof=it.proof(it.token_url, "GET", it.nonces["token"])),
        "its htu": lambda it: it.ask(proof=it.proof(it.system.api_url, "POST", it.nonces["token"])),
        "its iat is": lambda it: it.ask(proof=it.proof(it.token_url, "POST", "", iat=int(it.clock.now) - 61)),
        "iat": lambda it: it.ask(proof=it.proof(it.token_url, "POST", "", iat=int(it.clock.now) + 300)),
        "its jti": lambda it: it.ask(proof=it.proof(it.token_url, "POST", "", jti=NONE)),
        "the type": lambda it: it.ask(proof=it.proof(it.token_url, "POST", "", header={"typ": "JWT"})),
        "a public key": lambda it: it.ask(
            proof=it.proof(it.token_url, "POST", "", header={"jwk": it.dpop_key.as_dict(private=True)})
        ),
        "by the key in its header": lambda it: it.ask(proof=it.proof(it.token_url, "POST", "", by=key("ES256", 2))),
    },
    (400, "use_dpop_nonce"): {
        "of this server": lambda it: it.ask(proof=it.proof(it.token_url, "POST", NONE)),
        "nonce of": lambda it: it.ask(proof=it.proof(it.token_url, "POST", "api-nonce")),
    },
}


@pytest.mark.parametrize(
    ("expected", "said", "ask"),
    [
        pytest.param(expected, said, ask, id=f"{expected[1]}: {said}")
        for expected, asks in ASSERTIONS.items()
        for said, ask in asks.items()
    ],
)
def test_a_token_request_is_refused(client: Client, expected: tuple[int, str], said: str, ask: Any) -> None:
    """A wrong key, kid, claim, place, parameter or proof is refused; the answer says why, and repeats no secret."""
    client.ask()
    response = ask(client)
    assert outcome(response) == expected
    assert said in response.json().get("error_description", "")
    assert not response.headers.get("WWW-Authenticate")
    assert "s3cr3t" not in response.text
    assert client.system.seen[-1].error == expected[1]
    assert client.ask().status_code == 200


def test_nothing_is_accepted_twice(client: Client) -> None:
    """A ``jti`` is refused when it comes again: that of an assertion, even if its proof was refused, and of a proof."""
    assertion = client.assertion()
    assert outcome(client.ask(assertion)) == (400, "use_dpop_nonce")
    assert outcome(client.ask(assertion)) == (401, "invalid_client")
    proof = client.proof(client.token_url, "POST", client.nonces["token"])
    token = client.ask(proof=proof).json()["access_token"]
    assert outcome(client.ask(proof=proof)) == (400, "invalid_dpop_proof")
    client.call(token)
    proof = client.proof(client.system.api_url, "GET", client.nonces["api"], token)
    assert [client.call(token, proof).status_code for _ in range(2)] == [200, 401]


def test_a_stale_nonce_is_refused(client: Client, clock: Clock) -> None:
    """A nonce is accepted for five minutes and more, and then asked for again; the token stays valid."""
    token = client.token()
    client.call(token)
    clock.forward(300)
    old = dict(client.nonces)
    assert [client.ask().status_code, client.call(token).status_code] == [200, 200]
    assert not {*old.values()} & {*client.nonces.values()}
    clock.forward(600)
    assert [outcome(client.ask()), outcome(client.call(token))] == [(400, "use_dpop_nonce"), (401, "use_dpop_nonce")]
    assert [client.ask().status_code, client.call(token).status_code] == [200, 200]


#: By the error: what is sent to the API with a good token and the nonce that it wants.
CALLS: dict[str, dict[str, Callable[[Client, str], requests.Response]]] = {
    "invalid_token": {
        "as a bearer token": lambda it, token: it.call(token, scheme="Bearer"),
        "another one": lambda it, token: it.call(f"{token}x"),
        "by another key": lambda it, token: Client(it.system, it.clock, "ES384").with_nonces(it).call(token),
    },
    "invalid_dpop_proof": {
        "missing": lambda it, token: it.call(token, ""),
        "its ath": lambda it, token: it.call(token, it.proof(it.system.api_url, "GET", it.nonces["api"])),
        "ath is": lambda it, token: it.call(token, it.proof(it.system.api_url, "GET", it.nonces["api"], "other")),
        "its htm": lambda it, token: it.call(token, it.proof(it.system.api_url, "POST", it.nonces["api"], token)),
        "its htu": lambda it, token: it.call(token, it.proof(it.token_url, "GET", it.nonces["api"], token)),
    },
    "use_dpop_nonce": {
        "nonce": lambda it, token: it.call(token, it.proof(it.system.api_url, "GET", it.nonces["token"], token)),
    },
}


@pytest.mark.parametrize(
    ("error", "said", "call"),
    [pytest.param(error, said, call, id=said) for error, calls in CALLS.items() for said, call in calls.items()],
)
def test_an_api_request_is_refused(client: Client, error: str, said: str, call: Any) -> None:
    """A token without a proof by its key for this request is refused, and stays valid."""
    token = client.token()
    client.call(token)
    response = call(client, token)
    assert outcome(response) == (401, error)
    assert response.headers["WWW-Authenticate"].startswith(f'DPoP error="{error}"')
    assert error == "invalid_token" or said in response.json()["error_description"]
    assert client.call(token).status_code == 200


def test_a_token_is_revoked_or_expires(client: Client, clock: Clock) -> None:
    """A token that was revoked, or has expired, is refused with a good proof as well."""
    token = client.token()
    client.call(token)
    client.system.revoke()
    assert outcome(client.call(token)) == (401, "invalid_token")
    token = client.token()
    clock.forward(299)
    assert client.call(token).status_code == 200
    clock.forward(3600)
    assert outcome(client.call(token)) == (401, "invalid_token")


def test_the_metadata_are_at_both_places(system: EnterpriseApi) -> None:
    """The metadata name the endpoints, as RFC 8414 says, and those for mutual TLS; they have no nonce."""
    places = ("oauth-authorization-server", "openid-configuration")
    responses = [requests.get(f"{system.url}/.well-known/{each}", timeout=10) for each in places]
    metadata, same = (response.json() for response in responses)
    assert metadata == same
    assert (metadata["issuer"], metadata["token_endpoint"]) == (system.url, f"{system.url}/oauth2/token")
    assert metadata["mtls_endpoint_aliases"] == {"token_endpoint": f"{system.mtls_url}/oauth2/token"}
    assert "DPoP-Nonce" not in responses[0].headers
    assert ([seen.at for seen in system.seen], system.token_requests) == (["metadata"] * 2, [])


def test_a_certificate_gets_a_token_that_is_bound_to_it(client: Client, tmp_path: Path) -> None:
    """The token of mutual TLS is of use with the same certificate only; without one, no token is issued."""
    system, files = client.system, client.system.files
    pair, form = (files.certificate, files.certificate_key), {"grant_type": "client_credentials"}
    form["client_id"] = "enterprise-client"
    url, ca = f"{system.mtls_url}/oauth2/token", files.ca
    response = requests.post(url, form, cert=pair, verify=ca, timeout=10)
    answer = response.json()
    assert (response.status_code, answer["token_type"]) == (200, "Bearer")
    claims = Token(access_token=answer["access_token"]).claims
    assert claims["cnf"] == {"x5t#S256": system.seen[-1].certificate}
    assert system.seen[-1].credentials == "certificate"
    bearer = {"Authorization": f"Bearer {answer['access_token']}"}

    def call(url: str = system.mtls_api_url, **options: Any) -> int:
        return requests.get(url, **{"headers": bearer, "verify": ca, "timeout": 10, **options}).status_code

    assert [call(cert=pair), call(), call(system.api_url)] == [200, 401, 401]
    assert call(cert=pair, headers={"Authorization": f"DPoP {answer['access_token']}"}) == 401
    assert outcome(requests.post(url, form, verify=ca, timeout=10)) == (401, "invalid_client")
    nameless = {"grant_type": "client_credentials"}
    assert outcome(requests.post(url, nameless, cert=pair, verify=ca, timeout=10)) == (400, "invalid_request")
    both = {**form, "client_assertion": client.assertion(), "client_assertion_type": TYPE}
    assert outcome(requests.post(url, both, cert=pair, verify=ca, timeout=10)) == (400, "invalid_request")
    assert outcome(requests.post(url, {**form, "client_id": "x"}, cert=pair, verify=ca, timeout=10))[0] == 401
    other, other_key = pair_of(tmp_path, "other")
    with pytest.raises(requests.ConnectionError):
        requests.post(url, form, cert=(str(other), str(other_key)), verify=ca, timeout=10)
    assert call(cert=pair) == 200


@pytest.mark.parametrize("name", ["variables", "mtls_variables"])
def test_check_passes(name: str) -> None:
    """``auth-plugins check`` finds nothing to note about either client; no step shows a key."""
    with Sandbox() as sandbox:
        system = sandbox["enterprise-api"]
        words = ["check", "ACME", *(["--url", system.api_url] if name == "variables" else [])]
        result = CliRunner().invoke(cli, words, env=getattr(system, name)("ACME"))
        assert result.exit_code == 0, result.output
        assert {line.split()[0] for line in result.output.splitlines()} == {"ok"}
        assert not [line for line in Path(system.files.private_key).read_text().splitlines() if line in result.output]


def test_keys_are_made_when_they_are_needed_and_removed_at_the_end() -> None:
    """A sandbox without this system loads no cryptography; the keys are in private files until Python ends."""
    code = """
import os, sys
from auth_plugins.sandbox import Sandbox
with Sandbox() as sandbox:
    system = sandbox["enterprise-api"]
    print(*{name.partition(".")[0] for name in sys.modules} & {"joserfc", "cryptography"})
    paths = [system.variables("ACME")["ACME_PRIVATE_KEY_FILE"], *system.mtls_variables("ACME").values()]
files = [path for path in paths if os.path.isfile(path)]
print(len(files), oct(os.stat(os.path.dirname(files[0])).st_mode & 0o777), files[0])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    loaded, line = done.stdout.splitlines()
    count, mode, path = line.split()
    assert (loaded, count, mode, done.stderr) == ("", "4", "0o700", "")
    assert not Path(path).parent.exists()


def test_another_process_removes_no_files(tmp_path: Path) -> None:
    """The files are removed by the process that made them only."""
    _remove(str(tmp_path), os.getpid() + 1)
    assert tmp_path.exists()
    _remove(str(tmp_path), os.getpid())
    assert not tmp_path.exists()


@forks
def test_a_child_leaves_its_parent_the_files() -> None:
    """A forked child that ends removes no files."""
    program = """
import os, sys, time
from auth_plugins.sandbox import EnterpriseApi
system = EnterpriseApi(60, time.time)
path = system.files.private_key
if not os.fork():
    sys.exit()
os.wait()
print(os.path.exists(path))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr
