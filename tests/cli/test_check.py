"""``auth-plugins check``: what it says of setups that work, and of those that fail; never a secret."""

from __future__ import annotations

import base64
import email.utils
import importlib
import io
import itertools
import json
import re
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from cryptography import x509
from werkzeug.wrappers import Response

from auth_plugins import AuthError, FileCache, TokenSource
from auth_plugins._base.runtime import runtime
from auth_plugins._cli.main import main
from auth_plugins.sandbox import Sandbox
from tests.support import stores
from tests.support.certificates import pair_of
from tests.support.keep_alive import KeepAlive, make_certificate
from tests.support.loopback import Clock, Loopback, Received, as_json
from tests.support.stores import age, forget

quick_names = stores.quick_names

#: Each spelling of it has this word in it, except Base64.
CANARY = "canary7"
SECRET = f'{CANARY} /+=%&"\\ü'
CLIENT = "id@example"
RAW, ENCODED = f"{CLIENT}:{SECRET}", f"{quote(CLIENT, safe='')}:{quote(SECRET, safe='')}"
#: Libraries to hide, so that each of the three is used.
HIDDEN = {"requests": (), "httpx2": ("requests",), "httpx": ("requests", "httpx2")}


@dataclass
class Outcome:
    status: Any
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.out)

    def step(self, name: str) -> tuple[str, str, str]:
        """The mark, the detail and the advice of a step, of which there is one."""
        [[head, *advice]] = [lines for lines in self._steps() if lines[0][8:].startswith(f"{name}: ")]
        return head[:8].strip(), head[8:].removeprefix(f"{name}: "), "\n".join(advice)

    def assert_step(self, name: str, mark: str, detail: str, advice: str = "") -> None:
        """A step has this mark, a detail that begins so, and advice that has these words."""
        found = self.step(name)
        assert (found[0], found[1][: len(detail)]) == (mark, detail)
        assert advice in found[2]

    def names(self) -> list[str]:
        return [lines[0][8:].partition(":")[0] for lines in self._steps()]

    def _steps(self) -> Iterator[list[str]]:
        lines: list[str] = []
        for line in self.out.splitlines():
            if not line.startswith(" " * 8) and lines:
                yield lines
                lines = []
            lines.append(line)
        yield lines


Run = Callable[..., Outcome]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs ``auth-plugins check ACME`` with further words and with variables; no secret may be printed."""

    def run(*words: str, typed: str | None = None, **variables: str | None) -> Outcome:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                if value is not None:
                    patch.setenv(name if name.endswith("_PROXY") or name in TRUST else f"ACME_{name}", value)
            patch.setattr(sys, "argv", ["auth-plugins", "check", "ACME", *words])
            patch.setattr(sys, "stdin", io.StringIO() if typed is None else Terminal(typed))
            with pytest.raises(SystemExit) as end:
                main()
        out, err = (text.decode() for text in capsysbinary.readouterr())
        encoded = [base64.b64encode(text.encode()).decode() for text in (SECRET, RAW, ENCODED)]
        for hidden in (CANARY, *encoded):
            assert hidden not in out + err
        return Outcome(end.value.code, out, err)

    return run


#: Variables that name certificates to trust.
TRUST = {"requests": "REQUESTS_CA_BUNDLE", "httpx2": "SSL_CERT_FILE", "httpx": "SSL_CERT_FILE"}
TRUST |= {name: name for name in TRUST.values()}


@pytest.fixture
def check(run: Run, server: Loopback) -> Run:
    """Runs it for a client of the server; a variable that is ``None`` is not set."""

    def check(*words: str, typed: str | None = None, **variables: str | None) -> Outcome:
        return run(*words, typed=typed, **{**client(server), **variables})

    return check


def client(server: Loopback) -> dict[str, str]:
    return {"TOKEN_URL": server.token_url, "CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET}


USER = {"USERNAME": "ann", "PASSWORD": SECRET}
NO_CLIENT = {"CLIENT_ID": None, "CLIENT_SECRET": None}


@pytest.fixture(params=HIDDEN)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the libraries, as the first that is installed."""
    for hidden in HIDDEN[request.param]:
        monkeypatch.setitem(sys.modules, hidden, None)
    return request.param


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def basic(received: Received) -> str:
    return base64.b64decode(received.headers.get("authorization", "").removeprefix("Basic ")).decode()


def jwt(**claims: Any) -> str:
    parts = ({"alg": "HS256"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, f"{CANARY}-signature"])


def issuing(access_token: str, **members: Any) -> Callable[[Received], Response]:
    return lambda _: as_json({"access_token": access_token, "token_type": "Bearer", "expires_in": 3600, **members})


def refusing(error: str | None = None, status: int = 401, **headers: str) -> Callable[[Received], Response]:
    return lambda _: as_json({"error": error} if error else {}, status, **headers)


def wanting(server: Loopback, **ways: str) -> Callable[[Received], Response]:
    """Accept the client in one way only: these *basic* credentials, or a *body* that has this in it."""

    def play(received: Received) -> Response:
        known = basic(received) == ways.get("basic") or ways.get("body", "\0").encode() in received.body
        return server.issue(received) if known else as_json({"error": "invalid_client"}, 401)

    return play


# What works


@pytest.mark.parametrize("name", ["upload-api", "auth-api"])
def test_all_is_well(run: Run, sandbox: Sandbox, name: str) -> None:
    """Every step is shown, and nothing of a secret or of the token."""
    system = sandbox[name]
    variables = {name.removeprefix("ACME_"): value for name, value in system.variables("ACME").items()}
    outcome = run("--url", system.api_url, **variables)
    assert (outcome.status, outcome.err) == (0, "")
    assert not any(line.startswith("FAILED") for line in outcome.out.splitlines())
    steps = ["grant", "cache", "name resolution", "connection", "token request", "clock", "token", "JWT", "API"]
    assert [each for each in outcome.names() if each != "variable"] == steps
    assert f"of the provider {name} at {system.url}" in outcome.step("grant")[1]
    assert outcome.step("API")[1] == f"{system.api_url} answered 200"
    assert len(system.token_requests) == 1
    token = system.seen[-1].headers["authorization"].removeprefix("Bearer ")
    for hidden in (token, *token.split("."), system.client_secret, quote(system.password, safe="")):
        assert not hidden or hidden not in outcome.out


@pytest.mark.parametrize("name", ["nested-api", "session-api", "query-api"])
def test_all_is_well_with_a_dialect(run: Run, sandbox: Sandbox, name: str) -> None:
    """The variables of a dialect are known, one token request is sent, and the API accepts the token in its place."""
    system = sandbox[name]
    variables = {name.removeprefix("ACME_"): value for name, value in system.variables("ACME").items()}
    outcome = run("--url", system.api_url, **variables)
    assert (outcome.status, outcome.err, len(system.token_requests)) == (0, "", 1)
    assert outcome.step("API")[1] == f"{system.api_url} answered 200"
    for hidden in (system.seen[-1].token, system.client_secret, system.password):
        assert not hidden or hidden not in outcome.out


def test_the_first_installed_library_is_used(check: Run, server: Loopback, library: str) -> None:
    """Token request and API request are sent by the first installed library, which is named."""
    outcome = check("--url", server.api_url)
    assert outcome.status == 0
    assert f"answered 200 to {library}, asked without any stored token" in outcome.step("token request")[1]
    for received in (*server.token_requests, *server.api_requests):
        assert received.headers["user-agent"].startswith(f"python-{library}/")


def test_it_shows_what_is_set_and_where(check: Run, server: Loopback, tmp_path: Path) -> None:
    """Variables, secrets, files and defaults are named, and each check sends a token request."""
    (tmp_path / "secret").write_text(SECRET)
    variables = {"CLIENT_SECRET": None, "CLIENT_SECRET_FILE": f"{tmp_path}/secret", "SCOPE": " ", "ENCODING": "json"}
    for count in (1, 2):
        outcome = check(**variables, CACHE=f"file:{tmp_path}/cache", CLIENT_AUTH="client_secret_post")
        assert (outcome.status, len(server.token_requests)) == (0, count)
    for line in (
        "ok      variable: ACME_CLIENT_ID is set in the environment",
        "ok      variable: ACME_CLIENT_SECRET_FILE is set in the environment and names a file (a secret)",
        "-       variable: ACME_SCOPE is empty, as if it were not set",
    ):
        assert line in outcome.out.splitlines()
    defaults = "client_auth client_secret_post, encoding json, method POST (by default)"
    assert outcome.step("grant")[1] == f"ClientCredentials at {server.token_url}, {defaults}"
    assert outcome.step("cache")[1] == f"FileCache('{tmp_path}/cache')"
    assert not list((tmp_path / "cache").glob("*.token")), "nothing is left in the cache"
    assert CLIENT not in outcome.out


def test_a_cache_that_cannot_be_used_fails(check: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go on without a broken cache; the check fails, and names the variable."""
    (tmp_path / "file").touch()
    outcome = check(CACHE=f"file:{tmp_path}/file")
    outcome.assert_step("cache", "FAILED", "FileCache(", "each process fetches its own token: check ACME_CACHE")
    assert (outcome.status, outcome.step("token request")[0]) == (1, "ok")
    monkeypatch.setattr(FileCache, "get", lambda *_: None)
    cache = f"FileCache('{tmp_path}/cache')"
    outcome = check(CACHE=f"file:{tmp_path}/cache")
    outcome.assert_step("cache", "FAILED", f"{cache}: LookupError: what was stored is not found again")


def test_words_of_the_cache_url_are_shown_elsewhere(check: Run, server: Loopback) -> None:
    """What is in the URL of the cache is redacted in the errors of the cache only: it may be an ordinary word."""
    server.token_play = issuing(jwt(sub="orders"), scope="orders 127")
    outcome = check(CACHE="redis://orders@127.0.0.1:1/0?client_name=127", SCOPE="orders 127")
    assert "scope orders 127, " in outcome.step("token")[1]
    assert outcome.step("JWT")[1] == 'alg "HS256", sub "orders"'
    assert "127.0.0.1" not in outcome.step("cache")[1].partition("ConnectionError: ")[2]


def test_json_is_one_object(check: Run, server: Loopback) -> None:
    """``--json`` prints one object, whose members have the same names each time."""
    server.token_play = issuing(jwt(aud="api", sub="ann", exp=2000000000), scope="a")
    report = check("--json", SCOPE="a").report
    assert list(report) == ["ok", "status", "prefix", "steps", "token", "error"]
    assert (report["ok"], report["status"], report["prefix"], report["error"]) == (True, 0, "ACME", None)
    for step in report["steps"]:
        assert list(step) == ["name", "ok", "detail", "advice"]
        assert step["ok"] in (True, False, None)
        assert isinstance(step["advice"], list)
    token = report["token"]
    assert token.pop("expires_at") == pytest.approx(time.time() + 3600, abs=10)
    assert token.pop("expires_in") == pytest.approx(3600, abs=10)
    claims = {"sub": "ann", "aud": "api", "exp": 2000000000}
    assert token == {"token_type": "Bearer", "scope": "a", "refresh_token": False, "claims": claims}


def test_the_api_gets_the_token_where_the_variables_say(run: Run, server: Loopback) -> None:
    """HEADER and SCHEME hold for the call of the API too."""
    server.api = lambda received: as_json({}, 200 if received.headers.get("x-auth") == f"a={CANARY}" else 401)
    assert run("--url", server.api_url, API_KEY=CANARY, HEADER="X-Auth", SCHEME="a={token}").status == 0


@pytest.mark.parametrize(
    "variables", [{"QUERY": "key"}, {"API_KEY_QUERY": "key"}, {"API_KEY_QUERY": "old", "QUERY": "key"}]
)
def test_the_api_gets_the_token_in_the_query(run: Run, server: Loopback, variables: dict[str, str]) -> None:
    """QUERY and API_KEY_QUERY hold for the call of the API too; what it answers, or does not, shows no token."""
    targets: list[str] = []

    def play(received: Received) -> Response:
        targets.append(received.target)
        assert CANARY not in str(received.headers)
        return as_json({}, 200 if len(targets) == 1 else 401)

    server.api = play
    outcomes = [run("--url", f"{server.api_url}?key=old&a=1", API_KEY=CANARY, **variables) for _ in range(2)]
    assert targets == [f"/api?key={CANARY}&a=1"] * 2
    assert [outcome.status for outcome in outcomes] == [0, 1]
    place = "QUERY" if "API_KEY_QUERY" in variables else "HEADER"
    assert outcomes[1].step("API")[2].endswith(f"check ACME_API_KEY and ACME_API_KEY_{place}")
    server.stop()
    outcome = run("--url", f"{server.api_url}?a=(1)", API_KEY=CANARY, **variables)
    outcome.assert_step("API", "FAILED", f"{server.api_url}?... did not answer", "check the URL")


def test_an_api_key_needs_no_token_request(run: Run, server: Loopback) -> None:
    """With an API key no token is requested, and the API is tried with the key."""
    server.api = lambda received: as_json({}, 200 if received.headers.get("x-api-key") == CANARY else 401)
    outcome = run("--url", server.api_url, API_KEY=CANARY)
    assert (outcome.status, outcome.step("grant")[1]) == (0, "ApiKey")
    assert outcome.step("token request")[:2] == ("-", "an API key needs none")
    assert outcome.step("token")[1] == "a key, no end known, no refresh token"
    refused = run("--url", server.api_url, API_KEY=f"{CANARY}'")
    assert refused.status == 1
    assert refused.step("API")[2].endswith("check ACME_API_KEY and ACME_API_KEY_HEADER")
    assert "variable: ACME_API_KEY begins or ends with" in refused.out


# Other ways of client authentication


#: What is configured, what the server expects, and how.
WAYS = [
    ("client_secret_basic", "client_secret_basic_raw", {"basic": RAW}),
    ("client_secret_basic_raw", "client_secret_basic", {"basic": ENCODED}),
    ("client_secret_basic", "client_secret_post", {"body": "&client_secret="}),
]


@pytest.mark.parametrize(("configured", "wanted", "way"), WAYS)
def test_another_client_auth_is_found(
    check: Run, server: Loopback, configured: str, wanted: str, way: dict[str, str]
) -> None:
    """``--try-others`` finds the client_auth that the server accepts, and says what to set."""
    server.token_play = wanting(server, **way)
    outcome = check("--try-others", "--url", server.api_url, CLIENT_AUTH=configured)
    assert outcome.status == 1, "it fails as it is configured"
    advice = f"        → {wanted} works: set ACME_CLIENT_AUTH={wanted}"
    assert outcome.step(f"try {wanted}") == ("ok", "answered 200", advice)
    assert (outcome.step("token request")[0], outcome.step("API")[0]) == ("FAILED", "ok")
    assert check(CLIENT_AUTH=wanted).status == 0


def test_it_asks_before_it_tries(check: Run, server: Loopback) -> None:
    """At a terminal it asks first; in a script, and with ``--json``, it neither asks nor tries without the option."""
    server.token_play = wanting(server, basic=RAW)
    yes = check(typed="y\n")
    assert (
        "Try client_secret_basic_raw and client_secret_post and client_secret_jwt as well, at the same token endpoint?"
        in yes.err
    )
    # Old versions of click print the blank behind a question to standard output.
    assert "ok      try client_secret_basic_raw: answered 200\n" in yes.out
    assert len(server.token_requests) == 2
    for outcome in (check(typed="n\n"), check()):
        assert outcome.out.endswith(
            "-       other client_auth: not tried: client_secret_basic_raw, client_secret_post, client_secret_jwt\n"
            "        → have them tried by --try-others, or set ACME_CLIENT_AUTH to one of them\n"
        )
    silent = check("--json", typed="y\n")
    assert (silent.err, silent.report["token"], len(server.token_requests)) == ("", None, 5)


#: Variables besides those of a client, and which ways are tried at a server that knows no client.
TRIED: dict[str, tuple[dict[str, str], list[str]]] = {
    "Basic without encoding, and encoded, are the same": (
        {"CLIENT_SECRET": CANARY, "CLIENT_ID": "i", "CLIENT_AUTH": "client_secret_post"},
        ["client_secret_basic", "client_secret_jwt"],
    ),
    "a colon in the id, and a secret in a URL": ({"CLIENT_ID": "a:b", "ENCODING": "query"}, ["client_secret_jwt"]),
    "GET": ({"METHOD": "GET"}, ["client_secret_basic_raw", "client_secret_jwt"]),
}


@pytest.mark.parametrize(("variables", "tried"), TRIED.values(), ids=TRIED)
def test_what_is_the_same_or_cannot_work_is_not_tried(
    check: Run, server: Loopback, variables: dict[str, str], tried: list[str]
) -> None:
    """No request is sent twice with the same credentials, none by a way that cannot work, and no secret in a URL."""
    server.token_play = refusing("invalid_client")
    outcome = check("--try-others", **variables)
    assert [name.removeprefix("try ") for name in outcome.names() if name.startswith("try ")] == tried
    assert len(server.token_requests) == 1 + len(tried)
    assert not any("secret" in received.target for received in server.token_requests[1:])


def test_a_client_that_gets_further_is_known(check: Run, server: Loopback) -> None:
    """Where another way leads to another refusal, both are explained, and no further way is tried."""
    server.token_play = lambda received: (
        as_json({"error": "invalid_scope"}, 400) if basic(received) == RAW else as_json({}, 401)
    )
    mark, detail, advice = check("--try-others").step("try client_secret_basic_raw")
    assert (mark, "answered 400 (invalid_scope)" in detail) == ("FAILED", True)
    assert "set ACME_CLIENT_AUTH=client_secret_basic_raw\n" in advice
    assert advice.endswith("→ no scope was sent: set ACME_SCOPE to what the server's documentation names")
    assert len(server.token_requests) == 2


@pytest.mark.parametrize(("error", "status", "count"), [("invalid_client", 401, 2), ("", 401, 1), ("", 503, 1)])
def test_a_password_is_sent_twice_at_most(check: Run, server: Loopback, error: str, status: int, count: int) -> None:
    """A password is sent once more where only the client was refused, and else not; nor for a rejected token."""
    server.token_play = refusing(error, status)
    assert check("--try-others", **USER).status == 1
    assert len(server.token_requests) == count
    server.token_play, server.api = server.issue, refusing()
    assert check("--url", server.api_url, **USER).status == 1
    assert len(server.token_requests) == count + 1


#: Answers that say nothing of the client authentication, and answers that may.
NOT_OF_CLIENT: dict[str, Response] = {
    "another error": as_json({"error": "invalid_grant"}, 400),
    "a missing proof": as_json({"error": "use_dpop_nonce"}, 400),
    "a server in trouble": as_json({"error": "temporarily_unavailable"}, 400),
    "a server that asks for a pause": as_json({}, 403, Retry_After="5"),
    "a web page": Response("<html>sign in</html>", 401, content_type="text/html"),
    "a firewall": Response("Forbidden by policy 7", 403, content_type="text/plain"),
    "too many": as_json({"error": "invalid_client"}, 429),
    "a good answer without a token": as_json({"message": "hello"}),
}
OF_CLIENT = {
    "an error": as_json({"error": "invalid_client"}, 400),
    "words": as_json({"message": "who are you?"}, 403),
    "nothing": Response("", 401),
    "text": Response("Unauthorized", 401, content_type="text/plain"),
    "a form": Response("error=invalid_client", 400, content_type="application/x-www-form-urlencoded"),
}


@pytest.mark.parametrize("case", [*NOT_OF_CLIENT, *OF_CLIENT])
def test_a_secret_is_sent_again_only_where_the_client_may_be_meant(check: Run, server: Loopback, case: str) -> None:
    """``--try-others`` sends the secret again only where the refusal can be about client authentication."""
    server.token_play = lambda _: {**NOT_OF_CLIENT, **OF_CLIENT}[case]
    assert check("--try-others").status == 1
    assert len(server.token_requests) == (4 if case in OF_CLIENT else 1)


# A token endpoint that refuses


#: What the server answers, further variables, and what the advice says.
REFUSALS: dict[str, tuple[Callable[[Received], Response], dict[str, str | None], str]] = {
    "a redirect": (refusing(status=302, Location="https://a.example.com/"), {}, "set ACME_TOKEN_URL to the final"),
    "an encoded secret": (refusing("invalid_client"), {}, "try the other one as ACME_CLIENT_AUTH"),
    "no client": (refusing("invalid_client"), {**NO_CLIENT, **USER}, "set ACME_CLIENT_ID and ACME_CLIENT_SECRET\n"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_explained(check: Run, server: Loopback, case: str) -> None:
    """A refusal is shown with the server's answer, and with advice that names variables."""
    server.token_play, further, said = REFUSALS[case]
    outcome = check("--url", server.api_url, **further)
    assert (outcome.status, outcome.err, server.api_requests) == (1, "", [])
    outcome.assert_step("token request", "FAILED", f"{server.token_url} answered", said)
    outcome.assert_step("API", "-", f"{server.api_url} not tried, as there is no token")


#: An answer without a token under its standard name; the names that are listed, and the setting that reads it.
DIALECTS: dict[str, tuple[dict[str, Any], dict[str, str], str, str]] = {
    "nested": (
        {"data": {"access_token": CANARY, "expires_in": 60}}, {},
        "but data.access_token, data.expires_in",
        "the answer has data.access_token: set ACME_ANSWER=access_token=data.access_token",
    ),
    "other names": (
        {"code": 0, "msg": "ok", "body": {"sessionId": CANARY, "ttl": 60}}, {},
        "but code, msg, body.sessionId, body.ttl (ok)",
        "set ACME_ANSWER='access_token=body.sessionId expires_in=body.ttl error=code error_description=msg'",
    ),
    "in a header": (
        {"expires_in": 60}, {"X_Auth_Token": CANARY},
        "but expires_in", "set ACME_ANSWER=access_token=header:X-Auth-Token",
    ),
    "an error in a 200": (
        {"errcode": 40013, "errmsg": f"invalid {CANARY}{SECRET}", "data": None}, {},
        "but errcode, errmsg, data (invalid ***",
        "to have them named, set ACME_ANSWER='error=errcode error_description=errmsg'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DIALECTS)
def test_an_answer_without_a_token_is_explained(check: Run, server: Loopback, case: str) -> None:
    """The names of the members of an answer without a token are listed, and the setting that reads it works."""
    members, headers, names, said = DIALECTS[case]
    server.token_play = lambda _: as_json(members, 200, **headers)
    outcome = check()
    assert outcome.status == 1
    outcome.assert_step("token request", "FAILED", f"{server.token_url} answered no access_token, {names}", said)
    setting = said.partition("ACME_ANSWER=")[2].strip("'")
    again = check(ANSWER=setting)
    if case == "an error in a 200":
        detail = f"{server.token_url} answered 200 (40013: invalid ***"
        again.assert_step("token request", "FAILED", detail)
        assert again.step("token request")[1].endswith("): an error with 200, the status of a success")
    else:
        assert again.status == 0


@pytest.mark.parametrize(
    ("members", "answer", "setting"),
    [
        ({"expiry": "2030-01-01T00:00:00Z"}, None, "expires_at=expiry"),
        ({"ttl": 60, "expiry": 5}, None, "expires_in=ttl"),
        ({"data": {"token": CANARY, "expirationDate": "2030-01-01"}}, "access_token=data.token",
         "'access_token=data.token expires_at=data.expirationDate'"),
        ({"note": "x", "a.b": 5}, None, None),
    ],
)  # fmt: skip
def test_an_end_under_another_name_is_found(
    check: Run, server: Loopback, members: dict[str, Any], answer: str | None, setting: str | None
) -> None:
    """A token without a known end, beside which a member may tell it: the setting that reads it is named, and works."""
    server.token_play = lambda _: as_json({"access_token": CANARY, **members})
    outcome = check(ANSWER=answer)
    assert outcome.step("token")[1].startswith("Bearer, no end known")
    if setting is None:
        assert "it is used until an API refuses it: if its documentation names a lifetime" in outcome.step("token")[2]
        assert check(LIFETIME="60").step("token")[1].startswith("Bearer, ends in 60 s")
        return
    path = setting.strip("'").rpartition("=")[2]
    assert f"the answer has {path}: set ACME_ANSWER={setting}" in outcome.step("token")[2]
    assert check(ANSWER=setting.strip("'")).step("token")[1].startswith("Bearer, ends in ")


def test_no_value_of_a_parameter_or_header_is_printed(check: Run, server: Loopback) -> None:
    """Values of parameters and headers are printed no more than secrets, whatever a server quotes."""
    server.token_play = lambda received: as_json({"error": received.body.decode(), "note": dict(received.headers)}, 400)
    variables = {"PARAMS": f"pin={CANARY}-pin", "HEADERS": f"X-Key={CANARY}-key", "REFRESH_PARAMS": f"pin={CANARY}"}
    outcome = check(CLIENT_SECRET="s", CLIENT_ID="id", **variables)
    assert outcome.status == 1
    for name in variables:
        assert f"ACME_{name} is set in the environment (which may hold secrets)" in outcome.out


def test_an_expired_refresh_token_is_named(check: Run, server: Loopback, tmp_path: Path) -> None:
    """The variable of a refused refresh token, here of its file, is named with the advice to obtain a new one."""
    server.token_play = refusing("invalid_grant", 400)
    (tmp_path / "token").write_text(f"{CANARY}-first\n")
    variables = {**NO_CLIENT, "CACHE": f"file:{tmp_path}/cache", "REFRESH_TOKEN_FILE": f"{tmp_path}/token"}
    advice = check("--try-others", **variables).step("token request")[2]
    assert "obtain a new refresh token by signing in again, and set ACME_REFRESH_TOKEN_FILE" in advice


def test_a_provider_has_a_base_url_and_may_have_no_clients(run: Run, server: Loopback) -> None:
    """With a provider the advice names BASE_URL in place of TOKEN_URL, and no client where it has none."""
    variables = {"PROVIDER": "auth-api", "BASE_URL": server.url, **USER}
    server.api = refusing("invalid_client")
    advice = run("--try-others", **variables).step("token request")[2]
    assert "check ACME_USERNAME and ACME_PASSWORD, and that" in advice
    assert "no client" not in advice
    assert len(server.api_requests) == 1
    server.api = refusing(status=405)
    assert "is ACME_BASE_URL the token endpoint, and" in run(**variables).step("token request")[2]
    # One address for all its customers.
    variables = {"PROVIDER": "spotify", "CLIENT_ID": "me", "CLIENT_SECRET": SECRET, "TIMEOUT": "1"}
    advice = run(**variables, HTTPS_PROXY="http://127.0.0.1:9").step("token request")[2]
    assert "check ACME_PROVIDER, the network and its proxies, and ACME_TIMEOUT" in advice


@pytest.fixture
def set_date(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the server send another Date."""
    return lambda date: monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda *_: date)


@pytest.mark.parametrize(
    ("seconds", "status", "said"),
    [
        (-125, 200, "ahead of the server's, so that tokens may seem to end early"),
        (125, 401, "behind the server's, so that tokens may seem to end late"),
    ],
)
def test_clocks_that_differ_are_noted(
    check: Run, server: Loopback, set_date: Callable[[str], None], seconds: int, status: int, said: str
) -> None:
    """A difference between the clocks is shown with its size, its direction and what follows; it is no failure."""
    set_date(email.utils.formatdate(time.time() + seconds, usegmt=True))
    server.token_play = lambda _: as_json({"access_token": "opaque"}, status)
    outcome = check()
    assert outcome.status == int(status != 200)
    mark, detail, advice = outcome.step("clock")
    # A Date has no fractions.
    assert (mark, detail) in [("-", f"this machine's is {about} s {said}") for about in (124, 125, 126)]
    assert "set it, for example by NTP" in advice


@pytest.mark.parametrize("date", ["", "Mon, 99 Jan 2024 00:00:00 GMT"])
def test_an_answer_without_a_date(check: Run, set_date: Callable[[str], None], date: str) -> None:
    """Where the server sends no readable Date, clocks are not compared."""
    set_date(date)
    assert check().step("clock")[:2] == ("-", "the answer has no Date to compare with")


# A token endpoint that cannot be reached


def test_a_name_that_does_not_resolve(check: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that DNS does not know fails as such, within the timeout, and nothing is sent."""

    def resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    outcome = check(TOKEN_URL=f"https://id.example.test/token?key={CANARY}")
    what = "id.example.test port 443: Name or service not known"
    outcome.assert_step("name resolution", "FAILED", what, "check the host in ACME_TOKEN_URL")
    assert (outcome.status, outcome.names()[-1], outcome.step("token request")[0]) == (1, "token request", "-")
    assert "at https://id.example.test/token?..., " in outcome.step("grant")[1]
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10))
    began = time.monotonic()
    outcome = check(TIMEOUT="0.05")
    over.set()
    assert time.monotonic() - began < 5
    assert outcome.step("name resolution")[1].endswith(": no answer in time")


@pytest.mark.parametrize(("good", "step"), [(0, "connection"), (1, "TLS")])
def test_a_timeout_holds_for_all_addresses_together(
    check: Run, server: Loopback, monkeypatch: pytest.MonkeyPatch, good: int, step: str
) -> None:
    """ACME_TIMEOUT bounds each step, even where it holds for each address or each read of a connection."""
    over, timeouts = threading.Event(), list[float]()
    connect = socket.create_connection

    def connect_slowly(address: Any, timeout: float) -> socket.socket:
        timeouts.append(timeout)
        if len(timeouts) > good:
            over.wait(5)
        return connect(address, timeout)

    monkeypatch.setattr(socket, "create_connection", connect_slowly)
    began = time.monotonic()
    outcome = check(TOKEN_URL=server.token_url.replace("http", "https"), TIMEOUT="0.05")
    over.set()
    assert time.monotonic() - began < 4
    assert outcome.step(step)[:2] == (
        "FAILED",
        f"{server.url.removeprefix('http://').replace(':', ' port ')}: no answer in time",
    )
    assert timeouts == [0.05] * (good + 1)


IN_CLEAR = ("refused, as a secret or a token would travel to a.example.com in clear", "or set ACME_ALLOW_HTTP=true")


@pytest.mark.parametrize(
    ("url", "step", "detail", "advice"),
    [
        (f"https://{'a' * 64}.example/token", "name resolution", "", "check the host in ACME_TOKEN_URL"),
        ("http://127.0.0.1:1/", "connection", "127.0.0.1 port 1: Connection refused", "check host and port in ACME_T"),
        ("http://a.example.com/token", "connection", *IN_CLEAR),
        ("http://bücher.test/token", "connection", IN_CLEAR[0].replace("a.example.com", "bücher.test"), IN_CLEAR[1]),
        ("https{}/token", "TLS", "", "check that the port in ACME_TOKEN_URL is one of https"),
    ],
    ids=["an impossible name", "a closed port", "http", "http, not ASCII", "no TLS"],
)
def test_an_endpoint_that_cannot_be_used(
    check: Run, server: Loopback, url: str, step: str, detail: str, advice: str
) -> None:
    """The first step that fails is shown, and nothing is sent."""
    outcome = check(TOKEN_URL=url.format(server.url.removeprefix("http")))
    outcome.assert_step(step, "FAILED", detail, advice)
    assert (outcome.status, outcome.names()[-1], server.token_requests) == (1, "token request", [])


def test_a_server_that_does_not_answer(check: Run, server: Loopback) -> None:
    """A server that accepts the connection and never answers fails when ACME_TIMEOUT is over."""
    server.latency = 0.5
    outcome = check(TIMEOUT="0.1")
    said = f"{server.token_url} could not be reached (timed out after 0.1 s)"
    advice = "check ACME_TOKEN_URL, the network and its proxies, and ACME_TIMEOUT"
    outcome.assert_step("token request", "FAILED", said, advice)
    assert outcome.status == 1
    assert "clock" not in outcome.names()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_is_shown(check: Run, server: Loopback, variable: str) -> None:
    """A proxy is named without its password, and nothing is tried around it."""
    proxy = f"http://me:{CANARY}@{server.url.removeprefix('http://')}"
    outcome = check(TOKEN_URL="http://id.example.test/token", ALLOW_HTTP="true", **{variable: proxy})
    assert (outcome.status, "name resolution" in outcome.names()) == (0, False)
    outcome.assert_step("connection", "-", f"by the proxy {server.url.removeprefix('http://')} (HTTPS_PROXY")
    assert [each.target for each in server.token_requests] == ["http://id.example.test/token"]
    assert check(**{variable: proxy}, NO_PROXY="127.0.0.1").step("connection")[0] == "ok"


# TLS


def test_a_private_ca(check: Run, tmp_path: Path, library: str) -> None:
    """For a certificate of an unknown CA the variables are named; with each of them, it works."""
    variable, certificate = TRUST[library], make_certificate(tmp_path)
    with KeepAlive(certificate) as endpoint:
        outcome = check(TOKEN_URL=endpoint.url)
        assert (outcome.status, endpoint.requests) == (1, [])
        goods = [check(TOKEN_URL=endpoint.url, **{name: str(certificate)}) for name in (variable, "CA_BUNDLE")]
    shown = "TLSv1.3; certificate of CN=127.0.0.1, by CN=127.0.0.1, until "
    advice = f"set {variable} or ACME_CA_BUNDLE to its file"
    outcome.assert_step("TLS", "FAILED", f"self-signed certificate: {shown}", advice)
    for good in goods:
        good.assert_step("TLS", "ok", shown)
        assert good.status == 0


@pytest.mark.parametrize(
    ("name", "days", "problem", "advice"),
    [
        ("127.0.0.1", -1, "certificate has expired", "have the server's owner renew it"),
        ("id.example.com", 5, "IP address mismatch, certificate is not valid", "check the host in ACME_TOKEN_URL"),
    ],
)
def test_a_certificate_that_is_not_valid(
    check: Run, tmp_path: Path, name: str, days: int, problem: str, advice: str
) -> None:
    """An expired certificate, and one of another host, are shown with what is wrong and what to do."""
    certificate = make_certificate(tmp_path, name, days)
    with KeepAlive(certificate) as endpoint:
        outcome = check(TOKEN_URL=endpoint.url, REQUESTS_CA_BUNDLE=str(certificate))
    outcome.assert_step("TLS", "FAILED", problem, advice)
    assert outcome.status == 1
    assert f"certificate of CN={name}, by" in outcome.step("TLS")[1]


def test_a_bundle_that_trusts_nothing(check: Run, tmp_path: Path) -> None:
    """An empty directory of CAs trusts nothing; a file that is no bundle fails, and its variable is named."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "ca.pem").write_text("no certificate")
    with KeepAlive(make_certificate(tmp_path)) as endpoint:
        empty = check(TOKEN_URL=endpoint.url, REQUESTS_CA_BUNDLE=f"{tmp_path}/empty")
        wrong = check(TOKEN_URL=endpoint.url, REQUESTS_CA_BUNDLE=f"{tmp_path}/ca.pem")
    empty.assert_step("TLS", "FAILED", "self-signed certificate: ")
    wrong.assert_step("TLS", "FAILED", "the certificates to trust cannot be read (", "REQUESTS_CA_BUNDLE")


def test_a_certificate_that_cannot_be_read(check: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that cryptography cannot read is one step, whatever the error; with ``--json`` as well."""

    def load(_: bytes) -> x509.Certificate:
        raise x509.InvalidVersion("1 is not a valid X509 version", 1)

    monkeypatch.setattr(x509, "load_der_x509_certificate", load)
    with KeepAlive(make_certificate(tmp_path)) as endpoint:
        detail = check(TOKEN_URL=endpoint.url).step("TLS")[1]
        assert detail == "self-signed certificate: TLSv1.3; a certificate that cannot be read (InvalidVersion)"
        assert detail in [step["detail"] for step in check("--json", TOKEN_URL=endpoint.url).report["steps"]]


def mutual(endpoint: KeepAlive, ca: Path, certificate: Path, key: Path) -> dict[str, str | None]:
    """The variables of a client with a certificate."""
    files = {"CA_BUNDLE": ca, "CERTIFICATE": certificate, "CERTIFICATE_KEY": key}
    client = {"TOKEN_URL": endpoint.url, "CLIENT_SECRET": None, "CLIENT_AUTH": "tls_client_auth"}
    return {**client, **{name: str(path) for name, path in files.items()}}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate(check: Run, tmp_path: Path, library: str, version: ssl.TLSVersion) -> None:
    """The certificate of the client is shown, whether its key belongs to it, and where the server refuses it."""
    ca, pair, other = make_certificate(tmp_path), pair_of(tmp_path, "known"), pair_of(tmp_path, "unknown")
    with KeepAlive(ca, [pair[0]], version) as endpoint:
        good, bad = check(**mutual(endpoint, ca, *pair)), check(**mutual(endpoint, ca, *other))
        self_signed = {"CLIENT_AUTH": "self_signed_tls_client_auth"}
        mixed = check(**{**mutual(endpoint, ca, pair[0], other[1]), **self_signed})
        endpoint.refused.add("known")
        refused = check(**mutual(endpoint, ca, *pair))
    shown = f"{str(pair[0])!r}: certificate of CN=known, by CN=known, until "
    good.assert_step("certificate", "ok", shown)
    assert good.step("certificate")[1].endswith(" UTC; its key belongs to it")
    assert (good.status, good.step("TLS")[0], endpoint.peers) == (0, "ok", ["known"] * 2)
    step = "TLS" if version is ssl.TLSVersion.TLSv1_2 else "token request"
    assert bad.step(step)[0] == "FAILED"
    assert "refused the client in the TLS handshake: unknown ca" in bad.step(step)[1]
    assert f"by the certificate in {str(other[0])!r}" in bad.step(step)[2]
    assert ", client_auth tls_client_auth, " in good.step("grant")[1]
    assert ", client_auth self_signed_tls_client_auth, " in mixed.step("grant")[1]
    mixed.assert_step("certificate", "FAILED", f"the key file {str(other[1])!r} does not belong to the certificate; ")
    mixed.assert_step("token request", "-", "not tried, as the certificate cannot be used")
    refused.assert_step(
        "token request", "FAILED", endpoint.url, "ACME_CLIENT_ID by the certificate in ACME_CERTIFICATE"
    )


def test_a_ca_of_a_variable(check: Run, tmp_path: Path, library: str) -> None:
    """CA_BUNDLE is trusted in each step, for other ways as well; where it is the wrong one, its file is named."""
    ca, other = make_certificate(tmp_path), pair_of(tmp_path, "other")[0]
    with KeepAlive(ca) as endpoint:
        assert check(TOKEN_URL=endpoint.url, CA_BUNDLE=str(ca)).status == 0
        wrong = check(TOKEN_URL=endpoint.url, CA_BUNDLE=str(other))
        endpoint.refused.add("?")
        others = check("--try-others", TOKEN_URL=endpoint.url, CA_BUNDLE=str(ca))
    others.assert_step("try client_secret_post", "ok", "answered 200")
    wrong.assert_step("TLS", "FAILED", "self-signed certificate: ", f"check that {str(other)!r} holds the CA")
    with KeepAlive(ca, []) as endpoint:
        none = check(TOKEN_URL=endpoint.url, CA_BUNDLE=str(ca))
    none.assert_step(
        "token request", "FAILED", endpoint.url, "if the server wants a client certificate, set client_auth"
    )


def test_a_certificate_that_only_the_library_rejects(
    check: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only the library rejects the certificate, as behind a proxy that opens TLS, its variable is named too."""
    certificate = make_certificate(tmp_path)
    with KeepAlive(certificate) as endpoint:
        trusting = ssl.create_default_context(cafile=certificate)
        monkeypatch.setattr(ssl, "create_default_context", lambda **_: trusting)
        outcome = check(TOKEN_URL=endpoint.url)
    assert outcome.step("TLS")[0] == "ok"
    outcome.assert_step("token request", "FAILED", endpoint.url, "set REQUESTS_CA_BUNDLE or ACME_CA_BUNDLE to its file")


# The token


def test_the_token_is_described(check: Run, server: Loopback) -> None:
    """Lifetime, scope and registered claims of the token are shown: no name, no mail, no signature."""
    now = int(time.time())
    claims = {"iss": "https://id", "aud": ["a", "b"], "exp": now + 60, "nbf": now, "scp": "read", "email": "ann@home"}
    server.token_play = issuing(jwt(**claims, roles=[f"x {SECRET}"]), scope="read", refresh_token=CANARY)
    outcome = check(SCOPE="read")
    assert outcome.status == 0
    assert re.match(r"Bearer, ends in 3(600|5\d\d) s, at ", outcome.step("token")[1])  # a busy machine takes seconds
    assert outcome.step("token")[1].endswith(" UTC, scope read, a refresh token")
    shown = f'alg "HS256", iss "https://id", aud ["a", "b"], exp {now + 60}, nbf {now}, scp "read", roles "***"'
    assert outcome.step("JWT")[1] == shown
    assert "scope" not in outcome.names()


@pytest.mark.parametrize(
    ("granted", "said"), [("a b c", "granted besides: c"), ("a c", "not granted: b; granted besides: c")]
)
def test_another_scope_is_noted(check: Run, server: Loopback, granted: str, said: str) -> None:
    """A granted scope that differs from the requested one is shown."""
    server.token_play = issuing("opaque", scope=granted)
    check(SCOPE="a b").assert_step("scope", "-", said, "change ACME_SCOPE")


def test_a_token_at_the_wrong_time(check: Run, server: Loopback) -> None:
    """A token that is not valid yet is noted, and one that has ended fails."""
    server.token_play = issuing(jwt(nbf=time.time() + 100))
    check().assert_step("JWT", "-", "alg", "not valid yet: compare the clocks")
    server.token_play = issuing("opaque", expires_in=1e-9)
    outcome = check()
    outcome.assert_step("token", "FAILED", "Bearer", "it had ended before it came")
    assert outcome.status == 1


def test_claims_are_json_for_any_parser(check: Run, server: Loopback) -> None:
    """A claim that JSON does not have, and the beginning of one with more than 500 characters, are shown as text."""
    claims = {"iss": "x " * 5_000, "sub": float("nan"), "roles": [float("inf"), {"a": 1}], "aud": "NaN-bread"}
    server.token_play = issuing(jwt(**claims))
    shown = json.loads(check("--json").out, parse_constant=pytest.fail)["token"]["claims"]
    assert shown == {
        "iss": ('"' + "x " * 250)[:500],
        "sub": "NaN",
        "aud": '"NaN-bread"',
        "roles": '[Infinity, {"a": 1}]',
    }


def test_no_part_of_a_token_is_printed(check: Run, server: Loopback) -> None:
    """A key of two parts, or the signature of a JWT, is ``***`` in each text of a server."""
    server.token_play = issuing("keyid7.hunter2secret", token_type="hunter2secret", scope="read:hunter2secret")
    server.api = challenging("invalid_token", 'error_description="unknown key hunter2secret"')
    outcome = check("--url", server.api_url)
    assert outcome.step("token")[1].startswith("***, ends in 3600 s, ")
    assert "scope ***, " in outcome.step("token")[1]
    assert outcome.step("API")[1].endswith("answered 401 (error: invalid_token, error_description: unknown key ***)")
    server.api = refusing(status=302, Location="http://127.0.0.2/hunter2secret")
    assert "redirects to ***, where no token goes" in check("--url", server.api_url).step("API")[1]


# The API


def challenging(error: str, rest: str) -> Callable[[Received], Response]:
    return refusing(WWW_Authenticate=f'Bearer error="{error}", {rest}')


#: What the API answers, the detail, and the advice.
API: list[tuple[Callable[[Received], Response], str, str]] = [
    (
        challenging("invalid_token", 'error_description="the audience of token-1 is wrong"'),
        "answered 401 (error: invalid_token, error_description: the audience of *** is wrong)",
        "check whom it is for: ACME_AUDIENCE, ACME_RESOURCE",
    ),
    (
        challenging("insufficient_scope", 'scope="write"'),
        "answered 401 (error: insufficient_scope, scope: write)",
        "set ACME_SCOPE",
    ),
    (
        challenging("invalid_token", 'error_description="the key 0a1b2c3d4e5f60718293a4b5 is unknown"'),
        "answered 401 (error: invalid_token, error_description: the key *** is unknown)",
        "check whom it is for",
    ),
    (refusing(status=403), "answered 403", "set ACME_SCOPE, or have the account given the role"),
    (refusing(status=404), "answered 404", "check the URL"),
    (refusing(status=429), "answered 429", "the API is in trouble"),
    (
        refusing(status=302, Location="http://127.0.0.2:9/there?key=1"),
        "redirects to http://127.0.0.2:9/there?..., where no token goes",
        "it may be a page to sign in at",
    ),
    (
        refusing(status=302, Location="ftp://127.0.0.2/"),
        "redirects to what is no address, where no token goes",
        "it may be a page to sign in at",
    ),
]


@pytest.mark.parametrize(("play", "detail", "advice"), API, ids=[row[1] for row in API])
def test_an_api_that_refuses_is_explained(
    check: Run, server: Loopback, play: Callable[[Received], Response], detail: str, advice: str
) -> None:
    """A 401 is about the token, a 403 about the account, other answers are about neither; no redirect is followed."""
    server.api = play
    outcome = check("--url", f"{server.api_url}?key={CANARY}")
    outcome.assert_step("API", "FAILED", f"{server.api_url}?... {detail}", advice)
    assert (outcome.status, len(server.api_requests)) == (1, 1)


EXPIRED = "for requests to replace a token that expired, "
IN_CODE = f"{EXPIRED}give a function that knows this body as refused= to OAuth2Auth in code: no variable can"
ABOUT_TOKEN, ABOUT_RIGHTS = (
    "check whom it is for: ACME_AUDIENCE",
    "the token is known but lacks a right: set ACME_SCOPE",
)
MARKETO = {"success": False, "errors": [{"code": "602", "message": "Access token expired"}]}
WITHINGS = {"status": 401, "body": {}, "error": "XRequestID: none invalid_token: it is invalid"}
GRAPHQL = {"data": None, "errors": [{"message": "sign in", "extensions": {"code": "UNAUTHENTICATED"}}]}
PAGE = Response("<p>Your <b>session</b>&nbsp;has expired</p>", 403, content_type="text/html")
#: What the API answers, the detail behind "answered", and each piece of advice; REFUSED, if it is set.
DIALECTS_OF_APIS: dict[str, tuple[Any, str, tuple[str, ...], str | None]] = {
    "a 403 that says expired": (
        as_json({"message": "The incoming token has expired"}, 403),
        "403 (message: The incoming token has expired)", (f"{EXPIRED}set ACME_REFUSED=403", ABOUT_TOKEN), None,
    ),
    "one more status": (
        as_json({"error": {"code": "TokenExpired"}}, 400),
        "400 (error.code: TokenExpired)", (f"{EXPIRED}set ACME_REFUSED='419 400'", ABOUT_TOKEN), "419",
    ),
    "a status that is set": (
        as_json({"errors": ["jwt expired"]}, 403), "403 (errors: jwt expired)", (ABOUT_TOKEN,), "403 419",
    ),
    "a 500 that says expired": (
        as_json({"error": "jwt expired"}, 500),
        "500 (error: jwt expired)", (f"{EXPIRED}set ACME_REFUSED=500", ABOUT_TOKEN), None,
    ),
    "a page": (PAGE, "403 (session nbsp has expired)", (f"{EXPIRED}set ACME_REFUSED=403", ABOUT_TOKEN), None),
    "text": (
        Response("invalid session\n", 403, content_type="text/plain"),
        "403 (invalid session)", (f"{EXPIRED}set ACME_REFUSED=403", ABOUT_TOKEN), None,
    ),
    "a status of its own": (as_json({}, 419), "419", (f"{EXPIRED}set ACME_REFUSED=419", ABOUT_TOKEN), None),
    "a challenge, which needs no setting": (
        as_json({"message": "token expired"}, 403, WWW_Authenticate='Bearer error="invalid_token"'),
        "403 (error: invalid_token)", (ABOUT_TOKEN,), None,
    ),
    "a challenge that says little": (
        as_json({"error": "token expired"}, 403, WWW_Authenticate='Bearer scope="read"'),
        "403 (scope: read, error: token expired)", (f"{EXPIRED}set ACME_REFUSED=403", ABOUT_TOKEN), None,
    ),
    "a challenge about rights": (
        as_json({}, 403, WWW_Authenticate='Bearer error="insufficient_scope", scope="write"'),
        "403 (error: insufficient_scope, scope: write)", (ABOUT_RIGHTS,), "403",
    ),
    "a set status without words": (
        as_json({}, 404), "404",
        (f"a request gets another token for it, as ACME_REFUSED says; if that is refused too, {ABOUT_RIGHTS}",), "404",
    ),
    "a set status of a success": (
        as_json({}, 299), "299",
        (f"a request gets another token for it, as ACME_REFUSED says; if that is refused too, {ABOUT_RIGHTS}",), "299",
    ),
    "a GraphQL error in a 200": (
        as_json(GRAPHQL), "200 (errors.extensions.code: UNAUTHENTICATED)",
        (f"{EXPIRED}give refused=graphql_unauthenticated to OAuth2Auth in code: no variable can", ABOUT_TOKEN), None,
    ),
    "Marketo": (as_json(MARKETO), "200 (errors.0.message: Access token expired)", (IN_CODE, ABOUT_TOKEN), None),
    "Withings": (as_json(WITHINGS), "200 (status: 401)", (IN_CODE, ABOUT_TOKEN), None),
    "Slack": (
        as_json({"ok": False, "error": "token_expired"}), "200 (error: token_expired)", (IN_CODE, ABOUT_TOKEN), None,
    ),
    "unauthorized in a 200": (
        as_json({"message": "Unauthorized"}), "200 (message: Unauthorized)", (IN_CODE, ABOUT_TOKEN), None,
    ),
    "a secret in a page": (
        Response(f"token token-1 {SECRET} expired", 403, content_type="text/plain"),
        "403 (token expired)", (f"{EXPIRED}set ACME_REFUSED=403", ABOUT_TOKEN), None,
    ),
    "a secret in the words": (
        as_json({"error": f"invalid token token-1 for {CANARY}99 {SECRET} " + "y" * 200}, 403),
        f"403 (error: invalid token *** for *** *** {'y' * 168})",
        (f"{EXPIRED}set ACME_REFUSED=403", ABOUT_TOKEN), None,
    ),
    "no right, in words": (as_json({"message": "Unauthorized"}, 403), "403", (ABOUT_RIGHTS,), None),
    "a token against forged requests": (as_json({"error": "CSRF token invalid"}, 403), "403", (ABOUT_RIGHTS,), None),
    "a page about forged requests": (
        Response("<h1>CSRF token expired</h1>", 403, content_type="text/html"), "403", (ABOUT_RIGHTS,), None,
    ),
    "a 401 without a challenge": (
        as_json({"error": "jwt expired"}, 401), "401 (error: jwt expired)", (ABOUT_TOKEN,), None,
    ),
    "a pause": (
        as_json({"error": "too many invalid tokens, invalid token"}, 429),
        "429", ("the API is in trouble or asks for a pause: try again later",), None,
    ),
    "a token of a page": (
        as_json({"error": "invalid page_token"}, 400), "400", ("check the URL: this is not about the token",), None,
    ),
    "no JSON after all": (Response("{", 403, content_type="application/json"), "403", (ABOUT_RIGHTS,), None),
}  # fmt: skip


@pytest.mark.parametrize("case", DIALECTS_OF_APIS)
def test_an_api_that_refuses_a_token_in_its_own_way_is_explained(check: Run, server: Loopback, case: str) -> None:
    """What an API says of the token in a status, a challenge or a body is shown, with the setting that replaces it."""
    answer, detail, advice, refused = DIALECTS_OF_APIS[case]
    server.api = lambda _: answer
    outcome = check("--url", f"{server.api_url}?key={CANARY}99", REFUSED=refused)
    found = outcome.step("API")
    assert found[:2] == ("FAILED", f"{server.api_url}?... answered {detail}")
    lines = [line.strip().removeprefix("→ ") for line in found[2].splitlines()]
    expected = [*advice, *(["check what it allows, "] if advice[-1] == ABOUT_TOKEN else [])]
    assert [line for line, begin in zip(lines, expected, strict=True) if begin not in line] == []
    assert (outcome.status, len(server.api_requests), len(server.token_requests)) == (1, 1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        as_json({"data": {"message": "the token expired"}, "title": "invalid tokens"}),
        as_json([{"message": "token expired"}]),
        as_json({"status": {"text": "token expired"}}),
        as_json({"status": {"items": {"message": "token expired"}}}),
        as_json({"errors": [], "code": 0, "status": "ok", "message": None}),
        as_json(5),
        Response("token expired", content_type="text/plain"),
        as_json({"message": "token expired", "a body that is too long": "x" * 70_000}),
    ],
)
def test_what_was_asked_for_is_no_error(check: Run, server: Loopback, answer: Response) -> None:
    """A success is one, whatever its data and texts say."""
    server.api = lambda _: answer
    outcome = check("--url", server.api_url)
    assert (outcome.status, outcome.step("API")) == (0, ("ok", f"{server.api_url} answered 200", ""))


def test_the_setting_that_is_named_works(check: Run, server: Loopback, library: str) -> None:
    """With each library the body is read, and the setting has an expired token replaced."""

    def expired(received: Received) -> Response:
        answer = server.check(received)
        return answer if answer.status_code == 200 else as_json({"error": "jwt expired"}, 403)

    server.api = expired

    def issue_expired(received: Received) -> Response:
        answer = server.issue(received)
        server.revoke()
        return answer

    server.token_play = issue_expired
    assert "set ACME_REFUSED=403\n" in check("--url", server.api_url).step("API")[2]
    server.token_play = server.issue
    environ = {f"ACME_{name}": value for name, value in {**client(server), "REFUSED": "403"}.items()}
    auth = importlib.import_module(f"auth_plugins.{library}").OAuth2Auth.from_env("ACME", environ)
    for _ in range(2):
        assert importlib.import_module(library).get(server.api_url, auth=auth).status_code == 200
        server.revoke()


def test_an_api_key_that_is_refused_in_words(run: Run, server: Loopback) -> None:
    """The advice on an API key names its variables, whatever the status."""
    server.api = lambda _: as_json({"error": "invalid API key"}, 403)
    advice = run("--url", server.api_url, API_KEY=CANARY).step("API")[2]
    assert advice.endswith("check ACME_API_KEY and ACME_API_KEY_HEADER")


def test_a_slow_body_is_read_for_5_seconds(check: Run, server: Loopback, clock: Clock) -> None:
    """After 5 seconds no more of a body is waited for."""
    most, sent = 100, Queue[int]()

    def chunks() -> Iterator[bytes]:
        count = 0
        try:
            while count < most:
                count += 1
                time.sleep(0.05)
                clock.forward(6)
                yield b" " * 512
        finally:
            sent.put(count)

    server.api = lambda _: Response(chunks(), content_type="application/json", direct_passthrough=True)
    assert check("--url", server.api_url).step("API")[0] == "ok"
    assert sent.get(timeout=20) < most


def test_a_body_that_does_not_end_is_not_waited_for(check: Run, server: Loopback, library: str) -> None:
    """Of a JSON body that goes on for ever, or breaks off, the beginning is read; the status counts."""
    chunks = itertools.repeat(b"[1]\n" * 500)
    server.api = lambda _: Response(chunks, content_type="application/json", direct_passthrough=True)
    assert check("--url", server.api_url).step("API")[0] == "ok"
    server.api = lambda _: Response(b'{"error": ', 403, {"Content-Length": "500"}, content_type="application/json")
    assert check("--url", server.api_url).step("API")[1].endswith("answered 403")


def test_a_redirect_within_the_api_is_noted(check: Run, server: Loopback) -> None:
    """A redirect to another path is shown with its target."""
    server.api = refusing(status=302, Location="/there")
    outcome = check("--url", server.api_url)
    outcome.assert_step("API", "-", f"{server.api_url} redirects to {server.url}/there", "try that address")
    assert (outcome.status, len(server.api_requests)) == (0, 1)


@pytest.mark.parametrize(
    ("url", "detail", "advice"),
    [
        (
            "http://127.0.0.2/",
            "http://127.0.0.2/ gets no token, as ACME_ALLOWED_HOSTS leaves it out",
            "add its host to",
        ),
        ("http://a.example.com/", *IN_CLEAR),
        (
            "http://me:canary7@127.0.0.1:1/?key=canary7",
            "http://...@127.0.0.1:1/?... did not answer (Connect",
            "check the URL",
        ),
        ("http://127.0.0.1:1/canary7", "*** did not answer (Connect", "check the URL"),
    ],
)
def test_an_api_that_cannot_be_called(check: Run, url: str, detail: str, advice: str) -> None:
    """No token goes to a host that is not allowed, and none in clear; an API that cannot be reached is one line."""
    outcome = check("--url", url, ALLOWED_HOSTS="127.0.0.1,a.example.com", CLIENT_SECRET=CANARY)
    outcome.assert_step("API", "FAILED", detail, advice)
    assert outcome.status == 1


@pytest.mark.timeout(30)
def test_an_api_that_never_ends_is_tried(check: Run, server: Loopback, library: str) -> None:
    """The status of an API that streams for ever is enough."""
    server.api = lambda _: Response(itertools.repeat(b"data: x\n\n"), 200, direct_passthrough=True)
    assert check("--url", server.api_url).step("API")[0] == "ok"


@pytest.mark.parametrize(
    ("beginning", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", "did not answer (no answer in time)"),
        (b'HTTP/1.1 403 No\r\nContent-Type: application/json\r\n\r\n"', "answered 403"),
    ],
)
def test_an_api_has_60_seconds(check: Run, monkeypatch: pytest.MonkeyPatch, beginning: bytes, said: str) -> None:
    """An API that sends byte by byte has 60 seconds, though no read takes that long; a status that came counts."""
    over, runtime_wait = threading.Event(), runtime.wait

    class Slow(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(beginning)
            for _ in range(100):
                self.wfile.write(b"x")
                if over.wait(0.05):
                    return

    # Each 60 seconds take 0.3 seconds.
    monkeypatch.setattr(
        runtime, "wait", lambda future, seconds: runtime_wait(future, 0.3 if seconds == 60 else seconds)
    )
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow) as slow:
        threading.Thread(target=slow.serve_forever, kwargs={"poll_interval": 0.02}).start()
        url = f"http://127.0.0.1:{slow.server_address[1]}/"
        outcome = check("--url", url)
        over.set()
        slow.shutdown()
    assert outcome.step("API")[:2] == ("FAILED", f"{url} {said}")


# Refresh tokens that may be spent once


def test_a_stored_token_of_a_refresh_token_is_enough(check: Run, server: Loopback, tmp_path: Path) -> None:
    """A refresh token is spent by way of the cache; while its token is valid there, nothing is sent."""
    server.token_play = issuing("opaque", refresh_token=f"{CANARY}-next")
    variables = {**NO_CLIENT, "REFRESH_TOKEN": f"{CANARY}-first", "CACHE": f"file:{tmp_path}"}
    for said in ("answered 200 to requests, asked by way of the cache", "none: the cache has a token"):
        outcome = check(**variables)
        assert (outcome.status, outcome.step("token request")[1]) == (0, said)
    assert len(server.token_requests) == 1


def test_a_used_refresh_token_is_not_tried_in_other_ways(check: Run, server: Loopback, tmp_path: Path) -> None:
    """After the configured refresh token was used, no other client_auth is tried with it."""
    server.token_play = issuing("opaque", refresh_token=f"{CANARY}-next", expires_in=1)
    variables = {"REFRESH_TOKEN": f"{CANARY}-first", "CACHE": f"file:{tmp_path}"}
    assert check(**variables).status == 0
    age(tmp_path)
    server.token_play = refusing("invalid_client")
    assert check("--try-others", **variables).status == 1
    assert [f"{CANARY}-first".encode() in each.body for each in server.token_requests] == [True, False]


def test_a_cache_has_a_token_for_another_client_auth(check: Run, server: Loopback, tmp_path: Path) -> None:
    """``--try-others`` finds a client_auth for which the cache has a token: it says so, and sends nothing for it."""
    server.token_play = wanting(server, basic=RAW)
    variables = {"REFRESH_TOKEN": f"{CANARY}-first", "CACHE": f"file:{tmp_path}"}
    assert check(CLIENT_AUTH="client_secret_basic_raw", **variables).status == 0
    outcome = check("--try-others", **variables)
    works = "set ACME_CLIENT_AUTH=client_secret_basic_raw"
    outcome.assert_step("try client_secret_basic_raw", "ok", "none: the cache has a token", works)
    assert len(server.token_requests) == 2


#: What the server answers to a refresh token.
REFRESH_ANSWERS: dict[str, Response] = {
    "it is good": as_json({"access_token": "renewed", "expires_in": 3600, "refresh_token": "rotated-2"}),
    "it is refused": as_json({"error": "invalid_grant"}, 400),
    "it may be refused": Response("", 400),
    "the client is refused": as_json({"error": "invalid_client"}, 401),
    "a firewall": NOT_OF_CLIENT["a firewall"],
}


@pytest.mark.parametrize("case", REFRESH_ANSWERS)
@pytest.mark.parametrize("user", [{}, USER], ids=["client", "user"])
def test_the_check_agrees_with_requests(
    check: Run, server: Loopback, tmp_path: Path, user: dict[str, str], case: str
) -> None:
    """The check uses the refresh token of the cache as requests do, and succeeds where they get a token."""
    variables = {**client(server), **user, "CACHE": f"file:{tmp_path}"}
    number = itertools.count(1)

    def play(received: Received) -> Response:
        if b"grant_type=refresh_token" in received.body:
            return REFRESH_ANSWERS[case]
        # Another one for each process: a password is sent once only for one that was refused without a clear word.
        return as_json({"access_token": "first", "expires_in": 3600, "refresh_token": f"refresh-{next(number)}"})

    def ask_by_check() -> bool:
        outcome = check(**variables)
        assert outcome.status == 1 or "asked by way of the cache" in outcome.step("token request")[1]
        return outcome.status == 0

    def ask_by_request() -> bool:
        try:
            source(variables).token()
        except AuthError:
            return False
        return True

    server.token_play = play
    outcomes = []
    for ask in (ask_by_check, ask_by_request):
        for path in tmp_path.glob("*.token"):
            path.unlink()
        source(variables).token()
        age(tmp_path)
        server.token_requests.clear()
        outcomes.append((ask(), sent(server)))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1][0] == "refresh_token"


def source(variables: Mapping[str, str]) -> TokenSource:
    """The token source of requests with these variables, in another process."""
    forget()
    return TokenSource.from_env("ACME", {f"ACME_{name}": value for name, value in variables.items()})


def sent(server: Loopback) -> list[str]:
    """The grant types of the token requests."""
    return [dict(parse_qsl(each.body.decode()))["grant_type"] for each in server.token_requests]


def test_a_refresh_token_of_the_cache_is_replaced_there(check: Run, server: Loopback, tmp_path: Path) -> None:
    """Where the check uses the refresh token of the cache, its successor is stored there; each answer is shown."""

    def play(received: Received) -> Response:
        number = len(server.token_requests)
        if b"refresh_token=rotated-1" in received.body:
            return as_json({"error": "invalid_grant"}, 400)
        return as_json({"access_token": f"t-{number}", "expires_in": 3600, "refresh_token": f"rotated-{number}"})

    server.token_play = play
    variables = {"CACHE": f"file:{tmp_path}"}
    every = {**client(server), **variables}
    source(every).token()
    outcome = check(**variables)
    assert outcome.step("token request")[1] == "answered 400, then 200 to requests, asked by way of the cache"
    assert source(every).token().access_token == "t-3"
    age(tmp_path)
    source(every).token()
    assert sent(server) == ["client_credentials", "refresh_token", "client_credentials", "refresh_token"]
    assert b"refresh_token=rotated-3" in server.token_requests[-1].body


# Configuration


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"CLIENT_ID": f"{CLIENT}\u200b"}, "ACME_CLIENT_ID"),
        ({"SCOPE": '"read write"'}, "ACME_SCOPE"),
        ({"USERNAME": "ann", "PASSWORD": f"\ufeff{SECRET}"}, "ACME_PASSWORD"),
        ({"CLIENT_SECRET": None, "CLIENT_SECRET_FILE": "{}/secret"}, "ACME_CLIENT_SECRET_FILE"),
        ({"CLIENT_SECRET": f"a {SECRET}' b", "SCOPE": "read write"}, ""),
    ],
)
def test_what_may_have_been_pasted_along_is_noted(
    check: Run, tmp_path: Path, variables: dict[str, str | None], name: str
) -> None:
    """A space, a quote or an invisible character at an end of a value is noted, and sent, as it may belong to it."""
    (tmp_path / "secret").write_text(f"{SECRET} \n")
    outcome = check(**{name: value and value.replace("{}", str(tmp_path)) for name, value in variables.items()})
    assert outcome.status == 0
    oddity = f"-       variable: {name} begins or ends with whitespace, an invisible character or a quote"
    advice = "        → if that does not belong to it, remove it"
    assert outcome.out.count(f"{oddity}\n{advice}\n") == outcome.out.count(advice) == int(bool(name))


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SCOPES": "x"}, "ACME_SCOPES"),
        ({"CLIENT_SECRET": None, "CLIENT_SECRET_FILE": f"/{CANARY}"}, "the file of ACME_CLIENT_SECRET_FILE"),
    ],
)
def test_a_mistake_in_the_variables_is_status_2(
    check: Run, server: Loopback, variables: dict[str, str | None], named: str
) -> None:
    """A misspelt variable, and a file that does not exist, are one line; with --json an object says the same."""
    human, machine = check(**variables), check("--json", **variables)
    assert (human.status, human.out, machine.status, machine.err, server.token_requests) == (2, "", 2, "", [])
    assert human.err.startswith(f"error: {named} ")
    error = human.err.removeprefix("error: ").rstrip("\n")
    expected = {"ok": False, "status": 2, "prefix": "ACME", "steps": [], "token": None, "error": error}
    assert machine.report == expected


def test_a_late_mistake_keeps_the_steps_before_it(run: Run) -> None:
    """A key that no header can carry is found late: the steps before it are reported with the error."""
    outcome = run("--json", API_KEY=SECRET)
    assert (outcome.status, outcome.report["steps"][-1]["name"]) == (2, "token request")
    assert "cannot stand in a header" in outcome.report["error"]


# Secrets


def echo(received: Received) -> str:
    """All that was sent, as a server in debug mode quotes it."""
    sent = f"{received.target} {received.headers.get('authorization')} {received.body.decode('latin-1')}"
    try:
        return f"{sent} {basic(received)}"
    except ValueError:
        return sent


GRANTS: dict[str, Mapping[str, str]] = {"client": {}, "user": USER, "refresh token": {"REFRESH_TOKEN": SECRET}}
ANSWERS: list[Callable[[Received], Response]] = [
    lambda received: as_json({"error": "invalid_client", "error_description": echo(received)}, 401),
    lambda received: as_json({"error": echo(received)}, 400),
    lambda received: Response(f"<p>{echo(received)}</p>", 404, content_type="text/html"),
    lambda received: as_json({}, 302, Location=f"https://id.example.com/?{quote(echo(received))}"),
    lambda received: as_json(
        {
            "access_token": jwt(aud=echo(received), sub=SECRET),
            "token_type": SECRET,
            "scope": echo(received),
            "refresh_token": SECRET,
        }
    ),
]


@pytest.mark.parametrize(
    ("encoding", "auth"),
    [("form", "client_secret_basic"), ("json", "client_secret_post"), ("query", "client_secret_basic_raw")],
)
@pytest.mark.parametrize("grant", GRANTS)
def test_no_secret_that_a_server_quotes_is_printed(
    check: Run, server: Loopback, tmp_path: Path, grant: str, encoding: str, auth: str
) -> None:
    """No secret that the token endpoint, the token or the API repeat is printed."""
    server.api = lambda received: as_json(
        {},
        401,
        WWW_Authenticate=f'Bearer error_description="{quote(SECRET)} {received.headers["authorization"]}"',
    )
    options = {"CLIENT_AUTH": auth, "ENCODING": encoding, **GRANTS[grant]}
    words = ["--json"] if grant == "user" else []
    for number, server.token_play in enumerate(ANSWERS):
        forget()  # as another process, which remembers no refusal
        before = len(server.token_requests)
        outcome = check("--try-others", "--url", server.api_url, *words, CACHE=f"file:{tmp_path}/{number}", **options)
        assert outcome.status == 1
        assert len(server.token_requests) > before


def test_an_output_that_has_no_arrow(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal that has ASCII only, other characters become question marks."""
    server.token_play = lambda _: as_json({"error": "invalid_client", "error_description": "für"}, 401)
    for name, value in client(server).items():
        monkeypatch.setenv(f"ACME_{name}", value)
    monkeypatch.setattr(sys, "argv", ["auth-plugins", "check", "ACME"])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written := io.BytesIO(), "ascii"))
    with pytest.raises(SystemExit):
        main()
    sys.stdout.flush()
    assert b"        ? check ACME_CLIENT_ID and ACME_CLIENT_SECRET, and" in written.getvalue()
