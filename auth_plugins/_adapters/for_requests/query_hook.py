"""A token in the query of a URL of requests."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from auth_plugins._adapters.queries import QueryParameter
from auth_plugins._adapters.rules import RefusalRules
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.source import TokenSource

from .redirects import origin_of
from .token_hook import TokenHook

if TYPE_CHECKING:
    import requests


class QueryHook(TokenHook):
    """A token in the query of a URL, and the response hook of the request that carries it.

    A redirect is to a URL that the server wrote. So it carries the token only if the server repeats it there, and that
    is ours only within the origin of the request's own *url*.
    """

    __slots__ = ("home", "parameter")

    def __init__(
        self, source: TokenSource, parameter: QueryParameter, url: str, rules: RefusalRules, token: Token
    ) -> None:
        super().__init__(source, "", "", rules, token)
        self.parameter, self.home = parameter, origin_of(url)

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial, (_unchanged,)

    def put(self, request: requests.PreparedRequest) -> None:
        request.url = self.parameter.put(request.url or "", self.token)

    def put_on_redirects(self, request: requests.PreparedRequest) -> None:
        """Do nothing: no redirect has the URL of *request*, which stays as it was sent."""

    def clear(self, request: requests.PreparedRequest) -> None:
        request.url = self.parameter.remove(request.url or "")

    def renewed(self, token: Token) -> QueryHook:
        fresh = QueryHook(self.source, self.parameter, "", self.rules, token)
        fresh.home = self.home
        return fresh

    @property
    def place(self) -> str:
        return f"the parameter {self.parameter.name}"

    def carries(self, request: requests.PreparedRequest) -> bool:
        """Return whether *request* carries the token within the origin that it was put for."""
        url = request.url or ""
        return self.home is not None and origin_of(url) == self.home and self.parameter.holds(url, self.token)

    def __call__(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        if not self.carries(response.request):
            return response
        if response.status_code < self.rules.least:
            self.source.accept(self.token)
            return response
        return self._answer(response, **kwargs)


def _unchanged(response: requests.Response, **_: Any) -> requests.Response:
    """Return *response*: the hook of a request that was pickled after it was signed."""
    return response
