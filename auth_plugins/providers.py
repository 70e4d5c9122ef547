"""Systems that this package knows by name: each is a function that returns a grant.

Every function raises a ConfigurationError for an argument that cannot work. ``client_secret`` and ``password`` take a
str or a callable without arguments. ``options`` are keyword arguments of the grant; they replace the provider's own.
In the environment a provider is named by ``PREFIX_PROVIDER``, with ``-`` in place of ``_``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.validation import Secret, check_url, hide_arguments, one_of
from auth_plugins._grants.base import Grant
from auth_plugins._grants.client_credentials import ClientCredentials
from auth_plugins._grants.password import Password

__all__ = ["auth_api", "json_api", "jwt_api", "organization_api", "upload_api"]


@hide_arguments
def upload_api(
    identity_url: str, client_id: str, client_secret: Secret, scope: str = "platform_upload_api", **options: Any
) -> ClientCredentials:
    """Upload API v2: client credentials, by Basic with id and secret URL-encoded.

    Its documentation says URL-encoded, but shows an example that is not. If a server follows the example, give
    ``client_auth="client_secret_basic_raw"``.

    :param identity_url: the URL of the identity server, such as ``https://identity.example.com``.
    """
    arguments = {"scope": scope, "client_auth": "client_secret_basic", **options}
    return ClientCredentials(
        _join("identity_url", identity_url, "/connect/token"), client_id, client_secret, **arguments
    )


@hide_arguments
def jwt_api(base_url: str, client_id: str, client_secret: Secret, **options: Any) -> ClientCredentials:
    """Client credentials by Basic without percent-encoding; a client id with ``":"`` is refused.

    :param base_url: the URL of the API, such as ``https://api.example.com``.
    """
    arguments = {"client_auth": "client_secret_basic_raw", **options}
    return ClientCredentials(_join("base_url", base_url, "/oauth/v2/token"), client_id, client_secret, **arguments)


@hide_arguments
def auth_api(base_url: str, username: str, password: Secret, staging: bool = False, **options: Any) -> Password:  # noqa: FBT001, FBT002 - the fixed interface
    """User name and password, sent once; then rotated refresh tokens at another endpoint. There is no client.

    :param base_url: the URL of the production host, such as ``https://auth.example.com``.
    :param staging: ``True``: use the staging host, ``https://auth-stg.example.com``, which has other credentials.
    """
    if staging:
        base_url = _staging(_join("base_url", base_url, ""))
    arguments = {
        # The documented requests hold only user name and password, or only the refresh token.
        "params": {"grant_type": None},
        "refresh_url": _join("base_url", base_url, "/auth/refresh"),
        **options,
    }
    return Password(_join("base_url", base_url, "/auth/password"), username, password, **arguments)


@hide_arguments
def organization_api(
    server_address: str, client_id: str, client_secret: Secret, credentials: str = "header", **options: Any
) -> ClientCredentials:
    """Client credentials with refresh tokens.

    :param server_address: a host, which means ``https://``, or a URL.
    :param credentials: ``"header"``: Basic without percent-encoding; ``"query"``: all in the URL, where proxies and
        logs see it.
    """
    places = {
        "header": {"client_auth": "client_secret_basic_raw"},
        "query": {"client_auth": "client_secret_post", "encoding": "query"},
    }
    arguments: dict[str, Any] = {**places[one_of(*places)("credentials", credentials)], **options}
    is_host = isinstance(server_address, str) and "://" not in server_address
    url = f"https://{server_address}" if is_host else server_address
    return ClientCredentials(_join("server_address", url, "/oauth2/token"), client_id, client_secret, **arguments)


@hide_arguments
def json_api(
    base_url: str, client_id: str, client_secret: Secret, method: str = "POST", **options: Any
) -> ClientCredentials:
    """Client credentials in a JSON body.

    Its documentation says GET in the text, and POST in each example.

    :param base_url: the URL of the API, such as ``https://api.example.com/v1``.
    :param method: ``"POST"`` (the default), or ``"GET"``, which sends the parameters in the query,
        where proxies and logs see them.
    """
    encoding = "query" if method == "GET" else "json"
    arguments = {"client_auth": "client_secret_post", "encoding": encoding, "method": method, **options}
    return ClientCredentials(_join("base_url", base_url, "/oauth/token"), client_id, client_secret, **arguments)


#: The providers by their names in the environment.
BY_NAME: Mapping[str, Callable[..., Grant]] = {
    function.__name__.replace("_", "-"): function
    for function in (upload_api, jwt_api, auth_api, organization_api, json_api)
}


def _join(argument: str, base: object, path: str) -> str:
    url = check_url(argument, base)
    if "?" in url:
        raise ConfigurationError(
            "must have no query", argument=argument, advice="give the address that the system's documentation names"
        )
    return url.rstrip("/") + path


def _staging(url: str) -> str:
    """Append ``-stg`` to the first label of the host."""
    parts = urlsplit(url)
    label, dot, rest = parts.netloc.partition(".")
    if not dot or label.isdigit():
        raise ConfigurationError(
            "needs {base_url} with a host name of several labels",
            argument="staging",
            advice="give the staging URL as {base_url}",
        )
    return urlunsplit(parts._replace(netloc=f"{label}-stg{dot}{rest}"))
