"""Configuration by environment variables alone: what they mean, and what is said when they mean nothing."""

from __future__ import annotations

import base64
import contextlib
import re
import traceback
from collections.abc import Iterator, Mapping
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
    TokenRequestError,
    TokenSource,
    TokenTransportError,
    from_env,
    providers,
)
from auth_plugins._environment.configuration import configuration
from auth_plugins.sandbox import Sandbox

from .conftest import forget
from .drivers import ALL, SYNC, Driver, each
from .frames import variables_of
from .loopback import Loopback, Received, as_json

URL = "https://id.example.com/token"
BASE = "https://id.example.com"

CLIENT = {"TOKEN_URL": URL, "CLIENT_ID": "me", "CLIENT_SECRET": "s3cr3t"}
USER = {"TOKEN_URL": URL, "USERNAME": "ann", "PASSWORD": "pa55"}
REFRESH = {"TOKEN_URL": URL, "REFRESH_TOKEN": "r3fr3sh"}
JWT_API = {"PROVIDER": "jwt-api", "BASE_URL": BASE, "CLIENT_ID": "me", "CLIENT_SECRET": "s3cr3t"}
AUTH_API = {"PROVIDER": "auth-api", "BASE_URL": "https://auth.example.com", "USERNAME": "ann", "PASSWORD": "pa55"}


def acme(variables: dict[str, str]) -> dict[str, str]:
    return {f"ACME_{name}": value for name, value in variables.items()}


def made(variables: dict[str, str]) -> Grant:
    return from_env("ACME", acme(variables))


def refused(variables: dict[str, str]) -> str:
    """What is said to these variables."""
    with pytest.raises(ConfigurationError) as error:
        made(variables)
    assert error.value.__context__ is None, "it would show in a traceback"
    return str(error.value)


def without(variables: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in names}


GOOD: dict[str, tuple[dict[str, str], Grant]] = {
    "client credentials": (CLIENT, ClientCredentials(URL, "me", "s3cr3t")),
    "named": ({**CLIENT, "GRANT_TYPE": "client_credentials"}, ClientCredentials(URL, "me", "s3cr3t")),
    "with a revocation endpoint": (
        {**CLIENT, "REVOCATION_URL": f"{BASE}/revoke"},
        ClientCredentials(URL, "me", "s3cr3t", revocation_url=f"{BASE}/revoke"),
    ),
    "a password with a revocation endpoint": (
        {**USER, "REVOCATION_URL": f"{BASE}/revoke"},
        Password(URL, "ann", "pa55", revocation_url=f"{BASE}/revoke"),
    ),
    "a refresh token with a revocation endpoint": (
        {**REFRESH, "REVOCATION_URL": f"{BASE}/revoke"},
        RefreshToken(URL, "r3fr3sh", revocation_url=f"{BASE}/revoke"),
    ),
    "jwt-api, with a revocation endpoint": (
        {**JWT_API, "REVOCATION_URL": f"{BASE}/revoke"},
        providers.jwt_api(BASE, "me", "s3cr3t", revocation_url=f"{BASE}/revoke"),
    ),
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
    "password of a client, guessed": (
        {**USER, "CLIENT_ID": "me"},
        Password(URL, "ann", "pa55", client_id="me"),
    ),
    "refresh token": (REFRESH, RefreshToken(URL, "r3fr3sh")),
    "refresh token of a client": ({**REFRESH, **CLIENT}, RefreshToken(URL, "r3fr3sh", "me", "s3cr3t")),
    "refresh token, named": (
        {**REFRESH, "GRANT_TYPE": "refresh_token", "SCOPE": "read"},
        RefreshToken(URL, "r3fr3sh", scope="read"),
    ),
    "API key": ({"API_KEY": "k3y"}, ApiKey("k3y")),
    "API key in a header": ({"API_KEY": "k3y", "API_KEY_HEADER": "X-Key"}, ApiKey("k3y", header="X-Key")),
    "API key, named": ({"API_KEY": "k3y", "GRANT_TYPE": "api_key"}, ApiKey("k3y")),
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
    "auth-api, not staging": (
        {**AUTH_API, "STAGING": "No"},
        providers.auth_api("https://auth.example.com", "ann", "pa55"),
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
    "json-api": ({**JWT_API, "PROVIDER": "json-api"}, providers.json_api(BASE, "me", "s3cr3t")),
    "json-api, by GET": (
        {**JWT_API, "PROVIDER": "json-api", "METHOD": "get"},
        providers.json_api(BASE, "me", "s3cr3t", method="GET"),
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_variables_make_the_grant_that_code_makes(case: str) -> None:
    """I move my arguments into variables, and go on with the same token; GRANT_TYPE can stay away."""
    variables, grant = GOOD[case]
    assert made(variables) == grant
    assert from_env("ACME_", acme(variables)) == grant, "the prefix with its underscore"


@pytest.mark.parametrize("name", ["CLIENT_ID", "CLIENT_SECRET", "USERNAME", "PASSWORD"])
def test_credentials_are_taken_as_they_are(name: str) -> None:
    """A space may belong to my password; the line's end of the file that it came from doesn't."""
    argument = name.lower()
    grant = made({**USER, **CLIENT, name: " a b \r\n"})
    assert getattr(grant, argument) == " a b "


def test_all_else_is_trimmed() -> None:
    """What a compose file or an editor adds around a value does no harm."""
    padded = {name: f" {value}\n" for name, value in JWT_API.items() if name not in ("CLIENT_ID", "CLIENT_SECRET")}
    assert made({**JWT_API, **padded}) == made(JWT_API)


def test_os_environ_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """I set AUTH_PLUGINS_… in my shell, and say nothing more."""
    for name, value in CLIENT.items():
        monkeypatch.setenv(f"AUTH_PLUGINS_{name}", value)
    assert from_env() == ClientCredentials(URL, "me", "s3cr3t")
    for driver in SYNC:
        assert kind_of(driver).from_env().source.grant == from_env()


BAD: dict[str, tuple[dict[str, str], list[str]]] = {
    # variables, what has to be said about them
    "nothing": ({}, ["ACME_PROVIDER", "ACME_BASE_URL", "ACME_TOKEN_URL", "ACME_CLIENT_ID", "ACME_CLIENT_SECRET"]),
    "a token URL alone": ({"TOKEN_URL": URL}, ["ACME_CLIENT_ID", "ACME_CLIENT_SECRET", "are not set"]),
    "no grant, only policy": ({"TIMEOUT": "5"}, ["ACME_TOKEN_URL"]),
    "no token URL": (without(CLIENT, "TOKEN_URL"), ["ACME_TOKEN_URL is not set"]),
    "no client id": (without(CLIENT, "CLIENT_ID"), ["ACME_CLIENT_ID is not set", "ACME_CLIENT_SECRET needs it"]),
    "no client secret": (
        without(CLIENT, "CLIENT_SECRET"),
        ["ACME_CLIENT_SECRET (or ACME_CLIENT_SECRET_FILE) is not set", "ACME_CLIENT_ID needs it"],
    ),
    "no password": (without(USER, "PASSWORD"), ["ACME_PASSWORD (or ACME_PASSWORD_FILE)", "ACME_USERNAME needs it"]),
    "no user name": (without(USER, "USERNAME"), ["ACME_USERNAME is not set", "ACME_PASSWORD needs it"]),
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
    "an empty secret": ({**CLIENT, "CLIENT_SECRET": "\n"}, ["ACME_CLIENT_SECRET is empty"]),
    "an empty file's name": ({**CLIENT, "CACHE_KEY_FILE": ""}, ["ACME_CACHE_KEY_FILE is empty"]),
    "an unknown variable": ({**CLIENT, "ZZZ": "1"}, ["ACME_ZZZ is no known variable", "unset it"]),
    "a misspelt one": (
        {**without(CLIENT, "CLIENT_SECRET"), "CLIENT_SECERT": "x"},
        ["ACME_CLIENT_SECERT", "did you mean ACME_CLIENT_SECRET?"],
    ),
    "lower case": ({**without(CLIENT, "CLIENT_ID"), "client_id": "x"}, ["did you mean ACME_CLIENT_ID?"]),
    "its plural": ({**CLIENT, "SCOPES": "x"}, ["ACME_SCOPES", "did you mean ACME_SCOPE?"]),
    "another word": ({**CLIENT, "REFRESH_TOKEN_URL": URL}, ["ACME_REFRESH_TOKEN_URL", "did you mean ACME_REFRESH_"]),
    "a file of what is no secret": ({**CLIENT, "CLIENT_ID_FILE": "/x"}, ["ACME_CLIENT_ID_FILE", "ACME_CLIENT_ID?"]),
    "a secret twice": (
        {**CLIENT, "CLIENT_SECRET_FILE": "/x"},
        ["ACME_CLIENT_SECRET and ACME_CLIENT_SECRET_FILE are both set"],
    ),
    "a key and a client": ({**CLIENT, "API_KEY": "k"}, ["ACME_CLIENT_ID", "contradicts", "ACME_API_KEY"]),
    "a key and a user": ({**USER, "API_KEY": "k"}, ["ACME_USERNAME", "contradicts", "ACME_API_KEY"]),
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
    "a user for a client": ({**JWT_API, "USERNAME": "ann"}, ["ACME_USERNAME contradicts ACME_PROVIDER=jwt-api"]),
    "a client for a user": ({**AUTH_API, "CLIENT_ID": "me"}, ["ACME_CLIENT_ID contradicts ACME_PROVIDER=auth-api"]),
    "a key and a provider": ({**JWT_API, "API_KEY": "k"}, ["ACME_API_KEY contradicts ACME_PROVIDER=jwt-api"]),
    "a secret that would not be sent": (
        {**CLIENT, "CLIENT_AUTH": "none"},
        ['ACME_CLIENT_AUTH="none" would not send the ACME_CLIENT_SECRET'],
    ),
    "a secret of nobody": ({**USER, "CLIENT_SECRET": "x"}, ["ACME_CLIENT_SECRET needs its ACME_CLIENT_ID"]),
    "JSON by GET": ({**CLIENT, "METHOD": "GET", "ENCODING": "json"}, ['ACME_METHOD="GET"', 'ACME_ENCODING="json"']),
    "a client id with a colon": ({**JWT_API, "CLIENT_ID": "a:b"}, ['ACME_CLIENT_ID with ":"', "use client_secret_b"]),
    "staging of one label": (
        {**AUTH_API, "BASE_URL": "https://auth", "STAGING": "true"},
        ["ACME_STAGING=True needs ACME_BASE_URL", "give the staging URL"],
    ),
    "a URL with a user": (
        {**JWT_API, "PROVIDER": "organization-api", "BASE_URL": "https://me@x", "CREDENTIALS": "query"},
        ["ACME_BASE_URL has a user", "give credentials as ACME_CLIENT_ID and ACME_CLIENT_SECRET"],
    ),
    "a cache in a variable and a file": (
        {**CLIENT, "CACHE": "file", "CACHE_FILE": "/x"},
        ["ACME_CACHE and ACME_CACHE_FILE are both set"],
    ),
    "a revocation endpoint for a key": (
        {"API_KEY": "k", "REVOCATION_URL": URL},
        ["ACME_REVOCATION_URL contradicts ACME_API_KEY"],
    ),
    "a line break in an id": ({**CLIENT, "CLIENT_ID": "m\ne"}, ["ACME_CLIENT_ID contains a control character"]),
    "a line break in a secret": (
        {**CLIENT, "CLIENT_SECRET": "\ns3cr3t"},
        ["ACME_CLIENT_SECRET contains a control character", "remove it"],
    ),
    "a control character in a user's name": ({**USER, "USERNAME": "an\x00n"}, ["ACME_USERNAME contains a control"]),
    "a control character in a password": ({**USER, "PASSWORD": "pa55\x7f"}, ["ACME_PASSWORD contains a control"]),
    "a line break in a refresh token": ({**REFRESH, "REFRESH_TOKEN": "a\u2028b"}, ["ACME_REFRESH_TOKEN contains"]),
    "a line break in a scope": ({**CLIENT, "SCOPE": "read\nwrite"}, ["ACME_SCOPE contains a control character"]),
    "a line break in a key": ({"API_KEY": "k\ney"}, ["ACME_API_KEY contains a control character"]),
    "a cache key for memory": ({**CLIENT, "CACHE_KEY": "k"}, ["ACME_CACHE_KEY", "memory", "unset it"]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(case: str) -> None:
    """Missing, unknown, misspelt, contradictory: I read which variable it is, and what to do."""
    variables, said = BAD[case]
    message = refused(variables)
    assert "\n" not in message
    for text in said:
        assert text in message
    shown = re.findall(r"ACME_\w+", message)
    assert shown
    for name, value in variables.items():
        if len(value) > 3 and name not in ("PROVIDER", "GRANT_TYPE"):
            assert value not in re.sub(r"ACME_\w+|such as \S+", "", message).replace('"none"', "").replace('"json"', "")


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
    """I put my secret into the wrong variable: I read which one it is, and my log doesn't get the secret."""
    variables = {**WRONG[name], name: CANARY}
    message = refused(variables)
    assert f"ACME_{name}" in message
    assert "; give " in message or "; unset it" in message
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
    """A wrong value is refused when I start, with its variable; not by the first request."""
    message = refused({**CLIENT, name: value})
    assert message.startswith(f"ACME_{name} has a value that cannot be; give ")


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
    """I name the cache in a variable, and get what I would have made in code."""
    assert configuration("ACME", acme({**CLIENT, **variables}))[1] == ({} if cache is None else {"cache": cache})


def test_the_key_of_the_cache_comes_from_a_file(tmp_path: Path) -> None:
    """The key lies in a file, as secrets do: it is read when I start."""
    file = tmp_path / "key"
    variables = {**CLIENT, "CACHE": "file", "CACHE_KEY_FILE": str(file)}
    assert refused(variables).startswith("the file of ACME_CACHE_KEY_FILE cannot be read (")
    file.write_text(f"{KEY}\n{OTHER_KEY}\n")
    assert configuration("ACME", acme(variables))[1] == {"cache": FileCache(key=[KEY, OTHER_KEY])}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CACHE": "file", "CACHE_KEY": "c4n4ry"}, "ACME_CACHE_KEY is no Fernet key, nor a list of them; make one by"),
        ({"CACHE": "redis://:c4n4ry@/"}, "ACME_CACHE: this is no URL of Redis; give one such as redis://host"),
        ({"CACHE": "redis://:c4n4ry@host:port"}, "ACME_CACHE: this is no URL of Redis; give one such as redis://host"),
    ],
)
def test_a_cache_that_cannot_be_is_refused(variables: dict[str, str], said: str) -> None:
    """What is wrong with the cache is said when I start, with its variable, and without its password."""
    with pytest.raises(ConfigurationError) as error:
        configuration("ACME", acme({**CLIENT, **variables}))
    assert str(error.value).startswith(said)
    assert "c4n4ry" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("driver", each(ALL))
def test_a_shared_cache_is_used(driver: Driver, server: Loopback, tmp_path: Path) -> None:
    """Two processes with the same variables share a token."""
    variables = acme({**CLIENT, "TOKEN_URL": server.token_url, "CACHE": f"file:{tmp_path}", "CACHE_KEY": KEY})
    for _ in range(2):
        forget()  # as another process
        assert driver.get(server.api_url, kind_of(driver).from_env("ACME", variables)).status == 200
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("prefix", ["", "_", None, 7, "AC\nME", "ACME\x1b"])
def test_a_prefix_is_needed(prefix: Any) -> None:
    """Without a prefix every variable of the machine would be meant."""
    with pytest.raises(ConfigurationError, match="give one such as 'ACME'") as error:
        from_env(prefix, {})
    assert str(error.value).isprintable(), "one line"


@pytest.mark.parametrize(
    ("prefix", "meant"), [("acme", "ACME"), ("ACNE", "ACME"), ("ACME_PLUGINS", "ACME"), ("SOMETHING_ELSE", None)]
)
def test_a_misspelt_prefix_is_named(prefix: str, meant: str | None) -> None:
    """I mistype the prefix itself, and read which one I may have meant."""
    with pytest.raises(ConfigurationError) as error:
        from_env(prefix, {**acme(CLIENT), "HOME": "/home/me"})
    assert f"{prefix}_TOKEN_URL" in str(error.value)
    assert ("did you mean the prefix ACME?" in str(error.value)) is (meant is not None)


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
    """ACME and ACME_V2 are two systems, and neither knows of the other; not even of its mistakes."""
    environ = acme({**CLIENT, **{f"{name}_{each}": value for each, value in other.items()}})
    assert from_env("ACME", environ) == ClientCredentials(URL, "me", "s3cr3t")
    if name != "CLIENT" and "SCOPES" not in other:
        assert from_env(f"ACME_{name}", environ) == made(other)


def test_a_longer_prefix_that_configures_nothing_is_a_mistake() -> None:
    """One variable with a word too many is no second system: I am told, and it is not left out in silence."""
    assert "did you mean ACME_CLIENT_SECRET?" in refused({**CLIENT, "V2_CLIENT_SECRET": "x"})


SECRETS = {
    "CLIENT_SECRET": CLIENT,
    "PASSWORD": USER,
    "REFRESH_TOKEN": REFRESH,
}


def kind_of(driver: Driver) -> Any:
    """The library's OAuth2Auth."""
    return type(driver.auth(ApiKey("k")))


def received(driver: Driver, server: Loopback, auth: Any) -> bytes:
    """The body of the token request that a call leads to, after the last token was given up."""
    auth.source.invalidate(auth.source.token())
    assert driver.get(server.api_url, auth).status == 200
    return server.token_requests[-1].body


@pytest.mark.parametrize("driver", each(SYNC))
@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_file_is_read_at_each_token_request(
    driver: Driver, server: Loopback, tmp_path: Path, name: str
) -> None:
    """My orchestrator rotates the secret's file, and the next token request has the new one; nobody restarts."""
    file = tmp_path / "secret"
    variables = {**without(SECRETS[name], name), f"{name}_FILE": str(file), "TOKEN_URL": server.token_url}
    auth = kind_of(driver).from_env("ACME", acme(variables))  # the file isn't there yet
    for secret in ("first", "second"):
        file.write_text(f"{secret}\n")
        body = received(driver, server, auth)
        [*_, request] = server.token_requests
        sent = body.decode() + _basic(request)
        assert secret in sent, "the file's text, without its line's end"
        assert "\n" not in sent


def _basic(request: Received) -> str:
    return base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()


@pytest.mark.parametrize("driver", each(SYNC))
def test_an_api_key_file_is_read_again_when_the_key_is_refused(
    driver: Driver, server: Loopback, tmp_path: Path
) -> None:
    """The file of my API key is rotated, the old key refused: the request is sent again with the new one."""
    file = tmp_path / "key"
    file.write_text("old\n")
    auth = kind_of(driver).from_env("ACME", {"ACME_API_KEY_FILE": str(file)})
    live = "old"
    server.api = lambda request: as_json({}, 200 if request.headers["x-api-key"] == live else 401)
    assert driver.get(server.api_url, auth).status == 200
    live = "new"
    file.write_text("new\n")
    assert driver.get(server.api_url, auth).status == 200


def test_a_file_of_variables_is_a_file_of_code(tmp_path: Path) -> None:
    """SecretFile(path) in code and CLIENT_SECRET_FILE share a token, whichever comes first."""
    path = tmp_path / "secret"
    by_variables = made({**without(CLIENT, "CLIENT_SECRET"), "CLIENT_SECRET_FILE": f" {path}\n"})
    by_code = ClientCredentials(URL, "me", SecretFile(path))
    assert by_variables == by_code
    assert by_code == by_variables
    assert hash(by_variables) == hash(by_code)
    assert by_variables != ClientCredentials(URL, "me", SecretFile(tmp_path / "other"))
    assert by_variables != ClientCredentials(URL, "me", str(path))


def test_an_empty_secret_beside_its_file_is_not_set(tmp_path: Path) -> None:
    """My compose file passes both, one of them empty: the other one counts."""
    variables = {**CLIENT, "CLIENT_SECRET": "", "CLIENT_SECRET_FILE": str(tmp_path / "secret")}
    assert made(variables) == ClientCredentials(URL, "me", SecretFile(tmp_path / "secret"))
    assert made({**CLIENT, "CLIENT_SECRET_FILE": ""}) == made(CLIENT)


@pytest.mark.parametrize("driver", each(ALL))
def test_a_file_that_cannot_be_read_is_named_by_its_variable(driver: Driver, server: Loopback) -> None:
    """I put the secret itself where its file's name belongs: I read which variable that is; the log gets no secret."""
    variables = {**without(CLIENT, "CLIENT_SECRET"), "CLIENT_SECRET_FILE": "c4n4ry", "TOKEN_URL": server.token_url}
    auth = kind_of(driver).from_env("ACME", acme(variables))
    with pytest.raises(ConfigurationError) as error:
        driver.get(server.api_url, auth)
    assert str(error.value).startswith("the file of ACME_CLIENT_SECRET_FILE cannot be read (")
    assert isinstance(error.value, driver.base_error)
    assert "c4n4ry" not in "".join(traceback.format_exception(error.value))
    assert server.token_requests == []


POLICY = {
    "LEEWAY": "30",
    "TIMEOUT": ".5",
    "REFRESH_AHEAD": "no",
    "ALLOWED_HOSTS": "api.example.com, *.example.org",
    "ALLOW_HTTP": "on",
}


def test_policy_is_an_adapters_arguments() -> None:
    """What is no matter of the grant reaches the adapter."""
    expected = {
        "leeway": 30.0,
        "timeout": 0.5,
        "refresh_ahead": False,
        "allowed_hosts": ["api.example.com", "*.example.org"],
        "allow_http": True,
    }
    assert configuration("ACME", acme({**CLIENT, **POLICY, "CACHE": "Memory"})) == (made(CLIENT), expected)
    assert configuration("ACME", acme({**CLIENT, "ALLOW_HTTP": "0", "LEEWAY": "0"}))[1] == {
        "allow_http": False,
        "leeway": 0.0,
    }
    assert configuration("ACME", acme(CLIENT))[1] == {}


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
    """from_env() returns a grant: a variable about the cache or the policy is an error, and not without effect."""
    message = refused({**CLIENT, name: value})
    assert message.startswith(f"a grant cannot carry ACME_{name}; use {doors}")
    assert "c4n4ry" not in message


def test_a_grant_refuses_a_key_of_a_cache_and_a_cache_from_a_file(tmp_path: Path) -> None:
    """The variable that is set is the one that is named; memory needs no carrying."""
    (tmp_path / "cache").write_text("file\n")
    assert "a grant cannot carry ACME_CACHE_FILE;" in refused({**CLIENT, "CACHE_FILE": str(tmp_path / "cache")})
    assert made({**CLIENT, "CACHE": "memory"}) == made(CLIENT)


def test_a_source_has_what_the_variables_say(tmp_path: Path) -> None:
    """TokenSource.from_env has the grant, the cache and the policy of the variables."""
    variables = {**CLIENT, **without(POLICY, "ALLOWED_HOSTS"), "CACHE": f"file:{tmp_path}", "CACHE_KEY": KEY}
    source = TokenSource.from_env("ACME", acme(variables))
    assert source.grant == made(CLIENT)
    by_code = TokenSource(made(CLIENT), cache=FileCache(tmp_path, key=KEY), leeway=30, timeout=0.5, refresh_ahead=False)
    assert source.__reduce__()[1][1:] == (*by_code.__reduce__()[1][1:4], True)
    assert isinstance(TokenSource.from_env("ACME", acme(CLIENT)), TokenSource)


def test_arguments_of_a_source_win_over_variables() -> None:
    """An argument of TokenSource in code replaces its variable, and the other variables stay."""
    cache = MemoryCache()
    variables = acme({**CLIENT, "CACHE": "file", "LEEWAY": "7", "TIMEOUT": "3"})
    source = TokenSource.from_env("ACME", variables, cache=cache, leeway=5.0)
    _, (_, _, given_cache, policy, _) = source.__reduce__()
    assert given_cache is cache
    assert policy == {"leeway": 5.0, "timeout": 3.0, "refresh_ahead": True}


def test_a_source_reads_os_environ_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments the variables are those of the process, and the prefix is AUTH_PLUGINS."""
    for name, value in CLIENT.items():
        monkeypatch.setenv(f"AUTH_PLUGINS_{name}", value)
    assert TokenSource.from_env().grant == ClientCredentials(URL, "me", "s3cr3t")


def test_a_source_refuses_allowed_hosts() -> None:
    """A TokenSource sends no API requests: ALLOWED_HOSTS is an error that says what to use."""
    with pytest.raises(ConfigurationError) as error:
        TokenSource.from_env("ACME", acme({**CLIENT, "ALLOWED_HOSTS": "api.example.com"}))
    assert "cannot carry ACME_ALLOWED_HOSTS; use OAuth2Auth.from_env" in str(error.value)


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_source_allows_http_where_its_variable_does(driver: Driver) -> None:
    """ALLOW_HTTP of a source holds for its token requests, by whichever adapter and session they travel."""
    variables = acme({**CLIENT, "TOKEN_URL": "http://id.invalid/token", "TIMEOUT": "0.2"})
    refusing = TokenSource.from_env("ACME", variables)
    allowing = TokenSource.from_env("ACME", {**variables, "ACME_ALLOW_HTTP": "true"})
    for sources in ([refusing, allowing], [driver.auth(source).source for source in (refusing, allowing)]):
        with pytest.raises(InsecureTransportError):
            sources[0].token()
        with pytest.raises(TokenTransportError):
            sources[1].token()


def test_a_session_leaves_the_allowance_of_a_source() -> None:
    """A session of the adapter's sends the token requests of a source that may use http://."""
    variables = acme({**CLIENT, "TOKEN_URL": "http://id.invalid/token", "TIMEOUT": "0.2", "ALLOW_HTTP": "yes"})
    with requests.Session() as session:
        auth = auth_plugins.requests.OAuth2Auth(TokenSource.from_env("ACME", variables), session=session)
        with pytest.raises(TokenTransportError):
            auth.source.token()


INJECTED = {
    "PORT": "tcp://10.0.0.11:80",
    "SERVICE_HOST": "10.0.0.11",
    "SERVICE_PORT": "80",
    "SERVICE_PORT_HTTP": "80",
    "SERVICE_PORT_HTTP_METRICS": "81",
    "PORT_80_TCP": "tcp://10.0.0.11:80",
    "PORT_80_TCP_ADDR": "10.0.0.11",
    "PORT_80_TCP_PORT": "80",
    "PORT_80_TCP_PROTO": "tcp",
    "PORT_53_UDP": "udp://10.0.0.11:53",
    "PORT_53_UDP_PROTO": "udp",
}


@pytest.mark.parametrize("service", ["", "API_", "V2_"])
@pytest.mark.parametrize("prefix", ["ACME", "AUTH_PLUGINS"])
def test_variables_of_a_kubernetes_service_are_ignored(prefix: str, service: str) -> None:
    """Kubernetes sets variables for each service, and one that is named like the prefix disturbs nothing."""
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
    """A name or a value that Kubernetes does not write is an unknown variable, as any other."""
    assert refused({**CLIENT, name: value}).startswith(f"ACME_{name} is no known variable")


def test_kubernetes_alone_configures_nothing() -> None:
    """A service of that name, and no variable of ours: the error says what is missing."""
    assert "nothing that begins with ACME_ says how to get a token" in refused(INJECTED)


def test_a_cache_comes_from_a_file(tmp_path: Path) -> None:
    """The URL of Redis has a password, and is mounted as a file: CACHE_FILE names it, and it is read once."""
    file = tmp_path / "cache"
    variables = acme({**CLIENT, "CACHE_FILE": f" {file}\n"})
    with pytest.raises(ConfigurationError, match="the file of ACME_CACHE_FILE cannot be read"):
        configuration("ACME", variables)
    file.write_text("redis://:c4n4ry@cache.example.com:6380/1\n")
    policy = configuration("ACME", variables)[1]
    assert policy == {"cache": RedisCache("redis://:c4n4ry@cache.example.com:6380/1")}
    for wrong, said in (
        ("c4n4ry", "ACME_CACHE_FILE has a value that cannot be; give memory, file,"),
        ("", "ACME_CACHE_FILE has a value that cannot be; give memory, file,"),
        ("redis://:c4n4ry@/", "ACME_CACHE_FILE: this is no URL of Redis"),
    ):
        file.write_text(wrong)
        with pytest.raises(ConfigurationError) as error:
            configuration("ACME", variables)
        assert str(error.value).startswith(said)
        assert "c4n4ry" not in str(error.value)
    assert configuration("ACME", acme({**CLIENT, "CACHE_FILE": ""}))[1] == {}, "as an empty CACHE is"


def test_a_secret_in_a_file_has_no_control_characters(tmp_path: Path) -> None:
    """A file with a second line end, or none of the secret, is told when it is read, by its variable."""
    file = tmp_path / "secret"
    grant = made({**without(CLIENT, "CLIENT_SECRET"), "CLIENT_SECRET_FILE": str(file)})
    for content, said in (("c4n4ry\n\n", "contains a control character"), ("\n", "is empty")):
        file.write_text(content)
        with pytest.raises(ConfigurationError) as error:
            grant.secrets()
        assert str(error.value).startswith(f"the file of ACME_CLIENT_SECRET_FILE {said}")
        assert "c4n4ry" not in str(error.value) + variables_of(error.value)


class Upper(Mapping[str, str]):
    """Variables that are no dict, and whose names have no case, as on Windows."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = {name.upper(): value for name, value in variables.items()}

    def __getitem__(self, name: str) -> str:
        return self._variables[name.upper()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def test_any_mapping_is_an_environment() -> None:
    """Variables come from a dict, from os.environ, or from a mapping of another kind."""
    assert from_env("ACME", Upper(acme(CLIENT))) == made(CLIENT)
    assert from_env("ACME", MappingProxyType(acme(CLIENT))) == made(CLIENT)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (list(acme(CLIENT).items()), "environ is of type list; give a mapping, such as os.environ"),
        ({**acme(CLIENT), "ACME_TIMEOUT": 5}, "ACME_TIMEOUT is of type int; give a str"),
        ({**acme(CLIENT), "ACME_CLIENT_SECRET": None}, "ACME_CLIENT_SECRET is of type NoneType; give a str"),
        ({b"ACME_TOKEN_URL": b"x"}, "nothing that begins with ACME_ says"),
    ],
)
def test_what_is_no_environment_is_told(environ: Any, said: str) -> None:
    """Values that are no strings, and what is no mapping, are told by name."""
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
    """My error reporter stores the variables of each frame: none of mine holds the environment, or a value of it."""
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
    """I misspell an argument: the error is Python's or ours, and no frame holds the environment."""
    environ = {**acme({**CLIENT, "CLIENT_SECRET": "c4n4ry"}), **OTHERS}
    with pytest.raises((TypeError, ConfigurationError)) as error:
        door("ACME", environ, leewy=5)
    assert "leewy" in str(error.value)
    assert "c4n4ry" not in variables_of(error.value)


@pytest.mark.parametrize("driver", each(ALL))
def test_allowed_hosts_and_allow_http_are_obeyed(driver: Driver, server: Loopback) -> None:
    """A host that I didn't list gets no token; http:// to another machine is refused, until I allow it."""
    kind = kind_of(driver)
    variables = acme({**CLIENT, "TOKEN_URL": server.token_url})
    elsewhere = kind.from_env("ACME", {**variables, "ACME_ALLOWED_HOSTS": "api.example.com"})
    assert driver.get(server.api_url, elsewhere).status == 401
    assert (len(server.token_requests), "authorization" in server.api_requests[0].headers) == (0, False)
    with pytest.raises(InsecureTransportError):
        driver.get("http://api.invalid/", kind.from_env("ACME", variables))
    allowed = kind.from_env("ACME", {**variables, "ACME_ALLOW_HTTP": "true"})
    with pytest.raises(driver.base_error) as error:  # no such host
        driver.get("http://api.invalid/", allowed)
    assert not isinstance(error.value, InsecureTransportError)


@pytest.mark.parametrize("driver", each(SYNC))
def test_timeout_is_obeyed(driver: Driver, server: Loopback) -> None:
    """The token endpoint takes too long, and TIMEOUT ends it."""
    server.latency = 0.5
    kind = kind_of(driver)
    auth = kind.from_env("ACME", acme({**CLIENT, "TOKEN_URL": server.token_url, "TIMEOUT": "0.1"}))
    with pytest.raises(driver.base_error, match="could not be reached"):
        driver.get(server.api_url, auth)


@pytest.mark.parametrize("driver", each(SYNC))
def test_overrides_win(driver: Driver, server: Loopback) -> None:
    """An argument in code wins over a variable, and the other variables stay."""
    kind = kind_of(driver)
    variables = acme({**CLIENT, "TOKEN_URL": server.token_url, "ALLOWED_HOSTS": "api.example.com", "LEEWAY": "7"})
    auth = kind.from_env("ACME", variables, allowed_hosts=["127.0.0.1"], header="X-Token", scheme="")
    server.api = lambda _: as_json({})
    assert driver.get(server.api_url, auth).status == 200
    assert server.api_requests[0].headers["x-token"] == "token-1"
    assert auth.source._schedule[0] == 7.0


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.mark.parametrize("driver", each(ALL))
def test_from_an_api_key_to_oauth_by_variables_alone(driver: Driver, sandbox: Sandbox) -> None:
    """The upload API goes from v1 to v2: my code stays as it is, and so does everything but its variables."""
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


def test_a_wrong_secret_is_the_servers_to_refuse(sandbox: Sandbox) -> None:
    """Variables that can be are taken; that a secret is wrong, the server says, and nobody repeats it."""
    system = sandbox["jwt-api"]
    auth = kind_of(SYNC[0]).from_env("ACME", {**system.variables("ACME"), "ACME_CLIENT_SECRET": "c4n4ry"})
    with pytest.raises(TokenRequestError) as error:
        auth.source.token()
    assert error.value.error == "invalid_client"
    assert "c4n4ry" not in str(error.value)
