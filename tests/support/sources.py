"""A token source whose token endpoint is in the same process, and plays a script."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from auth_plugins import ClientCredentials, Password, TokenSource
from auth_plugins._adapters.sources import source_for
from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.messages import TokenRequest, TokenResponse
from tests.support.loopback import Clock

URL = "https://id.example.com/token"
PASSWORD = Password(URL, "me", "pw", client_id="app")


class Endpoint:
    """A token endpoint without a wire: plays its script, and numbers its tokens."""

    def __init__(self, clock: Clock, lifetime: float | None = 3600) -> None:
        self.requests: list[TokenRequest] = []
        self.timeouts: list[float] = []
        self.lifetime = lifetime
        self.refresh_tokens = False
        #: What is answered next, before it issues again: members and a status, an error, or what is to be called.
        self.script: list[Any] = []
        self._clock = clock
        self._issued = 0

    def __call__(self, request: TokenRequest, timeout: float) -> TokenResponse:
        self.requests.append(request)
        self.timeouts.append(timeout)
        step = self.script.pop(0) if self.script else self.issue
        while callable(step):
            step = step()
        if isinstance(step, Exception):
            raise step
        members, status, headers = (*step, {})[:3]
        return TokenResponse(
            status=status, headers=headers, body=json.dumps(members).encode(), received_at=self._clock.now
        )

    def issue(self) -> tuple[dict[str, Any], int]:
        self._issued += 1
        members: dict[str, Any] = {"access_token": f"token-{self._issued}"}
        if self.lifetime is not None:
            members["expires_in"] = self.lifetime
        if self.refresh_tokens:
            members["refresh_token"] = f"refresh-{self._issued}"
        return members, 200

    @property
    def bodies(self) -> list[str]:
        return [request.body.decode() for request in self.requests]


def expire(clock: Clock) -> None:
    clock.forward(3600)


def refusal(
    code: str = "invalid_client", status: int = 401, **headers: str
) -> tuple[dict[str, Any], int, dict[str, str]]:
    return {"error": code}, status, {name.replace("_", "-"): value for name, value in headers.items()}


def sent(endpoint: Endpoint) -> list[str]:
    """The refresh tokens that were sent."""
    return [body.rpartition("=")[2] for body in endpoint.bodies]


def source(endpoint: Any, grant: Any = None, *, cache: Any = None, **policy: Any) -> TokenSource:
    """A source whose token requests go to *endpoint*."""
    grant = grant or ClientCredentials(URL, "client", "s3cr3t")
    return source_for(grant, endpoint, allow_http=False, cache=cache, **policy)


def wait_for(condition: Callable[[], bool]) -> bool:
    """Whether *condition* comes true within seconds, by another thread."""
    import time

    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def begin(tokens: TokenSource) -> None:
    """Begin an attempt in a thread of its own, and do not wait for it; raises what a caller would get at once."""

    async def cancel() -> None:
        task = asyncio.ensure_future(tokens.atoken())
        await asyncio.sleep(0)
        if task.done():
            task.result()
        task.cancel()

    asyncio.run(cancel())


def unfinished(tokens: TokenSource) -> Callable[[], object]:
    """Begin an attempt in a thread that does not get its turn; return what that thread would do."""
    begun: list[Callable[[], object]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "start_thread", lambda function, _: begun.append(function))
        begin(tokens)
    return begun[0]


class HookedLock:
    """The lock of a memory cache, which calls a function once before it is entered, or after it is left."""

    def __init__(self, *, before: Any = None, after: Any = None) -> None:
        self._lock, self._before, self._after = threading.RLock(), before, after

    def __enter__(self) -> None:
        hook, self._before = self._before, None
        if hook:
            hook()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        hook, self._after = self._after, None
        if hook:
            hook()
