"""The variables of the key to which tokens are bound (DPoP, RFC 9449)."""

from collections.abc import Mapping
from typing import Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._client_auth.dpop import DPoPKey

from .client_auth import call
from .variables import Variables


def take_dpop(variables: Variables, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *values* with a DPoPKey as DPOP in place of DPOP_KEY, which alone means DPOP=true."""
    if "DPOP_KEY" not in values:
        return values
    if values.get("DPOP") is False:
        problem = f"contradicts {variables.full('DPOP')}=false"
        raise ConfigurationError(problem, argument=variables.named("DPOP_KEY"), advice="unset one of them")
    names = {"key": variables.named("DPOP_KEY"), "SecretFile": variables.full("DPOP_KEY_FILE")}
    made = call(DPoPKey, {"key": values["DPOP_KEY"]}, names)
    return {**{name: value for name, value in values.items() if name != "DPOP_KEY"}, "DPOP": made}
