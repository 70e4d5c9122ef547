"""Services that know a key, or a token of the platform, in place of a secret.

Each docstring names the document that says what is sent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack
from urllib.parse import urlsplit

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hide_arguments
from auth_plugins._base.secret_file import SecretFile
from auth_plugins._base.validation import Secret, check_id, join_scope
from auth_plugins._client_auth.assertions import ClientAssertion, PrivateKeyJWT
from auth_plugins._client_auth.signed_jwt import SignedJWT
from auth_plugins._grants.client_credentials import ClientCredentials
from auth_plugins._grants.jwt_bearer import JWTBearer

from ._options import Options, OptionsButScope, join, segment

_GOOGLE = "https://oauth2.googleapis.com/token"
#: Seconds; what Google allows at most, and Salesforce.
_GOOGLE_LIFETIME, _SALESFORCE_LIFETIME = 3600.0, 180.0
#: What the host of a Salesforce sandbox has in it.
_SANDBOXES = ("--", ".sandbox.", ".scratch.", "test.salesforce.com")


@hide_arguments
def google_service_account(
    info: Mapping[str, Any] | str | os.PathLike[str], scope: str | Sequence[str], **options: Unpack[OptionsButScope]
) -> JWTBearer:
    """Google, a service account: a JWT bearer assertion with the scope in it.

    Documented at https://developers.google.com/identity/protocols/oauth2/service-account

    :param info: the key of the service account, as it is downloaded: a dict, the JSON text, or the path of the file.
    :param scope: the scopes of the APIs that are called.
    """
    members = _service_account(info)
    assertion = SignedJWT(
        members["private_key"],
        issuer=members["client_email"],
        # The subject is a user for whom the account acts; without one, none is sent.
        claims={"scope": check_id("scope", join_scope("scope", scope) or ""), "sub": None},
        key_id=members.get("private_key_id"),
        algorithm="RS256",
        lifetime=_GOOGLE_LIFETIME,
    )
    return JWTBearer(members.get("token_uri") or _GOOGLE, assertion, **options)


def _service_account(info: object) -> Mapping[str, Any]:
    """Return the members of a service account's key; no error shows one of them."""
    text: object = info
    if isinstance(info, os.PathLike) or (isinstance(info, str) and not info.lstrip().startswith("{")):
        try:
            text = Path(os.path.expanduser(info)).read_text("utf-8-sig")  # noqa: PTH111 - it raises nothing
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            text = None
        if text is None:
            problem = f"is the path of a file that cannot be read ({reason})"
            raise ConfigurationError(problem, argument="info", advice="check path and permissions")
    members: object = text
    if isinstance(text, str):
        try:
            members = json.loads(text)
        except ValueError:
            members = None
    if not isinstance(members, Mapping):
        problem = "must be the key of a service account: a dict, its JSON text, or the path of the file"
        raise ConfigurationError(problem, argument="info", advice="give the file as Google Cloud made it")
    for name in ("client_email", "private_key"):
        if not isinstance(members.get(name), str):
            problem = f"must be the key of a service account, and has no {name}"
            raise ConfigurationError(problem, argument="info", advice="give the file as Google Cloud made it")
    return members


@hide_arguments
def salesforce_jwt(base_url: str, client_id: str, username: str, key: Secret, **options: Unpack[Options]) -> JWTBearer:
    """Salesforce, the JWT bearer flow of a user who has allowed this client.

    Documented at https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_jwt_flow.htm

    :param base_url: ``https://login.salesforce.com``, ``https://test.salesforce.com``, the My Domain URL, or the URL of
        an Experience Cloud site. The audience of the assertion follows from it: production, sandboxes, or that site.
    :param client_id: the consumer key.
    :param username: the user for whom the API is called.
    :param key: the RSA key whose certificate the app has, as in :class:`~auth_plugins.PrivateKeyJWT`.
    """
    url = join("base_url", base_url, "/services/oauth2/token")
    audience, host = join("base_url", base_url, ""), urlsplit(url).hostname or ""
    if host.endswith(".salesforce.com"):
        kind = "test" if any(mark in host for mark in _SANDBOXES) else "login"
        audience = f"https://{kind}.salesforce.com"
    assertion = SignedJWT(
        key,
        issuer=check_id("client_id", client_id),
        subject=check_id("username", username),
        audience=audience,
        lifetime=_SALESFORCE_LIFETIME,
    )
    return JWTBearer(url, assertion, **options)


@hide_arguments
def okta_private_key(
    base_url: str,
    client_id: str,
    key: Secret,
    scope: str | Sequence[str],
    key_id: str | None = None,
    **options: Unpack[OptionsButScope],
) -> ClientCredentials:
    """Okta, a service app: client credentials by ``private_key_jwt``.

    Documented at https://developer.okta.com/docs/guides/implement-oauth-for-okta-serviceapp/main/

    :param base_url: the domain, such as ``https://your-domain.okta.com``, for Okta's own APIs; or the issuer of an
        authorization server of yours, such as ``https://your-domain.okta.com/oauth2/default``.
    :param key: the private key, as in :class:`~auth_plugins.PrivateKeyJWT`.
    :param scope: such as ``"okta.users.read"``, granted to the app.
    :param key_id: the ``kid`` of the public key in the app; ``None`` (the default): that of a JWK.
    """
    url = join("base_url", base_url, "")
    path = "/v1/token" if "/oauth2" in url else "/oauth2/v1/token"
    defaults: Any = {"client_auth": PrivateKeyJWT(key, key_id=key_id), "scope": scope}
    return ClientCredentials(url + path, client_id, **defaults | options)


@hide_arguments
def azure_workload_identity(
    scope: str | Sequence[str], environ: Mapping[str, str] | None = None, **options: Unpack[OptionsButScope]
) -> ClientCredentials:
    """Microsoft Entra Workload ID: client credentials with the token of the pod as assertion.

    Documented at https://azure.github.io/azure-workload-identity/docs/ and
    https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow

    :param scope: the application ID URI of the API with ``/.default``, such as
        ``"https://graph.microsoft.com/.default"``.
    :param environ: where ``AZURE_CLIENT_ID``, ``AZURE_TENANT_ID``, ``AZURE_FEDERATED_TOKEN_FILE`` and, outside of the
        public cloud, ``AZURE_AUTHORITY_HOST`` are; ``None`` (the default): ``os.environ``.
    """
    variables = os.environ if environ is None else environ
    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE")
    if missing := [name for name in names if not variables.get(name)]:
        problem = f"has no {' and no '.join(missing)}"
        advice = "label the pod azure.workload.identity/use: true, and give it the service account"
        raise ConfigurationError(problem, argument="environ", advice=advice)
    tenant, client_id, path = (variables[name] for name in names)
    host = variables.get("AZURE_AUTHORITY_HOST") or "https://login.microsoftonline.com"
    url = join("AZURE_AUTHORITY_HOST", host, f"/{segment('AZURE_TENANT_ID', tenant)}/oauth2/v2.0/token")
    defaults: Any = {"client_auth": ClientAssertion(SecretFile(path)), "scope": scope}
    return ClientCredentials(url, client_id, **defaults | options)


@hide_arguments
def kubernetes_service_account(
    token_url: str, client_id: str, path: str = "/var/run/secrets/tokens/token", **options: Unpack[Options]
) -> ClientCredentials:
    """Any server that trusts the cluster: client credentials with the projected token of the pod as assertion.

    Documented at https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/, "Launch a Pod
    using service account token projection". The audience of the token is what the server expects.

    :param token_url: the URL of the token endpoint.
    :param path: where the token is mounted; it is read for each attempt, as it rotates.
    """
    defaults: Any = {"client_auth": ClientAssertion(SecretFile(path))}
    return ClientCredentials(token_url, client_id, **defaults | options)
