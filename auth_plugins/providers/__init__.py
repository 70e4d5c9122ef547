"""Systems that this package knows by name: each is a function that returns a grant.

Every function raises a ConfigurationError for an argument that cannot work. ``client_secret`` and ``password`` take a
str or a callable without arguments. ``options`` are keyword arguments of the grant; they replace the provider's own.
In the environment a provider is named by ``PREFIX_PROVIDER``, with ``-`` in place of ``_``, and each argument by its
name in upper case; the argument that is an address is ``PREFIX_BASE_URL``. ``PREFIX_CLIENT_ID`` and
``PREFIX_CLIENT_SECRET`` stand for ``app_id`` and ``app_secret`` too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from auth_plugins._grants.base import Grant

from ._dialects import feishu, marketo, withings, zoho
from ._partners import auth_api, json_api, jwt_api, organization_api, upload_api
from ._vendors import (
    auth0,
    cognito,
    ebay,
    entra,
    jamf,
    keycloak,
    okta,
    paypal,
    reddit,
    salesforce,
    spotify,
    twitch,
    zoom,
)

_ALL: tuple[Callable[..., Grant], ...] = (
    *(upload_api, jwt_api, auth_api, organization_api, json_api),
    *(auth0, cognito, ebay, entra, feishu, jamf, keycloak, marketo, okta, paypal, reddit, salesforce, spotify),
    *(twitch, withings, zoho, zoom),
)

__all__ = [
    "auth0",
    "auth_api",
    "cognito",
    "ebay",
    "entra",
    "feishu",
    "jamf",
    "json_api",
    "jwt_api",
    "keycloak",
    "marketo",
    "okta",
    "organization_api",
    "paypal",
    "reddit",
    "salesforce",
    "spotify",
    "twitch",
    "upload_api",
    "withings",
    "zoho",
    "zoom",
]

#: The providers by their names in the environment.
BY_NAME: Mapping[str, Callable[..., Grant]] = {function.__name__.replace("_", "-"): function for function in _ALL}
