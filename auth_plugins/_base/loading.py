"""Imports on first use, and forks: neither begins while the other is under way."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from .errors import TokenTransportError

__all__ = ["loading"]

#: Seconds for which a fork waits for imports at most: an import may wait for a lock that the forking thread holds.
_PATIENCE = 2.0


class Loading:
    """Guards imports that the first token request makes.

    A child that is forked in the middle of an import by another thread finds that module locked for ever. So a fork
    waits for imports, and imports wait for a fork. Imports of several threads do not wait for each other: an event
    loop's thread imports a small module while another thread is busy with a large one.
    """

    def __init__(self) -> None:
        #: What other threads were importing when this process was forked: it can never be imported here.
        self.lost: frozenset[str] = frozenset()
        self._begin({})

    def _begin(self, loaders: dict[int, tuple[str, ...]]) -> None:
        # Guards the two below. It is held for a moment only: not over an import, and not over a fork.
        self._changed = threading.Condition(threading.RLock())
        #: What each thread is importing, the innermost last.
        self._loaders = loaders
        #: The threads that are forking.
        self._forkers: set[int] = set()

    @contextlib.contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Hold off forks while *what* is imported.

        :raises TokenTransportError: this process was forked while another thread imported it.
        """
        if what in self.lost:
            raise TokenTransportError(
                "this process was forked while another thread loaded the modules of a token request, which cannot be "
                "loaded here any more; get a token before you fork, or fork before you start threads"
            )
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: self._forkers <= {me})
            # Replaced as a whole, as a signal handler may import here as well, between any two steps.
            self._loaders[me] = (*self._loaders.get(me, ()), what)
        try:
            yield
        finally:
            with self._changed:
                rest = self._loaders.get(me, ())[:-1]
                if rest:
                    self._loaders[me] = rest
                else:
                    self._loaders.pop(me, None)
                    self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait until no other thread imports, for two seconds at most; then let none begin."""
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: self._loaders.keys() <= {me}, _PATIENCE)
            self._forkers.add(me)

    def after_in_parent(self) -> None:
        """Let others import again."""
        with self._changed:
            self._forkers.discard(threading.get_ident())
            self._changed.notify_all()

    def after_in_child(self) -> None:
        """Forget the threads that do not exist here, and remember what they were importing."""
        me = threading.get_ident()
        mine = self._loaders.pop(me, None)
        self.lost |= {what for others in self._loaders.values() for what in others}
        self._begin({} if mine is None else {me: mine})


loading = Loading()

with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(
        before=loading.before_fork, after_in_parent=loading.after_in_parent, after_in_child=loading.after_in_child
    )
