"""The variables of the assertion that a JWT bearer grant sends."""

from collections.abc import Mapping
from typing import Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._client_auth.signed_jwt import SignedJWT

from .client_auth import call
from .definitions import SIGNED
from .variables import Variables

#: The variable of each argument of SignedJWT.
_ARGUMENTS = {
    "key": "PRIVATE_KEY",
    "issuer": "JWT_ISSUER",
    "subject": "JWT_SUBJECT",
    "key_id": "KEY_ID",
    "algorithm": "ALGORITHM",
}


def take_assertion(variables: Variables, values: Mapping[str, Any], user: str) -> Mapping[str, Any]:
    """Return *values* with a SignedJWT as ASSERTION in place of the variables that describe one.

    The key also authenticates the client if CLIENT_AUTH says so.
    """
    signed = [name for name in SIGNED if name in values]
    if "ASSERTION" in values:
        for name in signed:
            problem, advice = f"contradicts {variables.named('ASSERTION')}", "unset one of them"
            raise ConfigurationError(problem, argument=variables.full(name), advice=advice)
        return values
    if not signed and "PRIVATE_KEY" not in values:
        error = variables.missing_error(["ASSERTION"], user)
        others = f"{variables.full('PRIVATE_KEY')} and {variables.full('JWT_ISSUER')}"
        raise ConfigurationError(error.problem, advice=f"{error.advice}, or {others}")
    if missing := [name for name in ("PRIVATE_KEY", "JWT_ISSUER") if name not in values]:
        raise variables.missing_error(missing, user)
    names = {argument: variables.named(name) for argument, name in _ARGUMENTS.items()}
    names["SecretFile"] = variables.full("PRIVATE_KEY_FILE")
    made = call(SignedJWT, {argument: values[name] for argument, name in _ARGUMENTS.items() if name in values}, names)
    spent = SIGNED if values.get("CLIENT_AUTH") == "private_key_jwt" else tuple(_ARGUMENTS.values())
    return {**{name: value for name, value in values.items() if name not in spent}, "ASSERTION": made}
