"""A token in the query of a URL: put there, taken out, and recognised. All else of the URL stays byte for byte."""

from __future__ import annotations

from urllib.parse import quote, unquote, unquote_plus

from auth_plugins._base.validation import check_parameter_name
from auth_plugins._protocol.tokens import Token


class QueryParameter:
    """The parameter of a URL's query that carries the token.

    :param name: its name, not encoded.
    :raises ConfigurationError: it cannot be one.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = check_parameter_name("query", name)

    def put(self, url: str, token: Token) -> str:
        """Return *url* with *token*, in the place of the first parameter of this name, and without all others."""
        path, query, fragment = _split(url)
        pair = f"{quote(self.name, safe='')}={quote(token.access_token, safe='')}"
        pairs = [pair if self._is_named(each) else each for each in query.split("&")]
        if pair not in pairs:
            # The last one is empty where there is no query, and after an "&" that ends it.
            pairs = [*(pairs if pairs[-1] else pairs[:-1]), pair]
        first = pairs.index(pair)
        kept = [each for place, each in enumerate(pairs) if place == first or each != pair]
        return f"{path}?{'&'.join(kept)}{fragment}"

    def remove(self, url: str) -> str:
        """Return *url* without any parameter of this name."""
        path, query, fragment = _split(url)
        kept = "&".join(each for each in query.split("&") if not self._is_named(each))
        return f"{path}{'?' * bool(kept)}{kept}{fragment}"

    def holds(self, url: str, token: Token) -> bool:
        """Return whether a parameter of this name has *token* as its value."""
        values = [each.partition("=")[2] for each in _split(url)[1].split("&") if self._is_named(each)]
        # A server that repeats it in an address may leave a plus sign as it is.
        return any(token.access_token in (unquote_plus(value), unquote(value)) for value in values)

    def _is_named(self, pair: str) -> bool:
        return unquote_plus(pair.partition("=")[0]) == self.name


def _split(url: str) -> tuple[str, str, str]:
    """Return what stands before the query, the query, and the fragment with its mark."""
    before, mark, fragment = url.partition("#")
    path, _, query = before.partition("?")
    return path, query, mark + fragment
