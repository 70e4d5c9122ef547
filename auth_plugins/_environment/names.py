"""The names of the variables, without their prefix: which there are, and which belong together."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from auth_plugins._grants.api_key import ApiKey
from auth_plugins._grants.base import Grant
from auth_plugins._grants.client_credentials import ClientCredentials
from auth_plugins._grants.password import Password
from auth_plugins._grants.refresh_token import RefreshToken

#: Never shown, and taken unchanged, spaces included.
SECRETS = ("CLIENT_SECRET", "PASSWORD", "REFRESH_TOKEN", "API_KEY", "CACHE_KEY")
#: Taken unchanged, but shown.
VERBATIM = ("CLIENT_ID", "USERNAME")
#: May come from a file, by ``…_FILE``: the URL of a cache may hold a password.
FROM_FILES = (*SECRETS, "CACHE")
#: The file of these is read with the variables, and not for each token request.
READ_ONCE = ("CACHE", "CACHE_KEY")
#: The options of each OAuth grant.
OPTIONS = ("SCOPE", "AUDIENCE", "RESOURCE", "CLIENT_AUTH", "ENCODING", "METHOD", "REVOCATION_URL")
#: The arguments of providers alone.
PROVIDED = ("BASE_URL", "STAGING", "CREDENTIALS")
#: The arguments of token sources and adapters.
POLICY = ("ALLOWED_HOSTS", "ALLOW_HTTP", "LEEWAY", "TIMEOUT", "REFRESH_AHEAD")
_CLIENT = ("CLIENT_ID", "CLIENT_SECRET")
#: By grant type: the class, the variables that it needs, and those that it accepts besides.
GRANT_TYPES: Mapping[str, tuple[type[Grant], tuple[str, ...], tuple[str, ...]]] = {
    "client_credentials": (ClientCredentials, ("TOKEN_URL", *_CLIENT), OPTIONS),
    "password": (Password, ("TOKEN_URL", "USERNAME", "PASSWORD"), (*_CLIENT, "REFRESH_URL", *OPTIONS)),
    "refresh_token": (RefreshToken, ("TOKEN_URL", "REFRESH_TOKEN"), (*_CLIENT, *OPTIONS)),
    "api_key": (ApiKey, ("API_KEY",), ("API_KEY_HEADER",)),
}
#: The grant type that a variable implies, the clearest first.
IMPLIED_TYPE = {
    "API_KEY": "api_key",
    "API_KEY_HEADER": "api_key",
    "USERNAME": "password",
    "PASSWORD": "password",
    "REFRESH_URL": "password",
    "REFRESH_TOKEN": "refresh_token",
    "CLIENT_ID": "client_credentials",
    "CLIENT_SECRET": "client_credentials",
}
#: The arguments whose name is not that of their variable in lower case.
ARGUMENTS = {"API_KEY": "value", "API_KEY_HEADER": "header"}
KNOWN = (
    {"PROVIDER", "GRANT_TYPE", "CACHE", "CACHE_KEY", *PROVIDED, *POLICY}
    | {name for _, needed, accepted in GRANT_TYPES.values() for name in (*needed, *accepted)}
    | {f"{name}_FILE" for name in FROM_FILES}
)
#: Variables that Kubernetes sets for each service. They may begin with our prefix.
_INJECTED = re.compile(
    r"([A-Z0-9_]+?_)??(?P<tail>SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)"
)
#: A prefix that configures a grant has all of one of these, or their files.
_SIGNS = (
    ("PROVIDER", "BASE_URL"),
    ("TOKEN_URL", "CLIENT_ID"),
    ("TOKEN_URL", "USERNAME"),
    ("TOKEN_URL", "REFRESH_TOKEN"),
    ("API_KEY",),
)


def configured_prefixes(names: Collection[str]) -> set[str]:
    """Return the prefixes of those of *names* that configure a grant."""
    prefixes = {name.removesuffix(f"_{known}") for name in names for known in KNOWN if name.endswith(f"_{known}")}

    def has(prefix: str, name: str) -> bool:
        return f"{prefix}_{name}" in names or f"{prefix}_{name}_FILE" in names

    return {prefix for prefix in prefixes if any(all(has(prefix, name) for name in sign) for sign in _SIGNS)}


def is_injected(name: str, value: object) -> bool:
    """Return whether Kubernetes set this variable. A name that ends in PORT alone is recognised by its value."""
    match = _INJECTED.fullmatch(name)
    return match is not None and (match["tail"] != "PORT" or "://" in str(value))
