"""Configuration by environment variables: what they mean, and the errors for those that are wrong."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import requests

import auth_plugins.requests
from auth_plugins import (
    ApiKey,
    ClientCredentials,
    ConfigurationError,
    FileCache,
    Grant,
    InsecureTransportError,
    Issuer,
    MemoryCache,
    Password,
    RedisCache,
    RefreshToken,
    SecretFile,
    TokenSource,
    TokenTransportError,
    from_env,
    providers,
)
from auth_plugins._environment.configuration import configuration, source_configuration
from auth_plugins._environment.variables import Variables
from tests.support.drivers import SYNC, Driver, each
from tests.support.frames import variables_of
from tests.support.loopback import Loopback, as_json
from tests.support.stores import KEY, OTHER_KEY, forget

BASE = "https://id.example.com"
URL = f"{BASE}/token"
ISSUER = f"{BASE}/realms/acme"

CLIENT = {"TOKEN_URL": URL, "CLIENT_ID": "me", "CLIENT_SECRET": "s3cr3t"}
USER = {"TOKEN_URL": URL, "USERNAME": "ann", "PASSWORD": "pa55"}
REFRESH = {"TOKEN_URL": URL, "REFRESH_TOKEN": "r3fr3sh"}
JWT_API = {"PROVIDER": "jwt-api", "BASE_URL": BASE, "CLIENT_ID": "me", "CLIENT_SECRET": "s3cr3t"}
AUTH_API = {"PROVIDER": "auth-api", "BASE_URL": "https://auth.example.com", "USERNAME": "ann", "PASSWORD": "pa55"}

#: All that reads variables; the adapters of the other libraries share this method.
DOORS = [from_env, TokenSource.from_env, auth_plugins.requests.OAuth2Auth.from_env]


def acme(variables: dict[str, str]) -> dict[str, str]:
    return {f"ACME_{name}": value for name, value in variables.items()}


def made(variables: dict[str, str]) -> Grant:
    return from_env("ACME", acme(variables))


def policy(variables: dict[str, str]) -> dict[str, Any]:
    """Return the arguments of an adapter that these variables of a client are."""
    return configuration("ACME", acme({**CLIENT, **variables}))[1]


def refused(variables: dict[str, str]) -> str:
    """Return the message of the error for these variables."""
    with pytest.raises(ConfigurationError) as error:
        made(variables)
    assert error.value.__context__ is None, "it would show in a traceback"
    return str(error.value)


def without(variables: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in names}


STAGING = "https://auth-stg.example.com/auth"
GOOD: dict[str, tuple[dict[str, str], Grant]] = {
    "client credentials": (CLIENT, ClientCredentials(URL, "me", "s3cr3t")),
    "a public client": ({**without(CLIENT, "CLIENT_SECRET"), "CLIENT_AUTH": "none"}, ClientCredentials(URL, "me")),
    "an issuer": (
        {**without(CLIENT, "TOKEN_URL"), "ISSUER": f" {ISSUER}/ "},
        ClientCredentials(Issuer(f"{ISSUER}/"), "me", "s3cr3t"),
    ),
    "an issuer of a user": ({**without(USER, "TOKEN_URL"), "ISSUER": BASE}, Password(Issuer(BASE), "ann", "pa55")),
    "an issuer of a refresh token": (
        {**without(REFRESH, "TOKEN_URL"), "ISSUER": BASE},
        RefreshToken(Issuer(BASE), "r3fr3sh"),
    ),
    "an issuer of a public client": (
        {"ISSUER": BASE, "CLIENT_ID": "me", "CLIENT_AUTH": "none"},
        ClientCredentials(Issuer(BASE), "me"),
    ),
    "all options": (
        {
            **CLIENT,
            "GRANT_TYPE": "client_credentials",
            "SCOPE": "read write",
            "AUDIENCE": "https://api.example.com",
            "RESOURCE": "https://a.example.com, https://b.example.com",
            "CLIENT_AUTH": "client_secret_post",
            "ENCODING": "json",
            "METHOD": "post",
            "REVOCATION_URL": f"{BASE}/revoke",
        },
        ClientCredentials(
            URL,
            "me",
            "s3cr3t",
            scope="read write",
            audience="https://api.example.com",
            resource=["https://a.example.com", "https://b.example.com"],
            client_auth="client_secret_post",
            encoding="json",
            revocation_url=f"{BASE}/revoke",
        ),
    ),
    "a dialect": (
        {
            **CLIENT,
            "CLIENT_AUTH": "client_secret_post",
            "ANSWER": "access_token=data.token  expires_in=data.ttl&error=code, scope=header%3AX-Scope",
            "NAMES": "client_id=app_id,client_secret=app%20secret&grant_type=type",
            "PARAMS": "tenant=a%20b+c&grant_type&empty=&many=1&many=2&raw=x y=z",
            "HEADERS": "X-Key=k3y%2B&Authorization=Token abc%3D&X-Empty=",
            "REFRESH_PARAMS": "scope=a+b&client_id",
            "LIFETIME": " 3600.5 ",
        },
        ClientCredentials(
            URL,
            "me",
            "s3cr3t",
            client_auth="client_secret_post",
            answer={"access_token": "data.token", "expires_in": "data.ttl", "error": "code", "scope": "header:X-Scope"},
            names={"client_id": "app_id", "client_secret": "app secret", "grant_type": "type"},
            params={"tenant": "a b c", "grant_type": None, "empty": "", "many": ["1", "2"], "raw": "x y=z"},
            headers={"X-Key": "k3y+", "Authorization": "Token abc=", "X-Empty": ""},
            refresh_params={"scope": "a b", "client_id": None},
            lifetime=3600.5,
        ),
    ),
    "a dialect of a provider": (
        {**JWT_API, "ANSWER": "access_token=token", "PARAMS": "a=1", "LIFETIME": "60"},
        providers.jwt_api(BASE, "me", "s3cr3t", answer={"access_token": "token"}, params={"a": "1"}, lifetime=60),
    ),
    "a dialect of a user": (
        {**USER, "NAMES": "username=login", "REFRESH_PARAMS": "a=1", "HEADERS": "X-A=1"},
        Password(URL, "ann", "pa55", names={"username": "login"}, refresh_params={"a": "1"}, headers={"X-A": "1"}),
    ),
    "a dialect of a refresh token": (
        {**REFRESH, "REFRESH_PARAMS": "scope=a"},
        RefreshToken(URL, "r3fr3sh", refresh_params={"scope": "a"}),
    ),
    "password of a client": (
        {**USER, **CLIENT, "REFRESH_URL": f"{BASE}/refresh", "GRANT_TYPE": "PASSWORD"},
        Password(URL, "ann", "pa55", client_id="me", client_secret="s3cr3t", refresh_url=f"{BASE}/refresh"),
    ),
    "refresh token of a client": ({**REFRESH, **CLIENT}, RefreshToken(URL, "r3fr3sh", "me", "s3cr3t")),
    "API key in a header": ({"API_KEY": "k3y", "API_KEY_HEADER": "X-Key"}, ApiKey("k3y", header="X-Key")),
    "API key in the query": ({"API_KEY": "k3y", "API_KEY_QUERY": " key "}, ApiKey("k3y", query="key")),
    "upload-api, by its example": (
        {**JWT_API, "PROVIDER": "upload-api", "CLIENT_AUTH": "client_secret_basic_raw", "SCOPE": "other"},
        providers.upload_api(BASE, "me", "s3cr3t", "other", client_auth="client_secret_basic_raw"),
    ),
    "jwt-api, by its function's name": (
        {**JWT_API, "PROVIDER": "Jwt_Api", "AUDIENCE": "x", "RESOURCE": "urn:a"},
        providers.jwt_api(BASE, "me", "s3cr3t", audience="x", resource="urn:a"),
    ),
    "auth-api, staging": (
        {**AUTH_API, "STAGING": "true"},
        Password(f"{STAGING}/password", "ann", "pa55", refresh_url=f"{STAGING}/refresh", params={"grant_type": None}),
    ),
    "auth-api, refreshed elsewhere": (
        {**AUTH_API, "REFRESH_URL": f"{BASE}/refresh"},
        providers.auth_api("https://auth.example.com", "ann", "pa55", refresh_url=f"{BASE}/refresh"),
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_variables_make_the_grant_that_code_makes(case: str) -> None:
    """Variables make a grant equal to the one from code; GRANT_TYPE is optional."""
    variables, grant = GOOD[case]
    assert made(variables) == grant
    assert from_env("ACME_", MappingProxyType(acme(variables))) == grant, "with its underscore, of any mapping"


def test_credentials_are_taken_as_they_are_and_all_else_is_trimmed() -> None:
    """Credentials keep their spaces, and lose the line end of the file they came from."""
    for name in ("CLIENT_ID", "CLIENT_SECRET", "USERNAME", "PASSWORD"):
        assert getattr(made({**USER, **CLIENT, name: " a b \r\n"}), name.lower()) == " a b "
    assert made({**JWT_API, "PROVIDER": " jwt-api\n", "BASE_URL": f" {BASE}\n"}) == made(JWT_API)


BAD: dict[str, tuple[dict[str, str], list[str]]] = {
    # the variables, and what the error says of them
    "nothing": ({}, ["ACME_PROVIDER", "ACME_BASE_URL", "ACME_TOKEN_URL", "ACME_CLIENT_ID", "ACME_CLIENT_SECRET"]),
    "a token URL alone": ({"TOKEN_URL": URL}, ["ACME_CLIENT_ID", "ACME_CLIENT_SECRET", "are not set"]),
    "an issuer alone": ({"ISSUER": ISSUER}, ["ACME_CLIENT_ID", "ACME_CLIENT_SECRET", "ACME_ISSUER needs them"]),
    "an issuer and a token URL": (
        {**CLIENT, "ISSUER": ISSUER},
        ["ACME_ISSUER contradicts ACME_TOKEN_URL", "unset one"],
    ),
    "an issuer of a provider": ({**JWT_API, "ISSUER": ISSUER}, ["ACME_ISSUER contradicts ACME_PROVIDER=jwt-api"]),
    "an issuer of a key": ({"API_KEY": "k", "ISSUER": ISSUER}, ["ACME_ISSUER contradicts ACME_API_KEY"]),
    "metadata in place of an issuer": (
        {**without(CLIENT, "TOKEN_URL"), "ISSUER": f"{ISSUER}/.well-known/openid-configuration"},
        ["ACME_ISSUER is not valid; expected an absolute URL such as", "without /.well-known/"],
    ),
    "no secret": (without(CLIENT, "CLIENT_SECRET"), ["ACME_CLIENT_SECRET (or ACME_CLIENT_SECRET_FILE) is not set"]),
    "a refresh URL alone": ({"REFRESH_URL": URL}, ["ACME_TOKEN_URL, ACME_USERNAME and ACME_PASSWORD"]),
    "a header alone": ({"API_KEY_HEADER": "X-Key"}, ["ACME_API_KEY (or ACME_API_KEY_FILE) is not set"]),
    "a parameter alone": ({"API_KEY_QUERY": "key"}, ["ACME_API_KEY (or ACME_API_KEY_FILE) is not set"]),
    "a key in two places": (
        {"API_KEY": "k", "API_KEY_HEADER": "X-API-Key", "API_KEY_QUERY": "key"},
        ["ACME_API_KEY_QUERY contradicts ACME_API_KEY_HEADER; unset one of them"],
    ),
    "a token in two places": (
        {**CLIENT, "QUERY": "q", "HEADER": "Authorization"},
        ["ACME_QUERY contradicts ACME_HEADER; unset one of them"],
    ),
    "a scheme in a query": (
        {**CLIENT, "QUERY": "q", "SCHEME": "Bearer"},
        ["ACME_QUERY contradicts ACME_SCHEME; unset"],
    ),
    "a scheme of a key in a query": (
        {"API_KEY": "k", "API_KEY_QUERY": "key", "SCHEME": "Bearer"},
        ["ACME_SCHEME contradicts ACME_API_KEY_QUERY; unset"],
    ),
    "a scheme of two lines": ({**CLIENT, "SCHEME": "a\nb"}, ["expected a word, or text with {token} in it"]),
    "a grant type alone": ({"GRANT_TYPE": "refresh_token"}, ["ACME_GRANT_TYPE=refresh_token needs them"]),
    "a provider alone": ({"PROVIDER": "auth-api"}, ["_URL, ACME_USERNAME and", "ACME_PROVIDER=auth-api needs them"]),
    "no provider": (without(JWT_API, "PROVIDER"), ["ACME_PROVIDER is not set", "ACME_BASE_URL needs it"]),
    "an empty variable": ({**CLIENT, "TOKEN_URL": " "}, ["ACME_TOKEN_URL (which is empty) is not set"]),
    "an empty secret": ({**CLIENT, "CLIENT_SECRET": "\n"}, ["ACME_CLIENT_SECRET must not be empty"]),
    "an empty file's name": ({**CLIENT, "CACHE_KEY_FILE": ""}, ["ACME_CACHE_KEY_FILE must not be empty"]),
    "an unknown variable": ({**CLIENT, "ZZZ": "1"}, ["ACME_ZZZ is no known variable", "unset it"]),
    "an argument of a provider": ({"PROVIDER": "feishu", "APP_ID": "a"}, ["did you mean ACME_CLIENT_ID?"]),
    "a misspelt one": ({**CLIENT, "CLIENT_SECERT": "x"}, ["ACME_CLIENT_SECERT", "did you mean ACME_CLIENT_SECRET?"]),
    "lower case": ({**without(CLIENT, "CLIENT_ID"), "client_id": "x"}, ["did you mean ACME_CLIENT_ID?"]),
    "a word too many": ({**CLIENT, "V2_CLIENT_SECRET": "x"}, ["did you mean ACME_CLIENT_SECRET?"]),
    "a secret twice": ({**CLIENT, "CLIENT_SECRET_FILE": "/x"}, ["ACME_CLIENT_SECRET_FILE are both set; unset one"]),
    "a key and a client": ({**CLIENT, "API_KEY": "k"}, ["ACME_CLIENT_ID", "contradicts", "ACME_API_KEY"]),
    "a password and a refresh token": ({**USER, **REFRESH}, ["ACME_USERNAME", "contradicts", "ACME_REFRESH_TOKEN"]),
    "another grant type's": ({**CLIENT, **USER, "GRANT_TYPE": "refresh_token"}, ["ACME_REFRESH_TOKEN"]),
    "another provider's": ({**JWT_API, "STAGING": "1"}, ["ACME_STAGING contradicts ACME_PROVIDER=jwt-api"]),
    "a secret without a client": ({**USER, "CLIENT_SECRET": "x"}, ["ACME_CLIENT_SECRET needs ACME_CLIENT_ID"]),
    "no staging host": ({**AUTH_API, "BASE_URL": "https://a", "STAGING": "on"}, ["ACME_STAGING needs ACME_BASE_URL"]),
    "a name for a header": (
        {**CLIENT, "NAMES": "client_secret=key"},
        ["ACME_NAMES must not have client_secret where ACME_CLIENT_AUTH sends it"],
    ),
    "an option of a key": ({"API_KEY": "k", "PARAMS": "a=b4dc"}, ["ACME_PARAMS contradicts ACME_API_KEY"]),
    "a line break": ({**CLIENT, "CLIENT_SECRET": "\ns3cr3t"}, ["ACME_CLIENT_SECRET must not have a control character"]),
    "a cache key for memory": ({**CLIENT, "CACHE_KEY": "k"}, ["ACME_CACHE_KEY", "memory", "unset it"]),
    "a wrong key": ({**CLIENT, "CACHE": "file", "CACHE_KEY": "c4n4ry"}, ["ACME_CACHE_KEY must be a Fernet key, or"]),
    "a wrong cache": ({**CLIENT, "CACHE": "redis://:c4n4ry@host:port"}, ["ACME_CACHE must be a URL of Redis, such as"]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(case: str) -> None:
    """A missing, unknown, misspelt or contradictory variable is named, with a remedy, and no value is shown."""
    variables, said = BAD[case]
    message = refused(variables)
    assert "\n" not in message
    for text in said:
        assert text in message
    rest = re.sub(r"ACME_\w+|such as \S+", "", message)
    for name, value in variables.items():
        assert len(value) <= 3 or name in ("PROVIDER", "GRANT_TYPE") or value not in rest
    assert "c4n4ry" not in message


CANARY = "c4n4ry:/ \x7f"
#: A variable that has a wrong value, and those that it belongs to.
WRONG = {
    **dict.fromkeys(("PROVIDER", "GRANT_TYPE", "TOKEN_URL", "CLIENT_AUTH", "ENCODING", "METHOD", "CACHE"), CLIENT),
    **dict.fromkeys(("CACHE_KEY", "ALLOWED_HOSTS", "ALLOW_HTTP", "REFRESH_AHEAD", "REVOCATION_URL"), CLIENT),
    **dict.fromkeys(("LEEWAY", "TIMEOUT", "LIFETIME", "ANSWER", "NAMES", "HEADERS"), CLIENT),
    **dict.fromkeys(("REFUSED", "HEADER", "SCHEME", "QUERY"), CLIENT),
    "REFRESH_URL": USER,
    "ISSUER": without(CLIENT, "TOKEN_URL"),
    "API_KEY_HEADER": {"API_KEY": "k"},
    "API_KEY_QUERY": {"API_KEY": "k"},
    "BASE_URL": JWT_API,
    "STAGING": AUTH_API,
    "CREDENTIALS": {**JWT_API, "PROVIDER": "organization-api"},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_is_not_valid_is_never_shown(name: str) -> None:
    """The error for a value in the wrong variable names the variable, and does not show the value."""
    with pytest.raises(ConfigurationError) as error:
        made({**WRONG[name], name: CANARY})
    assert f"ACME_{name}" in str(error.value)
    assert re.search(r"; (give|expected|unset|set|make) |must be", str(error.value))
    assert "c4n4ry" not in "".join(traceback.format_exception(error.value)) + repr(error.value)


INVALID = {
    "LEEWAY": ["-1", "nan", "1e3", "9999999999"],
    "TIMEOUT": ["0.0", "ten", "٣"],
    "ALLOWED_HOSTS": [",", "https://api.example.com"],
    "CACHE": ["file:", "memory:", "http://localhost", "redis"],
    "RESOURCE": [","],
    "METHOD": ["PUT"],
    "LIFETIME": ["0", "-1", "1h"],
    "ANSWER": [
        *("data.token", "acces_token=a", "access_token=", "access_token", "access_token=a..b", "access_token=header:"),
        *("access_token=a access_token=b", "access_token=%ff"),
    ],
    "NAMES": ["client=a", "client_id", "client_id=", "client_id=a client_secret=a", "client_id=a&client_id=b"],
    "PARAMS": ["=a", "a&a=1", "a=%ff", "%ff=a", "a=\udc80", '{"tenant": "a"}', "tenant: a"],
    "REFRESH_PARAMS": ["=a", "a&a"],
    "HEADERS": ["X-A", "X A=1", "X-A=%0D%0AX-B:1", "X-A=1&X-A=2", "X-A=%E2%82%AC", "=a"],
    "HEADER": ["X Auth", "X-Auth:"],
    "QUERY": ["access\ntoken", "\ud800"],
    "SCHEME": ["B\nearer", "\u2713 {token}"],
    "REFUSED": ["forbidden", "40", "1403", "٤٠٣", "199", "403-419", ","],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in INVALID.items() for value in values])
def test_a_value_that_is_not_valid_is_refused(name: str, value: str) -> None:
    """A value that is not valid is refused at once, and the error says what is expected."""
    assert refused({**CLIENT, name: value}).startswith(f"ACME_{name} is not valid; expected ")


def test_variables_with_values_that_may_be_secret_are_shown_nowhere() -> None:
    """Values of parameters and headers from variables are in no dump of the grant, and in no frame of an error."""
    secrets = dict.fromkeys(("PARAMS", "HEADERS", "REFRESH_PARAMS"), "X-Key=c4n4ry")
    assert "c4n4ry" not in repr(made({**CLIENT, **secrets}))
    assert "c4n4ry" not in repr(vars(Variables("ACME", acme(secrets))))
    with pytest.raises(ConfigurationError) as error:
        made({**CLIENT, **secrets, "LIFETIME": "soon"})
    assert "c4n4ry" not in variables_of(error.value)


# The cache and the policy


@pytest.mark.parametrize(
    ("variables", "cache"),
    [
        ({"CACHE": "File"}, FileCache()),
        ({"CACHE": "file:relative"}, FileCache(Path("relative").absolute())),
        ({"CACHE": "file:~/my tokens", "CACHE_KEY": KEY}, FileCache("~/my tokens", key=KEY)),
        ({"CACHE": "redis://me:pass@h:6380/2"}, RedisCache("redis://me:pass@h:6380/2")),
        ({"CACHE": "rediss://h", "CACHE_KEY": f"{KEY}, {OTHER_KEY}"}, RedisCache("rediss://h", key=[KEY, OTHER_KEY])),
        ({"CACHE": "unix:///run/redis.sock"}, RedisCache("unix:///run/redis.sock")),
    ],
    ids=str,
)
def test_a_cache_is_configured(variables: dict[str, str], cache: Any) -> None:
    """CACHE and CACHE_KEY make the cache that code makes."""
    assert policy(variables) == {"cache": cache}


def test_a_cache_and_its_key_come_from_files(tmp_path: Path) -> None:
    """CACHE_FILE names a file with the URL of the cache, which may hold a password. Both files are read once."""
    file, key = tmp_path / "cache", tmp_path / "key"
    variables = {"CACHE_FILE": f" {file}\n", "CACHE_KEY_FILE": str(key)}
    assert refused({**CLIENT, **variables}).startswith("the file of ACME_CACHE_FILE cannot be read (")
    file.write_text("redis://:c4n4ry@cache.example.com:6380/1\n")
    assert refused({**CLIENT, **variables}).startswith("the file of ACME_CACHE_KEY_FILE cannot be read (")
    key.write_text(f"{KEY}\n{OTHER_KEY}\n")
    cache = RedisCache("redis://:c4n4ry@cache.example.com:6380/1", key=[KEY, OTHER_KEY])
    assert policy(variables) == {"cache": cache}
    for content, said in (
        ("redis://:c4n4ry@cache.example.com\n", "a grant cannot carry ACME_CACHE_FILE; use "),
        ("c4n4ry", "ACME_CACHE_FILE is not valid; expected memory, file,"),
        ("redis://:c4n4ry@/", "ACME_CACHE_FILE must be a URL of Redis"),
    ):
        file.write_text(content)
        assert (message := refused({**CLIENT, "CACHE_FILE": str(file)})).startswith(said)
        assert "c4n4ry" not in message
    assert policy({"CACHE_FILE": ""}) == policy({"CACHE": "memory"}) == {}


POLICY = {"LEEWAY": "30", "TIMEOUT": ".5", "REFRESH_AHEAD": "no", "ALLOW_HTTP": "on"}


def test_policy_is_an_adapters_arguments() -> None:
    """Variables for the policy become arguments of the adapter or the token source."""
    expected = {"leeway": 30.0, "timeout": 0.5, "refresh_ahead": False}
    assert source_configuration("ACME", acme({**CLIENT, **POLICY})) == (made(CLIENT), expected, True)
    hosts = ["api.example.com", "*.example.org"]
    of_adapter = {**expected, "allow_http": True, "allowed_hosts": hosts}
    assert policy({**POLICY, "ALLOWED_HOSTS": ", ".join(hosts)}) == of_adapter
    assert policy({"REFUSED": "403 419"}) == policy({"REFUSED": "403, 419"}) == {"refused": (403, 419)}
    assert policy({"HEADER": "X-Auth", "SCHEME": " a={token} "}) == {"header": "X-Auth", "scheme": "a={token}"}
    assert policy({"QUERY": " access_token "}) == {"query": "access_token"}
    assert policy({"ALLOW_HTTP": "0", "LEEWAY": "0"}) == {"allow_http": False, "leeway": 0.0}


@pytest.mark.parametrize(
    ("door", "name", "value", "said"),
    [
        (from_env, "CACHE", "redis://:c4n4ry@cache.example.com", "OAuth2Auth.from_env or TokenSource.from_env"),
        (from_env, "LEEWAY", "60", "OAuth2Auth.from_env or TokenSource.from_env"),
        (from_env, "ALLOWED_HOSTS", "api.example.com", "OAuth2Auth.from_env, or unset it"),
        (TokenSource.from_env, "ALLOWED_HOSTS", "api.example.com", "OAuth2Auth.from_env, or unset it"),
        (from_env, "SCHEME", "Token", "OAuth2Auth.from_env, or unset it"),
        (TokenSource.from_env, "HEADER", "X-A", "OAuth2Auth.from_env, or unset it and give header= to the OAuth2Auth"),
        (TokenSource.from_env, "QUERY", "q", "OAuth2Auth.from_env, or unset it and give query= to the OAuth2Auth"),
        (from_env, "QUERY", "q", "OAuth2Auth.from_env, or unset it"),
        (from_env, "REFUSED", "403", "OAuth2Auth.from_env, or unset it"),
        (
            TokenSource.from_env,
            "REFUSED",
            "403",
            "OAuth2Auth.from_env, or unset it and give refused= to the OAuth2Auth",
        ),
    ],
)
def test_a_grant_or_source_refuses_what_it_cannot_carry(door: Any, name: str, value: str, said: str) -> None:
    """A grant has neither cache nor policy, and a token source no allowed hosts: their variables are refused."""
    with pytest.raises(ConfigurationError) as error:
        door("ACME", acme({**CLIENT, name: value}))
    assert f"cannot carry ACME_{name}; use {said}" in str(error.value)
    assert "c4n4ry" not in str(error.value)


@pytest.mark.parametrize("door", DOORS[1:])
def test_os_environ_is_read_by_default(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments the variables are those of the process, and the prefix is AUTH_PLUGINS."""
    for name, value in CLIENT.items():
        monkeypatch.setenv(f"AUTH_PLUGINS_{name}", value)
    made = door()
    assert getattr(made, "source", made).grant == from_env() == ClientCredentials(URL, "me", "s3cr3t")


@pytest.mark.parametrize("door", DOORS[1:])
def test_arguments_win_over_variables(door: Any, server: Loopback, tmp_path: Path) -> None:
    """An argument in code replaces its variable, and the other variables take effect."""
    server.latency = 0.3
    variables = {**CLIENT, "TOKEN_URL": server.token_url, "CACHE": f"file:{tmp_path}", "TIMEOUT": "0.1"}
    made = door("ACME", acme(variables))
    with pytest.raises(TokenTransportError, match=r"could not be reached .*0\.1 s"):
        getattr(made, "source", made).token()
    server.latency = 0.0
    for options, is_shared in (({"cache": MemoryCache()}, False), ({}, True)):
        forget()
        made = door("ACME", acme(variables), timeout=5, **options)
        assert getattr(made, "source", made).token().access_token
        assert bool([path for path in tmp_path.rglob("*") if "token-" in path.read_text()]) is is_shared


def test_arguments_of_an_adapter_win_over_variables(server: Loopback) -> None:
    """allowed_hosts=, header= and scheme= in code replace the variables."""
    variables = acme({**CLIENT, "TOKEN_URL": server.token_url, "ALLOWED_HOSTS": "api.example.com"})
    options: Any = {"allowed_hosts": ["127.0.0.1"], "header": "X-Token", "scheme": ""}
    server.api = lambda _: as_json({})
    requests.get(server.api_url, auth=auth_plugins.requests.OAuth2Auth.from_env("ACME", variables, **options))
    assert server.api_requests[0].headers["x-token"] == "token-1"


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_source_allows_http_where_its_variable_does(driver: Driver) -> None:
    """ALLOW_HTTP of a source holds for its token requests, whichever adapter and session send them."""
    variables = acme({**CLIENT, "TOKEN_URL": "http://id.invalid/token", "TIMEOUT": "0.2"})
    refusing = TokenSource.from_env("ACME", variables)
    allowing = TokenSource.from_env("ACME", {**variables, "ACME_ALLOW_HTTP": "true"})
    with requests.Session() as session:
        with_session = auth_plugins.requests.OAuth2Auth(allowing, session=session).source
        for source in (refusing, driver.auth(refusing).source):
            with pytest.raises(InsecureTransportError):
                source.token()
        for source in (allowing, driver.auth(allowing).source, with_session):
            with pytest.raises(TokenTransportError):
                source.token()


# Prefixes, and variables of other programs


@pytest.mark.parametrize("prefix", ["_", None, "AC\nME"])
def test_a_prefix_is_needed(prefix: Any) -> None:
    """A prefix that is empty or not printable is refused."""
    with pytest.raises(ConfigurationError, match="prefix must be a name such as 'ACME'") as error:
        from_env(prefix, {})
    assert str(error.value).isprintable(), "one line"


@pytest.mark.parametrize(
    ("prefix", "others", "meant"),
    [
        ("acme", {"OTHER_API_KEY": "k"}, "ACME"),
        ("ACNE", {}, "ACME"),
        ("LETTERS", {f"{letter}_API_KEY": "k" for letter in "ZYX"}, "ACME or X or Y"),
        ("ORDERS", {f"{name}_API_KEY": "k" for name in ("A", "B", "C", "RED")}, "RED or ACME or A"),
        ("ACME_V4", {f"ACME_V{number}_API_KEY": "k" for number in range(4)}, "ACME_V0 or ACME_V1 or ACME_V2"),
    ],
)
def test_a_prefix_is_suggested(prefix: str, others: dict[str, str], meant: str) -> None:
    """An error for an unknown prefix suggests those of the environment that are similar, or else any: three at most."""
    with pytest.raises(ConfigurationError) as error:
        from_env(prefix, {**acme(CLIENT), **others, "HOME": "/home/me"})
    assert f"{prefix}_TOKEN_URL" in str(error.value)
    assert f"did you mean the prefix {meant}?" in str(error.value)


@pytest.mark.parametrize(
    "other",
    [
        CLIENT,
        {"TOKEN_URL": URL, "REFRESH_TOKEN_FILE": "/r"},
        {**without(CLIENT, "TOKEN_URL"), "ISSUER": BASE},
        JWT_API,
        {"API_KEY": "k"},
        {**CLIENT, "SCOPES": "x"},
    ],
)
@pytest.mark.parametrize("name", ["V2", "CLIENT"])
def test_a_longer_prefix_does_not_disturb(other: dict[str, str], name: str) -> None:
    """ACME ignores the variables of ACME_V2, mistakes included."""
    environ = acme({**CLIENT, **{f"{name}_{each}": value for each, value in other.items()}})
    assert from_env("ACME", environ) == ClientCredentials(URL, "me", "s3cr3t")
    if name != "CLIENT" and "SCOPES" not in other:
        assert from_env(f"ACME_{name}", environ) == made(other)


INJECTED = {
    "PORT": "tcp://10.0.0.11:80",
    "SERVICE_HOST": "10.0.0.11",
    "SERVICE_PORT": "80",
    "SERVICE_PORT_HTTP_METRICS": "81",
    "PORT_80_TCP": "tcp://10.0.0.11:80",
    "PORT_80_TCP_ADDR": "10.0.0.11",
    "PORT_53_UDP_PROTO": "udp",
}


@pytest.mark.parametrize("service", ["", "API_"])
def test_variables_of_a_kubernetes_service_are_ignored(service: str) -> None:
    """Variables that Kubernetes sets for a service are ignored."""
    assert made({**CLIENT, **{f"{service}{name}": value for name, value in INJECTED.items()}}) == made(CLIENT)


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "8080"), ("PORTS", "tcp://10.0.0.11:80"), ("PORT_80_TCP_URL", "80"), ("service_host", "10.0.0.11")],
)
def test_what_kubernetes_does_not_set_is_a_mistake(name: str, value: str) -> None:
    """Names and values that Kubernetes does not write are unknown variables."""
    assert refused({**CLIENT, name: value}).startswith(f"ACME_{name} is no known variable")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (list(acme(CLIENT).items()), "environ must be a mapping such as os.environ, got list"),
        ({**acme(CLIENT), "ACME_CLIENT_SECRET": None}, "ACME_CLIENT_SECRET must be a str, got NoneType"),
        ({b"ACME_TOKEN_URL": b"x"}, "nothing that begins with ACME_ says"),
    ],
)
def test_an_environment_that_is_not_valid_is_refused(environ: Any, said: str) -> None:
    """Values that are not str, and an environment that is no mapping, are refused."""
    with pytest.raises(ConfigurationError) as error:
        from_env("ACME", environ)
    assert str(error.value).startswith(said)


# Secrets


@pytest.mark.parametrize(
    ("name", "variables", "by_code"),
    [
        ("CLIENT_SECRET", CLIENT, lambda secret: ClientCredentials(URL, "me", secret)),
        ("API_KEY", {}, ApiKey),
    ],
)
def test_a_file_of_variables_is_a_file_of_code(
    name: str, variables: dict[str, str], by_code: Callable[[Any], Grant], tmp_path: Path
) -> None:
    """A secret file that a variable names is read for each token request, and equals one from code."""
    path = tmp_path / "secret"
    grant = made({**variables, name: "", f"{name}_FILE": f" {path}\n"})
    assert grant == by_code(SecretFile(path))
    assert hash(grant) == hash(by_code(SecretFile(path)))
    assert grant not in (by_code(SecretFile(tmp_path / "other")), by_code(str(path)))
    for secret in ("first", "second"):
        path.write_text(f"{secret}\n")
        assert grant.secrets() == (secret,)
    assert made({**CLIENT, "CLIENT_SECRET_FILE": ""}) == made(CLIENT)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read ("), ("c4n4ry\n\n", "must not have a control character"), ("\n", "must not be empty")],
)
def test_an_error_about_a_secret_file_names_its_variable(content: str | None, said: str, tmp_path: Path) -> None:
    """The error for a secret file names the variable, and neither its content nor its path, which may be the secret."""
    file = tmp_path / "c4n4ry"
    if content is not None:
        file.write_text(content)
    grant = made({**without(CLIENT, "CLIENT_SECRET"), "CLIENT_SECRET_FILE": str(file)})
    with pytest.raises(ConfigurationError) as error:
        grant.secrets()
    assert str(error.value).startswith(f"the file of ACME_CLIENT_SECRET_FILE {said}")
    assert "c4n4ry" not in repr(grant) + "".join(traceback.format_exception(error.value)) + variables_of(error.value)


#: Variables that are refused, each with the canary in all values that may be secret.
FRAMES: list[dict[str, str]] = [
    *({**variables, name: CANARY} for name, variables in WRONG.items()),
    *(variables for variables, _ in BAD.values()),
    {**CLIENT, "CLIENT_SECRET": "c4n4ry", "ALLOWED_HOSTS": "api.example.com"},
    {"API_KEY": "c4n4ry", "API_KEY_FILE": "c4n4ry"},
]
OTHERS = {"DATABASE_URL": "postgres://app:c4n4ry@db/app", "V2_CLIENT_SECRET": "c4n4ry", "ACMF_API_KEY": "c4n4ry"}


@pytest.mark.parametrize("door", [*DOORS, configuration])
@pytest.mark.parametrize("variables", FRAMES, ids=str)
def test_no_frame_of_an_error_holds_the_environment(door: Any, variables: dict[str, str]) -> None:
    """No frame of an error holds the environment or one of its values."""
    values = {name: value if "c4n4ry" in value else f"{value}-c4n4ry" for name, value in variables.items()}
    for environ in (acme(variables), acme(values)):
        with contextlib.suppress(ConfigurationError):
            door("ACME", {**environ, **OTHERS})
            continue  # what one door refuses, another one takes
        with pytest.raises(ConfigurationError) as error:
            door("ACME", {**environ, **OTHERS})
        assert error.value.__traceback__
        assert "c4n4ry" not in variables_of(error.value)


@pytest.mark.parametrize("door", DOORS[1:])
def test_no_frame_of_a_wrong_override_holds_the_environment(door: Any) -> None:
    """No frame of an error about a wrong argument of from_env holds the environment."""
    environ = {**acme({**CLIENT, "CLIENT_SECRET": "c4n4ry"}), **OTHERS}
    with pytest.raises((TypeError, ConfigurationError)) as error:
        door("ACME", environ, leewy=5)
    assert "leewy" in str(error.value)
    assert "c4n4ry" not in variables_of(error.value)
