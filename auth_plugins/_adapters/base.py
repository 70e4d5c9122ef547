"""What the adapters of all libraries share: their arguments, and which requests may carry the token."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypedDict, Unpack

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hide_arguments
from auth_plugins._base.loading import small_imports
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.source import TokenSource
from auth_plugins._transports.base import LibraryTransport, Transport

from .rules import DEFAULT_RULES, RefusalRules, Refused
from .sources import is_copied, let_copy, share_ready, source_for

_log = logging.getLogger("auth_plugins")
#: Stands for the token in a scheme, for APIs that want no space before it.
TEMPLATE = "{token}"
#: Stands for the scheme that the type of the token says; compared by ``is``, as a user may write the same.
BY_TYPE = f"DPoP {TEMPLATE}"
_LIBRARIES = ("requests", "httpx", "httpx2")
_OPTIONS = (
    "cache", "allowed_hosts", "header", "scheme", "query", "allow_http", "leeway", "timeout", "refresh_ahead", "refused"
)  # fmt: skip

if TYPE_CHECKING:
    from auth_plugins._base.hosts import AllowedHosts
    from auth_plugins._client_auth.proofs import Prover

    from .queries import QueryParameter

    class Overrides(TypedDict, total=False):
        """For type checkers: the keyword arguments that each library's ``OAuth2Auth`` takes."""

        cache: MemoryCache | TokenCache | None
        allowed_hosts: str | Iterable[str] | None
        header: str | None
        scheme: str | None
        query: str | None
        allow_http: bool
        leeway: float | None
        timeout: float | None
        refresh_ahead: bool | None
        refused: Refused | None

else:  # so that annotations can be resolved; to make a TypedDict takes longer than to load a module
    Overrides = dict


class Adapter:
    """The common part of each library's ``OAuth2Auth``."""

    #: The token source behind this auth.
    source: TokenSource
    #: The header that carries the token; ``""``: the query of the URL does.
    header: str
    #: The parameter of the URL's query that carries the token; ``None``: a header does.
    query: str | None = None
    _parameter: QueryParameter | None = None
    #: What makes DPoP proofs; ``None``: no token is bound to a key.
    _prover: Prover | None = None
    _hosts: AllowedHosts | None = None
    #: Which responses refuse a token. Not in the class: Python reads an attribute that a class has as well more slowly.
    _rules: RefusalRules
    #: What the requests that are like the last one get, without a further look.
    _ready: Any
    #: The name of the argument for the library's own session or client.
    _session_argument: ClassVar[str]

    if TYPE_CHECKING:

        def _combined(self, *auths: Any) -> Any:
            """Return the library's auth that combines *auths*."""

        def _remove(self, request: Any) -> None:
            """Remove any token from the URL of *request*, which is not sent: an error holds it."""

    def _configure(
        self,
        grant_or_source: Grant | TokenSource,
        transport: Transport | LibraryTransport,
        session: Any,
        options: tuple[Any, ...],
    ) -> None:
        """Take the arguments of the library's ``OAuth2Auth``; *options* are those named in :data:`_OPTIONS`."""
        if session is None and is_copied(self, grant_or_source, options):
            return
        cache, allowed_hosts, header, scheme, query, allow_http, leeway, timeout, refresh_ahead, refused = options
        if allow_http is not True and allow_http is not False:
            problem = f"must be True or False, got an object of type {type(allow_http).__name__}"
            raise ConfigurationError(problem, argument="allow_http")
        self.source = source = source_for(
            grant_or_source,
            # A TokenSource keeps the library that sends its token requests, unless a session of this one is given.
            None if session is None and isinstance(grant_or_source, TokenSource) else transport,
            allow_http=allow_http,
            cache=cache,
            leeway=leeway,
            timeout=timeout,
            refresh_ahead=refresh_ahead,
            session=session,
        )
        if session is not None and source.grant.tls_setting:
            raise ConfigurationError(
                f"contradicts {{{source.grant.tls_setting}}} of the grant, as it has its own certificates",
                argument=self._session_argument,
                advice="leave one of them out",
            )
        self._set_place(source.grant, header, scheme, query)
        if allowed_hosts is not None:
            with small_imports():
                from auth_plugins._base.hosts import AllowedHosts
            self._hosts = AllowedHosts(allowed_hosts)
        has_own_rules = refused is not None or self._prover is not None
        self._rules = RefusalRules(refused) if has_own_rules else DEFAULT_RULES
        if self._prover is not None:
            self._rules.least = 0  # a nonce may come with each response
        self._allow_http = allow_http
        self._state = source._state
        self._given = grant_or_source, session, options
        if session is None and source._state.token is not None:
            let_copy(self, grant_or_source, options)

    def _set_ready(self, ready: Any) -> None:
        """Use *ready* for requests like the last one, and have later copies of this auth do so."""
        self._ready = ready
        share_ready(self)

    def _set_place(self, grant: Grant, header: str | None, scheme: str | None, query: str | None) -> None:
        """Set where the token goes: where the arguments say, else where the *grant* says."""
        if (prover := grant.prover()) is not None:
            with small_imports():
                from .proofs import check_place
            check_place(header, scheme, query)
            self._prover, self.header, self._scheme = prover, "Authorization", BY_TYPE
            return
        if query is None and header is None:
            query, given = grant.query_parameter(), "the query of the grant"
        else:
            given = "{query}"
        if query is not None and not (header is None and scheme is None):
            argument = "scheme" if header is None else "header"
            raise ConfigurationError(f"contradicts {given}", argument=argument, advice="give one of them")
        if query is not None:
            with small_imports():
                from .queries import QueryParameter
            self._parameter = QueryParameter(query)
            self.query, self.header, self._scheme = query, "", ""
            return
        own_header, own_scheme = grant.header_and_scheme()
        self.header = own_header if header is None else header
        self._scheme = own_scheme if scheme is None else scheme
        if self.header != "Authorization" or self._scheme != "Bearer":
            with small_imports():
                from auth_plugins._base.validation import check_header
            check_header(self.header, self._scheme)

    @classmethod
    @hide_arguments
    def from_env(
        cls, prefix: str = "AUTH_PLUGINS", environ: Mapping[str, str] | None = None, **overrides: Unpack[Overrides]
    ) -> Self:
        """Configure by environment variables: ``ACME_TOKEN_URL`` and so on for the *prefix* ``"ACME"``.

        :param prefix: the first part of each name, such as ``"ACME"``; the default is ``"AUTH_PLUGINS"``.
        :param environ: where the variables are looked up; ``None`` (the default): in ``os.environ``.
        :param overrides: arguments of this class, which take precedence over variables.
        :raises ConfigurationError: a variable is missing, unknown, misspelt or contradicts another.
        """
        from auth_plugins._environment.configuration import configuration

        grant, arguments = configuration(prefix, environ)
        # An override names another place than the variables do.
        if overrides.get("query") is not None:
            arguments = {name: value for name, value in arguments.items() if name not in ("header", "scheme")}
        elif overrides.get("header") is not None or overrides.get("scheme") is not None:
            arguments.pop("query", None)
        return cls(grant, **{**arguments, **overrides})  # type: ignore[call-arg]  # of the library's class

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration: no token, but the secrets of the grant that are not callables."""
        grant_or_source, session, options = self._given
        if session is not None and self._session_argument == "client":
            raise ConfigurationError(
                "holds connections and doesn't pickle",
                argument="client",
                advice="make the auth where it is used, or leave out {client}",
            )
        arguments = {
            **dict(zip(_OPTIONS, options, strict=True)),
            "allowed_hosts": self._hosts and self._hosts.patterns,
            "refused": self._rules.given,
            self._session_argument: session,
        }
        return _unpickled, (type(self), grant_or_source, arguments)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source.grant!r})"

    @hide_arguments
    def __add__(self, other: Any) -> Any:
        """Return an auth that puts the credentials of both on each request: ``auth_a + auth_b``.

        On a refusal, the token of the left one is replaced first, then that of the right one, each at most once per
        request.

        :param other: any auth of the same library, its own ones included; several may follow one another.
        :raises ConfigurationError: it is none, or both use one header or parameter.
        """
        return self._combined(self, other)

    @hide_arguments
    def __radd__(self, other: Any) -> Any:
        return self._combined(other, self)

    def _place(self) -> str:
        """Return where the token stands on a request: two auths on one request need two places."""
        return self.header.lower() if self.query is None else f"the parameter {self.query}"

    def _may_carry(self, scheme: str, host: str, port: int | None) -> bool:
        """Return whether a request to this origin gets the token.

        :raises InsecureTransportError: it would, but over ``http://`` to another machine.
        """
        if self._hosts is not None and (scheme, host, port) not in self._hosts:
            _log.debug("a request to %s://%s gets no token: its host is not in allowed_hosts", scheme, host)
            return False
        if scheme == "http" and not self._allow_http:
            with small_imports():
                from auth_plugins._base.hosts import check_transport
            check_transport(scheme, host, allow_http=False)
        return True

    def _wrong_library(self, request: object) -> ConfigurationError:
        """Make the error for a *request* that is not of this adapter's library: its type says whose it is."""
        packages = [kind.__module__.partition(".")[0] for kind in type(request).__mro__]
        caller = next((package for package in packages if package in _LIBRARIES), None)
        return ConfigurationError(
            f"is the OAuth2Auth of {type(self).__module__}, but {caller or packages[0]} called it",
            argument="auth",
            advice=f"import auth_plugins.{caller}" if caller else "import the one for the library that you call",
        )


def _unpickled(kind: Callable[..., Adapter], given: Grant | TokenSource, arguments: Mapping[str, Any]) -> Adapter:
    return kind(given, **arguments)


def header_value(scheme: str, token: Token) -> str:
    """Return what the header holds for *token*, as plain text: recorders of requests store no class of ours."""
    if TEMPLATE in scheme:
        if scheme is BY_TYPE:
            return f"{token.header_value}"
        return scheme.replace(TEMPLATE, f"{token.access_token}")
    return f"{scheme} {token.access_token}" if scheme else f"{token.access_token}"


def own_class(library: ModuleType, name: str) -> type[Any]:
    """Return the class of that *name* that is ours and one of *library* at once, for the adapter's module.

    :raises AttributeError: there is none.
    """
    if name.startswith("__"):  # each import asks for such names
        raise AttributeError(f"module 'auth_plugins.{library.__name__}' has no attribute {name!r}")
    with small_imports():
        from . import own_classes
    return own_classes.own_class(library, name)


def wrong_session(argument: str, expected: str, given: object) -> ConfigurationError:
    """Return the error for a ``session=`` or ``client=`` of another class."""
    return ConfigurationError(f"must be {expected}, got an object of type {type(given).__name__}", argument=argument)
