"""Any order of what can happen to a token: requests, refusals, time, failures, other threads and other processes.

A machine draws the order; at each moment one thread runs at most, so that an order that fails fails again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import wait as really_wait
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.fernet import Fernet
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from auth_plugins import (
    ClientCredentials,
    Grant,
    MemoryCache,
    Password,
    RefreshToken,
    Token,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from auth_plugins._adapters.sources import source_for
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.encryption import EntryCipher
from auth_plugins._protocol.messages import TokenRequest, TokenResponse
from tests.support.loopback import Clock
from tests.support.stores import forget
from tests.unit.test_properties import often

URL = "https://id.example.com/token"
TIMEOUT = 10.0
SEAL = EntryCipher(Fernet.generate_key())
GRANTS: dict[str, Grant] = {
    "client": ClientCredentials(URL, "client-7", "s3cr3t-1"),
    "client, renewed": ClientCredentials(URL, "client-7", "s3cr3t-1"),
    "user": Password(URL, "ann", "pa55w0rd", client_id="app"),
    "user, renewed elsewhere": Password(URL, "ann", "pa55w0rd", refresh_url=f"{URL}/refresh"),
    "refresh token": RefreshToken(URL, "refresh-0"),
}


#: Which process, and which of the tokens that it got, the latest first.
WHICH, BACK = st.integers(0, 1), st.sampled_from([0, 0, 0, 1, 2])


PAUSES = st.sampled_from([0.0, 0.5, 3.0, 4.9, 5.1, 12.5, 21.0, 31.0, 290.0, 3300.0, 3500.0])

#: Answers of a server in trouble.
TROUBLE: dict[str, tuple[dict[str, str], int, dict[str, str]]] = {
    "500": ({}, 500, {}),
    "503": ({}, 503, {"retry-after": "1"}),
    "429": ({"error": "slow_down"}, 429, {}),
    "429, later": ({"error": "slow_down"}, 429, {"retry-after": "20"}),
    "invalid_client": ({"error": "invalid_client"}, 401, {}),
    "invalid_grant": ({"error": "invalid_grant"}, 400, {}),
    "nonsense": ({"message": "welcome"}, 200, {}),
}


MODES = st.lists(st.sampled_from(sorted(TROUBLE)), min_size=1, max_size=2)


class SharedCache:
    """A dict that all processes see, with a lock that returns at once if another caller holds it."""

    def __init__(self, lock_is_tried: Callable[[], None]) -> None:
        self._cipher = SEAL
        self._lock_is_tried = lock_is_tried
        self.entries: dict[str, str] = {}
        self.held: set[str] = set()
        self.is_broken = self.is_full = False

    def get(self, key: str) -> str | None:
        self._check()
        return self.entries.get(key)

    def set(self, key: str, value: str, ttl: float) -> None:
        self._check(writes=True)
        self.entries[key] = value

    def delete(self, key: str) -> None:
        self._check()
        self.entries.pop(key, None)

    @contextlib.contextmanager
    def lock(self, key: str, lease: float) -> Iterator[bool]:
        self._check()
        self._lock_is_tried()
        if key in self.held:
            yield False
            return
        self.held.add(key)
        try:
            yield True
        finally:
            self.held.discard(key)

    def _check(self, *, writes: bool = False) -> None:
        if self.is_broken or (writes and self.is_full):
            raise OSError("out of order")


class Server:
    """A token endpoint that plays a script."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lifetime: float | None = 3600.0
        self.rotates = False
        #: What happens to the next requests; later ones get a token.
        self.script: list[str] = []
        #: By access token: when it was asked for, and when it expires.
        self.issued: dict[str, tuple[float, float | None]] = {}
        #: Refresh tokens that are valid, and those that were answered: by a new one, or by a refusal.
        self.live: set[str] = {"refresh-0"}
        self.answered: set[str] = set()

    def serve(self, request: TokenRequest, asked_at: float) -> TokenResponse | TokenTransportError:
        """The answer to a request.

        A token lives from the moment at which it was asked for: a client cannot know when it was issued after that.
        """
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        mode = self.script.pop(0) if self.script else "good"
        refresh_token = form.get("refresh_token")
        if mode == "lost":
            return TokenTransportError("no answer")
        if mode == "good" and refresh_token and refresh_token not in self.live:
            mode = "invalid_grant"
        if mode != "good":
            trouble, status, headers = TROUBLE[mode]
            return self._answer(trouble, status, **headers)
        number = len(self.issued) + 1
        self.issued[f"token-{number}"] = (asked_at, None if self.lifetime is None else asked_at + self.lifetime)
        members: dict[str, Any] = {"access_token": f"token-{number}", "expires_in": self.lifetime}
        if self.rotates:
            self.live.discard(refresh_token or "")
            self.live.add(f"refresh-{number}")
            members["refresh_token"] = f"refresh-{number}"
        return self._answer(members, 200)

    def _answer(self, members: dict[str, Any], status: int, **headers: str) -> TokenResponse:
        return TokenResponse(
            status=status, headers=headers, body=json.dumps(members).encode(), received_at=self.clock.now
        )


@dataclass(eq=False, repr=False)
class Process:
    """What a process has, and what the model knows of it."""

    source: TokenSource = field(init=False)
    #: What sends its token requests.
    transport: Callable[[TokenRequest, float], TokenResponse] = field(init=False)
    #: The tokens that it got.
    given: list[Token] = field(default_factory=list)
    #: Those that it must not return again, the latest four.
    refused: list[str] = field(default_factory=list)
    #: Those that it revoked.
    gone: set[str] = field(default_factory=set)
    #: Until then no token request is sent, as a refusal is remembered.
    quiet_until: float = 0.0
    #: The latest moment at which that pause ends.
    rests_until: float = 0.0
    probation_until: float = 0.0
    #: When a token request failed last.
    trouble_at: float = 0.0
    #: Refresh tokens for which it received another one.
    replaced: set[str] = field(default_factory=set)
    #: The tokens that it has forgotten.
    forgotten: set[str] = field(default_factory=set)
    #: Background refreshes that have not begun: the attempt, and what leads it.
    background: dict[Any, Callable[[], object]] = field(default_factory=dict)


@dataclass(eq=False, repr=False)
class Call:
    """One call for a token."""

    process: Process
    began: float
    was_quiet: bool
    may_rest: bool
    #: Access tokens that arrived meanwhile, for any call.
    arrived: set[str] = field(default_factory=set)
    #: Requests that it sent itself.
    sent: int = 0
    had_trouble: bool = False
    outcome: Token | BaseException | None = None
    # Of a call whose request is in the air:
    thread: threading.Thread | None = None
    stops: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    departed: float = 0.0
    is_disowned: bool = False
    served_early: bool = False


class Interleavings(RuleBasedStateMachine):
    """One grant, one or two processes, one server, and one request that stays in the air for as long as drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.clock = Clock()
        self.clock.now = 1_800_000_000.0  # sums of times must be rounded alike in each run
        self.server = Server(self.clock)
        self.cache: SharedCache | None = None
        self.processes: list[Process] = []
        self.calls: list[Call] = []
        #: The calls that each thread is in, the inmost last.
        self.running: defaultdict[int, list[Call]] = defaultdict(list)
        self.air: Call | None = None
        #: Whether the next leader that is waited for does not return in time.
        self.is_stuck = False
        self.lands_at_lock = False
        #: Tokens that were revoked before they arrived.
        self.disowned: set[str] = set()
        self.trouble_until = 0.0
        self.main = threading.get_ident()
        self.clock.rule(self.patch)
        self.patch.setattr(self.clock, "sleep", self._sleep)
        self.patch.setattr(runtime, "wait", self._wait)
        self.patch.setattr(runtime, "start_thread", self._start_thread)
        self.patch.setattr(runtime, "uniform", lambda low, high: (low + high) / 2)
        self.patch.setattr(logging.getLogger("auth_plugins"), "disabled", True)

    def teardown(self) -> None:
        try:
            self._land()
        finally:
            self.patch.undo()
            forget()

    @initialize(
        kind=st.sampled_from([*sorted(GRANTS), "user"]),
        is_shared=st.booleans(),
        lifetime=st.sampled_from([3600.0, 600.0, 600.0, 30.0, 1.0, None]),
        leeway=st.sampled_from([60.0, 0.0, 300.0]),
        refresh_ahead=st.booleans(),
    )
    def begin(self, kind: str, is_shared: bool, lifetime: float | None, leeway: float, refresh_ahead: bool) -> None:
        self.kind, self.grant = kind, GRANTS[kind]
        self.server.lifetime = lifetime
        self.server.rotates = kind != "client"
        # A refresh token that the user gave cannot be requested again: less is promised of it in several processes.
        self.cache = SharedCache(self._lock_is_tried) if is_shared and kind != "refresh token" else None
        self.policy: dict[str, Any] = {"leeway": leeway, "timeout": TIMEOUT, "refresh_ahead": refresh_ahead}
        self.processes = [self._start() for _ in range(2 if self.cache else 1)]

    def _start(self) -> Process:
        """A process that has just started."""
        forget()
        process = Process()

        def travel(request: TokenRequest, timeout: float) -> TokenResponse:
            return process.transport(request, timeout)

        process.transport = lambda request, timeout: self._travel(process, request, timeout)
        process.source = source_for(
            self.grant, travel, allow_http=False, cache=self.cache or MemoryCache(), **self.policy
        )
        return process

    # What the package calls in place of the real thing.

    def _travel(self, process: Process, request: TokenRequest, timeout: float) -> TokenResponse:
        """A token request on its way."""
        call = self.running[threading.get_ident()][-1]
        self._check_alone(process, call)
        if not call.sent and self.clock.now >= self.trouble_until:
            assert not [token for token in call.arrived if self._serves(token, process)], (
                "another token arrived meanwhile"
            )
        call.sent += 1
        asked_at = self.clock.now
        refresh_token = parse_qs(request.body.decode()).get("refresh_token", [""])[0]
        assert refresh_token not in self.server.answered or isinstance(self.grant, RefreshToken), (
            f"{refresh_token} is sent again"
        )
        # A retry sends the same again, also where an attempt that was revoked has used it meanwhile.
        assert call.sent > 1 or refresh_token not in process.replaced, f"{refresh_token} was replaced"
        if call.thread is None:
            return self._deliver(process, self.server.serve(request, asked_at), refresh_token)
        call.departed = self.clock.now
        early = self.server.serve(request, asked_at) if call.served_early else None
        if not call.released.is_set():
            call.stops.set()
            assert call.released.wait(30)
        if self.clock.now > call.departed + timeout:
            self._note_trouble()
            raise TokenTransportError("timed out")
        return self._deliver(process, early or self.server.serve(request, asked_at), refresh_token)

    def _deliver(
        self, process: Process, answer: TokenResponse | TokenTransportError, refresh_token: str
    ) -> TokenResponse:
        if isinstance(answer, TokenTransportError):
            self._note_trouble()
            raise answer
        members = json.loads(answer.body)
        if answer.status == 200 and "access_token" in members:
            for call in self.calls:
                call.arrived.add(members["access_token"])
            self.server.answered |= {refresh_token} - {""}
            if "refresh_token" in members:
                process.replaced |= {refresh_token} - {""}
        else:
            self._note_trouble()
            if members.get("error") == "invalid_grant":
                self.server.answered |= {refresh_token} - {""}
        return answer

    def _note_trouble(self) -> None:
        for call in self.calls:
            call.had_trouble = True
        for process in self.processes:
            process.trouble_at = self.clock.now

    def _check_alone(self, process: Process, call: Call) -> None:
        """No second request for the same token is sent while the first is within its time."""
        other = self.air
        if other is None or other is call or not other.departed or other.released.is_set():
            return
        if other.process is process:
            assert other.is_disowned or self.clock.now >= other.began + TIMEOUT, "two requests of one process at once"
        elif self.clock.now >= self.trouble_until and other.began >= self.trouble_until:
            assert self.clock.now >= other.departed + TIMEOUT, "two processes ask at once"

    def _serves(self, token: str, process: Process) -> bool:
        """Whether a token can be used."""
        issued, ends = self.server.issued[token]
        left = float("inf") if ends is None else ends - self.clock.now
        leeway = 0.0 if ends is None else min(self.policy["leeway"], (ends - issued) / 10)
        return left > leeway + 1e-3 and token not in self.disowned and token not in process.refused

    def _lives(self, token: str) -> bool:
        """Whether a token has not ended, but for what rounding may take of it."""
        ends = self.server.issued[token][1]
        return ends is None or self.clock.now < ends - 1e-3

    def _start_thread(self, function: Callable[[], object], _: str) -> None:
        """A thread that is started runs later."""
        process = self.running[threading.get_ident()][-1].process
        process.background[process.source._state.flight] = function

    def _wait(self, flight: Any, timeout: float) -> None:
        """In place of a wait: the leader runs now, or does not return in time."""
        if threading.get_ident() != self.main:
            if not self._run_background(flight):
                really_wait([flight], 30)  # in this world no time passes meanwhile
            return
        if self.is_stuck:
            self.is_stuck = False
            self._note_trouble()
            self.clock.forward(timeout)
            return
        if not self._run_background(flight):
            self._land()
        assert flight.done(), "no thread is left that could end this flight"

    def _sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        if threading.get_ident() == self.main and not self.is_stuck:
            self._land()

    def _lock_is_tried(self) -> None:
        if self.lands_at_lock and threading.get_ident() == self.main:
            self.lands_at_lock = False
            self._land()

    def _run_background(self, flight: Any) -> bool:
        """Whether a background refresh was still to run, which has run now."""
        for process in self.processes:
            lead = process.background.pop(flight, None)
            if lead:
                call = self._call(process)
                with self._within(call):
                    lead()
                call.outcome = flight.exception()
                self._over(call)
                return True
        return False

    # Calls, and what holds for each of them.

    def _call(self, process: Process, **details: Any) -> Call:
        now = self.clock.now
        call = Call(process, now, now < process.quiet_until, now < process.rests_until, **details)
        self.calls.append(call)
        return call

    @contextlib.contextmanager
    def _within(self, call: Call) -> Iterator[None]:
        """The thread is in *call* meanwhile."""
        mine = self.running[threading.get_ident()]
        mine.append(call)
        try:
            yield
        finally:
            mine.remove(call)

    def _over(self, call: Call) -> None:
        self.calls.remove(call)
        if call.is_disowned and isinstance(call.outcome, Token):
            # It is for its own caller only, unless the server issued the same token to another call.
            issued = {token.access_token for process in self.processes for token in process.given}
            self.disowned |= {call.outcome.access_token} - issued
        assert not (call.was_quiet and call.sent), "a token request follows a refusal at once"
        error = call.outcome
        if not isinstance(error, TokenRequestError):
            return
        if call.sent and (error.retry_after is not None or (error.status_code or 0) < 500):
            call.process.quiet_until = self.clock.now + max(5.0, error.retry_after or 0.0)
            call.process.rests_until = self.clock.now + 60

    def _ask(self, call: Call) -> None:
        with self._within(call):
            try:
                call.outcome = call.process.source.token()
            except BaseException as error:
                call.outcome = error

    def _check(self, call: Call) -> None:
        """Check the outcome of a call."""
        process, outcome, now = call.process, call.outcome, self.clock.now
        if isinstance(outcome, (TokenRequestError, TokenTransportError)):
            is_over = self.kind == "refresh token" and process.forgotten
            # While a leader hangs, no other leads for a while.
            hangs = self.air and self.air.process is process and self.clock.now >= self.air.began + TIMEOUT
            assert is_over or hangs or call.may_rest or call.had_trouble, f"no token, and nothing was wrong: {outcome}"
            for token in (each.access_token for each in process.given[-1:]):
                useless = {*process.refused, *process.forgotten, *self.disowned}
                assert token in useless or not self._lives(token), f"{token} can still be used: {outcome}"
            return
        if not isinstance(outcome, Token):
            pytest.fail(f"neither a token nor an error of ours: {outcome!r}")
        token = outcome.access_token
        issued, ends = self.server.issued[token]
        if ends is not None and token not in call.arrived:
            # No other was available, so it is used until it expires.
            is_spared = process.trouble_at >= issued
            leeway = 0.0 if is_spared else min(self.policy["leeway"], (ends - issued) / 10)
            assert now < ends - leeway + 1e-3, f"{token} ended {now - ends} s ago"
        assert token not in process.refused, f"{token} was refused"
        assert token not in process.gone, f"{token} was revoked"
        assert token not in self.disowned or call.is_disowned, f"{token} came after its revocation"
        if token in call.arrived:
            process.quiet_until = 0.0
        process.given.append(outcome)

    def _land(self) -> None:
        """The request in the air comes to its end, and so does its call."""
        call, self.air = self.air, None
        if call is None:
            return
        assert call.thread
        call.released.set()
        call.thread.join(30)
        assert not call.thread.is_alive()
        self._over(call)
        self._check(call)

    # What happens.

    @rule(which=WHICH)
    def get(self, which: int) -> None:
        """A caller needs a token."""
        process = self._process(which)
        call = self._call(process)
        self._ask(call)
        self._over(call)
        self._check(call)

    @rule(which=WHICH)
    def expire(self, which: int) -> None:
        """The latest token expires, and a caller needs another one."""
        self.tick(self.server.lifetime or 3600.0)
        self.get(which)

    @rule(which=WHICH, modes=MODES, pause=PAUSES)
    def insist(self, which: int, modes: list[str], pause: float) -> None:
        """The server refuses, and a caller tries again some time later."""
        self.server.script = list(modes)
        self.expire(which)
        self.tick(pause)
        self.get(which)

    @rule(which=WHICH, pauses=st.lists(PAUSES, min_size=1, max_size=5), is_accepted=st.booleans())
    def refuse_all(self, which: int, pauses: list[float], is_accepted: bool) -> None:
        """An API rejects each token for a while."""
        for pause in pauses:
            self.get(which)
            self.refuse(which, 0)
            self.tick(pause)
        self.get(which)
        if is_accepted:
            self.accept(which, 0)

    @precondition(lambda self: self.air is None)
    @rule(which=WHICH, served_early=st.booleans())
    def depart(self, which: int, served_early: bool) -> None:
        """Another thread needs a token, and is in the middle of its request, if it makes one, while others go on."""
        process = self._process(which)
        for flight in list(process.background):
            self._run_background(flight)
        call = self._call(process, served_early=served_early)

        def work() -> None:
            self._ask(call)
            call.stops.set()

        call.thread = threading.Thread(target=work, daemon=True)
        self.air = call
        call.thread.start()
        assert call.stops.wait(30)
        if not call.departed:  # it sent no request
            self._land()

    @rule()
    def land(self) -> None:
        """The answer arrives at the leader in the air."""
        self._land()

    @rule(which=WHICH)
    def run_background(self, which: int) -> None:
        """The thread of a background refresh runs."""
        process = self._process(which)
        for flight in list(process.background):
            self._run_background(flight)

    @rule(seconds=PAUSES)
    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.clock.forward(seconds)

    @rule(
        modes=st.lists(st.sampled_from(["lost", *TROUBLE]), max_size=3),
    )
    def fail(self, modes: list[str]) -> None:
        """The server is in trouble, or refuses."""
        self.server.script = modes

    @precondition(lambda self: self.air is not None)
    @rule()
    def get_stuck(self) -> None:
        """The next leader that is waited for does not return in time."""
        self.is_stuck = True

    @precondition(lambda self: self.cache and self.air is not None)
    @rule()
    def hurry(self) -> None:
        """A lock holder is done at the very moment at which another process tries the lock."""
        self.lands_at_lock = True

    @precondition(lambda self: self.kind != "refresh token")
    @rule()
    def end_session(self) -> None:
        """The server forgets all refresh tokens."""
        self.server.live.clear()

    def _process(self, which: int) -> Process:
        return self.processes[which % len(self.processes)]

    @rule(which=WHICH, back=BACK)
    def refuse(self, which: int, back: int) -> None:
        """An API answers 401, and an adapter rejects the token that it sent."""
        process = self._process(which)
        if not process.given:
            return
        token = process.given[max(-1 - back, -len(process.given))]
        is_current = process.source._state.token == token
        another = process.source.reject(token)
        if not is_current:
            assert another
            self._refused(process, token)
            return
        assert another is (self.clock.now >= process.probation_until), "one token in 30 seconds, while all are rejected"
        if another:
            process.probation_until = self.clock.now + 30
            process.quiet_until = 0.0
            self._refused(process, token)

    @rule(which=WHICH, back=BACK)
    def invalidate(self, which: int, back: int) -> None:
        """A user invalidates a token."""
        process = self._process(which)
        if not process.given:
            return
        token = process.given[max(-1 - back, -len(process.given))]
        process.source.invalidate(token)
        process.quiet_until = 0.0
        self._refused(process, token)

    def _refused(self, process: Process, token: Token) -> None:
        if token.access_token not in process.refused:
            process.refused = [token.access_token, *process.refused[:3]]

    @rule(which=WHICH, back=BACK)
    def accept(self, which: int, back: int) -> None:
        """An API accepts a token."""
        process = self._process(which)
        if not process.given:
            return
        token = process.given[max(-1 - back, -len(process.given))]
        if process.source._state.token is token:
            process.probation_until = 0.0
        process.source.accept(token)

    @rule(which=WHICH)
    def revoke(self, which: int) -> None:
        """A user revokes the tokens."""
        process = self._process(which)
        if self.air is not None and self.air.process is process:
            self.air.is_disowned = True
        process.source.revoke()
        process.forgotten |= {token.access_token for token in process.given} | {"one in the air"}
        process.background.clear()
        process.quiet_until = 0.0
        if self.clock.now >= self.trouble_until:
            process.gone |= {token.access_token for token in process.given}

    @precondition(lambda self: self.air is None)
    @rule(which=WHICH, other=WHICH, served_early=st.booleans())
    def revoke_in_the_air(self, which: int, other: int, served_early: bool) -> None:
        """A user revokes during another thread's attempt."""
        self.tick(self.server.lifetime or 0.0)
        self.depart(which, served_early)
        self.revoke(which)
        self.land()
        self.get(other)

    @precondition(lambda self: self.air is None)
    @rule(which=WHICH)
    def restart(self, which: int) -> None:
        """A process ends, and another one starts."""
        self.processes[which % len(self.processes)] = self._start()

    @precondition(lambda self: self.cache and self.air is None and not any(each.background for each in self.processes))
    @rule()
    def break_or_mend(self) -> None:
        """The shared cache is out of order, or works again."""
        assert self.cache
        self.cache.is_broken = not self.cache.is_broken
        self.trouble_until = float("inf") if self.cache.is_broken else self.clock.now + 5.1

    @precondition(lambda self: self.air is None and not any(each.background for each in self.processes))
    @rule(which=WHICH, size=st.integers(2, 4))
    def crowd(self, which: int, size: int) -> None:
        """Several threads need a token at once: the leader is answered when all others wait."""
        process = self._process(which)
        travel, crowd = process.transport, Crowd(process.source, size)
        process.transport = lambda request, timeout: crowd.lead(lambda: travel(request, timeout))
        call = self._call(process)
        crowd.run(lambda: self._within(call))
        process.transport = travel
        call.outcome = crowd.outcomes[0]
        self._over(call)
        for outcome in crowd.outcomes:
            call.outcome = outcome
            self._check(call)
        if call.sent:
            outcomes = {each.access_token if isinstance(each, Token) else str(each) for each in crowd.outcomes}
            assert len(outcomes) == 1, "all get one answer"


class Crowd:
    """Threads that need a token at once."""

    def __init__(self, source: TokenSource, size: int) -> None:
        self.source, self.size = source, size
        self.outcomes: list[Any] = [None] * size
        self._barrier = threading.Barrier(size)
        self._asking = threading.Lock()

    def run(self, within: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        def work(index: int) -> None:
            with within():
                self._barrier.wait()
                try:
                    self.outcomes[index] = self.source.token()
                except BaseException as error:
                    self.outcomes[index] = error

        threads = [threading.Thread(target=work, args=[index], daemon=True) for index in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

    def lead(self, travel: Callable[[], TokenResponse]) -> TokenResponse:
        """Wait until all others wait, then ask."""
        assert self._asking.acquire(blocking=False), "two requests at once"
        try:
            flight, end = self.source._state.flight, time.monotonic() + 30
            assert flight is not None
            while len(flight._waiters) < self.size - 1:
                assert time.monotonic() < end, "a thread does not wait"
                time.sleep(0.0002)
            return travel()
        finally:
            self._asking.release()


def test_any_order_of_events() -> None:
    """In any order of events a caller gets a good token or a clear error, and the server is not overloaded."""
    run_state_machine_as_test(Interleavings, settings=often(150, stateful_step_count=40))


@pytest.fixture
def world() -> Iterator[Interleavings]:
    """The same, for an order that is written down."""
    machine = Interleavings()
    yield machine
    machine.teardown()


def test_a_revocation_is_not_undone_by_a_request_in_the_air(world: Interleavings) -> None:
    """A revocation during another thread's attempt: that thread gets its token, and no other process finds it."""
    world.begin(kind="client", is_shared=True, lifetime=3600.0, leeway=60.0, refresh_ahead=False)
    world.depart(which=0, served_early=False)
    world.revoke(which=0)
    world.land()
    world.get(which=1)
    assert [token.access_token for process in world.processes for token in process.given] == ["token-1", "token-2"]


def test_a_rejected_token_does_not_come_back_from_the_cache(world: Interleavings) -> None:
    """A token that was fetched during a revocation is not used again once it is rejected."""
    world.begin(kind="client", is_shared=True, lifetime=3600.0, leeway=60.0, refresh_ahead=False)
    world.depart(which=0, served_early=False)
    world.revoke(which=0)
    world.land()
    world.refuse(which=0, back=0)
    world.get(which=0)
    assert [token.access_token for token in world.processes[0].given] == ["token-1", "token-2"]


def test_a_full_disk_sends_no_refresh_token_twice(world: Interleavings) -> None:
    """The new refresh token could not be stored: the old one, which is spent, is not left in the cache."""
    world.begin(kind="user", is_shared=True, lifetime=600.0, leeway=60.0, refresh_ahead=False)
    world.get(which=0)
    world.tick(seconds=3300.0)
    assert world.cache
    world.cache.is_full = True
    world.get(which=0)
    world.cache.is_full = False
    world.tick(seconds=12.5)
    world.get(which=1)


def test_a_refresh_token_spent_by_a_late_background_refresh_is_not_sent_again(world: Interleavings) -> None:
    """The thread of a background refresh runs late: the refresh token that it spends is not sent again."""
    world.begin(kind="client, renewed", is_shared=False, lifetime=3600.0, leeway=60.0, refresh_ahead=True)
    world.get(which=0)
    world.tick(seconds=3500.0)
    world.get(which=0)  # its background refresh begins, and its thread does not run yet
    world.tick(seconds=3600.0)
    world.get(which=0)
    world.run_background(which=0)
    world.expire(which=0)


def test_a_retry_does_not_wait_for_a_revoked_request(world: Interleavings) -> None:
    """A request in the air is revoked, and the next caller's is lost: its retry sends the same refresh token."""
    world.begin(kind="refresh token", is_shared=False, lifetime=3600.0, leeway=60.0, refresh_ahead=False)
    world.depart(which=0, served_early=False)
    world.fail(modes=["lost"])
    world.revoke(which=0)
    world.get(which=0)
