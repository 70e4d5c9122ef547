"""People sign in with a browser: the authorization code grant over a page on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
import trio

from auth_plugins import (
    AuthorizationCode,
    ConfigurationError,
    InsecureTransportError,
    Issuer,
    LoginRequiredError,
    MemoryCache,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from auth_plugins._base.runtime import runtime
from tests.support.drivers import ALL, Driver, each, succeeded
from tests.support.frames import variables_of
from tests.support.loopback import Clock, Loopback, as_json
from tests.support.sign_in import Person, SignIn, parameters, visit
from tests.support.sources import wait_for

TOKEN, LOGIN = "https://id.example.com/token", "https://id.example.com/authorize"


@pytest.fixture
def login(server: Loopback) -> SignIn:
    return SignIn(server)


@pytest.fixture
def person() -> Person:
    return Person()


def port_of(person: Person, number: int = 0) -> int:
    return int(parameters(person.urls[number])["redirect_uri"].split(":")[2].partition("/")[0])


def is_open(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("driver", each(ALL))
def test_a_person_signs_in_once(login: SignIn, driver: Driver, server: Loopback, person: Person) -> None:
    """50 callers open one tab; later the token is refreshed without a person."""
    grant = login.code(scope=["read", "write"], audience="https://api.example.com", resource="urn:a", prompt=person)
    outcomes = driver.get_all(server.api_url, [driver.auth(grant) for _ in range(50)])
    assert succeeded(outcomes)
    [sent] = login.logins
    state, challenge = sent.pop("state"), sent.pop("code_challenge")
    assert min(len(state), len(challenge)) == 43
    assert sent.pop("redirect_uri") == f"http://127.0.0.1:{port_of(person)}/callback"
    expected = {"tenant": "a b", "response_type": "code", "client_id": "the-client", "scope": "read write"}
    more = {"audience": "https://api.example.com", "resource": "urn:a", "code_challenge_method": "S256"}
    assert sent == {**expected, **more}
    server.revoke()
    assert driver.get(server.api_url, driver.auth(grant)).status == 200
    assert [each["grant_type"] for each in login.tokens] == ["authorization_code", "refresh_token"]
    assert login.tokens[0].keys() == {
        "grant_type", "code", "redirect_uri", "code_verifier", "client_id", "audience", "resource"
    }  # fmt: skip
    assert not is_open(port_of(person))


def test_the_page_says_that_it_worked(login: SignIn, person: Person) -> None:
    """The page names program and server, and nothing of it can be stored, framed or run."""
    source = TokenSource(login.code(prompt=person), cache=MemoryCache())
    source.token()
    assert wait_for(lambda: len(person.pages) == 1)
    page = person.pages[0]
    assert "You are signed in" in person.page
    assert "can now use 127.0.0.1" in person.page
    assert "close this tab" in person.page
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "Server" not in page.headers
    assert 'name="viewport"' in page.text
    assert "<script" not in page.text
    assert "secret" not in page.text


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ({"state": "other"}, None, "wrong state"),
        ({"state": None}, None, "no state"),
        ({"code": None}, None, "no code"),
        ({"error": "access_denied", "code": None}, "access_denied", "was denied"),
        ({"error": "access_denied", "error_description": "<b>No & never"}, "access_denied", "<b>No & never"),
        ({"error": "invalid_scope"}, "invalid_scope", "scope"),
        ({"error": "server_error"}, "server_error", "later"),
        ({"code": "guessed"}, "invalid_grant", "sign in again"),
    ],
)
def test_a_login_that_fails(
    login: SignIn, person: Person, answer: dict[str, str | None], error: str | None, words: str
) -> None:
    """It is one LoginRequiredError, which is remembered; the page says why, and nothing listens any more."""
    login.answer = answer
    source = TokenSource(login.code(prompt=person))
    for _ in range(2):
        with pytest.raises(LoginRequiredError) as caught:
            source.token()
        assert words in str(caught.value)
        assert caught.value.error == error
        assert not caught.value.transient
    assert len(login.logins) == 1
    assert wait_for(lambda: len(person.pages) == 1)
    assert "Sign-in failed" in person.page
    assert "<b>" not in person.pages[0].text
    assert not is_open(port_of(person))


@pytest.mark.parametrize(
    ("promises", "iss", "words"),
    [
        (True, "SAME", ""),
        (False, "SAME", ""),
        (False, None, ""),
        (True, None, "has no iss"),
        (True, "https://evil.example.com", "wrong iss"),
        (False, "https://evil.example.com", "wrong iss"),
    ],
)
def test_an_issuer_names_the_endpoints_and_itself(login: SignIn, promises: bool, iss: str | None, words: str) -> None:
    """The endpoints come from the metadata; ``iss`` is checked, and may be missing only where it is not promised."""
    issuer = login.publish(authorization_response_iss_parameter_supported=promises)
    login.answer = {"iss": str(issuer) if iss == "SAME" else iss}
    source = TokenSource(AuthorizationCode(issuer, "the-client", prompt=visit))
    if not words:
        assert source.token().access_token == "token-1"
        return
    with pytest.raises(LoginRequiredError, match=words):
        source.token()
    assert login.tokens == []


def test_an_issuer_without_the_endpoint(login: SignIn) -> None:
    """The error names the argument that is needed."""
    issuer = login.publish(authorization_endpoint=None)
    with pytest.raises(ConfigurationError, match="authorize_url is needed"):
        TokenSource(AuthorizationCode(issuer, "the-client", prompt=visit)).token()


def test_a_login_times_out(login: SignIn, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how long no one signed in, and nothing listens any more."""
    urls: list[str] = []
    monkeypatch.setattr(runtime, "wait", lambda _future, seconds: clock.forward(seconds))
    with pytest.raises(LoginRequiredError, match=r"timed out: no one signed in to 127.0.0.1:.* within 300 s"):
        TokenSource(login.code(prompt=urls.append)).token()
    assert wait_for(lambda: len(urls) == 1)
    assert not is_open(int(parameters(urls[0])["redirect_uri"].split(":")[2].partition("/")[0]))


def test_ctrl_c_leaves_nothing_listening(login: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call asks again."""
    urls: list[str] = []
    source = TokenSource(login.code(prompt=urls.append))
    with monkeypatch.context() as patch:

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(runtime, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            source.token()
    assert wait_for(lambda: len(urls) == 1)
    assert not is_open(int(parameters(urls[0])["redirect_uri"].split(":")[2].partition("/")[0]))
    assert TokenSource(login.code(prompt=visit)).token().access_token == "token-1"


def test_the_last_task_that_is_cancelled_ends_the_login(login: SignIn) -> None:
    """While another one waits the login goes on; without one nothing listens."""
    urls: list[str] = []
    source = TokenSource(login.code(prompt=urls.append))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            scopes = [trio.CancelScope(), trio.CancelScope()]

            async def wait(scope: trio.CancelScope) -> None:
                with scope:
                    await source.atoken()

            for scope in scopes:
                nursery.start_soon(wait, scope)
            assert await trio.to_thread.run_sync(lambda: wait_for(lambda: bool(urls)))
            port = int(parameters(urls[0])["redirect_uri"].split(":")[2].partition("/")[0])
            scopes[0].cancel()
            await trio.sleep(0.1)
            assert is_open(port)
            scopes[1].cancel()
            assert await trio.to_thread.run_sync(lambda: wait_for(lambda: not is_open(port)))

    trio.run(main)
    assert TokenSource(login.code(prompt=visit)).token().access_token == "token-1"


def test_other_requests_get_nothing(login: SignIn) -> None:
    """Another path, method, host, or a request without an answer is a 404, and the login goes on."""
    found: list[int] = []

    def prompt(url: str) -> None:
        target, state = parameters(url)["redirect_uri"], parameters(url)["state"]
        answer = f"{target}?code=x&state={state}"
        with requests.Session() as session:
            session.trust_env = False
            for method, where, headers in [
                ("GET", target, {}),
                ("GET", f"{target}/more?code=x&state={state}", {}),
                ("GET", target.replace("/callback", "/favicon.ico"), {}),
                ("POST", answer, {}),
                ("HEAD", answer, {}),
                ("GET", answer, {"Host": "evil.example.com"}),
                ("GET", f"{target}?{'a=1&' * 200}", {}),
            ]:
                found.append(session.request(method, where, headers=headers, timeout=20).status_code)
            with contextlib.closing(socket.create_connection(("127.0.0.1", int(target.split(":")[2][:-9])))) as idle:
                idle.sendall(b"\x16\x03\x01\r\n\r\n")  # TLS, or anything else
                visit(url)

    assert TokenSource(login.code(prompt=prompt)).token().access_token == "token-1"
    assert found == [404] * 7


def test_a_repeated_parameter_is_refused(login: SignIn) -> None:
    """An answer with two codes is no answer (RFC 6749 §3.1)."""

    def prompt(url: str) -> None:
        query = parameters(url)
        visit(f"{query['redirect_uri']}?code=a&code=b&state={query['state']}")

    with pytest.raises(LoginRequiredError, match="more than one code"):
        TokenSource(login.code(prompt=prompt)).token()


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("http://127.0.0.1/callback", "127.0.0.1"),
        ("http://localhost", "127.0.0.1"),
        ("http://127.0.0.1/a?b=c", "127.0.0.1"),
        ("http://127.0.0.1:PORT/callback", "127.0.0.1"),
        ("http://[::1]/callback", "::1"),
    ],
)
def test_the_redirect_uri(login: SignIn, person: Person, uri: str, address: str) -> None:
    """Path, query and port stay as they are; without a port any free one is taken."""
    with contextlib.closing(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            pytest.skip(f"this machine has no {address}")
        port = probe.getsockname()[1]
    given = uri.replace("PORT", str(port))
    assert TokenSource(login.code(prompt=person, redirect_uri=given)).token().access_token == "token-1"
    sent = login.logins[0]["redirect_uri"]
    assert sent == login.tokens[0]["redirect_uri"]
    used = sent.rpartition(":")[2].partition("/")[0].partition("?")[0]
    assert sent.replace(f":{used}", "") == given.replace(f":{port}", "")
    assert "PORT" not in uri or used == str(port)


def test_a_port_that_is_taken(login: SignIn) -> None:
    """The error names the argument, and no one is asked."""
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}/callback"
        with pytest.raises(ConfigurationError, match=r"redirect_uri names 127.0.0.1:.*nothing can listen"):
            TokenSource(login.code(redirect_uri=uri)).token()
    assert login.logins == []


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no endpoint": ({"authorize_url": None}, "authorize_url is needed"),
    "https redirect": ({"redirect_uri": "https://127.0.0.1/callback"}, "redirect_uri must be http://"),
    "redirect elsewhere": ({"redirect_uri": "http://example.com/callback"}, "redirect_uri must be http://"),
    "no time": ({"login_timeout": 0}, "login_timeout must be a number of seconds"),
    "prompt": ({"prompt": "browser"}, "prompt must be a callable"),
    "async prompt": ({"prompt": asyncio.sleep}, "prompt must not be async"),
    "state": ({"authorize_params": {"state": "mine"}}, "authorize_params must not have state"),
    "callable": ({"authorize_params": {"a": str}}, "authorize_params must have no callable"),
    "params": ({"authorize_params": "a=b"}, "authorize_params must be a mapping"),
    "http": ({"authorize_url": "ftp://id.example.com"}, "authorize_url must be an absolute"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=list(BAD))
def test_an_argument_that_cannot_work(arguments: dict[str, Any], words: str) -> None:
    """The error names the argument."""
    with pytest.raises(ConfigurationError, match=words):
        AuthorizationCode(TOKEN, "id", **{"authorize_url": LOGIN, **arguments})


def test_what_a_token_depends_on() -> None:
    """Prompt and time do not count; parameters do. Secrets are not shown, and a grant can be pickled."""

    def grant(**changes: Any) -> AuthorizationCode:
        return AuthorizationCode(TOKEN, "id", **{"authorize_url": LOGIN, **changes})

    assert grant() == grant(prompt=None) == grant(prompt=print, login_timeout=5)
    assert hash(grant()) == hash(grant(prompt=None))
    assert grant().identity() == grant(prompt=visit, login_timeout=5).identity()
    assert grant() != grant(authorize_params={"prompt": "login"})
    assert grant().identity() != grant(authorize_params={"prompt": "login"}).identity()
    assert grant(authorize_params={"a": True, "b": 1}) == grant(authorize_params={"a": "true", "b": "1"})
    shown = repr(grant(client_secret="5ecr3t", authorize_params={"login_hint": "ann"}))
    assert "5ecr3t" not in shown
    assert "ann" not in shown
    assert pickle.loads(pickle.dumps(grant())) == grant()


def test_own_parameters(login: SignIn) -> None:
    """They come last: they replace others, and ``None`` removes one; a sequence repeats one."""
    grant = login.code(
        scope="read", authorize_params={"scope": None, "tenant": "c", "ui": ["a", "b"], "prompt": "login"}
    )
    TokenSource(grant).token()
    query = login.server.api_requests[0].target
    assert query.count("ui=") == 2
    assert "scope" not in query
    assert "tenant=c" in query
    assert "a%20b" not in query


def test_no_one_is_asked(login: SignIn) -> None:
    """With ``prompt=None`` the error says what to run; it is not remembered, and another caller may ask."""
    asking, silent = TokenSource(login.code()), TokenSource(login.code(prompt=None))
    for _ in range(2):
        with pytest.raises(LoginRequiredError, match="prompt is None; run: auth-plugins login"):
            silent.token()
    assert login.logins == []
    assert silent.token is not None
    assert asking.token() is silent.token()


@pytest.mark.parametrize("driver", each(ALL))
def test_the_error_of_an_adapter(login: SignIn, driver: Driver, server: Loopback) -> None:
    """It is the library's error as well, and one of ours."""
    login.answer = {"error": "access_denied"}
    with pytest.raises(driver.base_error) as caught:
        driver.get(server.api_url, driver.auth(login.code()))
    assert isinstance(caught.value, LoginRequiredError)


def test_a_prompt_that_fails(login: SignIn) -> None:
    """Its error is the cause; an error of ours is raised as it is."""

    def fail(_: str) -> None:
        raise LookupError("no browser")

    with pytest.raises(LoginRequiredError, match="prompt raised LookupError") as caught:
        TokenSource(login.code(prompt=fail), cache=MemoryCache()).token()
    assert isinstance(caught.value.__cause__, LookupError)

    def refuse(_: str) -> None:
        raise ConfigurationError("not here")

    with pytest.raises(ConfigurationError, match="not here"):
        TokenSource(login.code(prompt=refuse), cache=MemoryCache()).token()


def test_a_prompt_that_blocks(login: SignIn) -> None:
    """The login ends when the person has signed in, whatever the prompt does."""
    done = threading.Event()

    def block(url: str) -> None:
        visit(url)
        done.wait(20)

    assert TokenSource(login.code(prompt=block)).token().access_token == "token-1"
    done.set()


def test_no_thread_for_the_prompt(login: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, and nothing listens."""

    def refuse(function: Callable[[], object], name: str) -> None:
        if "page" in name:
            threading.Thread(target=function, daemon=True).start()
        else:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(runtime, "start_thread", refuse)
    with pytest.raises(LoginRequiredError, match="no thread could be started"):
        TokenSource(login.code(), cache=MemoryCache()).token()
    monkeypatch.setattr(runtime, "start_thread", lambda *_: (_ for _ in ()).throw(RuntimeError("none")))
    with pytest.raises(LoginRequiredError, match="no thread could be started"):
        TokenSource(login.code(), cache=MemoryCache()).token()


@pytest.mark.parametrize(
    ("refused", "logins"),
    [
        (({"error": "invalid_grant"}, 400), 2),
        (({"message": "expired"}, 401), 2),
        (({"error": "invalid_client"}, 401), 1),
        (({"error": "server_error"}, 400), 1),
    ],
)
def test_a_refresh_token_that_is_refused(login: SignIn, refused: Any, logins: int) -> None:
    """The person is asked again, unless the refusal is about something else."""
    login.refused = refused
    source = TokenSource(login.code())
    token = source.token()
    login.forget()
    source.invalidate(token)
    with contextlib.nullcontext() if logins == 2 else pytest.raises(TokenRequestError):
        assert source.token().access_token == "token-2"
    assert len(login.logins) == logins


def test_no_one_is_asked_while_a_token_can_be_used(login: SignIn, clock: Clock) -> None:
    """A refresh ahead, or one within the leeway, that is refused keeps the token; the person is asked at its end."""
    source = TokenSource(login.code())
    assert source.token().access_token == "token-1"
    login.forget()
    for seconds in (3500, 50):  # stale; within the leeway
        clock.forward(seconds)
        assert source.token().access_token == "token-1"
        assert wait_for(lambda: len(login.tokens) == 2 and source._state.flight is None)
    assert len(login.logins) == 1
    clock.forward(51)
    assert source.token().access_token == "token-2"
    assert len(login.logins) == 2


def test_http_is_for_loopback(login: SignIn) -> None:
    """No one is sent to sign in without TLS."""
    grant = login.code(authorize_url="http://id.example.com/authorize")
    with pytest.raises(InsecureTransportError):
        TokenSource(grant).token()


def test_nothing_is_logged_but_that_a_person_is_asked(login: SignIn, caplog: pytest.LogCaptureFixture) -> None:
    """At INFO, without the URL."""
    with caplog.at_level(logging.INFO, "auth_plugins"):
        TokenSource(login.code()).token()
    lines = [each.getMessage() for each in caplog.records if each.name == "auth_plugins"]
    assert lines[0] == "a person is asked to sign in (AuthorizationCode)"
    assert not any("state=" in line for line in lines)


def test_an_unreachable_token_endpoint(login: SignIn, person: Person) -> None:
    """The page says so as well."""
    grant = login.code(prompt=person)
    with contextlib.closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/token"
    with pytest.raises(TokenTransportError):
        TokenSource(AuthorizationCode(url, "id", authorize_url=str(grant.authorize_url), prompt=person)).token()
    assert wait_for(lambda: len(person.pages) == 1)
    assert "Sign-in failed" in person.page


def test_only_the_first_answer_counts(login: SignIn, server: Loopback) -> None:
    """Another one is not found, also while the token is requested; the same one, as of a reload, has the same page."""
    server.latency = 0.5
    found: list[tuple[str, int]] = []

    def thrice(url: str) -> None:
        target = requests.get(url, allow_redirects=False, timeout=20).headers["Location"]
        first = threading.Thread(target=lambda: found.append(("first", visit(target).status_code)))
        first.start()
        assert wait_for(lambda: len(login.tokens) > 0 or bool(server.token_requests))
        found.append(("other", visit(target.replace("code=", "code=other-")).status_code))
        found.append(("same", visit(target).status_code))

    assert TokenSource(login.code(prompt=thrice)).token().access_token == "token-1"
    assert wait_for(lambda: sorted(found) == [("first", 200), ("other", 404), ("same", 200)]), found
    assert [each["grant_type"] for each in login.tokens] == ["authorization_code"]


def test_frames_hold_no_secret(login: SignIn, person: Person) -> None:
    """The variables of the frames of an error show neither code, nor verifier, state, parameters or device code."""
    login.server.token_play = lambda _: as_json({"error": "invalid_grant"}, 400)
    login.device = {"interval": 1}
    client = {"client_secret": "5ecr3t-of-client"}

    def fail(url: str) -> None:
        person(url)
        raise LookupError

    hint = {"login_hint": "tilly@example.com"}
    grants = (login.code(prompt=person, authorize_params=hint, **client), login.of_device(**client))
    for grant in (*grants, login.code(prompt=fail, redirect_uri="http://127.0.0.1/failed", **client)):
        with pytest.raises(LoginRequiredError) as caught:
            TokenSource(grant).token()
        shown = variables_of(caught.value)
        verifier = login.server.token_requests[-1].body.decode().partition("code_verifier=")[2].partition("&")[0]
        states = [each["state"] for each in login.logins]
        secrets = ("code-1-secret", "device-1-secret", "5ecr3t-of-client", "tilly", *states, *filter(None, [verifier]))
        for secret in secrets:
            assert secret not in shown


def test_no_request_without_a_login() -> None:
    """What is sent, only a login knows."""
    with pytest.raises(NotImplementedError):
        AuthorizationCode(Issuer("https://id.example.com"), "id").grant_request()
