"""Keeps forks apart from imports that happen at the first use of what needs them."""

from __future__ import annotations

import contextlib
import logging  # noqa: F401 - first, as a fork then waits for imports before it takes logging's lock, which they may need
import os
import threading
from collections.abc import Iterator

from .errors import TokenTransportError

#: Seconds for which a fork waits for imports: they may in turn wait for a lock that the forking thread holds.
_LONGEST_WAIT = 2.0


class LateImports:
    """Keeps forks and late imports apart.

    A child that is forked while another thread imports a module would wait for that module's lock for ever.
    """

    def __init__(self) -> None:
        # It can be entered again: a signal handler may import while its thread does, and a module may fork.
        self._lock = threading.RLock()
        self._is_broken = False

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold off forks.

        :raises TokenTransportError: this process was forked in the middle of such an import.
        """
        with self._lock:
            if self._is_broken:
                raise TokenTransportError(
                    "this process was forked while another thread loaded the modules of a token request, which cannot "
                    "be loaded here any more; get a token before you fork, or fork before you start threads",
                    trouble="fork",
                )
            yield

    def before_fork(self) -> None:
        self._lock.acquire(timeout=_LONGEST_WAIT)

    def after_in_parent(self) -> None:
        with contextlib.suppress(RuntimeError):  # the lock was not acquired in time
            self._lock.release()

    def after_in_child(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            self._is_broken = True  # another thread held the lock, and does not exist here
        self._lock = threading.RLock()


#: Authlib and an HTTP library, by the thread that sends the first token request.
request_imports = LateImports()
#: Modules of ours that are not light, by any thread, an event loop's included: it must not wait for Authlib.
small_imports = LateImports()

for _each in (request_imports, small_imports):
    with contextlib.suppress(AttributeError):  # Windows has no fork
        os.register_at_fork(
            before=_each.before_fork, after_in_parent=_each.after_in_parent, after_in_child=_each.after_in_child
        )
