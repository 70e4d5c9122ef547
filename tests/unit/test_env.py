"""Configuration by environment variables: what they mean, and the errors for those that are wrong."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Callable, Iterator
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
from auth_plugins.sandbox import Sandbox
from tests.support.drivers import ALL, SYNC, Driver, each
from tests.support.frames import variables_of
from tests.support.loopback import Loopback, as_json
from tests.support.stores import forget

URL = "https://id.example.com/token"
BASE = "https://id.example.com"

CLIENT = {"TOKEN_URL": URL, "CLIENT_ID": "me", "CLIENT_SECRET": "s3cr3t"}
USER = {"TOKEN_URL": URL, "USERNAME": "ann", "PASSWORD": "pa55"}
REFRESH = {"TOKEN_URL": URL, "REFRESH_TOKEN": "r3fr3sh"}
JWT_API = {"PROVIDER": "jwt-api", "BASE_URL": BASE, "CLIENT_ID": "me", "CLIENT_SECRET": "s3cr3t"}
AUTH_API = {"PROVIDER": "auth-api", "BASE_URL": "https://auth.example.com", "USERNAME": "ann", "PASSWORD": "pa55"}


def kind_of(driver: Driver) -> Any:
    """Return the library's OAuth2Auth."""
    return type(driver.auth(ApiKey("k")))


def acme(variables: dict[str, str]) -> dict[str, str]:
    return {f"ACME_{name}": value for name, value in variables.items()}


def made(variables: dict[str, str]) -> Grant:
    return from_env("ACME", acme(variables))


def refused(variables: dict[str, str]) -> str:
    """Return the message of the error for these variables."""
    with pytest.raises(ConfigurationError) as error:
        made(variables)
    assert error.value.__context__ is None, "it would show in a traceback"
    return str(error.value)


def without(variables: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in names}


GOOD: dict[str, tuple[dict[str, str], Grant]] = {
    "client credentials": (CLIENT, ClientCredentials(URL, "me", "s3cr3t")),
    "named": ({**CLIENT, "GRANT_TYPE": "client_credentials"}, ClientCredentials(URL, "me", "s3cr3t")),
    "a public client": (
        {**without(CLIENT, "CLIENT_SECRET"), "CLIENT_AUTH": "none"},
        ClientCredentials(URL, "me"),
    ),
    "all options": (
        {
            **CLIENT,
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
    "by GET": (
        {**CLIENT, "METHOD": "get", "ENCODING": "query"},
        ClientCredentials(URL, "me", "s3cr3t", method="GET", encoding="query"),
    ),
    "password": (USER, Password(URL, "ann", "pa55")),
    "password of a client": (
        {**USER, **CLIENT, "REFRESH_URL": f"{BASE}/refresh", "GRANT_TYPE": "PASSWORD"},
        Password(URL, "ann", "pa55", client_id="me", client_secret="s3cr3t", refresh_url=f"{BASE}/refresh"),
    ),
    "refresh token": (REFRESH, RefreshToken(URL, "r3fr3sh")),
    "refresh token of a client": ({**REFRESH, **CLIENT}, RefreshToken(URL, "r3fr3sh", "me", "s3cr3t")),
    "API key": ({"API_KEY": "k3y"}, ApiKey("k3y")),
    "API key in a header": ({"API_KEY": "k3y", "API_KEY_HEADER": "X-Key"}, ApiKey("k3y", header="X-Key")),
    "upload-api": (
        {**JWT_API, "PROVIDER": "upload-api"},
        providers.upload_api(BASE, "me", "s3cr3t"),
    ),
    "upload-api, by its example": (
        {**JWT_API, "PROVIDER": "upload-api", "CLIENT_AUTH": "client_secret_basic_raw", "SCOPE": "other"},
        providers.upload_api(BASE, "me", "s3cr3t", "other", client_auth="client_secret_basic_raw"),
    ),
    "jwt-api": (JWT_API, providers.jwt_api(BASE, "me", "s3cr3t")),
    "jwt-api, by its function's name": (
        {**JWT_API, "PROVIDER": "Jwt_Api", "AUDIENCE": "x", "RESOURCE": "urn:a"},
        providers.jwt_api(BASE, "me", "s3cr3t", audience="x", resource="urn:a"),
    ),
    "auth-api": (AUTH_API, providers.auth_api("https://auth.example.com", "ann", "pa55")),
    "auth-api, staging": (
        {**AUTH_API, "STAGING": "true"},
        Password(
            "https://auth-stg.example.com/auth/password",
            "ann",
            "pa55",
            refresh_url="https://auth-stg.example.com/auth/refresh",
            params={"grant_type": None},
        ),
    ),
    "auth-api, refreshed elsewhere": (
        {**AUTH_API, "REFRESH_URL": f"{BASE}/refresh"},
        providers.auth_api("https://auth.example.com", "ann", "pa55", refresh_url=f"{BASE}/refresh"),
    ),
    "organization-api": (
        {**JWT_API, "PROVIDER": "organization-api", "BASE_URL": "org.example.com"},
        providers.organization_api("https://org.example.com", "me", "s3cr3t"),
    ),
    "organization-api, by query": (
        {**JWT_API, "PROVIDER": "organization-api", "CREDENTIALS": "Query"},
        providers.organization_api(BASE, "me", "s3cr3t", "query"),
    ),
    "json-api, by GET": (
        {**JWT_API, "PROVIDER": "json-api", "METHOD": "get"},
        providers.json_api(BASE, "me", "s3cr3t", method="GET"),
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_variables_make_the_grant_that_code_makes(case: str) -> None:
    """Variables make a grant equal to the one from code; GRANT_TYPE is optional."""
    variables, grant = GOOD[case]
    assert made(variables) == grant
    assert from_env("ACME_", acme(variables)) == grant, "the prefix with its underscore"


@pytest.mark.parametrize("name", ["CLIENT_ID", "CLIENT_SECRET", "USERNAME", "PASSWORD"])
def test_credentials_are_taken_as_they_are(name: str) -> None:
    """Credentials keep their spaces, and lose the line end of the file they came from."""
    argument = name.lower()
    grant = made({**USER, **CLIENT, name: " a b \r\n"})
    assert getattr(grant, argument) == " a b "


def test_all_else_is_trimmed() -> None:
    """Spaces and line ends around all other values are removed."""
    padded = {name: f" {value}\n" for name, value in JWT_API.items() if name not in ("CLIENT_ID", "CLIENT_SECRET")}
    assert made({**JWT_API, **padded}) == made(JWT_API)


BAD: dict[str, tuple[dict[str, str], list[str]]] = {
    # variables, what has to be said about them
    "nothing": ({}, ["ACME_PROVIDER", "ACME_BASE_URL", "ACME_TOKEN_URL", "ACME_CLIENT_ID", "ACME_CLIENT_SECRET"]),
    "a token URL alone": ({"TOKEN_URL": URL}, ["ACME_CLIENT_ID", "ACME_CLIENT_SECRET", "are not set"]),
    "no token URL": (without(CLIENT, "TOKEN_URL"), ["ACME_TOKEN_URL is not set"]),
    "no client id": (without(CLIENT, "CLIENT_ID"), ["ACME_CLIENT_ID is not set", "ACME_CLIENT_SECRET needs it"]),
    "no client secret": (
        without(CLIENT, "CLIENT_SECRET"),
        ["ACME_CLIENT_SECRET (or ACME_CLIENT_SECRET_FILE) is not set", "ACME_CLIENT_ID needs it"],
    ),
    "no password": (without(USER, "PASSWORD"), ["ACME_PASSWORD (or ACME_PASSWORD_FILE)", "ACME_USERNAME needs it"]),
    "a refresh URL alone": ({"REFRESH_URL": URL}, ["ACME_TOKEN_URL, ACME_USERNAME and ACME_PASSWORD"]),
    "a header alone": ({"API_KEY_HEADER": "X-Key"}, ["ACME_API_KEY (or ACME_API_KEY_FILE) is not set"]),
    "a grant type alone": (
        {"GRANT_TYPE": "refresh_token"},
        ["ACME_TOKEN_URL and ACME_REFRESH_TOKEN (or", "ACME_GRANT_TYPE=refresh_token needs them"],
    ),
    "a provider alone": (
        {"PROVIDER": "auth-api"},
        ["ACME_BASE_URL, ACME_USERNAME and ACME_PASSWORD", "ACME_PROVIDER=auth-api needs them"],
    ),
    "no provider": (without(JWT_API, "PROVIDER"), ["ACME_PROVIDER is not set", "ACME_BASE_URL needs it"]),
    "staging of what": ({**CLIENT, "STAGING": "1"}, ["ACME_PROVIDER is not set", "ACME_STAGING needs it"]),
    "an empty variable": ({**CLIENT, "TOKEN_URL": " "}, ["ACME_TOKEN_URL (which is empty) is not set"]),
    "an empty secret": ({**CLIENT, "CLIENT_SECRET": "\n"}, ["ACME_CLIENT_SECRET must not be empty"]),
    "an empty file's name": ({**CLIENT, "CACHE_KEY_FILE": ""}, ["ACME_CACHE_KEY_FILE must not be empty"]),
    "an unknown variable": ({**CLIENT, "ZZZ": "1"}, ["ACME_ZZZ is no known variable", "unset it"]),
    "a misspelt one": (
        {**without(CLIENT, "CLIENT_SECRET"), "CLIENT_SECERT": "x"},
        ["ACME_CLIENT_SECERT", "did you mean ACME_CLIENT_SECRET?"],
    ),
    "lower case": ({**without(CLIENT, "CLIENT_ID"), "client_id": "x"}, ["did you mean ACME_CLIENT_ID?"]),
    "a file of what is no secret": ({**CLIENT, "CLIENT_ID_FILE": "/x"}, ["ACME_CLIENT_ID_FILE", "ACME_CLIENT_ID?"]),
    "a secret twice": (
        {**CLIENT, "CLIENT_SECRET_FILE": "/x"},
        ["ACME_CLIENT_SECRET and ACME_CLIENT_SECRET_FILE are both set"],
    ),
    "a key and a client": ({**CLIENT, "API_KEY": "k"}, ["ACME_CLIENT_ID", "contradicts", "ACME_API_KEY"]),
    "a key and a token URL": ({"TOKEN_URL": URL, "API_KEY": "k"}, ["ACME_TOKEN_URL contradicts ACME_API_KEY"]),
    "a password and a refresh token": ({**USER, **REFRESH}, ["ACME_USERNAME", "contradicts", "ACME_REFRESH_TOKEN"]),
    "a client with the URL of a password": ({**CLIENT, "REFRESH_URL": URL}, ["ACME_USERNAME", "ACME_REFRESH_URL"]),
    "another grant type's": (
        {**CLIENT, **USER, "GRANT_TYPE": "client_credentials"},
        ["ACME_PASSWORD contradicts ACME_GRANT_TYPE=client_credentials"],
    ),
    "a provider's URL twice": ({**JWT_API, "TOKEN_URL": URL}, ["ACME_TOKEN_URL contradicts ACME_PROVIDER=jwt-api"]),
    "a provider and a grant type": (
        {**JWT_API, "GRANT_TYPE": "client_credentials"},
        ["ACME_GRANT_TYPE contradicts ACME_PROVIDER=jwt-api"],
    ),
    "another provider's": ({**JWT_API, "STAGING": "1"}, ["ACME_STAGING contradicts ACME_PROVIDER=jwt-api"]),
    "a key and a provider": ({**JWT_API, "API_KEY": "k"}, ["ACME_API_KEY contradicts ACME_PROVIDER=jwt-api"]),
    "a secret that would not be sent": (
        {**CLIENT, "CLIENT_AUTH": "none"},
        ["ACME_CLIENT_AUTH must not be none with ACME_CLIENT_SECRET"],
    ),
    "a secret without a client": ({**USER, "CLIENT_SECRET": "x"}, ["ACME_CLIENT_SECRET needs ACME_CLIENT_ID"]),
    "a client id with a colon": (
        {**JWT_API, "CLIENT_ID": "a:b"},
        ['ACME_CLIENT_ID must not have ":"', "use client_secret_b"],
    ),
    "staging of one label": (
        {**AUTH_API, "BASE_URL": "https://auth", "STAGING": "true"},
        ["ACME_STAGING needs ACME_BASE_URL", "give the staging URL"],
    ),
    "a URL with a user": (
        {**JWT_API, "PROVIDER": "organization-api", "BASE_URL": "https://me@x", "CREDENTIALS": "query"},
        ["ACME_BASE_URL must have no user", "give credentials by ACME_CLIENT_ID and ACME_CLIENT_SECRET"],
    ),
    "a revocation endpoint for a key": (
        {"API_KEY": "k", "REVOCATION_URL": URL},
        ["ACME_REVOCATION_URL contradicts ACME_API_KEY"],
    ),
    "a line break in a secret": (
        {**CLIENT, "CLIENT_SECRET": "\ns3cr3t"},
        ["ACME_CLIENT_SECRET must not have a control character", "remove it"],
    ),
    "a cache key for memory": ({**CLIENT, "CACHE_KEY": "k"}, ["ACME_CACHE_KEY", "memory", "unset it"]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(case: str) -> None:
    """A missing, unknown, misspelt or contradictory variable is named, with a remedy, and no value is shown."""
    variables, said = BAD[case]
    message = refused(variables)
    assert "\n" not in message
    assert "ACME_" in message
    for text in said:
        assert text in message
    rest = re.sub(r"ACME_\w+|such as \S+", "", message).replace(" none ", " ")
    for name, value in variables.items():
        assert len(value) <= 3 or name in ("PROVIDER", "GRANT_TYPE") or value not in rest


CANARY = "c4n4ry:/ \x7f"
WRONG = {
    "PROVIDER": CLIENT,
    "GRANT_TYPE": CLIENT,
    "TOKEN_URL": CLIENT,
    "REFRESH_URL": USER,
    "CLIENT_AUTH": CLIENT,
    "ENCODING": CLIENT,
    "METHOD": CLIENT,
    "API_KEY_HEADER": {"API_KEY": "k"},
    "BASE_URL": JWT_API,
    "STAGING": AUTH_API,
    "CREDENTIALS": {**JWT_API, "PROVIDER": "organization-api"},
    "CACHE": CLIENT,
    "CACHE_KEY": CLIENT,
    "ALLOWED_HOSTS": CLIENT,
    "ALLOW_HTTP": CLIENT,
    "REFRESH_AHEAD": CLIENT,
    "REVOCATION_URL": CLIENT,
    "LEEWAY": CLIENT,
    "TIMEOUT": CLIENT,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_cannot_be_is_never_shown(name: str) -> None:
    """The error for a value in the wrong variable names the variable, and does not show the value."""
    variables = {**WRONG[name], name: CANARY}
    message = refused(variables)
    assert f"ACME_{name}" in message
    assert re.search(r"; (give|expected|unset|set|make) |must be", message)
    with pytest.raises(ConfigurationError) as error:
        made(variables)
    assert "c4n4ry" not in "".join(traceback.format_exception(error.value)) + repr(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEEWAY", "-1"),
        ("LEEWAY", "nan"),
        ("LEEWAY", "inf"),
        ("LEEWAY", "1e3"),
        ("LEEWAY", "9999999999"),
        ("TIMEOUT", "0"),
        ("TIMEOUT", "0.0"),
        ("TIMEOUT", "ten"),
        ("TIMEOUT", "٣"),
        ("ALLOWED_HOSTS", ","),
        ("ALLOWED_HOSTS", "https://api.example.com"),
        ("ALLOW_HTTP", "maybe"),
        ("CACHE", "file:"),
        ("CACHE", "memory:"),
        ("CACHE", "http://localhost"),
        ("CACHE", "redis"),
        ("RESOURCE", ","),
        ("METHOD", "PUT"),
    ],
)
def test_a_value_that_cannot_be_is_refused(name: str, value: str) -> None:
    """A value that is not valid is refused at once, and the error says what is expected."""
    message = refused({**CLIENT, name: value})
    assert message.startswith(f"ACME_{name} is not valid; expected ")


KEY = "Kx2XJmMg0e7bl9oVX5lSOe8XgKy6mVQVx2Yt0vJtQ1k="
OTHER_KEY = "Yx2XJmMg0e7bl9oVX5lSOe8XgKy6mVQVx2Yt0vJtQ1k="


@pytest.mark.parametrize(
    ("variables", "cache"),
    [
        ({}, None),
        ({"CACHE": "memory"}, None),
        ({"CACHE": "File"}, FileCache()),
        ({"CACHE": "file:/var/my tokens"}, FileCache("/var/my tokens")),
        ({"CACHE": "file:relative"}, FileCache(Path("relative").absolute())),
        ({"CACHE": "file:~/tokens", "CACHE_KEY": KEY}, FileCache("~/tokens", key=KEY)),
        ({"CACHE": "redis://me:pass@h:6380/2"}, RedisCache("redis://me:pass@h:6380/2")),
        ({"CACHE": "rediss://h", "CACHE_KEY": f"{KEY}, {OTHER_KEY}"}, RedisCache("rediss://h", key=[KEY, OTHER_KEY])),
        ({"CACHE": "unix:///run/redis.sock"}, RedisCache("unix:///run/redis.sock")),
    ],
    ids=str,
)
def test_a_cache_is_configured(variables: dict[str, str], cache: Any) -> None:
    """CACHE and CACHE_KEY make the cache that code makes."""
    assert configuration("ACME", acme({**CLIENT, **variables}))[1] == ({} if cache is None else {"cache": cache})


def test_the_key_of_the_cache_comes_from_a_file(tmp_path: Path) -> None:
    """CACHE_KEY_FILE is read with the variables."""
    file = tmp_path / "key"
    variables = {**CLIENT, "CACHE": "file", "CACHE_KEY_FILE": str(file)}
    assert refused(variables).startswith("the file of ACME_CACHE_KEY_FILE cannot be read (")
    file.write_text(f"{KEY}\n{OTHER_KEY}\n")
    assert configuration("ACME", acme(variables))[1] == {"cache": FileCache(key=[KEY, OTHER_KEY])}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CACHE": "file", "CACHE_KEY": "c4n4ry"}, "ACME_CACHE_KEY must be a Fernet key, or several; make one by"),
        ({"CACHE": "redis://:c4n4ry@/"}, "ACME_CACHE must be a URL of Redis, such as redis://host"),
        ({"CACHE": "redis://:c4n4ry@host:port"}, "ACME_CACHE must be a URL of Redis, such as redis://host"),
    ],
)
def test_a_cache_that_cannot_be_is_refused(variables: dict[str, str], said: str) -> None:
    """The error for a wrong cache names its variable, and does not show its password."""
    with pytest.raises(ConfigurationError) as error:
        configuration("ACME", acme({**CLIENT, **variables}))
    assert str(error.value).startswith(said)
    assert "c4n4ry" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("prefix", ["", "_", None, 7, "AC\nME", "ACME\x1b"])
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
        ("ACME_PLUGINS", {}, "ACME"),
        ("SOMETHING_ELSE", {}, "ACME"),
        ("LETTERS", {f"{letter}_API_KEY": "k" for letter in "ZYX"}, "ACME or X or Y"),
    ],
)
def test_a_prefix_is_suggested(prefix: str, others: dict[str, str], meant: str) -> None:
    """An error for an unknown prefix suggests the most similar prefix, or else any, that the environment has."""
    with pytest.raises(ConfigurationError) as error:
        from_env(prefix, {**acme(CLIENT), **others, "HOME": "/home/me"})
    assert f"{prefix}_TOKEN_URL" in str(error.value)
    assert f"did you mean the prefix {meant}?" in str(error.value)


@pytest.mark.parametrize(
    "other",
    [
        CLIENT,
        USER,
        REFRESH,
        {"TOKEN_URL": URL, "REFRESH_TOKEN_FILE": "/r"},
        JWT_API,
        {"API_KEY": "k"},
        {"API_KEY_FILE": "/k", "API_KEY_HEADER": "X-Key"},
        {**CLIENT, "SCOPES": "misspelt"},
    ],
)
@pytest.mark.parametrize("name", ["V2", "STAGING", "CLIENT"])
def test_a_longer_prefix_does_not_disturb(other: dict[str, str], name: str) -> None:
    """ACME ignores the variables of ACME_V2, mistakes included."""
    environ = acme({**CLIENT, **{f"{name}_{each}": value for each, value in other.items()}})
    assert from_env("ACME", environ) == ClientCredentials(URL, "me", "s3cr3t")
    if name != "CLIENT" and "SCOPES" not in other:
        assert from_env(f"ACME_{name}", environ) == made(other)


def test_a_longer_prefix_that_configures_nothing_is_a_mistake() -> None:
    """A single variable with one word too many is reported as misspelt."""
    assert "did you mean ACME_CLIENT_SECRET?" in refused({**CLIENT, "V2_CLIENT_SECRET": "x"})


@pytest.mark.parametrize(
    ("name", "variables", "by_code"),
    [
        ("CLIENT_SECRET", CLIENT, lambda secret: ClientCredentials(URL, "me", secret)),
        ("PASSWORD", USER, lambda secret: Password(URL, "ann", secret)),
        ("REFRESH_TOKEN", REFRESH, lambda secret: RefreshToken(URL, secret)),
        ("API_KEY", {}, ApiKey),
    ],
)
def test_a_file_of_variables_is_a_file_of_code(
    name: str, variables: dict[str, str], by_code: Callable[[Any], Grant], tmp_path: Path
) -> None:
    """A secret file that a variable names is read for each token request, and equals one from code."""
    path = tmp_path / "secret"
    grant = made({**without(variables, name), f"{name}_FILE": f" {path}\n"})
    assert grant == by_code(SecretFile(path))
    assert hash(grant) == hash(by_code(SecretFile(path)))
    assert grant not in (by_code(SecretFile(tmp_path / "other")), by_code(str(path)))
    for secret in ("first", "second"):
        path.write_text(f"{secret}\n")
        assert grant.secrets() == (secret,)


def test_an_empty_secret_beside_its_file_is_not_set(tmp_path: Path) -> None:
    """Of a secret and its file, an empty one counts as not set."""
    variables = {**CLIENT, "CLIENT_SECRET": "", "CLIENT_SECRET_FILE": str(tmp_path / "secret")}
    assert made(variables) == ClientCredentials(URL, "me", SecretFile(tmp_path / "secret"))
    assert made({**CLIENT, "CLIENT_SECRET_FILE": ""}) == made(CLIENT)


POLICY = {
    "LEEWAY": "30",
    "TIMEOUT": ".5",
    "REFRESH_AHEAD": "no",
    "ALLOWED_HOSTS": "api.example.com, *.example.org",
    "ALLOW_HTTP": "on",
}


def test_policy_is_an_adapters_arguments() -> None:
    """Variables for the policy become arguments of the adapter or the token source."""
    expected = {
        "leeway": 30.0,
        "timeout": 0.5,
        "refresh_ahead": False,
        "allowed_hosts": ["api.example.com", "*.example.org"],
        "allow_http": True,
    }
    assert configuration("ACME", acme({**CLIENT, **POLICY, "CACHE": "Memory"})) == (made(CLIENT), expected)
    zeros = {"ALLOW_HTTP": "0", "LEEWAY": "0"}
    assert configuration("ACME", acme({**CLIENT, **zeros}))[1] == {"allow_http": False, "leeway": 0.0}
    assert configuration("ACME", acme(CLIENT))[1] == {}
    of_source = acme({**CLIENT, **without(POLICY, "ALLOWED_HOSTS")})
    del expected["allowed_hosts"], expected["allow_http"]
    assert source_configuration("ACME", of_source) == (made(CLIENT), expected, True)


@pytest.mark.parametrize(
    ("name", "value", "doors"),
    [
        ("CACHE", "file", "OAuth2Auth.from_env or TokenSource.from_env"),
        ("CACHE", "redis://:c4n4ry@cache.example.com", "OAuth2Auth.from_env or TokenSource.from_env"),
        ("LEEWAY", "60", "OAuth2Auth.from_env or TokenSource.from_env"),
        ("TIMEOUT", "10", "OAuth2Auth.from_env or TokenSource.from_env"),
        ("REFRESH_AHEAD", "true", "OAuth2Auth.from_env or TokenSource.from_env"),
        ("ALLOW_HTTP", "false", "OAuth2Auth.from_env or TokenSource.from_env"),
        ("ALLOWED_HOSTS", "api.example.com", "OAuth2Auth.from_env,"),
    ],
)
def test_a_grant_refuses_what_it_cannot_carry(name: str, value: str, doors: str) -> None:
    """from_env() refuses variables for the cache and the policy, as a grant has neither."""
    message = refused({**CLIENT, name: value})
    assert message.startswith(f"a grant cannot carry ACME_{name}; use {doors}")
    assert "c4n4ry" not in message


@pytest.mark.parametrize("make", [TokenSource.from_env, *(kind_of(each).from_env for each in SYNC)])
def test_os_environ_is_read_by_default(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments the variables are those of the process, and the prefix is AUTH_PLUGINS."""
    for name, value in CLIENT.items():
        monkeypatch.setenv(f"AUTH_PLUGINS_{name}", value)
    made = make()
    assert getattr(made, "source", made).grant == from_env() == ClientCredentials(URL, "me", "s3cr3t")


@pytest.mark.parametrize("make", [TokenSource.from_env, *(kind_of(each).from_env for each in SYNC)])
def test_arguments_win_over_variables(make: Any, server: Loopback, tmp_path: Path) -> None:
    """An argument in code replaces its variable, and the other variables take effect."""
    server.latency = 0.5
    variables = {**CLIENT, "TOKEN_URL": server.token_url, "CACHE": f"file:{tmp_path}", "TIMEOUT": "0.1"}
    made = make("ACME", acme(variables))
    with pytest.raises(TokenTransportError, match=r"could not be reached .*0\.1 s"):
        getattr(made, "source", made).token()
    for options, is_shared in (({"cache": MemoryCache()}, False), ({}, True)):
        forget()
        made = make("ACME", acme(variables), timeout=5, **options)
        assert getattr(made, "source", made).token().access_token
        assert bool([path for path in tmp_path.rglob("*") if "token-" in path.read_text()]) is is_shared


def test_a_source_refuses_allowed_hosts() -> None:
    """TokenSource.from_env refuses ALLOWED_HOSTS, and says what to use."""
    with pytest.raises(ConfigurationError) as error:
        TokenSource.from_env("ACME", acme({**CLIENT, "ALLOWED_HOSTS": "api.example.com"}))
    assert "cannot carry ACME_ALLOWED_HOSTS; use OAuth2Auth.from_env" in str(error.value)


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_source_allows_http_where_its_variable_does(driver: Driver) -> None:
    """ALLOW_HTTP of a source holds for its token requests, whichever adapter and session send them."""
    variables = acme({**CLIENT, "TOKEN_URL": "http://id.invalid/token", "TIMEOUT": "0.2"})
    refusing = TokenSource.from_env("ACME", variables)
    allowing = TokenSource.from_env("ACME", {**variables, "ACME_ALLOW_HTTP": "true"})
    with requests.Session() as session:
        handed_in = auth_plugins.requests.OAuth2Auth(allowing, session=session).source
        for source in (refusing, driver.auth(refusing).source):
            with pytest.raises(InsecureTransportError):
                source.token()
        for source in (allowing, driver.auth(allowing).source, handed_in):
            with pytest.raises(TokenTransportError):
                source.token()


INJECTED = {
    "PORT": "tcp://10.0.0.11:80",
    "SERVICE_HOST": "10.0.0.11",
    "SERVICE_PORT": "80",
    "SERVICE_PORT_HTTP_METRICS": "81",
    "PORT_80_TCP": "tcp://10.0.0.11:80",
    "PORT_80_TCP_ADDR": "10.0.0.11",
    "PORT_53_UDP_PROTO": "udp",
}


@pytest.mark.parametrize("service", ["", "API_", "V2_"])
@pytest.mark.parametrize("prefix", ["ACME", "AUTH_PLUGINS"])
def test_variables_of_a_kubernetes_service_are_ignored(prefix: str, service: str) -> None:
    """Variables that Kubernetes sets for a service are ignored."""
    environ = {f"{prefix}_{name}": value for name, value in CLIENT.items()}
    environ |= {f"{prefix}_{service}{name}": value for name, value in INJECTED.items()}
    assert from_env(prefix, environ) == made(CLIENT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "8080"),
        ("PORTS", "tcp://10.0.0.11:80"),
        ("SERVICE_HOSTS", "10.0.0.11"),
        ("PORT_80_HTTP", "80"),
        ("PORT_80_TCP_URL", "80"),
        ("SERVICE_NAME", "acme"),
        ("service_host", "10.0.0.11"),
    ],
)
def test_what_kubernetes_does_not_set_is_a_mistake(name: str, value: str) -> None:
    """Names and values that Kubernetes does not write are unknown variables."""
    assert refused({**CLIENT, name: value}).startswith(f"ACME_{name} is no known variable")


def test_a_cache_comes_from_a_file(tmp_path: Path) -> None:
    """CACHE_FILE names a file with the URL of the cache, which may hold a password; the file is read once."""
    file = tmp_path / "cache"
    variables = {**CLIENT, "CACHE_FILE": f" {file}\n"}
    assert refused(variables).startswith("the file of ACME_CACHE_FILE cannot be read")
    file.write_text("redis://:c4n4ry@cache.example.com:6380/1\n")
    policy = configuration("ACME", acme(variables))[1]
    assert policy == {"cache": RedisCache("redis://:c4n4ry@cache.example.com:6380/1")}
    for content, said in (
        ("redis://:c4n4ry@cache.example.com:6380/1\n", "a grant cannot carry ACME_CACHE_FILE; use "),
        ("c4n4ry", "ACME_CACHE_FILE is not valid; expected memory, file,"),
        ("", "ACME_CACHE_FILE is not valid; expected memory, file,"),
        ("redis://:c4n4ry@/", "ACME_CACHE_FILE must be a URL of Redis"),
    ):
        file.write_text(content)
        assert (message := refused(variables)).startswith(said)
        assert "c4n4ry" not in message
    assert made({**CLIENT, "CACHE_FILE": ""}) == made({**CLIENT, "CACHE": "memory"}) == made(CLIENT)


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


def test_any_mapping_is_an_environment() -> None:
    """The environment may be any mapping."""
    assert from_env("ACME", MappingProxyType(acme(CLIENT))) == made(CLIENT)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (list(acme(CLIENT).items()), "environ must be a mapping such as os.environ, got list"),
        ({**acme(CLIENT), "ACME_TIMEOUT": 5}, "ACME_TIMEOUT must be a str, got int"),
        ({**acme(CLIENT), "ACME_CLIENT_SECRET": None}, "ACME_CLIENT_SECRET must be a str, got NoneType"),
        ({b"ACME_TOKEN_URL": b"x"}, "nothing that begins with ACME_ says"),
    ],
)
def test_what_is_no_environment_is_told(environ: Any, said: str) -> None:
    """Values that are not str, and an environment that is no mapping, are refused."""
    with pytest.raises(ConfigurationError) as error:
        from_env("ACME", environ)
    assert str(error.value).startswith(said)


#: Variables that are refused, each with the canary in all values that may be secret.
FRAMES: list[dict[str, str]] = [
    *({**variables, name: CANARY} for name, variables in WRONG.items()),
    *(variables for variables, _ in BAD.values()),
    *({**variables, name: f"c4n4ry\n{name}"} for name, variables in (("CLIENT_SECRET", CLIENT), ("PASSWORD", USER))),
    {**CLIENT, "CLIENT_SECRET": "c4n4ry", "ALLOWED_HOSTS": "api.example.com"},
    {**CLIENT, "CACHE": "redis://:c4n4ry@host:port"},
    {**JWT_API, "PROVIDER": "organization-api", "BASE_URL": "https://c4n4ry@x"},
    {"API_KEY": "c4n4ry", "API_KEY_FILE": "c4n4ry"},
]
OTHERS = {"DATABASE_URL": "postgres://app:c4n4ry@db/app", "V2_CLIENT_SECRET": "c4n4ry", "ACMF_API_KEY": "c4n4ry"}


@pytest.mark.parametrize("door", [from_env, TokenSource.from_env, *(kind_of(each).from_env for each in SYNC)])
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


@pytest.mark.parametrize("door", [TokenSource.from_env, *(kind_of(each).from_env for each in SYNC)])
def test_no_frame_of_a_wrong_override_holds_the_environment(door: Any) -> None:
    """No frame of an error about a wrong argument of from_env holds the environment."""
    environ = {**acme({**CLIENT, "CLIENT_SECRET": "c4n4ry"}), **OTHERS}
    with pytest.raises((TypeError, ConfigurationError)) as error:
        door("ACME", environ, leewy=5)
    assert "leewy" in str(error.value)
    assert "c4n4ry" not in variables_of(error.value)


@pytest.mark.parametrize("driver", each(SYNC))
def test_arguments_of_an_adapter_win_over_variables(driver: Driver, server: Loopback) -> None:
    """allowed_hosts=, header= and scheme= in code replace the variables."""
    variables = acme({**CLIENT, "TOKEN_URL": server.token_url, "ALLOWED_HOSTS": "api.example.com"})
    auth = kind_of(driver).from_env("ACME", variables, allowed_hosts=["127.0.0.1"], header="X-Token", scheme="")
    server.api = lambda _: as_json({})
    assert driver.get(server.api_url, auth).status == 200
    assert server.api_requests[0].headers["x-token"] == "token-1"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.mark.parametrize("driver", each(ALL))
def test_from_an_api_key_to_oauth_by_variables_alone(driver: Driver, sandbox: Sandbox) -> None:
    """Only variables change when the upload API goes from API keys to OAuth."""
    system = sandbox["upload-api"]

    def integration(environ: dict[str, str]) -> int:
        auth = kind_of(driver).from_env("UPLOAD", environ)
        return driver.get(environ["APPLICATION_URL"], auth).status

    v1 = {**system.legacy_variables("UPLOAD"), "APPLICATION_URL": f"{system.url}/v1/UploadData"}
    v2 = {**system.variables("UPLOAD"), "APPLICATION_URL": f"{system.url}/UploadData"}
    assert integration(v1) == 200
    assert integration(v2) == 200
    assert [(seen.at, seen.credentials) for seen in system.seen] == [
        ("api", "X-API-Key"),
        ("token", "Basic, URL-encoded"),
        ("api", "Bearer"),
    ]
    with pytest.raises(ConfigurationError, match="UPLOAD_API_KEY contradicts UPLOAD_PROVIDER=upload-api"):
        integration({**v1, **v2})
