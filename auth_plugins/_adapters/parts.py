"""The tokens of a request with several auths: which of them a response refuses, and which one is replaced next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from auth_plugins._base.errors import AuthError
from auth_plugins._protocol.tokens import Token
from auth_plugins._source import rejections
from auth_plugins._source.source import TokenSource

from .refusals import Verdict, is_repeatable, settles


class Part:
    """One of the tokens that a request carries."""

    __slots__ = ("carrier", "failure", "is_renewed", "is_tried", "source", "token", "verdict")

    def __init__(self, carrier: Any, source: TokenSource, token: Token) -> None:
        #: What puts the token on a request: an auth of httpx, or a response hook of requests.
        self.carrier = carrier
        self.source, self.token = source, token
        #: What the last response means for the token.
        self.verdict = Verdict.ACCEPTED
        #: Whether this request has given up a token of the source; whether it carries another one since.
        self.is_tried = self.is_renewed = False
        #: Why there is no other token, although the API may have refused this one; ``None``: there was no such error.
        self.failure: AuthError | None = None

    def accept(self) -> None:
        """Note that the API accepted the token; it is used again if it was given up for a refusal of another one."""
        if self.failure is not None:
            rejections.restore(self.source, self.token, is_accepted=True)
            self.failure = None
        self.source.accept(self.token)


class Exchange:
    """The tokens of one request, in the order in which they are replaced, each at most once."""

    __slots__ = ("parts", "proved", "refused")

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = tuple(parts)
        #: Those that the last response may refuse.
        self.refused: list[Part] = []
        #: For which request another DPoP proof was sent; the adapter's own.
        self.proved: Any = None

    def attempts(self) -> int:
        """Return how many tokens were replaced."""
        return sum(part.is_renewed for part in self.parts)

    def is_refused(self, carries: Callable[[Part], bool]) -> bool:
        """Note the verdicts on the last response, and return whether it may refuse a token that its request carries."""
        for part in self.parts:
            if part.verdict is Verdict.ACCEPTED:
                part.accept()
        self.refused = [part for part in self.parts if part.verdict is not Verdict.ACCEPTED and carries(part)]
        return bool(self.refused)

    def renewable(self, refusal: Any, obstacle: str) -> Iterator[Part]:
        """Give up one refused token after another, and yield those that another one may replace.

        *obstacle* says why the request is not sent again. Then all are given up, as the next request needs others.
        """
        waiting = [part for part in self.refused if not part.is_tried]
        # A token that another request has replaced meanwhile comes first, as that costs no token request.
        waiting.sort(key=lambda part: part.source._state.token == part.token)
        for part in waiting:
            part.is_tried = True
            if is_repeatable(refusal, part.source, part.token, part.verdict, obstacle):
                yield part

    def settles(self, refusal: Any) -> bool:
        """Return whether the request is sent once more after a pause, as a refused token is new; once per token."""
        # Of all, so that one pause is for all of them.
        new = [settles(refusal, part.source, part.token) for part in self.refused if part.is_renewed]
        return any(new)

    def failure(self) -> AuthError | None:
        """Return the first error for which a refused token was not replaced."""
        return next((part.failure for part in self.refused if part.failure is not None), None)
