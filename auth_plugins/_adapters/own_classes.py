"""Classes that are ours and a library's at once; made when one is first needed, as most programs need none.

Pickle finds them by their names in the module of the library's adapter.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from auth_plugins._base.errors import (
    AuthError,
    ConfigurationError,
    InsecureTransportError,
    LoginRequiredError,
    TokenRequestError,
    TokenTransportError,
)

# By library. Of threads that make the same at once, the first one's is used by all.
_errors: dict[str, tuple[type[AuthError], ...]] = {}
_headers: dict[str, type[Any]] = {}


def own_errors(library: ModuleType) -> tuple[type[AuthError], ...]:
    """Return the package's errors as those of *library*, each before the one that it is derived from."""
    name = library.__name__
    return _errors.get(name) or _errors.setdefault(name, _make_errors(library))


def _make_errors(library: ModuleType) -> tuple[type[AuthError], ...]:
    if library.__name__ == "requests":
        error, transport_error = library.RequestException, library.ConnectionError
    else:
        error, transport_error = library.RequestError, library.TransportError
    refusals = (LoginRequiredError, TokenRequestError)  # the derived one first
    kinds = (ConfigurationError, InsecureTransportError, *refusals, TokenTransportError, AuthError)
    members = {**_members(library), "__doc__": "The package's error, as the library's own."}
    return tuple(
        type(kind.__name__, (kind, transport_error if kind is TokenTransportError else error), members)
        for kind in kinds
    )


def bound_headers(library: ModuleType) -> type[Any]:
    """Return the headers of httpx or httpx2 of which one stays within its origin."""
    name = library.__name__
    return _headers.get(name) or _headers.setdefault(name, _make_headers(library))


def _make_headers(library: ModuleType) -> type[Any]:
    from .for_httpx.headers import OriginBoundHeaders

    return type("_OriginBoundHeaders", (OriginBoundHeaders, library.Headers), _members(library))


def own_class(library: ModuleType, name: str) -> type[Any]:
    """Return the class of that *name*.

    :raises AttributeError: there is none.
    """
    if name == "_OriginBoundHeaders":
        return bound_headers(library)
    for kind in own_errors(library):
        if kind.__name__ == name:
            return kind
    raise AttributeError(f"module 'auth_plugins.{library.__name__}' has no attribute {name!r}")


def _members(library: ModuleType) -> dict[str, Any]:
    return {"__module__": f"auth_plugins.{library.__name__}"}
