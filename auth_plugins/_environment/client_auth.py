"""The variables of client authentication by a key or an assertion."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._client_auth.assertions import ClientAssertion, ClientSecretJWT, PrivateKeyJWT

from .definitions import ASSERTION
from .variables import Variables

_T = TypeVar("_T")
#: By CLIENT_AUTH, or CLIENT_ASSERTION, what makes the object, and the variable of each argument.
_OBJECTS: Mapping[str, tuple[Callable[..., Any], Mapping[str, str]]] = {
    "CLIENT_ASSERTION": (ClientAssertion, {"assertion": "CLIENT_ASSERTION"}),
    "private_key_jwt": (PrivateKeyJWT, {"key": "PRIVATE_KEY", "key_id": "KEY_ID", "algorithm": "ALGORITHM"}),
    "client_secret_jwt": (ClientSecretJWT, {"algorithm": "ALGORITHM"}),
}


def take_client_auth(variables: Variables, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *values* with an object as CLIENT_AUTH in place of the variables that describe one."""
    own, way = [name for name in ASSERTION if name in values], values.get("CLIENT_AUTH")
    is_ready = "CLIENT_ASSERTION" in own and way in (None, "private_key_jwt")
    if way == "private_key_jwt" and "PRIVATE_KEY" not in own and not is_ready:
        raise variables.missing_error(["PRIVATE_KEY"], f"{variables.full('CLIENT_AUTH')}={way}")
    if not own:
        return values
    if way is None and not is_ready:
        advice = f"{variables.named(own[0])} needs it, as private_key_jwt"
        raise ConfigurationError(f"{variables.full('CLIENT_AUTH')} is not set", advice=advice)
    make, arguments = _OBJECTS.get("CLIENT_ASSERTION" if is_ready else str(way), (ClientSecretJWT, {}))
    for name in own:
        if name not in arguments.values():
            other = variables.named("CLIENT_ASSERTION") if is_ready else f"{variables.full('CLIENT_AUTH')}={way}"
            problem, advice = f"contradicts {other}, which has no use for it", "unset one of them"
            raise ConfigurationError(problem, argument=variables.named(name), advice=advice)
    names = {argument: variables.named(name) for argument, name in arguments.items()}
    names["SecretFile"] = variables.full(f"{own[0]}_FILE")
    made = call(make, {argument: values[name] for argument, name in arguments.items() if name in values}, names)
    return {**{name: value for name, value in values.items() if name not in own}, "CLIENT_AUTH": made}


def call(make: Callable[..., _T], arguments: Mapping[str, Any], names: Mapping[str, str]) -> _T:
    """Call *make*; an error has the *names* of variables in place of those of arguments."""
    try:
        return make(**arguments)
    except ConfigurationError as error:
        problem = error.renamed(names)
    raise problem  # without a context, which would be shown
