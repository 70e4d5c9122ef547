"""What a request of requests carries: the token, and the response hook that replaces it when it is refused."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from auth_plugins._adapters.base import header_value
from auth_plugins._adapters.rules import DEFAULT_RULES, RefusalRules
from auth_plugins._base.loading import small_imports
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.source import TokenSource

from .redirects import keep_within_origin

if TYPE_CHECKING:
    import requests


class TokenHook:
    """A token with the header that carries it, and the response hook of the requests that carry it.

    As a hook it replaces a rejected token, and keeps the token from other origins. Any number of requests share one.
    """

    __slots__ = ("header", "origin", "plain", "rules", "scheme", "since", "source", "token", "until")

    def __init__(self, source: TokenSource, header: str, scheme: str, rules: RefusalRules, token: Token) -> None:
        self.source, self.header, self.scheme, self.rules, self.token = source, header, scheme, rules, token
        #: What the header holds.
        self.plain = header_value(scheme, token)
        #: URLs that begin so may carry it without a further check, between these Unix seconds.
        self.origin, self.since, self.until = "", 0.0, 0.0

    def __dir__(self) -> list[str]:
        # Dumps show the attributes that are listed here.
        return sorted({*super().__dir__()} - {"plain"})

    @property
    def place(self) -> str:
        """Where the token stands on a request, for an error."""
        return self.header

    def carries(self, request: requests.PreparedRequest) -> bool:
        """Return whether *request* carries the token: after a redirect to another origin it does not."""
        return bool(request.headers.get(self.header) == self.plain)

    def __reduce__(self) -> tuple[Any, ...]:
        # No token and no source: a request that is pickled was sent, as a rule.
        return functools.partial, (keep_within_origin, self.header)

    def put(self, request: requests.PreparedRequest) -> None:
        """Put the token on *request*, in the place of an older one."""
        request.headers[self.header] = self.plain

    def put_on_redirects(self, request: requests.PreparedRequest) -> None:
        """Put the token on *request*, of which redirects are copies."""
        self.put(request)

    def clear(self, request: requests.PreparedRequest) -> None:
        """Remove the token from the URL of *request*, which is not sent again: an error holds it."""

    def answer(self, response: requests.Response, adapter: Any, **_: Any) -> requests.Response:  # noqa: ARG002
        """Return *response*, or what follows if it asks for another proof of the same token."""
        return response

    def over(self, adapter: Any) -> Any:
        """Return what sends replays by *adapter*."""
        return adapter

    def follow(self, response: requests.Response, sent: requests.PreparedRequest) -> requests.Response:
        """Keep the token within its origin, where *response* redirects *sent*, which the session copies."""
        return keep_within_origin(self.header, response, sent) if self.header else response

    def renewed(self, token: Token) -> TokenHook:
        """Return a hook for *token* in the same place."""
        return TokenHook(self.source, self.header, self.scheme, self.rules, token)

    def __call__(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        sent = response.request
        # After a redirect to another origin, its responses come here as well. They do not concern this token.
        if sent.headers.get(self.header) != self.plain:  # not carries(), as each response comes here
            return response
        if response.status_code < self.rules.least:
            self.source.accept(self.token)
        else:
            response = self._answer(response, **kwargs)
        # A session copies these headers to wherever a redirect leads.
        return keep_within_origin(self.header, response, sent) if response.is_redirect else response

    def _answer(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        """Return what the user gets for *response*, which may be a refusal."""
        with small_imports():
            from .replays import answer
        return answer(self, response, **kwargs)

    def replay(self, refusal: requests.Response, adapter: Any, **kwargs: Any) -> requests.Response:
        """Send the refused request with this token; once more after a pause, if it is refused because it is new."""
        from .replays import replay  # which calls this

        return replay(self, refusal, adapter, **kwargs)


#: What an auth begins with: its time is always over.
NOT_READY = TokenHook(None, "", "", DEFAULT_RULES, Token(access_token=""))  # type: ignore[arg-type]  # nothing carries it
