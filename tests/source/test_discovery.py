"""When metadata of an issuer are fetched, by whom, and for how long they are kept."""

from __future__ import annotations

import itertools
import logging
import threading
from typing import Any

import pytest

from auth_plugins import (
    ClientCredentials,
    FileCache,
    InsecureTransportError,
    Issuer,
    MemoryCache,
    Password,
    TLSClientAuth,
    TokenRequestError,
    TokenTransportError,
)
from auth_plugins._adapters.sources import source_for
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.memory import process_cache
from auth_plugins._protocol.messages import TokenRequest, TokenResponse
from tests.support.forks import forks, in_child
from tests.support.issuers import ISSUER, OAUTH, PLACES, Issuing, response
from tests.support.loopback import Clock
from tests.support.sources import URL, expire, source, wait_for
from tests.support.stores import forget

GRANT = ClientCredentials(Issuer(ISSUER), "client", "s3cr3t")
HOUR = 3600.0
DOWN = TokenTransportError("down")


@pytest.fixture
def server(clock: Clock) -> Issuing:
    return Issuing(clock)


def another(number: int) -> ClientCredentials:
    return ClientCredentials(Issuer(ISSUER), f"client-{number}", "s3cr3t")


def test_metadata_are_kept_for_an_hour(server: Issuing, clock: Clock) -> None:
    """The first token request fetches metadata; others use them, also of other grants and caches, for an hour."""
    assert source(server, GRANT).token().access_token == "token-1"
    [request] = server.lookups
    assert (request.method, request.url, request.body) == ("GET", PLACES[0], b"")
    assert [each.url for each in server.requests] == [URL]
    clock.forward(HOUR - 1)
    source(server, another(1), cache=MemoryCache()).token()
    assert len(server.lookups) == 1
    clock.forward(1)
    server.document["token_endpoint"] = "https://other.example.com/token"
    source(server, another(2)).token()
    assert len(server.lookups) == 2
    assert server.requests[-1].url == "https://other.example.com/token"


def test_no_secret_goes_to_the_metadata(server: Issuing) -> None:
    """The request for metadata has nothing of the grant: no secret, no parameter, no header."""
    options: Any = {"params": {"key": "s3cr3t-2"}, "headers": {"X-Key": "s3cr3t-3"}, "scope": "read"}
    source(server, ClientCredentials(Issuer(ISSUER), "client", "s3cr3t-1", **options)).token()
    [request] = server.lookups
    assert dict(request.headers) == {"Accept": "application/json"}
    assert "?" not in request.url


@pytest.mark.parametrize(
    ("found", "lookups"),
    [
        ({1: {"issuer": ISSUER, "token_endpoint": URL}}, 2),
        ({0: {"issuer": "https://other.example.com"}, 2: {"issuer": ISSUER, "token_endpoint": URL}}, 3),
        ({0: 401, 1: 503}, 2 + 2),  # with two retries
        ({}, 3),
    ],
)
def test_each_place_is_tried(server: Issuing, found: dict[int, Any], lookups: int) -> None:
    """The places are tried in turn until one has metadata of the issuer, or the server is in trouble."""
    server.found = {PLACES[number]: document for number, document in found.items()}
    tokens = source(server, GRANT)
    if any(isinstance(document, dict) and len(document) > 1 for document in found.values()):
        tokens.token()
    else:
        with pytest.raises(TokenRequestError) as error:
            tokens.token()
        assert error.value.transient is (503 in found.values())
    assert len(server.lookups) == lookups


def test_no_metadata_are_a_refusal(server: Issuing, clock: Clock) -> None:
    """Where there are no metadata, the error is remembered as a refusal is: no other request for 5 seconds."""
    server.found = {}
    tokens = source(server, GRANT)
    for _ in range(2):
        with pytest.raises(TokenRequestError, match=f"no metadata of {ISSUER} found"):
            tokens.token()
    assert len(server.lookups) == 3
    assert server.requests == []
    clock.forward(5)
    server.found = {PLACES[0]: server.document}
    assert tokens.token().access_token == "token-1"


def test_an_issuer_that_cannot_be_reached(server: Issuing) -> None:
    """A connection error is retried as that of a token request is, and raised as it is."""
    server.found[PLACES[0]] = DOWN
    with pytest.raises(TokenTransportError, match="down") as error:
        source(server, GRANT).token()
    assert error.value.transient
    assert len(server.lookups) == 3
    assert server.requests == []


def test_metadata_and_token_request_share_one_deadline(server: Issuing, clock: Clock) -> None:
    """What the metadata take is not left for the token request."""

    def slow() -> Any:
        clock.forward(4)
        return server.document

    server.found[PLACES[0]] = slow
    source(server, GRANT, timeout=10.0).token()
    assert server.lookup_timeouts == [pytest.approx(10.0)]
    assert server.timeouts == [pytest.approx(6.0)]


@pytest.mark.parametrize("failure", [DOWN, 404, 503, {"issuer": "https://other.example.com"}])
def test_known_metadata_outlast_a_failure(
    server: Issuing, clock: Clock, failure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Metadata that cannot be fetched again are used on, with a warning, and a minute later they are tried again."""
    tokens = source(server, GRANT)
    tokens.token()
    server.found[PLACES[0]] = failure
    for _ in range(2):
        expire(clock)
        lookups = len(server.lookups)
        tokens.token()
        assert len(server.lookups) > lookups
        lookups = len(server.lookups)
        clock.forward(30)
        source(server, another(1)).token()
        assert len(server.lookups) == lookups
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert warnings[0].startswith(f"the known metadata of {ISSUER} are used on, as they cannot be fetched again: ")
    server.found[PLACES[0]] = {**server.document, "token_endpoint": "https://new.example.com/token"}
    clock.forward(31)
    source(server, another(2)).token()
    assert server.requests[-1].url == "https://new.example.com/token"


def test_a_slow_issuer_leaves_time_for_the_token_request(server: Issuing, clock: Clock) -> None:
    """Known metadata are fetched again in a third of the time, so that the token request still has most of it."""
    tokens = source(server, GRANT, timeout=9.0)
    tokens.token()
    expire(clock)

    def hang() -> Any:
        clock.forward(server.lookup_timeouts[-1])
        return DOWN

    server.found[PLACES[0]] = hang
    tokens.token()
    assert server.lookup_timeouts[1:] == [pytest.approx(3.0)]
    assert server.timeouts[1:] == [pytest.approx(6.0)]


def in_threads(number: int, function: Any) -> list[Any]:
    outcomes: list[Any] = [None] * number
    barrier = threading.Barrier(number)

    def work(index: int) -> None:
        barrier.wait()
        try:
            outcomes[index] = function(index)
        except Exception as error:
            outcomes[index] = error

    threads = [threading.Thread(target=work, args=[index]) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.parametrize("fails", [False, True])
def test_one_request_for_metadata_serves_all_grants_of_an_issuer(server: Issuing, fails: bool) -> None:
    """Fifty threads with fifty grants of one issuer send one request for metadata; its error is raised in each."""
    waiting = threading.Semaphore(0)
    wait = runtime.wait

    def wait_for_lookup(*arguments: Any) -> None:
        waiting.release()
        wait(*arguments)

    def slow() -> Any:
        for _ in range(49):
            waiting.acquire()
        return 403 if fails else server.document

    server.found[PLACES[0]] = slow
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "wait", wait_for_lookup)
        outcomes = in_threads(50, lambda number: source(server, another(number)).token())
    assert [each.url for each in server.lookups] == (PLACES if fails else PLACES[:1])
    if fails:
        assert all(isinstance(each, TokenRequestError) for each in outcomes)
        assert len({id(each) for each in outcomes}) == 50
    else:
        assert {each.access_token for each in outcomes} == {f"token-{number}" for number in range(1, 51)}


def hang_in_thread(server: Issuing, grant: ClientCredentials = GRANT) -> tuple[threading.Event, threading.Thread]:
    """Begin a lookup in a thread; it ends when the event is set."""
    go, begun = threading.Event(), threading.Event()

    def hang() -> Any:
        begun.set()
        go.wait(20)
        return server.document

    server.found[PLACES[0]] = hang
    thread = threading.Thread(target=source(server, grant).token)
    thread.start()
    begun.wait(20)
    return go, thread


def test_a_caller_waits_no_longer_than_its_timeout(server: Issuing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller whose time is over while another thread fetches metadata says so."""
    go, thread = hang_in_thread(server)
    monkeypatch.setattr(runtime, "wait", lambda future, seconds: None)
    with pytest.raises(TokenTransportError, match=f"timed out waiting for the metadata of {ISSUER}, which another"):
        source(server, another(1)).token()
    go.set()
    thread.join()
    assert len(server.lookups) == 1


def test_a_slow_issuer_is_no_slow_callable(server: Issuing, monkeypatch: pytest.MonkeyPatch) -> None:
    """While metadata are fetched, the error of a waiter does not blame the callable of the grant's secret."""
    grant = ClientCredentials(Issuer(ISSUER), "client", lambda: "s3cr3t")
    go, thread = hang_in_thread(server, grant)
    monkeypatch.setattr(runtime, "wait", lambda future, seconds: None)
    with pytest.raises(TokenTransportError, match="timed out waiting for a token request in another thread"):
        source(server, grant).token()
    go.set()
    thread.join()


def test_a_lost_lookup_is_begun_again(server: Issuing, clock: Clock) -> None:
    """A second after its deadline a lookup counts as lost: another thread begins one, and both may end."""
    go, thread = hang_in_thread(server)
    clock.forward(11)
    server.found[PLACES[0]] = server.document
    assert source(server, another(1)).token()
    go.set()
    thread.join()
    assert len(server.lookups) == 2


def test_others_use_known_metadata_while_one_fetches_them_again(server: Issuing, clock: Clock) -> None:
    """Only the leader waits for metadata that are known."""
    source(server, another(1)).token()
    expire(clock)
    go, thread = hang_in_thread(server)
    assert source(server, another(2)).token()
    go.set()
    thread.join()
    assert len(server.lookups) == 2


def test_an_interrupted_lookup_is_led_by_a_waiter(server: Issuing) -> None:
    """If the leader is interrupted, a thread that waits for it fetches the metadata."""
    waits = threading.Event()
    wait = runtime.wait

    def wait_for_lookup(*arguments: Any) -> None:
        waits.set()
        wait(*arguments)

    def interrupt() -> Any:
        waits.wait(20)
        server.found[PLACES[0]] = server.document
        raise KeyboardInterrupt

    def lead() -> None:
        with pytest.raises(KeyboardInterrupt):
            source(server, GRANT).token()

    server.found[PLACES[0]] = interrupt
    leader = threading.Thread(target=lead)
    leader.start()
    assert wait_for(lambda: bool(server.lookups))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "wait", wait_for_lookup)
        assert source(server, another(1)).token()
    leader.join()
    assert len(server.lookups) == 2


def test_a_thread_does_not_wait_for_itself(server: Issuing) -> None:
    """A signal handler that needs a token of the same issuer during a lookup begins one of its own."""
    inner: list[Any] = []

    def handle() -> Any:
        server.found[PLACES[0]] = server.document
        inner.append(source(server, another(1)).token())
        return server.document

    server.found[PLACES[0]] = handle
    assert source(server, GRANT).token().access_token != inner[0].access_token
    assert len(server.lookups) == 2


def test_metadata_that_came_just_now_are_used(server: Issuing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that saw no metadata uses those that another thread found before its own turn."""
    cache, entered = process_cache(), itertools.count(1)
    lock = cache.lock

    class Lock:
        """Lets another thread find metadata after this one has looked for them."""

        def __enter__(self) -> None:
            if next(entered) == 2:
                source(server, another(1), cache=MemoryCache()).token()
            lock.__enter__()

        def __exit__(self, *error: object) -> None:
            lock.release()

    monkeypatch.setattr(cache, "lock", Lock())
    assert source(server, GRANT, cache=MemoryCache()).token().access_token == "token-2"
    assert len(server.lookups) == 1


def test_the_metadata_of_a_session_are_its_own(server: Issuing) -> None:
    """What one session trusts, another one may not: each fetches the metadata itself."""

    class Session:
        pass

    one, other = Session(), Session()
    for number, session in enumerate((one, other, one, None)):
        source_for(another(number), server, allow_http=False, cache=None, session=session).token()
    assert len(server.lookups) == 3


def test_the_latest_issuers_are_kept(server: Issuing) -> None:
    """The metadata of at most 256 issuers are kept."""
    cache = MemoryCache()
    first = cache.issuer_state("https://0")
    assert cache.issuer_state("https://0") is first
    for number in range(1, 257):
        cache.issuer_state(f"https://{number}")
    assert cache.issuer_state("https://256") is cache.issuer_state("https://256")
    assert cache.issuer_state("https://0") is not first


@pytest.mark.parametrize("allow_http", [False, True])
def test_metadata_in_clear_need_allow_http(server: Issuing, allow_http: bool) -> None:
    """An issuer on http:// needs ``allow_http``, also when another source has its metadata already."""
    issuer = ISSUER.replace("https", "http")
    server.document["issuer"] = issuer
    server.found = {PLACES[0].replace("https", "http"): server.document}
    for number in range(2):
        tokens = source_for(
            ClientCredentials(Issuer(issuer), f"client-{number}", "s3cr3t"),
            server,
            allow_http=allow_http or number == 0,
            cache=None,
        )
        if allow_http or number == 0:
            tokens.token()
        else:
            with pytest.raises(InsecureTransportError, match=r"http://id\.example\.com would get"):
                tokens.token()


def test_an_endpoint_in_clear_needs_allow_http(server: Issuing) -> None:
    """Metadata that name a token endpoint on http:// are no permission to send a secret there."""
    server.document["token_endpoint"] = "http://id.example.com/token?key=1"
    with pytest.raises(InsecureTransportError) as error:
        source(server, GRANT).token()
    assert str(error.value) == (
        f"the metadata of {ISSUER} have the token_endpoint http://id.example.com/token, which would get a secret in "
        "clear; have the server's owner correct it, or use allow_http=True (the variable ALLOW_HTTP=true)"
    )
    source_for(another(1), server, allow_http=True, cache=None).token()
    assert len(server.lookups) == 1


def test_redirects_within_the_origin_are_followed(clock: Clock) -> None:
    """At most three redirects are followed at one place; each has to stay within its origin."""

    class Redirecting(Issuing):
        steps, target = 3, ""

        def __call__(self, request: TokenRequest, timeout: float) -> TokenResponse:
            if "/.well-known/" in request.url and request.url.count("/step") < self.steps:
                return response(302, location=self.target or f"{request.url}/step")
            self.found = {request.url: self.document}
            return super().__call__(request, timeout)

    server = Redirecting(clock)
    by_certificate = ClientCredentials(Issuer(ISSUER), "client", client_auth=TLSClientAuth("c.pem", ca="/ca.pem"))
    source(server, by_certificate).token()
    assert server.lookups[0].tls.ca == "/ca.pem"
    for server.steps, server.target in ((4, ""), (1, "https://evil.example.com/.well-known/x")):
        grant = ClientCredentials(Issuer(f"{ISSUER}/{server.steps}"), "client", "s3cr3t")
        with pytest.raises(TokenRequestError, match="answered a redirect to another origin, or too many redirects"):
            source(server, grant).token()
    assert [each.url for each in server.lookups] == [f"{PLACES[0]}/step/step/step"]


def test_tokens_are_revoked_at_the_endpoint_of_the_metadata(server: Issuing) -> None:
    """``revoke`` uses the revocation endpoint in the metadata; without a token it fetches none."""
    tokens = source(server, GRANT)
    tokens.revoke()
    assert server.lookups == []
    server.document["revocation_endpoint"] = "https://id.example.com/revoke"
    tokens.token()
    tokens.revoke()
    assert [each.url for each in server.requests] == [URL, "https://id.example.com/revoke"]
    assert len(server.lookups) == 1


def test_tokens_are_forgotten_when_the_metadata_are_gone(server: Issuing) -> None:
    """If no metadata can be fetched for the revocation, that is raised, and the tokens are forgotten all the same."""
    tokens = source(server, GRANT)
    tokens.seed({"access_token": "seeded"})
    server.found = {}
    with pytest.raises(TokenRequestError, match="no metadata"):
        tokens.revoke()
    server.found = {PLACES[2]: server.document}
    assert tokens.token().access_token == "token-1"


def test_entries_outlive_a_move_of_the_endpoint(server: Issuing, tmp_path: Any) -> None:
    """The entry in a shared cache is the issuer's: a process that starts after its endpoint moved finds the token."""
    token = source(server, GRANT, cache=FileCache(tmp_path)).token()
    server.document["token_endpoint"] = "https://new.example.com/token"

    forget()
    assert source(server, GRANT, cache=FileCache(tmp_path)).token() == token


@forks
def test_a_forked_child_waits_for_no_thread_of_its_parent(server: Issuing) -> None:
    """A child that is forked during a lookup of another thread begins one of its own."""
    go, thread = hang_in_thread(server)

    def fetch() -> bool:
        server.found[PLACES[0]] = server.document
        return source(server, another(1)).token().access_token == "token-1"

    in_child(fetch)
    go.set()
    thread.join()


def test_a_refresh_uses_the_endpoint_of_the_metadata(server: Issuing, clock: Clock) -> None:
    """Refresh requests go to the token endpoint in the metadata as well."""
    server.refresh_tokens = True
    server.found = {f"https://id.example.com{OAUTH}/realms/acme": server.document}
    tokens = source(server, Password(Issuer(ISSUER), "me", "pw", client_id="app"))
    tokens.token()
    expire(clock)
    tokens.token()
    assert [each.url for each in server.requests] == [URL, URL]
    assert "grant_type=refresh_token" in server.bodies[1]
