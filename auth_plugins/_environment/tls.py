"""The variables about TLS with the token endpoint: the client's certificate, and the CA of the server."""

from collections.abc import Mapping
from typing import Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.tls_files import check_ca, check_path
from auth_plugins._client_auth.certificates import TLSClientAuth

from .client_auth import call
from .definitions import BY_CERTIFICATE
from .variables import Variables

#: The arguments of TLSClientAuth, and their variables.
_ARGUMENTS = {"certificate": "CERTIFICATE", "key": "CERTIFICATE_KEY"}


def take_certificate(variables: Variables, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *values* with an object as CLIENT_AUTH in place of the variables of a certificate."""
    given = {argument: values[name] for argument, name in _ARGUMENTS.items() if name in values}
    if not given:  # by name alone, the certificate is that of a session
        return values
    if "certificate" not in given:
        raise variables.missing_error(["CERTIFICATE"], variables.full("CERTIFICATE_KEY"))
    if values.get("CLIENT_AUTH") not in BY_CERTIFICATE:
        name = variables.full("CLIENT_AUTH")
        raise ConfigurationError(
            f"needs {name}={' or '.join(BY_CERTIFICATE)}",
            argument=variables.full("CERTIFICATE"),
            advice=f"set {name} to one of these, or unset it",
        )
    made = call(TLSClientAuth, given, {argument: variables.full(name) for argument, name in _ARGUMENTS.items()})
    others = {name: value for name, value in values.items() if name not in _ARGUMENTS.values()}
    return {**others, "CLIENT_AUTH": made}


def take_ca_bundle(variables: Variables, values: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """Return the path of the CA certificates, or ``None``, and the other *values*.

    :raises ConfigurationError: the file is missing, or holds none.
    """
    if "CA_BUNDLE" not in values:
        return None, values
    variable = variables.full("CA_BUNDLE")
    path = check_path(variable, values["CA_BUNDLE"])
    try:
        check_ca(path)
    except ConfigurationError as error:
        problem = ConfigurationError(f"names a file that {error.problem}", argument=variable, advice=error.advice)
    else:
        return path, {name: value for name, value in values.items() if name != "CA_BUNDLE"}
    raise problem
