"""The variables, without their prefix: which there are, which belong together, and what each may mean."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from auth_plugins import providers
from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hosts import AllowedHosts
from auth_plugins._base.mappings import (
    ANSWER_MEMBERS,
    STANDARD_PARAMETERS,
    freeze_answer,
    freeze_headers,
    freeze_names,
    freeze_params,
)
from auth_plugins._base.validation import CLIENT_AUTH, ENCODINGS, METHODS, check_header
from auth_plugins._caches.file import FileCache
from auth_plugins._caches.keyring import KeyringCache
from auth_plugins._caches.redis import RedisCache
from auth_plugins._client_auth.assertions import HMAC_ALGORITHMS
from auth_plugins._client_auth.keys import ALGORITHMS
from auth_plugins._grants.api_key import ApiKey
from auth_plugins._grants.base import Grant
from auth_plugins._grants.client_credentials import ClientCredentials
from auth_plugins._grants.issuer import Issuer
from auth_plugins._grants.jwt_bearer import JWTBearer
from auth_plugins._grants.password import Password
from auth_plugins._grants.refresh_token import RefreshToken
from auth_plugins._grants.sign_in.authorization_code import AuthorizationCode
from auth_plugins._grants.sign_in.device_code import DeviceCode
from auth_plugins._grants.token_exchange import TokenExchange

#: Never shown, and taken unchanged, spaces included.
SECRETS = (
    "CLIENT_SECRET", "PASSWORD", "REFRESH_TOKEN", "API_KEY", "CACHE_KEY", "PRIVATE_KEY", "CLIENT_ASSERTION",
    "SUBJECT_TOKEN", "ASSERTION", "DPOP_KEY",
)  # fmt: skip
#: Taken unchanged, but shown.
VERBATIM = ("CLIENT_ID", "USERNAME")
#: Never shown: values in these may be secrets.
MAY_HOLD_SECRETS = ("PARAMS", "HEADERS", "REFRESH_PARAMS")
#: May come from a file, by ``…_FILE``: the URL of a cache may hold a password.
FROM_FILES = (*SECRETS, "CACHE")
#: The file of these is read with the variables, and not for each token request.
READ_ONCE = ("CACHE", "CACHE_KEY")
#: The options of each OAuth grant.
OPTIONS = (
    "SCOPE", "AUDIENCE", "RESOURCE", "CLIENT_AUTH", "ENCODING", "METHOD", "REVOCATION_URL",
    "ANSWER", "NAMES", "PARAMS", "HEADERS", "REFRESH_PARAMS", "LIFETIME", "CERTIFICATE", "CERTIFICATE_KEY", "CA_BUNDLE",
    "DPOP", "DPOP_KEY",
)  # fmt: skip
#: The values of CLIENT_AUTH by which the client presents a certificate.
BY_CERTIFICATE = ("tls_client_auth", "self_signed_tls_client_auth")
#: The arguments of providers alone.
PROVIDED = ("BASE_URL", "STAGING", "CREDENTIALS", "ACCOUNT_ID", "REALM", "TENANT", "USER_AGENT")
#: The variables of those arguments of providers that have another name.
OF_PROVIDERS = {
    **dict.fromkeys(("base_url", "identity_url", "server_address", "accounts_url"), "BASE_URL"),
    "key": "PRIVATE_KEY",
    "app_id": "CLIENT_ID",
    "app_secret": "CLIENT_SECRET",
}
#: The arguments of token sources and adapters.
POLICY = ("ALLOWED_HOSTS", "ALLOW_HTTP", "LEEWAY", "TIMEOUT", "REFRESH_AHEAD", "REFUSED", "HEADER", "SCHEME", "QUERY")
#: Those of them that are about API requests, which a token source does not send.
API_POLICY = ("ALLOWED_HOSTS", "REFUSED", "HEADER", "SCHEME", "QUERY")
#: Pairs of which one may be set: the token or key goes to one place.
PLACES = (("QUERY", "HEADER"), ("QUERY", "SCHEME"), ("API_KEY_QUERY", "API_KEY_HEADER"))
_CLIENT = ("CLIENT_ID", "CLIENT_SECRET")
#: What client authentication by a JWT takes besides CLIENT_AUTH.
ASSERTION = ("PRIVATE_KEY", "KEY_ID", "ALGORITHM", "CLIENT_ASSERTION")
#: What jwt_bearer takes to sign an assertion, besides a key.
SIGNED = ("JWT_ISSUER", "JWT_SUBJECT")
#: The values of CLIENT_AUTH that need no CLIENT_SECRET.
WITHOUT_SECRET = ("none", "private_key_jwt", *BY_CERTIFICATE)
#: By grant type: the class, the variables that it needs, and those that it accepts besides.
GRANT_TYPES: Mapping[str, tuple[type[Grant], tuple[str, ...], tuple[str, ...]]] = {
    "client_credentials": (ClientCredentials, ("TOKEN_URL", *_CLIENT), (*OPTIONS, *ASSERTION)),
    "password": (Password, ("TOKEN_URL", "USERNAME", "PASSWORD"), (*_CLIENT, "REFRESH_URL", *OPTIONS, *ASSERTION)),
    "refresh_token": (RefreshToken, ("TOKEN_URL", "REFRESH_TOKEN"), (*_CLIENT, *OPTIONS, *ASSERTION)),
    "token_exchange": (TokenExchange, ("TOKEN_URL", "SUBJECT_TOKEN"), (*_CLIENT, *OPTIONS, *ASSERTION)),
    "jwt_bearer": (JWTBearer, ("TOKEN_URL",), ("ASSERTION", *SIGNED, *_CLIENT, *OPTIONS, *ASSERTION)),
    "authorization_code": (
        AuthorizationCode,
        ("TOKEN_URL", "CLIENT_ID", "AUTHORIZE_URL"),
        ("CLIENT_SECRET", "REDIRECT_URI", *OPTIONS, *ASSERTION),
    ),
    "device_code": (
        DeviceCode, ("TOKEN_URL", "CLIENT_ID", "DEVICE_URL"), ("CLIENT_SECRET", *OPTIONS, *ASSERTION)
    ),
    "api_key": (ApiKey, ("API_KEY",), ("API_KEY_HEADER", "API_KEY_QUERY")),
}  # fmt: skip
#: What the metadata of an issuer name, so that it is not needed with ISSUER.
OF_ISSUER = ("TOKEN_URL", "AUTHORIZE_URL", "DEVICE_URL")
#: The grant type that a variable implies, the clearest first.
IMPLIED_TYPE = {
    **dict.fromkeys(("API_KEY", "API_KEY_HEADER", "API_KEY_QUERY"), "api_key"),
    **dict.fromkeys(("USERNAME", "PASSWORD", "REFRESH_URL"), "password"),
    "REFRESH_TOKEN": "refresh_token",
    "SUBJECT_TOKEN": "token_exchange",
    **dict.fromkeys(("ASSERTION", *SIGNED), "jwt_bearer"),
    **dict.fromkeys(("AUTHORIZE_URL", "REDIRECT_URI"), "authorization_code"),
    "DEVICE_URL": "device_code",
    **dict.fromkeys((*_CLIENT, "PRIVATE_KEY", "CLIENT_ASSERTION"), "client_credentials"),
}
KNOWN = (
    {"PROVIDER", "GRANT_TYPE", "ISSUER", "CACHE", "CACHE_KEY", *PROVIDED, *POLICY}
    | {name for _, needed, accepted in GRANT_TYPES.values() for name in (*needed, *accepted)}
    | {f"{name}_FILE" for name in FROM_FILES}
)
#: Variables that Kubernetes sets for each service. They may begin with our prefix.
_INJECTED = re.compile(
    r"([A-Z0-9_]+?_)??(?P<tail>SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)"
)
#: A prefix that configures a grant has all of one of these, or their files.
_SIGNS = [
    *(("PROVIDER", "BASE_URL"), ("PROVIDER", "CLIENT_ID")),
    *((url, name) for url in ("TOKEN_URL", "ISSUER") for name in ("ASSERTION", "JWT_ISSUER")),
    *(needed[:2] for _, needed, _ in GRANT_TYPES.values() if needed != ("TOKEN_URL",)),
    *(("ISSUER", *needed[1:2]) for _, needed, _ in GRANT_TYPES.values() if needed[0] == "TOKEN_URL" and needed[1:]),
]


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


#: Reads the text of a variable, and returns ``None`` if it is not valid; and what is expected, for the error.
_Reader = tuple[Callable[[str], Any], str]

_SWITCHES = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def _choice(*values: str) -> _Reader:
    def fold(value: str) -> str:
        return value.lower().replace("_", "-")

    folded = {fold(value): value for value in values}
    return lambda value: folded.get(fold(value)), " or ".join(values)


_SWITCH: _Reader = (lambda value: _SWITCHES.get(value.lower()), "true or false")


def _seconds(value: str) -> float | None:
    # float() alone accepts too much, and its error holds the value.
    return float(value) if re.fullmatch(r"\d{1,9}(\.\d{0,9})?|\.\d{1,9}", value, re.ASCII) else None


def _words(value: str) -> list[str] | None:
    return value.replace(",", " ").split() or None


def _form(freeze: Callable[[str, Any], Any], separators: str = "&") -> Callable[[str], Any]:
    """Return a reader of ``name=value`` pairs, form-encoded; of a name alone the value is ``None``."""

    def read(text: str) -> Any:
        values: dict[str, Any] = {}
        try:
            for pair in filter(None, re.split(f"[{separators}]", text)):
                name, equals, value = pair.partition("=")
                values.setdefault(unquote_plus(name, errors="strict"), []).append(
                    unquote_plus(value, errors="strict") if equals else None
                )
            return freeze("", {name: value[0] if len(value) == 1 else value for name, value in values.items()})
        except (ConfigurationError, UnicodeDecodeError):  # its text may hold the value
            return None

    return read


def _params(text: str) -> Any:
    """Read parameters. A name alone has to be one: JSON, for example, would be the name of nothing."""
    alone = (pair for pair in text.split("&") if "=" not in pair)
    return _form(freeze_params)(text) if all(re.fullmatch(r"[\w.%+\[\]-]*", name) for name in alone) else None


def _issuer(value: str) -> Issuer | None:
    try:
        return Issuer(value)
    except ConfigurationError:  # the caller's error names the variable
        return None


def _hosts(value: str) -> list[str] | None:
    try:
        AllowedHosts(hosts := _words(value) or [])
    except ConfigurationError:  # its text holds the value
        return None
    return hosts


def _header(name: str, value: str) -> bool:
    try:
        check_header(name, value)
    except ConfigurationError:  # the caller's error names the variable
        return False
    return True


def _statuses(value: str) -> tuple[int, ...] | None:
    words = _words(value) or [value]
    return tuple(map(int, words)) if all(re.fullmatch(r"[2-9]\d\d", word, re.ASCII) for word in words) else None


class CacheChoice(NamedTuple):
    """What CACHE means: a class and its arguments; a class of ``None`` is memory."""

    make: Callable[..., FileCache | KeyringCache | RedisCache] | None
    arguments: Mapping[str, str]


MEMORY = CacheChoice(None, {})


def _cache(value: str) -> CacheChoice | None:
    kind, colon, rest = value.partition(":")
    kind = kind.lower()
    if kind == "memory" and not colon:
        return MEMORY
    if kind == "keyring" and not colon:
        return CacheChoice(KeyringCache, {})
    if kind == "file" and bool(colon) == bool(rest.strip()):
        return CacheChoice(FileCache, {"path": rest} if rest else {})
    return CacheChoice(RedisCache, {"url_or_client": value}) if kind in ("redis", "rediss", "unix") and colon else None


def _parameter(value: str) -> str | None:
    return value if value.isprintable() else None


_PARAMETER: _Reader = (_parameter, "the name of a parameter in the query, such as access_token")
_PAIRS = "name=value pairs, form-encoded, such as tenant=a%20b&version=2"
READERS: Mapping[str, _Reader] = {
    "ANSWER": (
        _form(freeze_answer, r"\s&,"),
        f"{', '.join(ANSWER_MEMBERS)}, each with the path of the member, such as access_token=data.token scope=perms",
    ),
    "NAMES": (
        _form(freeze_names, r"\s&,"),
        f"other names for {', '.join(STANDARD_PARAMETERS)}, such as client_id=app_id client_secret=app_secret",
    ),
    "PARAMS": (_params, f"{_PAIRS}, or a name alone to remove that parameter"),
    "REFRESH_PARAMS": (_params, f"{_PAIRS}, or a name alone to remove that parameter"),
    "HEADERS": (_form(freeze_headers), "name=value pairs, form-encoded, such as X-Tenant=a&X-Version=2"),
    "LIFETIME": (lambda value: _seconds(value) or None, "seconds, such as 3600"),
    "PROVIDER": _choice(*providers.BY_NAME),
    "STAGING": _SWITCH,
    "CREDENTIALS": _choice("header", "query"),
    "GRANT_TYPE": _choice(*GRANT_TYPES),
    "ISSUER": (
        _issuer,
        "an absolute URL such as https://login.example.com/realms/acme, without query and without /.well-known/",
    ),
    "RESOURCE": (_words, "URIs, separated by spaces"),
    "CLIENT_AUTH": _choice(*CLIENT_AUTH, "private_key_jwt"),
    "ALGORITHM": _choice(*ALGORITHMS, *HMAC_ALGORITHMS),
    "DPOP": _SWITCH,
    "ENCODING": _choice(*ENCODINGS),
    "METHOD": _choice(*METHODS),
    "CACHE": (_cache, "memory, file, file:PATH, keyring, redis://HOST:6379/0 or rediss://..."),
    "ALLOWED_HOSTS": (_hosts, "hosts, such as api.example.com, *.example.com or 127.0.0.1:8080, separated by commas"),
    "ALLOW_HTTP": _SWITCH,
    "LEEWAY": (_seconds, "seconds, such as 60, or 0"),
    "REFRESH_AHEAD": _SWITCH,
    "HEADER": (lambda value: value if _header(value, "") else None, "a header name, such as X-Auth-Token"),
    # In an error's text a name in braces stands for an argument: the outer braces are left.
    "SCHEME": (
        lambda value: value if _header("Authorization", value) else None,
        "a word, or text with {{token}} in it",
    ),
    "QUERY": _PARAMETER,
    "API_KEY_QUERY": _PARAMETER,
    "REFUSED": (_statuses, "statuses, such as 403 419"),
    "TIMEOUT": (lambda value: _seconds(value) or None, "seconds, such as 10"),
}
