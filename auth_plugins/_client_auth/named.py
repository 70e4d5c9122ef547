"""The values of ``client_auth``: names, and objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.validation import CLIENT_AUTH, one_of, wrong_type

from .base import ClientAuthentication


def _client_secret_jwt() -> ClientAuthentication:
    from .assertions import ClientSecretJWT

    return ClientSecretJWT()


#: By name, the object that a name stands for. For the other names, ``_protocol`` has a function.
_OBJECTS: Mapping[str, Callable[[], ClientAuthentication]] = {"client_secret_jwt": _client_secret_jwt}


def authentication_of(client_auth: str | ClientAuthentication | None) -> ClientAuthentication | None:
    """Return the object that authenticates the client; ``None``: the name is one of a function of ``_protocol``."""
    if isinstance(client_auth, str):  # first, as a grant may be made for each request
        make = _OBJECTS.get(client_auth)
        return None if make is None else make()
    return client_auth


def check_client_auth(argument: str, value: object) -> str | ClientAuthentication:
    """Return a name of a client authentication, or an object, unchanged."""
    if isinstance(value, ClientAuthentication):
        return value
    if value == "private_key_jwt":
        problem = "must be an object for private_key_jwt"
        raise ConfigurationError(problem, argument=argument, advice="give PrivateKeyJWT(key)")
    if isinstance(value, str):
        return one_of(*CLIENT_AUTH)(argument, value)
    if isinstance(value, type) and issubclass(value, ClientAuthentication):
        problem = f"must be an object, got the class {value.__name__}"
        raise ConfigurationError(problem, argument=argument, advice=f"give {value.__name__}(...)")
    raise wrong_type(argument, value, f"one of {', '.join(CLIENT_AUTH)}, or an object such as PrivateKeyJWT(key)")
