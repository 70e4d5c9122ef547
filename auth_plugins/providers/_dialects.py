"""Services whose token endpoints, or APIs, depart from OAuth 2.0. Each docstring names the document, and says how.

A grant cannot carry what an API wants besides: each docstring says what to give to ``OAuth2Auth``.
"""

from __future__ import annotations

from typing import Any, Unpack

from auth_plugins._base.hidden import hide_arguments
from auth_plugins._base.validation import Secret, check_id, check_secret
from auth_plugins._grants.client_credentials import ClientCredentials
from auth_plugins._grants.refresh_token import RefreshToken

from ._options import POST, Options, join, merged


@hide_arguments
def feishu(app_id: str, app_secret: Secret, **options: Unpack[Options]) -> ClientCredentials:
    """Feishu, the ``tenant_access_token`` of a custom app: a JSON body, and an error in a 200.

    In the environment, id and secret are ``PREFIX_CLIENT_ID`` and ``PREFIX_CLIENT_SECRET``. The API names a token that
    it refuses in the body of a 400: :ref:`give OAuth2Auth a function <feishu>` as ``refused``.

    Documented at https://open.feishu.cn/document/ukTMukTMukTM/ukDNz4SO0MjL5QzM/auth-v3/auth/tenant_access_token_internal

    :param app_id: the app's id, such as ``cli_slkdjalasdkjasd``.
    """
    names = {"client_id": "app_id", "client_secret": "app_secret"}
    answer = {
        "access_token": "tenant_access_token",
        "expires_in": "expire",
        "error": "code",
        "error_description": "msg",
    }
    defaults: Any = POST | {"encoding": "json", "names": names, "answer": answer}
    added = merged(options, params={"grant_type": None}, headers={"Content-Type": "application/json; charset=utf-8"})
    return ClientCredentials(
        "https://open.feishu.cn/open-apis/auth/v3/tenant_access_token/internal",
        check_id("app_id", app_id),
        check_secret("app_secret", app_secret),
        **defaults | options | added,
    )


@hide_arguments
def marketo(base_url: str, client_id: str, client_secret: Secret, **options: Unpack[Options]) -> ClientCredentials:
    """Adobe Marketo Engage: a GET with id and secret in the query, where proxies and logs see them.

    The API answers 200 to an expired token: :ref:`give OAuth2Auth a function <marketo>` as ``refused``.

    Documented at https://experienceleague.adobe.com/en/docs/marketo-developer/marketo/rest/authentication

    :param base_url: the address, such as ``https://123-ABC-456.mktorest.com``, or one of those that Marketo shows: the
        *Endpoint*, which ends in ``/rest``, or the *Identity*, which ends in ``/identity``.
    """
    address = join("base_url", base_url, "").removesuffix("/identity").removesuffix("/rest")
    url = f"{address}/identity/oauth/token"
    return ClientCredentials(url, client_id, client_secret, **POST | {"method": "GET"} | options)


@hide_arguments
def withings(refresh_token: Secret, client_id: str, client_secret: Secret, **options: Unpack[Options]) -> RefreshToken:
    """Withings, by the refresh token of a user's login: a nested answer, and an error in a 200.

    Withings replaces the refresh token at each use: only a cache that outlives the process keeps the newest one. The
    API answers 200 to an expired token: :ref:`give OAuth2Auth a function <withings>` as ``refused``.

    Documented at https://developer.withings.com/api-reference#operation/oauth2-getaccesstoken
    """
    answer = {"access_token": "body.access_token", "error": "status", "error_description": "error"}
    added = merged(options, params={"action": "requesttoken"})
    url = "https://wbsapi.withings.net/v2/oauth2"
    return RefreshToken(url, refresh_token, client_id, client_secret, **POST | {"answer": answer} | options | added)


@hide_arguments
def zoho(
    accounts_url: str, refresh_token: Secret, client_id: str, client_secret: Secret, **options: Unpack[Options]
) -> RefreshToken:
    """Zoho, by the refresh token of a user or of a self client; id and secret are sent as parameters.

    Give ``scheme="Zoho-oauthtoken"`` to ``OAuth2Auth``. ``Token.extra["api_domain"]`` is the address of the API.

    Documented at https://www.zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html

    :param accounts_url: the accounts server of the user's data centre, such as ``https://accounts.zoho.eu``.
    """
    url = join("accounts_url", accounts_url, "/oauth/v2/token")
    return RefreshToken(url, refresh_token, client_id, client_secret, **POST | options)
