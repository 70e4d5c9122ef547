"""Grants: wrong arguments, equality, secrets, and refused refresh tokens."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import io
import itertools
import json
import os
import pickle
import pprint
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import rich
import rich.console
import rich.pretty

from auth_plugins import (
    ApiKey,
    ClientCredentials,
    ConfigurationError,
    MemoryCache,
    Password,
    RefreshToken,
    SecretFile,
    Token,
    TokenRequestError,
    TokenTransportError,
    from_env,
    providers,
)
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import TokenRequest, TokenResponse
from tests.support.frames import variables_of


def inspected(given: Any) -> str:
    """Return what rich's inspect prints."""
    console = rich.console.Console(file=io.StringIO(), width=200)
    rich.inspect(given, console=console, all=True, private=True, dunder=True)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


URL = "https://id.example.com/token"
SECRET = "7rg6Gt-s3cr3t"


def client(**options: Any) -> ClientCredentials:
    return ClientCredentials(URL, "id", SECRET, **options)


def refused(make: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Return the message of the ConfigurationError, which shows no secret."""
    with pytest.raises(ConfigurationError) as caught:
        make(*args, **kwargs)
    message = str(caught.value)
    assert message.isprintable(), "one line"
    assert SECRET not in f"{message} {caught.value.__cause__} {caught.value.__context__}"
    return message


def rows(table: Mapping[str, Iterable[Any]]) -> list[Any]:
    """Return the rows of a table that has the expected texts on its left."""
    return [pytest.param(value, told, id=told) for told, values in table.items() for value in values]


BAD_URLS: dict[str, list[Any]] = {
    "token_url must be a str, got None": [None],
    "token_url must not be empty": [""],
    "token_url must be a str, got bytes": [URL.encode()],
    "token_url must be an absolute http(s) URL": [
        *("/token", "id.example.com", "ftp://id.example.com/token", "https:///token", "https://id.example.com:99999/"),
        *("https://[::1/token", "https://id.example.com/a b", URL + "\n", "\x01" + URL),
    ],
    "token_url must not have lone surrogates": [URL + "\udc80"],
    "token_url must have no user and no fragment": [
        *(f"https://id:{SECRET}@id.example.com/", "https://@id.example.com/", URL + "#top", URL + "#"),
    ],
}


@pytest.mark.parametrize(("url", "told"), rows(BAD_URLS))
def test_a_url_that_cannot_work_is_told_at_once(url: Any, told: str) -> None:
    """A URL that cannot work is refused when the grant is made."""
    assert told in refused(ClientCredentials, url, "id")
    assert told in refused(RefreshToken, url, SECRET)
    if url is not None:
        refresh, revoke = (told.replace("token_url", name) for name in ("refresh_url", "revocation_url"))
        assert refresh in refused(Password, URL, "u", SECRET, refresh_url=url)
        assert revoke in refused(client, revocation_url=url)


BAD_OPTIONS: dict[str, list[dict[str, Any]]] = {
    "client_auth must be one of client_secret_basic, ": [{"client_auth": "basic"}, {"client_auth": ["none"]}],
    "encoding must be one of form, json, query": [{"encoding": "xml"}, {"encoding": None}],
    "method must be one of POST, GET": [{"method": "get"}, {"method": "PUT"}],
    "encoding must not be json when method is GET": [{"method": "GET", "encoding": "json"}],
    "client_auth must not be none with client_secret": [{"client_auth": "none"}],
    "scope must not be empty": [{"scope": ""}, {"scope": ["a", ""]}],
    "scope must be a str": [{"scope": 7}, {"scope": {"a": 1}}, {"scope": [1]}, {"scope": b"a"}, {"scope": {"a", 1}}],
    "scope must be a str, got None": [{"scope": ["a", None]}],
    "audience must be a str, got list": [{"audience": ["a"]}],
    "resource must be a str or a sequence of them, got bytes": [{"resource": b"urn:a"}],
    "params must be a mapping, got ": [
        {"params": ["a"]},
        {"params": "a=b"},
        {"params": ("ab",)},
        {"params": (1, 2)},
        {"params": [("a", "b")]},
    ],
    "a name in params must ": [{"params": {None: "a"}}, {"params": {"": "a"}}, {"params": {1: "a"}}],
    "params['a'] must be a str": [{"params": {"a": {}}}, {"params": {"a": b"b"}}, {"params": {"a": [1]}}],
    "params['a'] must not have lone surrogates": [{"params": {"a": "\udc80"}}, {"params": {"a": ["\udc80"]}}],
    "a name in headers must be a header name, such as X-API-Key": [{"headers": {"X-A:": "a"}}],
    "headers['X-A'] must be a str of printable Latin-1 characters": [
        {"headers": {"X-A": 1}},
        {"headers": {"X-A": f"{SECRET}\r\nX-B: b"}},
        {"headers": {"X-A": "€"}},
    ],
}


@dataclasses.dataclass
class Vault:
    """Callable, and equal to others, but not hashable."""

    def __call__(self) -> str:
        return SECRET


BAD: dict[str, list[tuple[Any, ...]]] = {
    "client_id must be a str, got None": [(ClientCredentials, URL, None, SECRET)],
    "client_id must not be empty": [(ClientCredentials, URL, ""), (Password, URL, "u", SECRET, "")],
    "client_id must be a str, got int": [(ClientCredentials, URL, 7, SECRET)],
    "client_id must not have lone surrogates": [(ClientCredentials, URL, "\ud800")],
    'client_id must not have ":" with client_secret_basic_raw': [
        (lambda: ClientCredentials(URL, "urn:me", SECRET, client_auth="client_secret_basic_raw"),),
        (providers.jwt_api, "https://a.example", "urn:me", SECRET),
    ],
    "client_secret needs client_id": [(RefreshToken, URL, "r", None, SECRET)],
    "client_auth must be none without client_secret, got client_secret_": [
        (lambda each=each: ClientCredentials(URL, "id", client_auth=each),)
        for each in ("client_secret_basic", "client_secret_basic_raw", "client_secret_post")
    ],
    "client_secret must not be empty": [(ClientCredentials, URL, "id", "")],
    "client_secret must be a str or a callable that returns one, got ": [
        (ClientCredentials, URL, "id", each) for each in (SECRET.encode(), 7, Path("s"))
    ],
    "client_secret must be a callable that can be hashed": [(ClientCredentials, URL, "id", Vault())],
    "client_secret must not have lone surrogates": [(ClientCredentials, URL, "id", SECRET + "\udfff")],
    "password must ": [(Password, URL, "u", ""), (Password, URL, "u", None)],
    "username must ": [(Password, URL, None, SECRET), (Password, URL, "", SECRET), (Password, URL, b"u", SECRET)],
    "refresh_token must ": [(RefreshToken, URL, ""), (RefreshToken, URL, None)],
    "value must ": [(ApiKey, ""), (ApiKey, None)],
    "header must be a header name": [(ApiKey, SECRET, each) for each in ("X API Key", "", None, "X-Käy", b"X-Key")],
    "scheme must be a str of printable Latin-1 characters": [
        (ApiKey, SECRET, "X-Key", each) for each in ("a\nb", None)
    ],
    "path": [(SecretFile, None), (SecretFile, 7)],
    "client_id must not have a control character, such as a line break; remove it": [
        *((ClientCredentials, URL, each, SECRET) for each in ("id\n", "\tid", "i\x85d", "i\u2028d")),
        (Password, URL, "u", SECRET, "id\r"),
        (RefreshToken, URL, SECRET, "id\x00"),
    ],
    "client_secret must not have a control character": [
        *((ClientCredentials, URL, "id", f"{SECRET}{each}") for each in ("\n", "\r\n", "\x00", "\x7f", "\x9f")),
        (Password, URL, "u", SECRET, "id", f"\n{SECRET}"),
        (RefreshToken, URL, SECRET, "id", f"\x1b[31m{SECRET}"),
        (providers.jwt_api, "https://a.example", "id", f"{SECRET}\n"),
    ],
    "password must not have a control character": [
        (Password, URL, "u", each) for each in (f"{SECRET}\n", f"\t{SECRET}")
    ],
    "username must not have a control character": [(Password, URL, "u\n", SECRET)],
    "refresh_token must not have a control character": [(RefreshToken, URL, f"{SECRET}\n")],
    "value must not have a control character": [(ApiKey, f"{SECRET}\n")],
    "scope must not have a control character": [
        (lambda: client(scope="a\nb"),),
        (lambda: client(scope=["a", "b\t"]),),
    ],
    "base_url must ": [
        *((providers.auth_api, each, "u", SECRET) for each in (None, "")),
        *((providers.auth_api, each, "u", SECRET, True) for each in (None, b"https://a.b.example")),
        *((each, "", "id", SECRET) for each in (providers.json_api, providers.jwt_api)),
        (providers.json_api, "https://a.example/#v1", "id", SECRET),
    ],
    "staging needs base_url with a host name of several labels": [
        (providers.auth_api, each, "u", SECRET, True) for each in ("https://127.0.0.1", "https://a", "https://[::1]")
    ],
    "must be an absolute http(s) URL": [
        *((providers.auth_api, each, "u", SECRET, True) for each in ("https://[::1", "https://a b.c", "a.b.example")),
        (providers.upload_api, "id.example.com", "id", SECRET),
        (providers.organization_api, "", "id", SECRET),
    ],
    "identity_url must have no query": [(providers.upload_api, "https://id.example.com?a=b", "id", SECRET)],
    "server_address must be a str, got None": [(providers.organization_api, None, "id", SECRET)],
    "credentials must be one of header, query": [
        (providers.organization_api, "a.example", "id", SECRET, each) for each in ("all", f"Basic {SECRET}", ["query"])
    ],
    "method must be one of POST, GET": [(providers.json_api, "https://a.example", "id", SECRET, "PUT")],
}  # fmt: skip
for _told, _options in BAD_OPTIONS.items():
    BAD[_told] = [*BAD.get(_told, []), *((lambda each=each: client(**each),) for each in _options)]


@pytest.mark.parametrize("secret", [" s3 cr3t ", "'s3cr3t'", "\u00a0s3cr3t", "s3cr3t\u200b", "\ufeffs3cr3t", "s\u00ad"])
def test_a_secret_may_be_anything_that_is_printed(secret: str) -> None:
    """Spaces, quotes and invisible characters may belong to a secret, and are sent."""
    for given in (secret, lambda: secret):
        grant = Password(URL, secret, given, secret, given, client_auth="client_secret_post", scope=secret)
        assert grant.secrets() == (secret, secret)


@pytest.mark.parametrize("call", [*(call for calls in BAD.values() for call in calls)])
def test_no_frame_of_an_error_holds_an_argument(call: tuple[Any, ...]) -> None:
    """No frame of an error holds a secret."""
    make, *arguments = call
    with pytest.raises(ConfigurationError) as caught:
        make(*arguments)
    assert SECRET not in variables_of(caught.value)


def test_no_frame_of_a_wrong_call_holds_an_argument() -> None:
    """No frame of a TypeError for a wrong argument holds a secret."""
    makers: list[Any] = [ClientCredentials, Password, RefreshToken, ApiKey, providers.jwt_api]
    for make in makers:
        with pytest.raises(TypeError, match=r"__init__|jwt_api") as caught:
            make(URL, SECRET, SECRET, SECRET, SECRET, SECRET, SECRET, tenant=SECRET)
        assert SECRET not in variables_of(caught.value) + str(caught.value)


class Mistaken(ClientCredentials):
    """A grant of a user's, with a mistake in it."""

    def __post_init__(self) -> None:
        len(self.params)  # type: ignore[arg-type]


def test_a_mistake_of_a_subclass_can_be_found() -> None:
    """The traceback of an error in a user's subclass leads to its line."""
    with pytest.raises(TypeError, match="NoneType") as caught:
        Mistaken(URL, "id", SECRET)
    assert "len(self.params)" in "".join(traceback.format_exception(caught.value))
    assert SECRET not in variables_of(caught.value)


@pytest.mark.parametrize("secret", [lambda: f"{SECRET}\n", SECRET.encode, lambda: f"{SECRET}\udc80"])
def test_no_frame_of_a_failed_callable_holds_its_secret(secret: Callable[[], Any]) -> None:
    """No frame of an error about the result of a callable holds that result."""
    grants = [ClientCredentials(URL, "id", secret), Password(URL, "u", secret), RefreshToken(URL, secret)]
    for grant in [*grants, ApiKey(secret)]:
        with pytest.raises(ConfigurationError) as caught:
            grant.secrets()
        assert SECRET not in variables_of(caught.value)


@pytest.mark.parametrize(("call", "told"), rows(BAD))
def test_an_argument_that_cannot_work_is_told_at_once(call: tuple[Any, ...], told: str) -> None:
    """An argument that cannot work, or contradicts another, is named when the grant is made."""
    assert told in refused(*call)


def raising() -> str:
    raise LookupError("no such entry")


def advising() -> str:
    raise ConfigurationError("unlock the vault")


BAD_CALLABLES: dict[str, list[Any]] = {
    "client_secret must be readable, but its callable raised LookupError": [raising],
    "client_secret must be a str or a callable that returns one, got ": [lambda: None, SECRET.encode, lambda: raising],
    "client_secret must not be empty": [lambda: ""],
    "client_secret must not have a control character": [lambda: f"{SECRET}\n", lambda: f"\x00{SECRET}"],
    "client_secret must not have lone surrogates": [lambda: SECRET + "\udc80"],
    "unlock the vault": [advising],
    "'/nowhere/at/all' cannot be read (No such file": [SecretFile("/nowhere/at/all")],
}


@pytest.mark.parametrize(("secret", "told"), rows(BAD_CALLABLES))
def test_a_callable_that_fails_is_told_when_it_is_called(secret: Callable[[], Any], told: str) -> None:
    """The error for a callable that returns no secret is raised in place of a request; its own words win."""
    grant = ClientCredentials(URL, "id", secret)
    assert told in refused(grant.request_token, lambda _: pytest.fail("asked"))
    assert told in refused(grant.secrets)


@pytest.mark.parametrize("key", ["a\nb", "k3y ", "ключ", "a\x00"])
def test_a_key_that_cannot_stand_in_a_header(key: str) -> None:
    """A key that cannot stand in a header is refused before it is sent."""
    assert refused(lambda: ApiKey(lambda: key).request_token(lambda _: pytest.fail("asked")))
    assert refused(lambda: ApiKey(key).request_token(lambda _: pytest.fail("asked")))


def test_a_key_is_a_token_that_never_ends() -> None:
    """An API key is a token that does not expire, and no request is sent for it."""
    key = ApiKey(SECRET, "X-Key", "Key")
    assert key.request_token(lambda _: pytest.fail("asked")) == Token(access_token=SECRET, token_type="Key")
    assert key.refresh(lambda _: pytest.fail("asked"), "r") is None
    assert (key.header_and_scheme(), key.secrets(), key.revocation_requests("a", "b")) == (
        ("X-Key", "Key"),
        (SECRET,),
        (),
    )
    assert (ApiKey(SECRET).header_and_scheme(), client().header_and_scheme()) == (
        ("X-API-Key", ""),
        ("Authorization", "Bearer"),
    )


SIGNATURES: dict[type[Any], str] = {
    ClientCredentials: "token_url client_id client_secret",
    Password: "token_url username password client_id client_secret refresh_url",
    RefreshToken: "token_url refresh_token client_id client_secret",
    ApiKey: "value header scheme",
}


@pytest.mark.parametrize(("grant", "names"), SIGNATURES.items())
def test_positional_arguments(grant: type[Any], names: str) -> None:
    """The positional order is the documented one; all other arguments are keywords."""
    values = {name: f"https://{name}.example/" if name.endswith("url") else f"a-{name}" for name in names.split()}
    assert dataclasses.asdict(grant(*values.values())).items() >= values.items()
    assert grant(*values.values()) == grant(**values)
    with pytest.raises(TypeError):
        grant(*values.values(), "one more")


EQUAL: dict[str, list[dict[str, Any]]] = {
    "scope": [{"scope": "a b"}, {"scope": ["a", "b"]}, {"scope": ("a", "b")}, {"scope": iter(["a", "b"])}],
    "scopes": [{"scope": "a b c d e f"}, {"scope": set("fedcba")}, {"scope": frozenset("abcdef")}],
    "resource": [{"resource": "urn:a"}, {"resource": ["urn:a"]}, {"resource": {"urn:a"}}],
    "resources": [{"resource": ["urn:a", "urn:b"]}, {"resource": {"urn:b", "urn:a"}}],
    "params": [{"params": {"a": "1", "b": ["x"]}}, {"params": {"b": ("x",), "a": "1"}}],
    "headers": [{"headers": {"X-A": "1", "X-B": "2"}}, {"headers": {"X-B": "2", "X-A": "1"}}],
    "nothing": [
        *({}, {"scope": None}, {"scope": []}, {"resource": ()}, {"params": {}}, {"headers": {}}, {"params": None}),
        {"client_auth": "client_secret_basic", "encoding": "form", "method": "POST"},
    ],
}


@pytest.mark.parametrize("ways", EQUAL.values(), ids=EQUAL)
def test_equal_grants_however_they_are_written(ways: list[dict[str, Any]]) -> None:
    """Grants of equal arguments are equal, however these are written."""
    grants = [client(**way) for way in ways]
    assert len(set(grants)) == 1
    assert all(grant == grants[0] == dataclasses.replace(grant) for grant in grants)


OPTIONS: dict[str, list[Any]] = {
    "scope": ["a b", ["b", "a"]],
    "audience": ["a"],
    "resource": ["a", ["a", "b"]],
    "client_auth": ["client_secret_post", "client_secret_basic", "client_secret_basic_raw"],
    "encoding": ["json", "query"],
    "method": ["GET"],
    "headers": [{"X-A": "a"}],
    "params": [{"v": each} for each in ("1", 1, True, 1.0, None, ("1",))],
    "revocation_url": [URL],
}


def test_different_grants_are_different() -> None:
    """Grants that differ in anything that is sent, or where to, are not equal."""
    grants: list[Any] = [
        *(ClientCredentials(URL, "id"), ClientCredentials(URL, "x", SECRET), ClientCredentials(URL, "id", "another")),
        *(ClientCredentials(URL + "2", "id", SECRET), Password(URL, "u", SECRET), Password(URL, "u", SECRET, "id")),
        *(Password(URL, "u", SECRET, refresh_url=URL), RefreshToken(URL, "u"), Password(URL, "id", SECRET), "id"),
        *(client(**{name: value}) for name, values in OPTIONS.items() for value in values),
    ]
    for index, grant in enumerate(grants):
        assert grant not in grants[:index]


def test_the_query_of_an_endpoint_is_not_shown() -> None:
    """The query of an endpoint is not shown, as it may hold a secret."""
    url = "https://id.example.com/token?code=s3cr3t"
    grant = Password(url, "u", "p", revocation_url=url, refresh_url=url)
    assert "s3cr3t" not in f"{grant!r} {grant} {vars(grant)}"
    assert repr(grant).startswith("Password(token_url='https://id.example.com/token?...', ")
    assert (str(grant.token_url), grant.token_url == url, pickle.loads(pickle.dumps(grant))) == (url, True, grant)


def test_a_grant_is_immutable() -> None:
    """A grant cannot be changed, neither by its attributes nor by a mapping that it was made of."""
    params = {"a": "1"}
    grant = client(params=params)
    params["a"] = "2"
    assert grant == client(params={"a": "1"})
    with pytest.raises(AttributeError):
        grant.scope = "more"  # type: ignore[misc]


CONTENTS = {
    b"s3cr3t": "s3cr3t", b"s3cr3t\n": "s3cr3t", b"s3cr3t\r\n": "s3cr3t",
    b" s3 cr3t ": " s3 cr3t ", "€ü\n".encode(): "€ü",
}  # fmt: skip


@pytest.mark.parametrize(("content", "secret"), CONTENTS.items())
def test_a_secret_file_is_the_secret(tmp_path: Path, content: bytes, secret: str) -> None:
    """One trailing newline and a byte order mark are dropped; all else belongs to the secret."""
    path = tmp_path / "secret"
    path.write_bytes(content)
    assert SecretFile(path)() == SecretFile(str(path))() == secret


def test_a_secret_file_is_read_anew(tmp_path: Path) -> None:
    """A rotated file takes effect at the next token request."""
    path = tmp_path / "secret"
    grant = ClientCredentials(URL, "id", SecretFile(path), client_auth="client_secret_post")
    for secret in ("one", "two"):
        path.write_text(f"{secret}\n")
        assert grant.secrets() == (secret,)
        assert f"client_secret={secret}".encode() in grant.refresh_request("r").body


def test_secret_files_of_one_path_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secret files of one path are equal."""
    monkeypatch.setenv("HOME", "/home/me")
    assert len({SecretFile("/home/me/s"), SecretFile(Path("/home/me/s")), SecretFile("~/s")}) == 1
    assert ClientCredentials(URL, "id", SecretFile("/a")) == ClientCredentials(URL, "id", SecretFile(Path("/a")))
    assert ClientCredentials(URL, "id", SecretFile("/a")) != ClientCredentials(URL, "id", SecretFile("/b"))


@pytest.mark.parametrize("content", [b"\xff" + SECRET.encode(), None], ids=["no UTF-8", "a directory"])
def test_a_secret_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """The error for a file that cannot be read names path and reason, and holds none of its content."""
    path = tmp_path if content is None else tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    reason = "Is a directory" if content is None else "it is not UTF-8 text"
    with pytest.raises(ConfigurationError) as caught:
        SecretFile(path)()
    assert f"the secret file {os.fspath(path)!r} cannot be read ({reason}); check path" in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path counts from the working directory in which the object was made."""
    (tmp_path / "secret").write_text("s3cr3t")
    monkeypatch.chdir(tmp_path)
    file = SecretFile("secret")
    by_variable = from_env("ACME", {"ACME_API_KEY_FILE": "secret"})
    pickled = pickle.dumps((file, by_variable))
    monkeypatch.chdir("/")
    assert file == SecretFile(tmp_path / "secret")
    again, by_variable_again = pickle.loads(pickled)
    assert (file(), again(), by_variable_again.secrets()) == ("s3cr3t", "s3cr3t", ("s3cr3t",))
    assert by_variable_again == by_variable == ApiKey(SecretFile(tmp_path / "secret"))
    assert again != SecretFile("secret")


def test_a_relative_path_needs_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a working directory a relative path is refused, and an absolute one accepted."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert refused(SecretFile, "secret").startswith("path must be absolute, as the working directory is gone")
    assert SecretFile("/run/secret").path == "/run/secret"


class Tenant(ClientCredentials):
    """A grant with an attribute of its own, which is no field."""

    def __init__(self, tenant: Any) -> None:
        super().__init__(URL, "id", SECRET)
        object.__setattr__(self, "tenant", tenant)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a", 1), (["a"], ["b"]), ("a", ["a"]), (("a", []), ("a", {}))])
def test_an_attribute_of_a_subclass_counts(one: Any, other: Any) -> None:
    """Grants that differ in an attribute of a subclass, such as a tenant, do not share a token."""
    assert Tenant(one) != Tenant(other)
    assert len({Tenant(one), Tenant(other), copy.copy(Tenant(one))}) == 2
    assert Tenant(one).identity() != Tenant(other).identity()
    cache = MemoryCache()
    assert cache.state(Tenant(one)) is not cache.state(Tenant(other))
    bare = Tenant(one)
    object.__delattr__(bare, "tenant")
    assert bare == copy.copy(bare)
    assert bare != Tenant(one)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SlottedTenant(ClientCredentials):
    """A grant with a field of its own in a slot, beside fields that are in no slot."""

    __slots__ = ("tenant",)

    tenant: str


def test_a_field_in_a_slot_counts() -> None:
    """Grants that differ in a field that a subclass keeps in a slot are not equal."""
    one, other = (SlottedTenant(URL, "id", SECRET, tenant=tenant) for tenant in "ab")
    assert one != other
    assert one == SlottedTenant(URL, "id", SECRET, tenant="a")


@dataclasses.dataclass(frozen=True, eq=False)
class Logged(ClientCredentials):
    """A grant with a field of its own that its user leaves out of comparisons."""

    log: list[str] = dataclasses.field(default_factory=list, kw_only=True, compare=False)


def test_a_field_without_compare_does_not_count() -> None:
    """A field of a subclass with ``compare=False`` does not tell grants apart."""
    one, other = Logged(URL, "id", SECRET, log=["a"]), Logged(URL, "id", SECRET)
    assert one == other
    assert hash(one) == hash(other)
    assert one != Logged(URL, "id", "another")


def test_callables_are_called_anew() -> None:
    """A callable is called for each token request, and not by hash() or repr()."""
    secrets = iter(["secret-1", "secret-2"])
    grant = RefreshToken(URL, secrets.__next__)
    assert (hash(grant), repr(grant)) == (hash(RefreshToken(URL, secrets.__next__)), repr(grant))
    bodies: list[bytes] = []
    for _ in range(2):
        grant.request_token(lambda request: bodies.append(request.body) or Token(access_token=""))  # type: ignore[func-returns-value]
    assert [body.rpartition(b"=")[2] for body in bodies] == [b"secret-1", b"secret-2"]


PASSWORD = Password(URL, "u", SECRET)
SEPARATE = Password(URL, "u", SECRET, refresh_url=URL + "/refresh")
STORED = RefreshToken(URL, "first")
ANY = (200, 201, 302, 399, 400, 401, 403, 404, 429, 500, 503)
#: What an answer that refuses may be: status, error code, kind of the body, and Retry-After.
Refusal = tuple[int, str | None, str | None, float | None]
#: What the grant is; what its refresh token got; whether the grant itself is to be traded.
REFUSALS: list[tuple[OAuthGrant, Refusal, bool]] = [
    *((client(), (status, None, kind, None), True) for status in ANY for kind in ("json", "page", None)),
    *((client(), (status, "server_error", "json", 9.0), True) for status in ANY),
    *((grant, (401, "invalid_client", "json", None), False) for grant in (client(), PASSWORD, SEPARATE, STORED)),
    *(
        (grant, (status, code, "json", None), True)
        for grant in (client(), PASSWORD, SEPARATE, STORED)
        for status in (200, 400, 401, 500)
        for code in ("invalid_grant", "bad_refresh_token")
    ),
    *(
        (grant, (status, code, kind, None), 200 <= status < 300 or status in (400, 401, 403, 404))
        for grant in (PASSWORD, SEPARATE)
        for status in ANY
        for code, kind in (("invalid_request", "json"), (None, "json"), (None, "form"), (None, "empty"))
    ),
    *((PASSWORD, (status, None, kind, None), False) for status in ANY for kind in ("page", "text", None)),
    *((PASSWORD, (400, None, "json", wait), False) for wait in (0.0, 9.0)),
    *(
        (PASSWORD, (400, code, "json", None), False)
        for code in ("slow_down", "temporarily_unavailable", "server_error", "invalid_client")
    ),
    *((STORED, (status, None, "json", None), False) for status in ANY),
]
_numbers = itertools.count()


def renewed(grant: OAuthGrant, refusal: Refusal, refresh_token: str) -> bool:
    """Return whether the grant itself is used after *refusal*; else the error is raised."""
    status, code, kind, wait = refusal
    content = {
        "json": json.dumps({"error": code} if code else {"message": "no"}).encode(),
        "form": f"error={code or ''}&reason=no".encode(),
        "page": b"<html>no</html>",
        "text": b"no",
    }.get(kind or "", b"")
    headers = {"content-encoding": "gzip"} if kind is None else {}
    headers |= {} if wait is None else {"retry-after": f"{wait:.0f}"}

    def ask(request: TokenRequest) -> Token:
        return read(request, TokenResponse(status=status, headers=headers, body=content, received_at=1e9), 1e9)

    with contextlib.suppress(TokenRequestError):
        return grant.refresh(ask, refresh_token) is None
    return False


@pytest.mark.parametrize(("grant", "refusal", "again"), REFUSALS)
def test_a_refused_refresh_token(grant: OAuthGrant, refusal: Refusal, again: bool) -> None:
    """The password is sent only if the refresh token is refused, or vaguely so; client credentials always are."""
    assert renewed(grant, refusal, f"refresh-{next(_numbers)}") is again


def test_a_vague_refusal_costs_one_password() -> None:
    """A refresh token that is refused vaguely costs one password, until it works again."""
    vague, clear = (400, None, "empty", None), (400, "invalid_grant", "json", None)
    assert [renewed(PASSWORD, vague, "again") for _ in range(3)] == [True, False, False]
    assert renewed(PASSWORD, vague, "another")
    assert renewed(SEPARATE, vague, "again"), "another grant's is another"
    assert renewed(PASSWORD, clear, "again"), "a clear word counts each time"
    PASSWORD.refresh(lambda _: Token(access_token="a"), "again")
    assert renewed(PASSWORD, vague, "again"), "it worked since"


def test_the_refresh_token_that_a_grant_consists_of_is_not_sent_twice() -> None:
    """A refusal of the grant's own refresh token is raised."""
    assert not renewed(STORED, (400, "invalid_grant", "json", None), "first")


def test_few_vague_refusals_are_remembered() -> None:
    """A process remembers vague refusals of the latest 1000 refresh tokens."""
    vague = (400, None, "json", None)
    assert all(renewed(PASSWORD, vague, f"one of many {number}") for number in range(1100))
    again = [renewed(PASSWORD, vague, f"one of many {number}") for number in (1099, 0, 200)]
    assert again == [False, True, False]


@pytest.mark.parametrize("raised", [TokenTransportError("no"), ConfigurationError("no"), LookupError("no")])
def test_what_is_no_answer_refuses_nothing(raised: Exception) -> None:
    """An error that is no answer of the server refuses no refresh token."""

    def ask(_: Any) -> Token:
        raise raised

    for grant in (client(), PASSWORD, STORED):
        with pytest.raises(type(raised)):
            grant.refresh(ask, "second")


@pytest.mark.parametrize(("sent", "kept"), [(None, "old"), ("new", "new")])
def test_the_refresh_token_goes_on(sent: str | None, kept: str) -> None:
    """A refresh without a new refresh token keeps the old one; a new one replaces it."""
    token = client().refresh(lambda _: Token(access_token="a", refresh_token=sent), "old")
    assert token == Token(access_token="a", refresh_token=kept)
    assert client().refresh(lambda _: pytest.fail("asked"), None) is None


def test_the_secrets_of_a_grant_are_all_of_them() -> None:
    """secrets() returns every secret of the grant."""
    assert ClientCredentials(URL, "id").secrets() == ()
    assert Password(URL, "u", "p", "id", "s").secrets() == ("s", "p")
    assert RefreshToken(URL, lambda: "r", "id", "s").secrets() == ("s", "r")


def test_a_part_of_a_secret_is_not_shown() -> None:
    """The beginning of a secret is not shown either, which rich cuts before it takes the repr."""
    grant = Password(URL, "me", SECRET * 9, params={"pin": SECRET * 9}, headers={"X": SECRET * 9})
    shown = rich.pretty.pretty_repr(vars(grant), max_string=20)
    shown += rich.pretty.pretty_repr(vars(Password(f"{URL}?key={SECRET * 9}", "me", SECRET)), max_string=60)
    assert SECRET[:6] not in shown
    assert (grant.password[:7], grant.password[-1]) == (SECRET[:7], SECRET[-1])  # type: ignore[index]


@pytest.mark.parametrize(
    "dump",
    [
        lambda grant: pprint.pformat(vars(grant)),
        lambda grant: repr(inspect.getmembers(grant)),
        lambda grant: repr(dataclasses.asdict(grant)) + repr(dataclasses.astuple(grant)),
        lambda grant: repr(copy.deepcopy(grant)) + repr(vars(copy.deepcopy(grant))),
        lambda grant: repr(grant.__reduce_ex__(4)),
        lambda grant: repr(grant.secrets()),
        rich.pretty.pretty_repr,
        inspected,
        repr,
        str,
    ],
)
def test_no_dump_of_a_grant_shows_a_secret(dump: Callable[[Any], str]) -> None:
    """repr, vars, pprint, inspect.getmembers, copies and rich's inspect of a grant show no secret."""
    options: dict[str, Any] = {"params": {"pin": SECRET, "pins": [SECRET]}, "headers": {"X-Proof": SECRET}}
    for grant in (
        client(**options),
        Password(f"{URL}?key={SECRET}", "u", SECRET, "id", SECRET, **options),
        RefreshToken(URL, SECRET, "id", lambda: SECRET, revocation_url=f"{URL}?key={SECRET}"),
        ApiKey(SECRET),
    ):
        assert SECRET not in dump(grant)


def test_a_dump_of_its_attributes_shows_no_secret() -> None:
    """The attributes of a grant show no secret in their repr; str() does."""
    grant = Password(
        URL, "me", "s3cr3t one", "id", "s3cr3t two", headers={"X": "s3cr3t three"}, params={"y": ["s3cr3t four"]}
    )
    assert "s3cr3t" not in repr(vars(grant)) + repr(vars(ApiKey("s3cr3t"))) + repr(vars(RefreshToken(URL, "s3cr3t")))
    assert (str(grant.password), f"{grant.client_secret}") == ("s3cr3t one", "s3cr3t two")
    assert pickle.loads(pickle.dumps(grant)) == grant
