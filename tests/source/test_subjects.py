"""Token exchange with a token source as subject: when the exchanged token is another, and whose errors are raised."""

from __future__ import annotations

import dataclasses
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs

import pytest

from auth_plugins import (
    ApiKey,
    ClientCredentials,
    ConfigurationError,
    FileCache,
    MemoryCache,
    SecretFile,
    Token,
    TokenExchange,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from tests.support.loopback import Clock
from tests.support.sources import URL, Endpoint, HookedLock, refusal, source, wait_for
from tests.support.stores import Store, forget, over, process

EXCHANGE_URL = "https://exchange.example.com/token"


class Subjects(Endpoint):
    """Its tokens are called subject-1 and so on."""

    def issue(self) -> tuple[dict[str, Any], int]:
        members, status = super().issue()
        return {**members, "access_token": members["access_token"].replace("token", "subject")}, status


@pytest.fixture
def subjects(clock: Clock) -> Subjects:
    return Subjects(clock, lifetime=300)


def subject_of(subjects: Endpoint, client_id: str = "subject", **policy: Any) -> TokenSource:
    return source(subjects, ClientCredentials(URL, client_id, "s3cr3t"), **policy)


def exchange_of(subject: Any, **options: Any) -> TokenExchange:
    return TokenExchange(EXCHANGE_URL, subject, "gateway", "g4teway", **options)


def exchanged(endpoint: Endpoint, name: str = "subject_token") -> list[str]:
    """The tokens that were exchanged."""
    return [parse_qs(body)[name][0] for body in endpoint.bodies]


def text(tokens: TokenSource) -> str:
    return str(tokens.token().access_token)


def seed(subject: TokenSource, _: Clock) -> None:
    subject.seed(Token(access_token="subject-2"))


def invalidate(subject: TokenSource, _: Clock) -> None:
    subject.invalidate(subject.token())


def revoke(subject: TokenSource, _: Clock) -> None:
    subject.revoke()


def expire(_: TokenSource, clock: Clock) -> None:
    clock.forward(300)


def replace_in_background(subject: TokenSource, clock: Clock) -> None:
    clock.forward(265)
    before = subject.token()
    assert wait_for(lambda: subject.token() != before)


def test_a_token_is_exchanged_once(endpoint: Endpoint, subjects: Endpoint) -> None:
    """The token of the moment is exchanged; while it is the same, so is the exchanged token."""
    subject = subject_of(subjects)
    tokens = source(endpoint, exchange_of(subject))
    assert [text(tokens) for _ in range(3)] == ["token-1"] * 3
    assert (len(subjects.requests), exchanged(endpoint)) == (1, ["subject-1"])


@pytest.mark.parametrize("change", [seed, invalidate, revoke, expire, replace_in_background])
@pytest.mark.parametrize("role", ["subject_token", "actor_token"])
def test_when_a_token_changes_so_does_the_exchanged_one(
    endpoint: Endpoint, subjects: Endpoint, clock: Clock, change: Callable[..., None], role: str
) -> None:
    """The exchanged token is gone as soon as that of its subject or actor is another, although it lives longer."""
    subject = subject_of(subjects)
    grant = exchange_of(subject) if role == "subject_token" else exchange_of("s-fixed", actor_token=subject)
    tokens = source(endpoint, grant)
    assert text(tokens) == "token-1"
    change(subject, clock)
    assert [text(tokens) for _ in range(2)] == ["token-2"] * 2
    assert exchanged(endpoint, role) == ["subject-1", "subject-2"]


def test_an_exchanged_token_is_renewed_by_another_exchange(
    endpoint: Endpoint, subjects: Subjects, clock: Clock
) -> None:
    """When the exchanged token expires, or an API rejects it, the token of the moment is exchanged again."""
    endpoint.lifetime, subjects.lifetime = 100, 3600
    tokens = source(endpoint, exchange_of(subject_of(subjects)), refresh_ahead=False)
    tokens.token()
    clock.forward(100)
    assert tokens.reject(tokens.token())
    assert text(tokens) == "token-3"
    assert exchanged(endpoint) == ["subject-1"] * 3


def test_other_subjects_have_other_tokens(endpoint: Endpoint, subjects: Endpoint) -> None:
    """Sources of equal grants are one subject; another grant, session or text is another one."""
    one, same, other = (exchange_of(subject_of(subjects, each)) for each in ("one", "one", "other"))
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same, other, exchange_of("text"), exchange_of("other text")}) == 4
    assert text(source(endpoint, one)) == text(source(endpoint, same)) == "token-1"
    assert text(source(endpoint, other)) == "token-2"
    by_session = [
        exchange_of(source(subjects, ClientCredentials(URL, "public"), session=each)) for each in (Clock(), Clock())
    ]
    assert by_session[0] != by_session[1]


def test_a_token_that_another_cache_holds_is_another_subject(endpoint: Endpoint, subjects: Endpoint) -> None:
    """Equal grants whose sources hold different tokens never get what was exchanged for the other one."""
    one, other = (exchange_of(subject_of(subjects, cache=MemoryCache())) for _ in range(2))
    assert one == other
    tokens = [text(source(endpoint, each)) for each in (one, other, one)]
    assert exchanged(endpoint) == ["subject-1", "subject-2", "subject-1"]
    assert tokens == ["token-1", "token-2", "token-3"]


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (refusal("unauthorized_client", 400), TokenRequestError),
        (TokenTransportError("is unreachable"), TokenTransportError),
    ],
)
def test_the_errors_of_the_subject_are_raised(
    endpoint: Endpoint, subjects: Endpoint, step: Any, kind: type[Exception]
) -> None:
    """An error of the subject's source reaches the caller as it is; it is not remembered as one of the exchange."""
    subjects.script = [step] * 3
    subject = subject_of(subjects)
    tokens = source(endpoint, exchange_of(subject))
    errors = []
    for each in (subject, tokens, tokens):
        with pytest.raises(kind) as caught:
            each.token()
        errors.append(str(caught.value))
        subjects.script = [step] * 3
    assert len(set(errors)) == 1
    assert endpoint.requests == []
    subject.seed(Token(access_token="subject-9"))
    assert text(tokens) == "token-1"


@pytest.mark.parametrize("lifetime", [3600, None])
def test_an_exchanged_token_outlives_an_outage_of_the_subject(
    endpoint: Endpoint, subjects: Endpoint, clock: Clock, lifetime: int | None
) -> None:
    """While the subject's server is down, the exchanged token is used, until its own end; a refusal ends it at once."""
    endpoint.lifetime = lifetime
    tokens = source(endpoint, exchange_of(subject_of(subjects)))
    tokens.token()
    expire(tokens, clock)
    subjects.script = [refusal("temporarily_unavailable", 503)] * 9
    assert [text(tokens) for _ in range(3)] == ["token-1"] * 3
    clock.forward(1300)
    subjects.script = [refusal("access_denied", 403)]
    with pytest.raises(TokenRequestError, match="access_denied"):
        tokens.token()
    assert len(endpoint.requests) == 1


def test_an_outage_of_the_exchange_ends_with_its_subject(endpoint: Endpoint, subjects: Endpoint, clock: Clock) -> None:
    """A token of an older subject is not used again, even if no other can be exchanged."""
    tokens = source(endpoint, exchange_of(subject_of(subjects)))
    tokens.token()
    expire(tokens, clock)
    endpoint.script = [TokenTransportError("is unreachable")] * 3
    with pytest.raises(TokenTransportError):
        tokens.token()
    assert text(tokens) == "token-2"
    assert exchanged(endpoint)[-1] == "subject-2"


@pytest.mark.parametrize("code", ["invalid_request", "invalid_grant", "invalid_token"])
def test_a_refused_subject_is_replaced_once(endpoint: Endpoint, subjects: Endpoint, clock: Clock, code: str) -> None:
    """If the server refuses the token of a source, another one is exchanged; no more than one in 30 seconds."""
    subject = subject_of(subjects)
    tokens = source(endpoint, exchange_of(subject))
    subject.token()
    clock.forward(10)
    endpoint.script = [refusal(code, 400)]
    assert text(tokens) == "token-1"
    assert exchanged(endpoint) == ["subject-1", "subject-2"]
    tokens.invalidate(tokens.token())
    endpoint.script = [refusal(code, 400)] * 3
    for _ in range(3):
        clock.forward(1)
        with pytest.raises(TokenRequestError, match=code):
            tokens.token()
    assert len(subjects.requests) == (2 if code == "invalid_request" else 3)


@pytest.mark.parametrize(
    ("code", "forward"), [("invalid_scope", 10), ("invalid_client", 10), ("invalid_grant", 0), ("invalid_request", 0)]
)
def test_a_subject_is_not_replaced_for_other_errors(
    endpoint: Endpoint, subjects: Endpoint, clock: Clock, code: str, forward: int
) -> None:
    """A token is kept if something else was refused, or if it was issued a moment ago for this very exchange."""
    subject = subject_of(subjects)
    if forward:
        subject.token()
    clock.forward(forward)
    endpoint.script = [refusal(code, 400)] * 2
    tokens = source(endpoint, exchange_of(subject))
    for _ in range(2):
        with pytest.raises(TokenRequestError, match=code):
            tokens.token()
        clock.forward(0.5)
    assert (len(subjects.requests), len(endpoint.requests)) == (1, 1)


@pytest.mark.parametrize(("code", "survives"), [("invalid_request", True), ("invalid_grant", False)])
def test_a_doubted_subject_is_used_again_if_there_is_no_other(
    endpoint: Endpoint, subjects: Endpoint, clock: Clock, code: str, survives: bool
) -> None:
    """``invalid_request`` may mean something else: without another token the old one is used, and that is the error."""
    subject = subject_of(subjects)
    old = subject.token()
    clock.forward(10)
    endpoint.script, subjects.script = [refusal(code, 400)], [refusal("slow_down", 429)]
    with pytest.raises(TokenRequestError, match=code if survives else "slow_down"):
        text(source(endpoint, exchange_of(subject)))
    if survives:
        assert subject.token() is old
    else:
        with pytest.raises(TokenRequestError):
            subject.token()


def test_a_constant_subject_is_not_exchanged_twice(endpoint: Endpoint) -> None:
    """A source whose token stays the same is not exchanged once more when it is refused."""
    endpoint.script = [refusal("invalid_grant", 400)]
    with pytest.raises(TokenRequestError, match="check that subject_token is valid"):
        source(endpoint, exchange_of(TokenSource(ApiKey("constant-key")))).token()
    assert exchanged(endpoint) == ["constant-key"]


def test_a_seeded_token_belongs_to_the_present_subject(endpoint: Endpoint, subjects: Endpoint, clock: Clock) -> None:
    """A token that is seeded is used until its subject's token changes."""
    subject = subject_of(subjects)
    tokens = source(endpoint, exchange_of(subject))
    tokens.seed(Token(access_token="seeded-1"))
    assert text(tokens) == "seeded-1"
    subject.token()
    tokens.seed(Token(access_token="seeded-2"))
    assert [text(tokens) for _ in range(2)] == ["seeded-2"] * 2
    invalidate(subject, clock)
    assert text(tokens) == "token-1"


def test_a_token_that_is_seeded_meanwhile_stays(endpoint: Endpoint, subjects: Endpoint, clock: Clock) -> None:
    """A token that another thread seeds while an older one is judged is neither judged nor forgotten with it."""
    cache, subject = MemoryCache(), subject_of(subjects)
    tokens = source(endpoint, exchange_of(subject), cache=cache)

    def seeded(name: str) -> None:
        cache.lock = threading.RLock()
        tokens.seed(Token(access_token=name))

    tokens.seed(Token(access_token="seeded-1"))
    cache.lock = cast("Any", HookedLock(before=lambda: seeded("seeded-2")))
    assert text(tokens) == "seeded-1"
    subject.token()
    assert text(tokens) == "seeded-2"
    invalidate(subject, clock)
    cache.lock = cast("Any", HookedLock(before=lambda: seeded("seeded-3")))
    assert text(tokens) == "seeded-3"


class Slow(TokenSource):
    """A source of the user's own, which decides by itself."""

    calls = 0

    def token(self) -> Token:
        Slow.calls += 1
        return super().token()


def test_a_subclass_decides_about_its_token(endpoint: Endpoint, subjects: Endpoint) -> None:
    """A source whose ``token`` is the user's is asked each time."""
    subject: Any = object.__new__(Slow)
    vars(subject).update(vars(subject_of(subjects)))
    tokens = source(endpoint, exchange_of(subject))
    Slow.calls = 0
    assert [text(tokens) for _ in range(3)] == ["token-1"] * 3
    assert Slow.calls == 3
    assert len(endpoint.requests) == 1


def test_a_chain_of_exchanges(endpoint: Endpoint, subjects: Endpoint, clock: Clock) -> None:
    """A source of an exchange may be the subject of another exchange: all follow the first token."""
    subject = subject_of(subjects)
    tokens = source(endpoint, exchange_of(source(endpoint, exchange_of(subject)), scope="second"))
    assert text(tokens) == "token-2"
    invalidate(subject, clock)
    assert text(tokens) == "token-4"
    assert exchanged(endpoint) == ["subject-1", "token-1", "subject-2", "token-3"]


def test_a_subject_cannot_be_its_own(endpoint: Endpoint) -> None:
    """A source can only be made after its subject; a callable that asks for the token it is needed for is an error."""
    tokens: list[TokenSource] = []
    tokens.append(source(endpoint, exchange_of(lambda: tokens[0].token().access_token)))
    with pytest.raises(ConfigurationError, match="needs the very token that it asks for"):
        tokens[0].token()


def test_many_threads_make_one_exchange(endpoint: Endpoint, subjects: Endpoint, clock: Clock) -> None:
    """50 threads without a token, and 50 whose subject changed, cost one request of each kind."""
    subject = subject_of(subjects)
    tokens = source(endpoint, exchange_of(subject))
    barrier, found = threading.Barrier(50), list[str]()

    def get() -> None:
        barrier.wait()
        found.append(text(tokens))

    def run() -> None:
        threads = [threading.Thread(target=get) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    run()
    invalidate(subject, clock)
    run()
    assert found == ["token-1"] * 50 + ["token-2"] * 50
    assert exchanged(endpoint) == ["subject-1", "subject-2"]


@over(["files"])
def test_a_seeded_token_is_stored_for_its_subject(store: Store, endpoint: Endpoint, subjects: Endpoint) -> None:
    """A seeded token is stored under the subject of the moment, for which other processes find it."""
    subject = subject_of(subjects)
    source(endpoint, exchange_of(subject), cache=store.cache()).seed(Token(access_token="seeded-1"))
    assert text(process(store, endpoint, exchange_of(subject))) == "seeded-1"
    invalidate(subject, Clock())
    assert text(process(store, endpoint, exchange_of(subject))) == "token-1"


@over(["files", "files, key", "own without a lock"])
def test_processes_share_the_tokens_of_one_subject(
    store: Store, endpoint: Endpoint, subjects: Endpoint, clock: Clock
) -> None:
    """Processes that share the subject's token share the exchanged one; for another token there is another entry."""

    def start() -> tuple[TokenSource, TokenSource]:
        subject = process(store, subjects, ClientCredentials(URL, "subject", "s3cr3t"))
        return subject, source(endpoint, exchange_of(subject), cache=store.cache())

    assert [text(start()[1]) for _ in range(3)] == ["token-1"] * 3
    subject, tokens = start()
    tokens.token()
    invalidate(subject, clock)
    assert text(tokens) == "token-2"
    tokens.revoke()
    assert text(start()[1]) == "token-3"
    assert exchanged(endpoint) == ["subject-1", "subject-2", "subject-2"]
    assert b"subject-2" not in store.look() or "key" not in repr(store)


@over(["files"])
def test_a_revocation_needs_no_subject(store: Store, endpoint: Endpoint, subjects: Endpoint, clock: Clock) -> None:
    """The exchanged token is deleted from the shared cache, even if its subject has expired and cannot be renewed."""
    tokens = source(endpoint, exchange_of(subject_of(subjects)), cache=store.cache())
    tokens.token()
    assert b"token-1" in store.look()
    expire(tokens, clock)
    subjects.script = [TokenTransportError("is unreachable")] * 3
    tokens.revoke()
    assert b"token-1" not in store.look()


def test_no_refresh_token_of_a_source_is_kept(rotating: Endpoint, subjects: Endpoint, clock: Clock) -> None:
    """A source can be asked at any time, so that a refresh token of the exchange is neither used nor stored."""
    subjects.lifetime = None
    tokens = source(rotating, exchange_of(subject_of(subjects)))
    assert tokens.token().refresh_token is None
    clock.forward(3600)
    tokens.token()
    assert exchanged(rotating) == ["subject-1"] * 2


def test_a_refresh_token_is_used_for_the_same_subject(rotating: Endpoint, clock: Clock, tmp_path: Path) -> None:
    """A text or file is exchanged once, then refreshed; a refused refresh token, or another subject, is exchanged."""
    path = tmp_path / "subject"
    path.write_text("subject-1")
    tokens = source(rotating, exchange_of(SecretFile(path)))
    assert text(tokens) == "token-1"
    clock.forward(3600)
    assert text(tokens) == "token-2"
    clock.forward(3600)
    rotating.script = [refusal("invalid_request", 400)]
    assert text(tokens) == "token-3"
    clock.forward(3600)
    path.write_text("subject-2")
    assert text(tokens) == "token-4"
    kinds = [parse_qs(body).get("subject_token", ["refresh"])[0] for body in rotating.bodies]
    assert kinds == ["subject-1", "refresh", "refresh", "subject-1", "subject-2"]
    rotating.script = [refusal("invalid_client")]
    clock.forward(3600)
    with pytest.raises(TokenRequestError, match="invalid_client"):
        tokens.token()


def test_an_exchange_with_a_source_pickles(subjects: Endpoint) -> None:
    """The copy is equal, and asks a source of an equal grant."""
    grant = exchange_of(TokenSource(ClientCredentials(URL, "subject", "s3cr3t"), leeway=5))
    copy = pickle.loads(pickle.dumps(grant))
    assert copy == grant
    assert dataclasses.replace(grant, scope="other") != grant
    assert grant.subject_token != "s3cr3t"
    assert hash(copy) == hash(grant)


def test_sources_of_an_exchange_are_collected(endpoint: Endpoint, subjects: Endpoint) -> None:
    """No cycle keeps a source, and so a session, until the collector runs."""
    gc.disable()
    try:
        tokens = source(endpoint, exchange_of(subject_of(subjects)), cache=MemoryCache())
        tokens.token()
        reference = weakref.ref(tokens)
        del tokens
        assert reference() is None
    finally:
        gc.enable()


def test_waiters_wait_for_both_requests(subjects: Endpoint, endpoint: Endpoint, tmp_path: Path) -> None:
    """Waiters of an exchange give the leader the time that its subject may take, besides its own."""
    from auth_plugins._source import wiring

    plain, shared = subject_of(subjects, timeout=3), subject_of(subjects, timeout=4, cache=FileCache(tmp_path))
    assert wiring.longest_wait(plain) == 4
    assert wiring.longest_wait(shared) == 4 + 5 + 1 + 1
    assert wiring.longest_wait(source(endpoint, exchange_of(plain, actor_token=shared), timeout=2)) == 35
    forget()
