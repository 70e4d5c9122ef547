"""Several auths of one library as one, which ``auth_a + auth_b`` makes, whatever the library."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, Self, TypeVar

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hide_arguments
from auth_plugins._grants.base import Grant
from auth_plugins._source.source import TokenSource

from .base import Adapter

Auth = TypeVar("Auth")

_ADVICE = "give one of them another header, such as header='X-Access-Token'"


class Combined(Generic[Auth]):
    """Puts the credentials of several auths on each request.

    :param auths: in the order in which their tokens are replaced; one that is combined itself counts as its parts.
    :raises ConfigurationError: one is no auth of this library, or two use one header.
    """

    #: The library's name, and the base class of its auths.
    _library_name: ClassVar[str]
    _auth_base: ClassVar[type[Any]]
    #: The library's own auths that use ``Authorization``.
    _authorizing: ClassVar[tuple[type[Any], ...]]

    def __init__(self, *auths: Any) -> None:
        self._auths: tuple[Any, ...] = ()
        for auth in auths:
            self._auths += auth._auths if isinstance(auth, Combined) else (auth,)
        for auth in self._auths:
            if not isinstance(auth, self._auth_base):
                raise self._not_combinable(auth)
        self._check_places()
        self._own = [auth for auth in self._auths if self._is_own(auth)]
        self._others = [auth for auth in self._auths if not self._is_own(auth)]

    @hide_arguments
    def __add__(self, other: Auth) -> Self:
        return type(self)(self, other)

    @hide_arguments
    def __radd__(self, other: Auth) -> Self:
        return type(self)(other, self)

    def __reduce__(self) -> tuple[Any, ...]:
        return combined, self._auths

    def __repr__(self) -> str:
        # The repr of another library's auth may hold a password.
        shown = [repr(auth) if isinstance(auth, Adapter) else f"{type(auth).__name__}(...)" for auth in self._auths]
        return " + ".join(shown)

    def _is_own(self, auth: Any) -> bool:
        """Return whether the token of *auth* is replaced here, together with those of the others."""
        return isinstance(auth, Adapter)

    def _check_places(self) -> None:
        """Refuse two auths that are known to use one header on some request."""
        owners: dict[str, Any] = {}
        for auth in self._auths:
            place = auth._place() if isinstance(auth, Adapter) else self._place_of(auth)
            earlier = owners.setdefault(place, auth) if place else auth
            # Those with allowed_hosts may be for different hosts. The request will show it.
            if earlier is not auth and not (_has_hosts(earlier) and _has_hosts(auth)):
                raise ConfigurationError(f"two auths that are combined both use {place}", advice=_ADVICE)

    def _place_of(self, auth: Any) -> str:
        return "authorization" if isinstance(auth, self._authorizing) else ""

    def _not_combinable(self, given: object) -> ConfigurationError:
        library = self._library_name
        what, advice = f"an object of type {type(given).__name__}", f"give an auth of {library}"
        if isinstance(given, (Grant, TokenSource)):
            what, advice = f"a {type(given).__name__}", f"give OAuth2Auth(...) of it, from auth_plugins.{library}"
        elif isinstance(given, (Adapter, Combined)):
            what, advice = "an OAuth2Auth of another library", f"import auth_plugins.{library}"
        return ConfigurationError(f"auths that are combined must all be of {library}, got {what}", advice=advice)


def combined(*auths: Any) -> Any:
    """Combine *auths*, of which one is an ``OAuth2Auth``."""
    return next(auth for auth in auths if isinstance(auth, Adapter))._combined(*auths)


def overwritten(place: str) -> ConfigurationError:
    """Return the error for a token in *place* that another auth replaced on the same request."""
    return ConfigurationError(f"two auths that are combined both use {place} on one request", advice=_ADVICE)


def _has_hosts(auth: Any) -> bool:
    return isinstance(auth, Adapter) and auth._hosts is not None
