"""The systems that this package knows by name: data, not classes; each a function that returns a grant.

Each takes any keyword argument of its grant as well, which wins over the provider's own.
A provider is named ``PREFIX_PROVIDER`` in the environment, with ``-`` for ``_``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.validation import Secret, checked_url, hide_arguments
from auth_plugins._grants.base import Grant
from auth_plugins._grants.oauth import ClientCredentials, Password

__all__ = ["auth_api", "json_api", "jwt_api", "organization_api", "upload_api"]


@hide_arguments
def upload_api(
    identity_url: str, client_id: str, client_secret: Secret, scope: str = "platform_upload_api", **options: Any
) -> ClientCredentials:
    """Upload API v2: client credentials, by Basic with id and secret URL-encoded.

    Its documentation says URL-encoded, and shows an example that isn't; for a server that follows the example give
    ``client_auth="client_secret_basic_raw"``.

    :param identity_url: the identity server, such as ``https://identity.example.com``.
    """
    arguments = {"scope": scope, "client_auth": "client_secret_basic", **options}
    return ClientCredentials(
        _join("identity_url", identity_url, "/connect/token"), client_id, client_secret, **arguments
    )


@hide_arguments
def jwt_api(base_url: str, client_id: str, client_secret: Secret, **options: Any) -> ClientCredentials:
    """Client credentials by Basic as they are; a client id with ``":"`` cannot travel so, and is refused.

    :param base_url: the API, such as ``https://api.example.com``.
    """
    arguments = {"client_auth": "client_secret_basic_raw", **options}
    return ClientCredentials(_join("base_url", base_url, "/oauth/v2/token"), client_id, client_secret, **arguments)


@hide_arguments
def auth_api(base_url: str, username: str, password: Secret, staging: bool = False, **options: Any) -> Password:  # noqa: FBT001, FBT002 - the fixed interface
    """User name and password, sent once; then rotating refresh tokens, by an endpoint of their own. No client.

    :param base_url: the production host, such as ``https://auth.example.com``.
    :param staging: use the staging host, ``https://auth-stg.example.com``, which has credentials of its own.
    """
    if staging:
        base_url = _staging(_join("base_url", base_url, ""))
    arguments = {
        # The documents' requests have user name and password alone, or the refresh token alone.
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

    :param server_address: a host, which stands for ``https://``, or a URL.
    :param credentials: ``"header"``: Basic as they are; ``"query"``: everything in the URL, where proxies and logs see
        it.
    """
    places = {
        "header": {"client_auth": "client_secret_basic_raw"},
        "query": {"client_auth": "client_secret_post", "encoding": "query"},
    }
    if not isinstance(credentials, str) or credentials not in places:
        raise ConfigurationError(f"credentials is not one of {', '.join(places)}; give one of them")
    arguments: dict[str, Any] = {**places[credentials], **options}
    url = (
        server_address
        if not isinstance(server_address, str) or "://" in server_address
        else f"https://{server_address}"
    )
    return ClientCredentials(_join("server_address", url, "/oauth2/token"), client_id, client_secret, **arguments)


@hide_arguments
def json_api(
    base_url: str, client_id: str, client_secret: Secret, method: str = "POST", **options: Any
) -> ClientCredentials:
    """Client credentials in a JSON body.

    Its documentation says GET in the text and POST in each example: POST is the default.

    :param base_url: the API, such as ``https://api.example.com/v1``.
    :param method: ``"GET"`` sends the parameters in the query, where proxies and logs see them.
    """
    encoding = "query" if method == "GET" else "json"
    arguments = {"client_auth": "client_secret_post", "encoding": encoding, "method": method, **options}
    return ClientCredentials(_join("base_url", base_url, "/oauth/token"), client_id, client_secret, **arguments)


#: Each provider by the name that it has in the environment.
BY_NAME: Mapping[str, Callable[..., Grant]] = {
    function.__name__.replace("_", "-"): function
    for function in (upload_api, jwt_api, auth_api, organization_api, json_api)
}


def _join(name: str, base: object, path: str) -> str:
    if not isinstance(base, str) or not base or "?" in base or "#" in base:
        what = "None" if base is None else "no base URL"
        raise ConfigurationError(f"{name} is {what}; give the address that the system's documentation names")
    return checked_url(name, base).rstrip("/") + path


def _staging(url: str) -> str:
    """Append ``-stg`` to the first label of the host."""
    parts = urlsplit(url)
    label, dot, rest = parts.netloc.partition(".")
    if not dot or label.isdigit():
        raise ConfigurationError(
            "staging=True needs a base_url with a host name of several labels; give the staging URL"
        )
    return urlunsplit(parts._replace(netloc=f"{label}-stg{dot}{rest}"))
