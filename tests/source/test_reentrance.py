"""Signal handlers and finalizers that need a token wherever their thread is."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest

from auth_plugins import ClientCredentials, ConfigurationError, MemoryCache, TokenRequestError
from tests.support.loopback import Clock
from tests.support.sources import URL, Endpoint, HookedLock, refusal, source, wait_for


def test_a_finalizer_may_fetch_a_token_during_a_sweep(endpoint: Endpoint, clock: Clock) -> None:
    """A finalizer fetches a token of another tenant while unused states are dropped: that token is kept."""
    cache = MemoryCache()
    newcomers: list[ClientCredentials] = []
    endpoint.script = [refusal()] * 200
    for number in range(200):
        with pytest.raises(TokenRequestError):
            source(endpoint, ClientCredentials(URL, f"client-{number}", "s"), cache=cache).token()

    def elapsed() -> float:
        newcomers.append(ClientCredentials(URL, f"newcomer-{len(newcomers)}", "s"))
        source(endpoint, newcomers[-1], cache=cache).token()
        return clock.now

    clock.forward(61)
    clock.elapsed = elapsed  # type: ignore[method-assign]  # the sweep asks for each back-off whether it is over
    for number in range(100):
        source(endpoint, ClientCredentials(URL, f"late-{number}", "s"), cache=cache)
    asked = len(endpoint.requests)
    assert len(newcomers) == asked - 200 > 0
    for grant in newcomers:
        source(endpoint, grant, cache=cache).token()
    assert len(endpoint.requests) == asked


SIGNAL = """
import os, signal, sys, threading
from auth_plugins import ClientCredentials, MemoryCache
from auth_plugins._protocol.messages import TokenResponse
from auth_plugins._source.source import source_for

cache = MemoryCache()
answer = TokenResponse(status=200, headers={}, body=b'{"access_token": "one", "expires_in": 3600}', received_at=0.0)
grant = ClientCredentials("https://id.example.com/token", "id", "s3cr3t")
source = source_for(grant, lambda *_: answer, allow_http=False, cache=cache)
signal.signal(signal.SIGUSR1, lambda *_: source.invalidate(source.token()))
signal.alarm(50)
with cache.lock:
    os.kill(os.getpid(), signal.SIGUSR1)
    print("inside")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no such signal")
def test_a_signal_handler_needs_a_token() -> None:
    """A signal arrives while the main thread holds the lock, and its handler needs a token: it gets it."""
    done = subprocess.run([sys.executable, "-c", SIGNAL], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("inside\n", 0), done.stderr


def test_a_handler_that_interrupts_its_own_request_gets_an_error(endpoint: Endpoint) -> None:
    """A signal handler that needs the token that its own thread fetches gets an error: it cannot wait for itself."""
    tokens = source(endpoint)

    def broken_into() -> Any:
        with pytest.raises(ConfigurationError, match="signal handler"):
            tokens.token()
        return endpoint.issue

    endpoint.script = [broken_into]
    assert tokens.token().access_token == "token-1"


def test_a_handler_just_before_its_own_request_gets_an_error(endpoint: Endpoint) -> None:
    """The same before the request: the thread leads from the moment at which the attempt exists."""
    cache = MemoryCache()
    tokens = source(endpoint, cache=cache)

    def broken_into() -> None:
        with pytest.raises(ConfigurationError, match="signal handler"):
            tokens.token()

    cache.lock = HookedLock(after=broken_into)  # type: ignore[assignment]
    assert tokens.token().access_token == "token-1"


def test_a_callable_that_needs_the_token_gets_the_present_one(endpoint: Endpoint, clock: Clock) -> None:
    """The callable of a secret that uses this very auth gets the present token while it can be used."""
    used: list[str] = []

    def secret() -> str:
        if tokens._state.token is not None:
            used.append(tokens.token().access_token)
        return "s3cr3t"

    tokens = source(endpoint, ClientCredentials(URL, "client", secret))
    tokens.token()
    clock.forward(3600 - 180)
    tokens.token()
    assert wait_for(lambda: tokens.token().access_token == "token-2")
    clock.forward(3545)
    assert tokens.token().access_token == "token-3"
    assert used == ["token-1", "token-2"]
