"""The variables about TLS with the token endpoint: the client's certificate, and the CA of the server."""

from typing import Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.tls_files import check_ca, check_path
from auth_plugins._client_auth.certificates import TLSClientAuth

from .definitions import BY_CERTIFICATE
from .variables import Variables


def take_certificate(variables: Variables, values: dict[str, Any]) -> TLSClientAuth | None:
    """Remove the certificate from *values*, and return it; ``None``: there is none, or it is that of a session."""
    certificate, key = values.pop("CERTIFICATE", None), values.pop("CERTIFICATE_KEY", None)
    if key is not None and certificate is None:
        raise variables.missing_error(["CERTIFICATE"], variables.full("CERTIFICATE_KEY"))
    if certificate is None:
        return None
    if values.get("CLIENT_AUTH") not in BY_CERTIFICATE:
        name = variables.full("CLIENT_AUTH")
        advice = f"set {name} to one of these, or unset it"
        raise ConfigurationError(
            f"needs {name}={' or '.join(BY_CERTIFICATE)}", argument=variables.full("CERTIFICATE"), advice=advice
        )
    path = check_path(variables.full("CERTIFICATE"), certificate)
    return TLSClientAuth(path, None if key is None else check_path(variables.full("CERTIFICATE_KEY"), key))


def take_ca_bundle(variables: Variables, values: dict[str, Any]) -> str | None:
    """Remove the path of the CA certificates from *values*, and return it; ``None``: there is none.

    :raises ConfigurationError: the file is missing, or holds none.
    """
    given = values.pop("CA_BUNDLE", None)
    if given is None:
        return None
    path = check_path(variables.full("CA_BUNDLE"), given)
    try:
        check_ca(path)
    except ConfigurationError as error:
        text = f"names a file that {error.problem}"
        problem = ConfigurationError(text, argument=variables.full("CA_BUNDLE"), advice=error.advice)
    else:
        return path
    raise problem
