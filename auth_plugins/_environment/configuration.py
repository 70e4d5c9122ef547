"""Configuration by environment variables: ``PREFIX_*`` to a grant, and to the arguments of sources and adapters.

An error names the variable that is missing, unknown, misspelt or contradictory, and the likely one; never its value.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from auth_plugins import providers
from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hide_arguments
from auth_plugins._caches.file import FileCache
from auth_plugins._caches.keyring import KeyringCache
from auth_plugins._caches.redis import RedisCache
from auth_plugins._grants.base import Grant
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._grants.sign_in.interactive import InteractiveGrant

from .assertions import take_assertion
from .client_auth import call, take_client_auth
from .definitions import (
    API_POLICY,
    ASSERTION,
    GRANT_TYPES,
    IMPLIED_TYPE,
    MEMORY,
    OF_ISSUER,
    OF_PROVIDERS,
    OPTIONS,
    PLACES,
    POLICY,
    PROVIDED,
    CacheChoice,
)
from .dpop import take_dpop
from .tls import take_ca_bundle, take_certificate
from .variables import Variables

#: Grant types that may have a client, and are implied by other variables.
_WITH_CLIENT = {"password", "refresh_token", "token_exchange", "jwt_bearer", "authorization_code", "device_code"}
#: Variables that errors name although they are not set.
_ALWAYS_NAMED = ("CLIENT_ID", "CLIENT_SECRET", "CLIENT_AUTH")
#: The arguments of grants that have another name than their variable.
_OF_GRANTS = {"API_KEY": "value", "API_KEY_HEADER": "header", "API_KEY_QUERY": "query", "ISSUER": "token_url"}


@hide_arguments
def from_env(prefix: str = "AUTH_PLUGINS", environ: Mapping[str, str] | None = None) -> Grant:
    """Make a grant of the environment variables that begin with *prefix* and ``_``.

    :param prefix: a name such as ``"ACME"``, for ``ACME_TOKEN_URL``, ``ACME_CLIENT_ID`` and so on; the default is
        ``"AUTH_PLUGINS"``.
    :param environ: the variables, a mapping; ``None`` (the default): ``os.environ``.
    :raises ConfigurationError: a variable is missing, unknown, misspelt or contradicts another. The error names the
        variable, and does not show its value.

    A client without a secret needs ``ACME_CLIENT_AUTH=none``, a key or an assertion; else a missing secret is an error.
    Variables for the cache and the policy are errors here, as a grant has neither.
    """
    variables = Variables(prefix, environ)
    grant, policy = _configure(variables)
    for argument in policy:
        remedy = "OAuth2Auth.from_env" + " or TokenSource.from_env" * (argument.upper() not in API_POLICY)
        name = variables.named(argument.upper())
        raise ConfigurationError(f"a grant cannot carry {name}", advice=f"use {remedy}, or unset it")
    return grant


@hide_arguments
def configuration(prefix: str, environ: Mapping[str, str] | None) -> tuple[Grant, dict[str, Any]]:
    """Return the grant, and the arguments of an adapter, that the variables of *prefix* describe."""
    return _configure(Variables(prefix, environ))


def source_configuration(prefix: str, environ: Mapping[str, str] | None) -> tuple[Grant, dict[str, Any], bool]:
    """Return the grant, the arguments of a TokenSource, and whether ``http://`` is allowed."""
    variables = Variables(prefix, environ)
    grant, policy = _configure(variables)
    for name in API_POLICY:
        if (argument := name.lower()) in policy:
            raise ConfigurationError(
                f"a TokenSource sends no API requests and cannot carry {variables.full(name)}",
                advice=f"use OAuth2Auth.from_env, or unset it and give {argument}= to the OAuth2Auth of this source",
            )
    return grant, policy, policy.pop("allow_http", False)


def cache_of(prefix: str) -> FileCache | KeyringCache | RedisCache | None:
    """Return the cache that the variables of *prefix* describe, whatever else they do; ``None``: memory."""
    return _cache(Variables(prefix, None))


def cache_secrets(prefix: str) -> list[str]:
    """Return what may be secret in the URL of a cache, in the spellings that an error of Redis may quote."""
    url = urlsplit(_cache_choice(Variables(prefix, None)).arguments.get("url_or_client", ""))
    found = [url.password or url.username or "", *dict(parse_qsl(url.query)).values()]
    return [*found, *map(unquote, found)]


def _configure(variables: Variables) -> tuple[Grant, dict[str, Any]]:
    for one, other in PLACES:
        if variables.has(one) and variables.has(other):
            problem = f"contradicts {variables.full(other)}"
            raise ConfigurationError(problem, argument=variables.full(one), advice="unset one of them")
    cache, cache_name = _cache(variables), variables.named("CACHE")
    policy = {name.lower(): value for name in POLICY if (value := variables.take(name)) is not None}
    # Memory is the default of every adapter.
    policy = policy if cache is None else {"cache": cache, **policy}
    grant = _provider_grant(variables) if variables.has("PROVIDER") else _typed_grant(variables)
    if cache is not None and grant.unshared_reason[0]:
        problem = f"contradicts {variables.full('DPOP')}=true: each process makes a key, and no other can use its token"
        advice = f"set {variables.full('DPOP_KEY_FILE')} to a key that all processes have, or unset {cache_name}"
        raise ConfigurationError(problem, argument=cache_name, advice=advice)
    if "scheme" in policy and "header" not in policy and grant.query_parameter() is not None:
        problem = f"contradicts {variables.full('API_KEY_QUERY')}"
        raise ConfigurationError(problem, argument=variables.full("SCHEME"), advice="unset one of them")
    return grant, policy


def _cache(variables: Variables) -> FileCache | KeyringCache | RedisCache | None:
    cache, key = variables.named("CACHE"), variables.named("CACHE_KEY")
    choice = _cache_choice(variables)
    if choice.make is KeyringCache:
        if variables.has("CACHE_KEY"):
            problem = f"contradicts {cache}=keyring, which is encrypted by the operating system"
            raise ConfigurationError(problem, argument=key, advice="unset it")
        return call(choice.make, {}, {"": f"{cache}:"})
    if choice.make is not None:
        names = {"": f"{cache}:", "path": cache, "url_or_client": cache, "key": key}
        return call(choice.make, {**choice.arguments, "key": variables.take("CACHE_KEY")}, names)
    if variables.has("CACHE_KEY"):
        problem = "needs a cache that outlives the process, which memory does not"
        raise ConfigurationError(problem, argument=key, advice=f"set {cache}=file, or unset it")
    return None


def _cache_choice(variables: Variables) -> CacheChoice:
    choice: CacheChoice | None = variables.take("CACHE")
    return MEMORY if choice is None else choice


def _provider_grant(variables: Variables) -> Grant:
    """Make the grant of a provider; the provider's signature says which variables it takes."""
    name = variables.take("PROVIDER")
    provider = providers.BY_NAME[name]
    parameters = inspect.signature(provider).parameters
    arguments = [each for each in parameters.values() if each.kind != each.VAR_KEYWORD and each.name != "path"]
    names = {each.name: OF_PROVIDERS.get(each.name, each.name.upper()) for each in arguments}
    needed = [names[each.name] for each in arguments if each.default is each.empty]
    absent = [name for name in ("CLIENT_SECRET",) if name in needed and variables.has_key() and not variables.has(name)]
    needed = [name for name in needed if name not in absent]
    # A key or a token of the platform is the provider's affair.
    is_keyed = not parameters.keys().isdisjoint(("key", "path"))
    accepted = [*names.values(), *OPTIONS, *(() if is_keyed else ASSERTION)]
    if provider is providers.auth_api:
        accepted.append("REFRESH_URL")
    values: Mapping[str, Any] = variables.take_all(needed, accepted, f"{variables.full('PROVIDER')}={name}")
    values = values if is_keyed else take_client_auth(variables, values)
    renamed = {variable: argument for argument, variable in names.items()}
    return _make_grant(variables, provider, {**values, **dict.fromkeys(absent)}, renamed)


def _typed_grant(variables: Variables) -> Grant:
    """Make the grant of a grant type, which is given or implied by other variables."""
    for name in PROVIDED:
        if variables.has(name):
            raise variables.missing_error(["PROVIDER"], variables.full(name))
    grant_type = variables.take("GRANT_TYPE")
    user = f"{variables.full('GRANT_TYPE')}={grant_type}"
    if grant_type is None:
        grant_type, name = _implied_type(variables)
        user = variables.full(name)
    make, needed, accepted = GRANT_TYPES[grant_type]
    if grant_type == "client_credentials" and variables.needs_no_secret() and not variables.has("CLIENT_SECRET"):
        needed = ("TOKEN_URL", "CLIENT_ID")
    if variables.has("ISSUER"):
        if variables.has("TOKEN_URL"):
            issuer, url = variables.full("ISSUER"), variables.full("TOKEN_URL")
            problem = f"contradicts {url}, as its metadata name the token endpoint"
            raise ConfigurationError(problem, argument=issuer, advice="unset one of them")
        accepted = (*accepted, *(name for name in OF_ISSUER[1:] if name in needed))
        needed = tuple(name.replace("TOKEN_URL", "ISSUER") for name in needed if name not in OF_ISSUER[1:])
    values: Mapping[str, Any] = variables.take_all(needed, accepted, user)
    if grant_type == "jwt_bearer":
        values = take_assertion(variables, values, user)
    return _make_grant(variables, make, take_client_auth(variables, values), _OF_GRANTS)


def _implied_type(variables: Variables) -> tuple[str, str]:
    """Return the only grant type that the variables can mean, and the variable that implies it."""
    implied = {IMPLIED_TYPE[name]: name for name in reversed(IMPLIED_TYPE) if variables.has(name)}
    if implied.keys() & _WITH_CLIENT:
        implied.pop("client_credentials", None)  # these may have a client as well
    if not implied:
        raise variables.no_grant_error()
    if len(implied) > 1:
        one, other = (variables.full(name) for name in list(implied.values())[:2])
        raise ConfigurationError(f"contradicts {other}", argument=one, advice="unset one of them")
    return next(iter(implied.items()))


def _make_grant(
    variables: Variables, make: Callable[..., Grant], values: Mapping[str, Any], renamed: Mapping[str, str]
) -> Grant:
    """Make a grant of the *values* of variables; *renamed* has the arguments that are not called as their variable."""
    values = take_dpop(variables, take_certificate(variables, values))
    ca_bundle, values = take_ca_bundle(variables, values)
    arguments = {renamed.get(name, name.lower()): name for name in values}
    named = {**{name.lower(): name for name in _ALWAYS_NAMED}, **arguments}
    names = {argument: variables.named(name) for argument, name in named.items()}
    grant = call(make, {argument: values[name] for argument, name in arguments.items()}, names)
    if isinstance(grant, OAuthGrant) and ca_bundle:
        grant = grant.with_ca_bundle(ca_bundle)
    return grant.of_prefix(variables.full("").removesuffix("_")) if isinstance(grant, InteractiveGrant) else grant
