"""A process for processes/test_processes.py: it reads commands from stdin, and writes their results to stdout.

It imports nothing of the tests, which only pytest may find.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

import auth_plugins
from auth_plugins import AuthError
from auth_plugins._base.runtime import runtime
from auth_plugins._caches import shared as _shared
from auth_plugins.requests import OAuth2Auth

#: The real one, by which the package measures; a test replaces it.
elapsed = runtime.elapsed
#: A class of auth_plugins, and its arguments, as JSON has them.
Spec = tuple[str, dict[str, Any]]


def made(spec: Spec) -> Any:
    """Make the grant or cache of *spec*."""
    name, arguments = spec
    return getattr(auth_plugins, name)(**arguments)


class Clock:
    """The time by which the package judges tokens: the real one, moved on as the test says."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def elapsed(self) -> float:
        return elapsed() + self.ahead

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Worker:
    """Each public method is a command."""

    def __init__(self) -> None:
        self._clock = Clock()
        self._warnings: list[str] = []
        self._auth: Any = None
        self._configuration: tuple[Any, ...] = ()
        runtime.clock, runtime.elapsed = self._clock, self._clock.elapsed
        handler = logging.Handler(logging.WARNING)
        setattr(handler, "emit", lambda record: self._warnings.append(record.getMessage()))  # noqa: B010 - for mypy
        logging.getLogger("auth_plugins").addHandler(handler)

    def open(self, grant: Spec, cache: Spec, policy: dict[str, Any]) -> None:
        """Make an auth object, and know of no token."""
        self._clock.ahead = 0.0
        self._warnings.clear()
        # Another test may have used the same port; forget its tokens.
        _shared._all.clear()
        _shared._latest.clear()
        self._configuration = made(grant), made(cache), policy
        self._auth = OAuth2Auth(self._configuration[0], cache=self._configuration[1], **policy)

    def get(self, url: str, threads: int = 1) -> list[str]:
        """Send as many requests at once; return their statuses or errors."""
        return self._at_once(lambda: attempt(url, self._auth), threads)

    def token(self) -> str:
        """Return the token that would be sent."""
        return str(self._auth.source.token().access_token)

    def begin(self) -> None:
        """Fetch a token in another thread."""
        threading.Thread(target=self._auth.source.token, daemon=True).start()

    def forward(self, seconds: float) -> None:
        """Move the clock."""
        self._clock.ahead += seconds

    def warnings(self) -> list[str]:
        """Return what was logged as a warning."""
        return list(self._warnings)

    def stop_before_storing(self) -> None:
        """Stop this process when it is about to store its next token."""
        cache = self._auth.source._shared.cache
        store = cache.set

        def stopped(*arguments: Any) -> None:
            cache.set = store
            # With os.kill() another thread may get the signal, and this one go on for a moment.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            store(*arguments)

        cache.set = stopped

    def fork(self) -> int:
        """Fork, and go on as the child; the parent waits for its end."""
        wait_for_ending_threads()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads, which is the point
            pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            os._exit(0)
        # A child was seen once that did not end: it prints its stack and ends.
        faulthandler.dump_traceback_later(60, exit=True)
        return os.getpid()

    def spawn(self, url: str) -> str:
        """Send a request from a spawned child, which gets the auth as a pickle."""
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(attempt, url, self._auth).result()

    def bear(self) -> int:
        """Fork a child that fetches, stores and invalidates tokens until it is killed."""
        parent = os.getpid()
        grant, cache, policy = self._configuration
        wait_for_ending_threads()
        pid = os.fork()
        if pid == 0:
            try:
                source = OAuth2Auth(grant, cache=cache, **policy).source
                while os.getppid() == parent:
                    with contextlib.suppress(AuthError):  # on a slow machine, with a short timeout
                        source.invalidate(source.token())
            finally:
                os._exit(1)
        return pid

    def kill(self, pid: int) -> int:
        """Kill a child; return the signal that ended it."""
        os.kill(pid, signal.SIGKILL)
        return -os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _at_once(self, function: Callable[[], str], threads: int) -> list[str]:
        barrier = threading.Barrier(threads)

        def run(_: int) -> str:
            barrier.wait(30)
            return function()

        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(run, range(threads)))


def attempt(url: str, auth: Any) -> str:
    """Send a request; return its status, or its error."""
    try:
        return str(requests.get(url, auth=auth, timeout=60).status_code)
    except requests.RequestException as error:
        return f"{type(error).__name__}: {error}"


def wait_for_ending_threads() -> None:
    """Wait for threads that have ended for Python, but not yet for the system.

    A thread that used OpenSSL takes one of its locks when it ends. A child that is forked at that moment inherits the
    lock, and waits for it for ever.
    """
    tasks = Path("/proc/self/task")
    for _ in range(1000):
        if not tasks.exists() or len(list(tasks.iterdir())) <= threading.active_count():
            return
        time.sleep(0.001)


def load_all() -> None:
    """Import all that the first token request imports."""
    import cryptography.fernet
    import filelock
    import redis

    import auth_plugins._protocol.authlib_client

    _ = cryptography.fernet, filelock, redis, auth_plugins._protocol.authlib_client


def main() -> None:
    load_all()
    worker = Worker()
    say({"said": "ready"})
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            say({"said": getattr(worker, name)(**arguments)})
        except Exception:
            say({"failed": traceback.format_exc()})


def say(members: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(members) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
