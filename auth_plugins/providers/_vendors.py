"""Services and identity servers of many customers. Each docstring names the document that says what is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from auth_plugins._base.hidden import hide_arguments
from auth_plugins._base.validation import Secret, check_id
from auth_plugins._grants.client_credentials import ClientCredentials

from ._options import BASIC, POST, RAW, Options, OptionsButAudience, OptionsButScope, join, merged, segment


@hide_arguments
def auth0(
    base_url: str, client_id: str, client_secret: Secret, audience: str, **options: Unpack[OptionsButAudience]
) -> ClientCredentials:
    """Auth0, a machine-to-machine application; id and secret are sent as parameters.

    Documented at https://auth0.com/docs/secure/tokens/access-tokens/get-access-tokens

    :param base_url: the tenant's domain, such as ``https://your-tenant.eu.auth0.com``.
    :param audience: the *Identifier* of the API, exactly as its settings show it.
    """
    defaults: Any = POST | {"audience": check_id("audience", audience)}
    return ClientCredentials(join("base_url", base_url, "/oauth/token"), client_id, client_secret, **defaults | options)


@hide_arguments
def cognito(
    base_url: str,
    client_id: str,
    client_secret: Secret,
    scope: str | Sequence[str] | None,
    **options: Unpack[OptionsButScope],
) -> ClientCredentials:
    """Amazon Cognito, an app client with a secret; by Basic.

    Documented at https://docs.aws.amazon.com/cognito/latest/developerguide/token-endpoint.html

    :param base_url: the domain of the user pool, such as ``https://your-domain.auth.eu-west-1.amazoncognito.com``.
    :param scope: custom scopes of a resource server, such as ``"orders/read"``; ``None``: none is sent.
    """
    defaults: Any = RAW | {"scope": scope}
    url = join("base_url", base_url, "/oauth2/token")
    return ClientCredentials(url, client_id, client_secret, **defaults | options)


@hide_arguments
def ebay(
    client_id: str,
    client_secret: Secret,
    scope: str | Sequence[str] | None = "https://api.ebay.com/oauth/api_scope",
    base_url: str = "https://api.ebay.com",
    **options: Unpack[OptionsButScope],
) -> ClientCredentials:
    """eBay, an application access token; by Basic.

    Documented at https://developer.ebay.com/api-docs/static/oauth-client-credentials-grant.html

    :param scope: the scopes of the APIs that are called; the default is the basic one, which eBay's own libraries use.
    :param base_url: ``"https://api.ebay.com"`` (the default), or ``"https://api.sandbox.ebay.com"``.
    """
    defaults: Any = RAW | {"scope": scope}
    url = join("base_url", base_url, "/identity/v1/oauth2/token")
    return ClientCredentials(url, client_id, client_secret, **defaults | options)


@hide_arguments
def entra(
    tenant: str,
    client_id: str,
    client_secret: Secret,
    scope: str | Sequence[str],
    **options: Unpack[OptionsButScope],
) -> ClientCredentials:
    """Microsoft Entra ID; id and secret are sent as parameters.

    Documented at https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow

    :param tenant: the directory's id or domain name.
    :param scope: the application ID URI of the API with ``/.default``, such as
        ``"https://graph.microsoft.com/.default"``.
    """
    url = f"https://login.microsoftonline.com/{segment('tenant', tenant)}/oauth2/v2.0/token"
    return ClientCredentials(url, client_id, client_secret, **POST | {"scope": scope} | options)


@hide_arguments
def jamf(base_url: str, client_id: str, client_secret: Secret, **options: Unpack[Options]) -> ClientCredentials:
    """Jamf Pro, an API client; id and secret are sent as parameters.

    Documented at https://developer.jamf.com/jamf-pro/docs/client-credentials

    :param base_url: the server, such as ``https://your-server.jamfcloud.com``.
    """
    url = join("base_url", base_url, "/api/oauth/token")
    return ClientCredentials(url, client_id, client_secret, **POST | options)


@hide_arguments
def keycloak(
    base_url: str, realm: str, client_id: str, client_secret: Secret, **options: Unpack[Options]
) -> ClientCredentials:
    """Keycloak, the service account of a client; by Basic.

    Documented in the Server Administration Guide, "Using a service account".

    :param base_url: the server, such as ``https://keycloak.example.com``; older ones need ``/auth`` at the end.
    :param realm: the name of the realm.
    """
    url = join("base_url", base_url, f"/realms/{segment('realm', realm)}/protocol/openid-connect/token")
    return ClientCredentials(url, client_id, client_secret, **BASIC | options)


@hide_arguments
def okta(
    base_url: str,
    client_id: str,
    client_secret: Secret,
    scope: str | Sequence[str],
    **options: Unpack[OptionsButScope],
) -> ClientCredentials:
    """Okta, a custom authorization server; by Basic.

    Documented at https://developer.okta.com/docs/guides/implement-client-creds/

    :param base_url: the domain, such as ``https://your-domain.okta.com``, for the server ``default``; or the issuer of
        another one, such as ``https://your-domain.okta.com/oauth2/aus9o8wzkhckw9TLa0h7z``.
    :param scope: at least one custom scope of the authorization server.
    """
    url = join("base_url", base_url, "")
    path = "/v1/token" if "/oauth2" in url else "/oauth2/default/v1/token"
    return ClientCredentials(url + path, client_id, client_secret, **RAW | {"scope": scope} | options)


@hide_arguments
def paypal(base_url: str, client_id: str, client_secret: Secret, **options: Unpack[Options]) -> ClientCredentials:
    """PayPal's REST APIs; by Basic.

    Documented at https://developer.paypal.com/api/rest/authentication/

    :param base_url: ``https://api-m.paypal.com``, or ``https://api-m.sandbox.paypal.com``.
    """
    return ClientCredentials(join("base_url", base_url, "/v1/oauth2/token"), client_id, client_secret, **RAW | options)


@hide_arguments
def reddit(client_id: str, client_secret: Secret, user_agent: str, **options: Unpack[Options]) -> ClientCredentials:
    """Reddit, application only, without a user; by Basic.

    Documented at https://github.com/reddit-archive/reddit/wiki/OAuth2#application-only-oauth

    :param user_agent: ``"<platform>:<app ID>:<version> (by /u/<user name>)"``. Send it to the API,
        ``https://oauth.reddit.com``, as well: Reddit limits the user agents of libraries.
    """
    added = merged(options, headers={"User-Agent": check_id("user_agent", user_agent)})
    url = "https://www.reddit.com/api/v1/access_token"
    return ClientCredentials(url, client_id, client_secret, **RAW | options | added)


@hide_arguments
def salesforce(base_url: str, client_id: str, client_secret: Secret, **options: Unpack[Options]) -> ClientCredentials:
    """Salesforce, the client credentials flow; id and secret are sent as parameters.

    Documented at https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm

    :param base_url: the My Domain URL, such as ``https://your-domain.my.salesforce.com``.
    :param client_id: the consumer key; *client_secret* is the consumer secret.
    """
    url = join("base_url", base_url, "/services/oauth2/token")
    return ClientCredentials(url, client_id, client_secret, **POST | options)


@hide_arguments
def spotify(client_id: str, client_secret: Secret, **options: Unpack[Options]) -> ClientCredentials:
    """Spotify's Web API, without a user; by Basic.

    Documented at https://developer.spotify.com/documentation/web-api/tutorials/client-credentials-flow
    """
    return ClientCredentials("https://accounts.spotify.com/api/token", client_id, client_secret, **RAW | options)


@hide_arguments
def twitch(client_id: str, client_secret: Secret, **options: Unpack[Options]) -> ClientCredentials:
    """Twitch, an app access token; id and secret are sent as parameters.

    The API also needs the client's id in the header ``Client-Id`` of each request.

    Documented at https://dev.twitch.tv/docs/authentication/getting-tokens-oauth/#client-credentials-grant-flow
    """
    return ClientCredentials("https://id.twitch.tv/oauth2/token", client_id, client_secret, **POST | options)


@hide_arguments
def zoom(account_id: str, client_id: str, client_secret: Secret, **options: Unpack[Options]) -> ClientCredentials:
    """Zoom, a server-to-server app: the grant type ``account_credentials``, by Basic.

    Documented at https://developers.zoom.us/docs/internal-apps/s2s-oauth/

    :param account_id: the account's id.
    """
    account = {"grant_type": "account_credentials", "account_id": check_id("account_id", account_id)}
    added = merged(options, params=account)
    return ClientCredentials("https://zoom.us/oauth/token", client_id, client_secret, **RAW | options | added)
