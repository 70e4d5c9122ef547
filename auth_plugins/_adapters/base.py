"""What every adapter shares, whatever its library: which request may carry a token, where, and what was configured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import urlsplit

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import Hidden
from auth_plugins._base.hosts import AllowedHosts, check_transport
from auth_plugins._base.validation import check_header, hide_arguments
from auth_plugins._source.source import Policy, TokenSource, source_for

if TYPE_CHECKING:
    from auth_plugins._caches.memory import MemoryCache
    from auth_plugins._caches.protocol import TokenCache
    from auth_plugins._grants.base import Grant
    from auth_plugins._protocol.tokens import Token
    from auth_plugins._transports.base import Transport

__all__ = ["NOT_YET", "NO_BODY", "SAME_KEY", "SENT_AGAIN", "Adapter", "HeaderValue", "header_value", "log_refusal"]

#: What comes of a 401, in the log.
SENT_AGAIN = "a new token was obtained, and the request is sent again"
NOT_YET = "fresh tokens are refused as well, so no other is requested for now"
NO_BODY = "the token is given up; the body cannot be read a second time, so the request is not sent again"
SAME_KEY = "the key is still the same, so the request is not sent again"

_log = logging.getLogger("auth_plugins")


class Adapter:
    """The common part of each library's ``OAuth2Auth``."""

    #: The source behind this auth.
    source: TokenSource
    #: The header that carries the token.
    header: str
    _hosts: AllowedHosts | None = None
    #: The argument that takes the library's own session or client.
    _session_argument: ClassVar[str]

    def _configure(
        self,
        grant_or_source: Grant | TokenSource,
        transport: Transport,
        session: Any,
        *,
        cache: MemoryCache | TokenCache | None,
        allowed_hosts: str | Iterable[str] | None,
        header: str,
        scheme: str,
        allow_http: bool,
        policy: Policy,
    ) -> None:
        if allow_http is not False and allow_http is not True:
            raise ConfigurationError(f"allow_http is {allow_http!r}; give True or False")
        # A source that was made by hand keeps its library, unless a session of this one is handed in.
        keeps_library = session is None and isinstance(grant_or_source, TokenSource)
        self.source = source_for(
            grant_or_source,
            None if keeps_library else transport,
            allow_http=allow_http,
            cache=cache,
            session=session,
            **policy,
        )
        # What a grant says of itself, as an ApiKey does, holds unless the adapter is told something else.
        own_header, own_scheme = self.source.grant.header_and_scheme()
        self.header = own_header if header == "Authorization" else header
        self._scheme = own_scheme if scheme == "Bearer" else scheme
        if (self.header, self._scheme) != ("Authorization", "Bearer"):
            check_header(self.header, self._scheme)
        if allowed_hosts is not None:
            self._hosts = AllowedHosts(allowed_hosts)
        self._allow_http = allow_http
        self._state = self.source._state
        self._made_of = (grant_or_source, session, cache, header, scheme, policy)

    @classmethod
    @hide_arguments
    def from_env(cls, prefix: str = "AUTH_PLUGINS", environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Configure by environment variables: ``ACME_TOKEN_URL`` and so on for the *prefix* ``"ACME"``.

        :param environ: where the variables are looked up; ``None``: in ``os.environ``.
        :param overrides: arguments of this class, which win over variables.
        :raises ConfigurationError: a variable is missing, unknown, misspelt or contradicts another.
        """
        from auth_plugins._environment.configuration import configuration

        grant, arguments = configuration(prefix, environ)
        return cls(grant, **{**arguments, **overrides})  # type: ignore[call-arg]  # of the library's class

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled auth is its configuration: no token, but the secrets of its grant that are no callables."""
        given, session, cache, header, scheme, policy = self._made_of
        if session is not None and self._session_argument == "client":
            raise ConfigurationError(
                "a client= holds connections, and doesn't pickle; make the auth where it is used, or without a client"
            )
        arguments = {
            "cache": cache,
            "allowed_hosts": self._hosts and self._hosts.patterns,
            "header": header,
            "scheme": scheme,
            "allow_http": self._allow_http,
            self._session_argument: session,
            **policy,
        }
        return _unpickled, (type(self), given, arguments)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source.grant!r})"

    def _may_carry(self, scheme: str, host: str, port: int | None) -> bool:
        """Whether a request to this origin gets the token.

        :raises InsecureTransportError: it would, but in clear and to another machine.
        """
        if self._hosts is not None and (scheme, host, port) not in self._hosts:
            return False
        check_transport(scheme, host, allow_http=self._allow_http)
        return True


class HeaderValue(Hidden):
    """What a header holds; dumps do not show it. Requests get the *plain* text: recorders store no others' classes."""

    __slots__ = ("plain",)

    plain: str


def header_value(scheme: str, token: Token) -> HeaderValue:
    """What the header holds for *token*."""
    plain = f"{scheme} {token.access_token}" if scheme else str(token.access_token)
    value = HeaderValue(plain)
    value.plain = plain
    return value


def log_refusal(request: Any, outcome: str) -> None:
    """Log that an API answered 401 to *request*, and the *outcome*; of the URL only scheme, host, port and path."""
    if _log.isEnabledFor(logging.DEBUG):
        url = urlsplit(str(request.url))
        host = url.netloc.rpartition("@")[2]
        _log.debug("%s %s://%s%s was answered 401: %s", request.method, url.scheme, host, url.path, outcome)


def _unpickled(kind: Callable[..., Adapter], given: Grant | TokenSource, arguments: Mapping[str, Any]) -> Adapter:
    return kind(given, **arguments)
