"""The five partner systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Unpack
from urllib.parse import urlsplit, urlunsplit

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hide_arguments
from auth_plugins._base.validation import Secret, one_of
from auth_plugins._grants.client_credentials import ClientCredentials
from auth_plugins._grants.password import Password

from ._options import BASIC, POST, QUERY, RAW, Options, OptionsButMethod, OptionsButScope, UserOptions, join


@hide_arguments
def upload_api(
    identity_url: str,
    client_id: str,
    client_secret: Secret,
    scope: str | Sequence[str] | None = "platform_upload_api",
    **options: Unpack[OptionsButScope],
) -> ClientCredentials:
    """Upload API v2: client credentials, by Basic with id and secret URL-encoded.

    Its documentation says URL-encoded, but shows an example that is not. If a server follows the example, give
    ``client_auth="client_secret_basic_raw"``.

    :param identity_url: the URL of the identity server, such as ``https://identity.example.com``.
    :param scope: as in :class:`~auth_plugins.ClientCredentials`; the default is the API's own.
    """
    url = join("identity_url", identity_url, "/connect/token")
    return ClientCredentials(url, client_id, client_secret, **BASIC | {"scope": scope} | options)


@hide_arguments
def jwt_api(base_url: str, client_id: str, client_secret: Secret, **options: Unpack[Options]) -> ClientCredentials:
    """Client credentials by Basic without percent-encoding; a client id with ``":"`` is refused.

    :param base_url: the URL of the API, such as ``https://api.example.com``.
    """
    return ClientCredentials(join("base_url", base_url, "/oauth/v2/token"), client_id, client_secret, **RAW | options)


@hide_arguments
def auth_api(
    base_url: str,
    username: str,
    password: Secret,
    staging: bool = False,  # noqa: FBT001, FBT002 - the fixed interface
    **options: Unpack[UserOptions],
) -> Password:
    """User name and password, sent once; then rotated refresh tokens at another endpoint. There is no client.

    :param base_url: the URL of the production host, such as ``https://auth.example.com``.
    :param staging: ``True``: use the staging host, ``https://auth-stg.example.com``, which has other credentials.
    """
    if staging:
        base_url = _staging(join("base_url", base_url, ""))
    url, refresh_url = (join("base_url", base_url, path) for path in ("/auth/password", "/auth/refresh"))
    # The documented requests hold only user name and password, or only the refresh token.
    defaults: Any = {"params": {"grant_type": None}, "refresh_url": refresh_url}
    return Password(url, username, password, **defaults | options)


@hide_arguments
def organization_api(
    server_address: str,
    client_id: str,
    client_secret: Secret,
    credentials: Literal["header", "query"] = "header",
    **options: Unpack[Options],
) -> ClientCredentials:
    """Client credentials with refresh tokens.

    :param server_address: a host, which means ``https://``, or a URL.
    :param credentials: ``"header"`` (the default): Basic without percent-encoding; ``"query"``: all in the URL, where
        proxies and logs see it.
    """
    defaults = RAW if one_of("header", "query")("credentials", credentials) == "header" else POST | QUERY
    is_host = isinstance(server_address, str) and "://" not in server_address
    url = join("server_address", f"https://{server_address}" if is_host else server_address, "/oauth2/token")
    return ClientCredentials(url, client_id, client_secret, **defaults | options)


@hide_arguments
def json_api(
    base_url: str,
    client_id: str,
    client_secret: Secret,
    method: Literal["POST", "GET"] = "POST",
    **options: Unpack[OptionsButMethod],
) -> ClientCredentials:
    """Client credentials in a JSON body.

    Its documentation says GET in the text, and POST in each example.

    :param base_url: the URL of the API, such as ``https://api.example.com/v1``.
    :param method: ``"POST"`` (the default), or ``"GET"``, which sends the parameters in the query, where proxies and
        logs see them.
    """
    defaults = POST | {"method": method} | (QUERY if method == "GET" else {"encoding": "json"})
    url = join("base_url", base_url, "/oauth/token")
    return ClientCredentials(url, client_id, client_secret, **defaults | options)


def _staging(url: str) -> str:
    """Append ``-stg`` to the first label of the host."""
    parts = urlsplit(url)
    label, dot, rest = parts.netloc.partition(".")
    if not dot or label.isdigit():
        problem, advice = "needs {base_url} with a host name of several labels", "give the staging URL as {base_url}"
        raise ConfigurationError(problem, argument="staging", advice=advice)
    return urlunsplit(parts._replace(netloc=f"{label}-stg{dot}{rest}"))
