"""Systems that this package knows by name: each is a function that returns a grant.

Every function raises a ConfigurationError for an argument that cannot work. ``client_secret`` and ``password`` take a
str or a callable without arguments. ``options`` are keyword arguments of the grant; they replace the provider's own.
In the environment a provider is named by ``PREFIX_PROVIDER``, with ``-`` in place of ``_``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack
from urllib.parse import urlsplit, urlunsplit

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.validation import (
    ClientAuth,
    Encoding,
    Method,
    Parameter,
    Secret,
    check_url,
    hide_arguments,
    one_of,
)
from auth_plugins._grants.base import Grant
from auth_plugins._grants.client_credentials import ClientCredentials
from auth_plugins._grants.password import Password

__all__ = ["auth_api", "json_api", "jwt_api", "organization_api", "upload_api"]

_BASIC: Any = {"client_auth": "client_secret_basic"}
_RAW: Any = {"client_auth": "client_secret_basic_raw"}
_POST: Any = {"client_auth": "client_secret_post"}
_QUERY: Any = {"encoding": "query"}


class _CommonOptions(TypedDict, total=False):
    audience: str | None
    resource: str | Sequence[str] | None
    client_auth: ClientAuth | None
    encoding: Encoding
    params: Mapping[str, Parameter] | None
    headers: Mapping[str, Secret] | None
    revocation_url: str | None
    answer: Mapping[str, str] | None
    names: Mapping[str, str] | None
    refresh_params: Mapping[str, Parameter] | None
    lifetime: float | None


class _OptionsButScope(_CommonOptions, total=False):
    method: Method


class _OptionsButMethod(_CommonOptions, total=False):
    scope: str | Sequence[str] | None


class _Options(_OptionsButScope, _OptionsButMethod): ...


class _UserOptions(_Options, total=False):
    client_id: str | None
    client_secret: Secret | None
    refresh_url: str | None


@hide_arguments
def upload_api(
    identity_url: str,
    client_id: str,
    client_secret: Secret,
    scope: str | Sequence[str] | None = "platform_upload_api",
    **options: Unpack[_OptionsButScope],
) -> ClientCredentials:
    """Upload API v2: client credentials, by Basic with id and secret URL-encoded.

    Its documentation says URL-encoded, but shows an example that is not. If a server follows the example, give
    ``client_auth="client_secret_basic_raw"``.

    :param identity_url: the URL of the identity server, such as ``https://identity.example.com``.
    :param scope: as in :class:`~auth_plugins.ClientCredentials`; the default is the API's own.
    """
    url = _join("identity_url", identity_url, "/connect/token")
    return ClientCredentials(url, client_id, client_secret, **_BASIC | {"scope": scope} | options)


@hide_arguments
def jwt_api(base_url: str, client_id: str, client_secret: Secret, **options: Unpack[_Options]) -> ClientCredentials:
    """Client credentials by Basic without percent-encoding; a client id with ``":"`` is refused.

    :param base_url: the URL of the API, such as ``https://api.example.com``.
    """
    return ClientCredentials(_join("base_url", base_url, "/oauth/v2/token"), client_id, client_secret, **_RAW | options)


@hide_arguments
def auth_api(
    base_url: str,
    username: str,
    password: Secret,
    staging: bool = False,  # noqa: FBT001, FBT002 - the fixed interface
    **options: Unpack[_UserOptions],
) -> Password:
    """User name and password, sent once; then rotated refresh tokens at another endpoint. There is no client.

    :param base_url: the URL of the production host, such as ``https://auth.example.com``.
    :param staging: ``True``: use the staging host, ``https://auth-stg.example.com``, which has other credentials.
    """
    if staging:
        base_url = _staging(_join("base_url", base_url, ""))
    url, refresh_url = (_join("base_url", base_url, path) for path in ("/auth/password", "/auth/refresh"))
    # The documented requests hold only user name and password, or only the refresh token.
    defaults: Any = {"params": {"grant_type": None}, "refresh_url": refresh_url}
    return Password(url, username, password, **defaults | options)


@hide_arguments
def organization_api(
    server_address: str,
    client_id: str,
    client_secret: Secret,
    credentials: Literal["header", "query"] = "header",
    **options: Unpack[_Options],
) -> ClientCredentials:
    """Client credentials with refresh tokens.

    :param server_address: a host, which means ``https://``, or a URL.
    :param credentials: ``"header"`` (the default): Basic without percent-encoding; ``"query"``: all in the URL, where
        proxies and logs see it.
    """
    defaults = _RAW if one_of("header", "query")("credentials", credentials) == "header" else _POST | _QUERY
    is_host = isinstance(server_address, str) and "://" not in server_address
    url = _join("server_address", f"https://{server_address}" if is_host else server_address, "/oauth2/token")
    return ClientCredentials(url, client_id, client_secret, **defaults | options)


@hide_arguments
def json_api(
    base_url: str,
    client_id: str,
    client_secret: Secret,
    method: Literal["POST", "GET"] = "POST",
    **options: Unpack[_OptionsButMethod],
) -> ClientCredentials:
    """Client credentials in a JSON body.

    Its documentation says GET in the text, and POST in each example.

    :param base_url: the URL of the API, such as ``https://api.example.com/v1``.
    :param method: ``"POST"`` (the default), or ``"GET"``, which sends the parameters in the query, where proxies and
        logs see them.
    """
    defaults = _POST | {"method": method} | (_QUERY if method == "GET" else {"encoding": "json"})
    url = _join("base_url", base_url, "/oauth/token")
    return ClientCredentials(url, client_id, client_secret, **defaults | options)


#: The providers by their names in the environment.
BY_NAME: Mapping[str, Callable[..., Grant]] = {
    function.__name__.replace("_", "-"): function
    for function in (upload_api, jwt_api, auth_api, organization_api, json_api)
}


def _join(argument: str, base: object, path: str) -> str:
    url = check_url(argument, base)
    if "?" in url:
        advice = "give the address that the system's documentation names"
        raise ConfigurationError("must have no query", argument=argument, advice=advice)
    return url.rstrip("/") + path


def _staging(url: str) -> str:
    """Append ``-stg`` to the first label of the host."""
    parts = urlsplit(url)
    label, dot, rest = parts.netloc.partition(".")
    if not dot or label.isdigit():
        problem, advice = "needs {base_url} with a host name of several labels", "give the staging URL as {base_url}"
        raise ConfigurationError(problem, argument="staging", advice=advice)
    return urlunsplit(parts._replace(netloc=f"{label}-stg{dot}{rest}"))
