"""Grants: wrong arguments, equality, secrets, and refused refresh tokens."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import gc
import inspect
import itertools
import json
import pickle
import traceback
import weakref
from collections import UserString
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

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

URL = "https://id.example.com/token"
SECRET = "7rg6Gt-s3cr3t"


def client(**options: Any) -> ClientCredentials:
    return ClientCredentials(URL, "id", SECRET, **options)


class OwnClient(ClientCredentials):
    """A class of the user's."""


def no_request(_: TokenRequest) -> Token:
    raise AssertionError("a token request was sent")


def refused(make: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Return the message of the ConfigurationError; neither it nor a frame shows the secret."""
    with pytest.raises(ConfigurationError) as caught:
        make(*args, **kwargs)
    message = str(caught.value)
    assert message.isprintable(), "one line"
    assert SECRET not in f"{message} {caught.value.__cause__} {caught.value.__context__}"
    assert SECRET not in variables_of(caught.value)
    return message


def rows(table: Mapping[str, Iterable[Any]]) -> list[Any]:
    """Return the rows of a table that has the expected messages on its left."""
    return [pytest.param(value, message, id=message) for message, values in table.items() for value in values]


@dataclasses.dataclass
class Vault:
    """Callable, and equal to others, but not hashable."""

    def __call__(self) -> str:
        return SECRET


BAD_OPTIONS: dict[str, list[dict[str, Any]]] = {
    "client_auth must be one of client_secret_basic, ": [{"client_auth": "basic"}, {"client_auth": ["none"]}],
    "client_auth must not be none with client_secret": [{"client_auth": "none"}],
    "encoding must be one of form, json, query": [{"encoding": "xml"}, {"encoding": None}],
    "method must be one of POST, GET": [{"method": "get"}],
    "encoding must not be json when method is GET": [{"method": "GET", "encoding": "json"}],
    "scope must not be empty": [{"scope": ""}, {"scope": ["a", ""]}],
    "scope must be a str": [{"scope": 7}, {"scope": b"a"}, {"scope": {"a": 1}}, {"scope": {"a", 1}}],
    "scope must not have a control character": [{"scope": "a\nb"}, {"scope": ["a", "b\t"]}],
    "audience must be a str, got list": [{"audience": ["a"]}],
    "params must be a mapping, got ": [{"params": "a=b"}, {"params": ("ab",)}, {"params": [("a", "b")]}],
    "a name in params must ": [{"params": {None: "a"}}, {"params": {"": "a"}}],
    "params['a'] must be a str": [{"params": {"a": {}}}, {"params": {"a": [1]}}],
    "params['a'] must not have lone surrogates": [{"params": {"a": "\udc80"}}],
    "a name in headers must be a header name, such as X-API-Key": [{"headers": {"X-A:": "a"}}],
    "headers['X-A'] must be a str of printable Latin-1 characters": [
        {"headers": {"X-A": each}} for each in (1, f"{SECRET}\r\nX-B: b", "€")
    ],
    "revocation_url must be an absolute http(s) URL": [{"revocation_url": "/revoke"}],
}
BAD: dict[str, list[tuple[Any, ...]]] = {
    "token_url must be a str, got None": [(ClientCredentials, None, "id")],
    "token_url must not be empty": [(ClientCredentials, "", "id")],
    "token_url must be an absolute http(s) URL": [
        *((RefreshToken, each, SECRET) for each in ("/token", "ftp://id.example.com/token", "https:///token")),
        *((RefreshToken, each, SECRET) for each in ("https://a.example:99999", "https://[::1", f"{URL}\n", f"{URL} a")),
    ],
    "token_url must not have lone surrogates": [(ClientCredentials, f"{URL}\udc80", "id")],
    "token_url must have no user and no fragment": [
        (ClientCredentials, each, "id")
        for each in (f"https://id:{SECRET}@id.example.com/", "https://@a.example/", f"{URL}#")
    ],
    "refresh_url must be a str, got bytes": [(Password, URL, "u", SECRET, "id", SECRET, URL.encode())],
    "client_id must be a str, got None": [(ClientCredentials, URL, None, SECRET)],
    "client_id must not be empty": [(ClientCredentials, URL, ""), (Password, URL, "u", SECRET, "")],
    'client_id must not have ":" with client_secret_basic_raw': [
        (providers.jwt_api, "https://a.example", "urn:me", SECRET)
    ],
    "client_id must not have a control character, such as a line break; remove it": [
        (ClientCredentials, URL, each, SECRET) for each in ("id\n", "i\x85d", "i\u2028d")
    ],
    "client_auth must be none without client_secret, got client_secret_": [
        (functools.partial(ClientCredentials, client_auth=each), URL, "id")
        for each in ("client_secret_basic", "client_secret_basic_raw", "client_secret_post")
    ],
    "client_secret needs client_id": [(RefreshToken, URL, "r", None, SECRET)],
    "client_secret must not be empty": [(ClientCredentials, URL, "id", "")],
    "client_secret must be a str or a callable that returns one, got ": [
        (ClientCredentials, URL, "id", each) for each in (SECRET.encode(), Path("s"))
    ],
    "client_secret must be a callable that can be hashed": [(ClientCredentials, URL, "id", Vault())],
    "client_secret must not have lone surrogates": [(ClientCredentials, URL, "id", f"{SECRET}\udfff")],
    "client_secret must not have a control character": [
        *((ClientCredentials, URL, "id", f"{SECRET}{each}") for each in ("\r\n", "\x00", "\x7f")),
        (providers.jwt_api, "https://a.example", "id", f"{SECRET}\n"),
    ],
    "username must ": [(Password, URL, each, SECRET) for each in (None, "", b"u", "u\n")],
    "password must ": [(Password, URL, "u", each) for each in ("", None, f"{SECRET}\n")],
    "refresh_token must ": [(RefreshToken, URL, each) for each in ("", None, f"{SECRET}\n")],
    "value must ": [(ApiKey, each) for each in ("", None, f"{SECRET}\n")],
    "header must be a header name": [(ApiKey, SECRET, each) for each in ("X API Key", None, "X-Käy")],
    "scheme must be a str of printable Latin-1 characters": [
        (ApiKey, SECRET, "X-Key", each) for each in ("a\nb", None)
    ],
    "path must be the path of the secret's file": [(SecretFile, None), (SecretFile, "")],
    "base_url must ": [
        *((providers.auth_api, each, "u", SECRET, True) for each in (None, "", "https://[::1", "a.b.example")),
        (providers.json_api, "https://a.example/#v1", "id", SECRET),
    ],
    "staging needs base_url with a host name of several labels": [
        (providers.auth_api, each, "u", SECRET, True) for each in ("https://127.0.0.1", "https://a", "https://[::1]")
    ],
    "identity_url must have no query": [(providers.upload_api, "https://id.example.com?a=b", "id", SECRET)],
    "server_address must be a": [(providers.organization_api, each, "id", SECRET) for each in (None, "")],
    "credentials must be one of header, query": [(providers.organization_api, "a.example", "id", SECRET, SECRET)],
    "method must be one of POST, GET": [(providers.json_api, "https://a.example", "id", SECRET, "PUT")],
}


@pytest.mark.parametrize(("call", "message"), rows(BAD))
def test_a_wrong_argument_is_named_and_no_frame_holds_it(call: tuple[Any, ...], message: str) -> None:
    """The error for an argument that cannot work names it when the grant is made; no frame of it holds a secret."""
    assert message in refused(*call)


@pytest.mark.parametrize(("options", "message"), rows(BAD_OPTIONS))
def test_a_wrong_option_is_named_and_no_frame_holds_it(options: dict[str, Any], message: str) -> None:
    """The same goes for the options of every OAuth grant."""
    assert message in refused(client, **options)


@pytest.mark.parametrize("secret", [" s3 cr3t ", "'s3cr3t'", "\ufeffs3cr3t\u200b"])
def test_a_secret_may_be_anything_that_is_printed(secret: str) -> None:
    """Spaces, quotes and invisible characters may belong to a secret, and are sent."""
    for given in (secret, lambda: secret):
        grant = Password(URL, secret, given, secret, given, client_auth="client_secret_post", scope=secret)
        assert grant.secrets() == (secret, secret)


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


def raising() -> str:
    raise LookupError("no such entry")


def advising() -> str:
    raise ConfigurationError("unlock the vault")


BAD_CALLABLES: dict[str, list[Any]] = {
    "{} must be readable, but its callable raised LookupError": [raising],
    "{} must be a str or a callable that returns one, got ": [lambda: None, SECRET.encode, lambda: raising],
    "{} must not be empty": [lambda: ""],
    "{} must not have a control character": [lambda: f"{SECRET}\n"],
    "{} must not have lone surrogates": [lambda: f"{SECRET}\udc80"],
    "unlock the vault": [advising],
    "'/nowhere/at/all' cannot be read (No such file": [SecretFile("/nowhere/at/all")],
}


@pytest.mark.parametrize(("secret", "message"), rows(BAD_CALLABLES))
def test_a_callable_that_returns_no_secret(secret: Callable[[], Any], message: str) -> None:
    """The error for a callable that returns no secret is raised in place of a request; no frame holds the result."""
    for argument, grant in {
        "client_secret": ClientCredentials(URL, "id", secret),
        "password": Password(URL, "u", secret),
        "refresh_token": RefreshToken(URL, secret),
        "value": ApiKey(secret),
    }.items():
        assert message.format(argument) in refused(grant.request_token, no_request)
        assert message.format(argument) in refused(grant.secrets)


@pytest.mark.parametrize("key", ["k3y ", "ключ"])
def test_a_key_that_cannot_stand_in_a_header(key: str) -> None:
    """A key that cannot stand in a header is refused before it is sent."""
    for given in (key, lambda: key):
        assert "the API key must be printable ASCII" in refused(ApiKey(given).request_token, no_request)
        assert "header" not in refused(ApiKey(given, query="key").request_token, no_request)


def test_a_key_is_a_token_that_never_ends() -> None:
    """An API key is a token that does not expire, and no request is sent for it."""
    key = ApiKey(SECRET, "X-Key", "Key")
    assert key.request_token(no_request) == Token(access_token=SECRET, token_type="Key")
    assert key.refresh(no_request, "r") is None
    assert (key.header_and_scheme(), key.secrets()) == (("X-Key", "Key"), (SECRET,))
    assert tuple(key.revocation_requests("a", "b")) == ()
    assert ApiKey(SECRET).header_and_scheme() == ("X-API-Key", "")
    assert (ApiKey(SECRET).query_parameter(), ApiKey(SECRET, query="key").query_parameter()) == (None, "key")
    assert client().query_parameter() is None
    assert client().header_and_scheme() == ("Authorization", "Bearer")


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
    "scope": [{"scope": "a b"}, {"scope": ["a", "b"]}, {"scope": iter(["a", "b"])}],
    "scopes": [{"scope": "a b c d e f"}, {"scope": set("fedcba")}, {"scope": frozenset("abcdef")}],
    "resource": [{"resource": "urn:a"}, {"resource": ["urn:a"]}, {"resource": {"urn:a"}}],
    "params": [{"params": {"a": "1", "b": ["x"]}}, {"params": {"b": ("x",), "a": "1"}}],
    "headers": [{"headers": {"X-A": "1", "X-B": "2"}}, {"headers": {"X-B": "2", "X-A": "1"}}],
    "answer": [{"answer": {"scope": "a", "error": "b"}}, {"answer": {"error": "b", "scope": "a"}}],
    "names": [{"names": {"scope": "a", "audience": "b"}}, {"names": {"audience": "b", "scope": "a"}}],
    "refresh_params": [{"refresh_params": {"a": "1", "b": ["x"]}}, {"refresh_params": {"b": ("x",), "a": "1"}}],
    "lifetime": [{"lifetime": 60}, {"lifetime": 60.0}],
    "nothing": [
        *({}, {"scope": None}, {"scope": []}, {"resource": ()}, {"params": {}}, {"headers": {}}, {"params": None}),
        *({"answer": {}}, {"names": {}}, {"refresh_params": {}}, {"answer": None}, {"lifetime": None}),
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
    "answer": [{"scope": "a"}, {"scope": "b"}, {"error": "a"}],
    "names": [{"scope": "a"}, {"audience": "a"}],
    "refresh_params": [{"v": each} for each in ("1", 1, True, 1.0, None, ("1",))],
    "lifetime": [1, 2.5],
}


def test_equal_texts_make_one_grant() -> None:
    """The same class called with the same texts returns the grant in use; it is kept no longer than it is used."""
    grant = ClientCredentials("https://a.example/token", "one", SECRET, scope="a b")
    assert ClientCredentials("https://a.example/token", "one", SECRET, scope="a b") is grant
    others = [
        ClientCredentials("https://a.example/token", "one", "other", scope="a b"),
        ClientCredentials("https://a.example/token", "one", SECRET, audience="a b"),
        OwnClient("https://a.example/token", "one", SECRET, scope="a b"),
        OwnClient("https://a.example/token", "one", SECRET, scope="a b"),
    ]
    assert len({id(each) for each in (grant, *others)}) == 5
    kept = [repr(each) for each in gc.get_objects() if type(each).__name__ == "_Texts"]
    assert kept
    assert SECRET not in str(kept)
    reference = weakref.ref(grant)
    del grant
    assert reference() is None


def test_most_grants_exchange_nothing() -> None:
    """A grant without sources is the same at each moment."""
    grant = ClientCredentials("https://a.example/token", "one", SECRET)
    assert (grant.sources, grant.is_bound_late, grant.bind(())) == ((), False, (grant, ()))


def test_equal_values_of_other_types_are_checked() -> None:
    """A number that equals another one is not taken for it: each call checks it."""
    grant = ClientCredentials("https://a.example/token", "one", lifetime=1)
    with pytest.raises(ConfigurationError, match="lifetime"):
        ClientCredentials("https://a.example/token", "one", lifetime=True)
    assert grant.lifetime == 1


class Lazy(UserString):
    """A text that is looked up when it is needed, and the function that does so."""

    def __call__(self) -> str:
        return "of tomorrow"


def test_an_object_that_equals_a_text_is_not_taken_for_it() -> None:
    """A secret that a function returns is not the text that it equals now; other objects are refused, as always."""
    grant = ClientCredentials("https://a.example/token", "one", SECRET)
    later = ClientCredentials("https://a.example/token", "one", Lazy(SECRET))
    assert (grant.secrets(), later.secrets()) == ((SECRET,), ("of tomorrow",))
    with pytest.raises(ConfigurationError, match="client_secret must be a str"):
        ClientCredentials("https://a.example/token", "one", UserString(SECRET))  # type: ignore[arg-type]


def test_a_subclass_may_use_any_name() -> None:
    """A method that is named as one of the machinery is not called by it."""

    class Own(ClientCredentials):
        def _make(self) -> None: ...

    assert Own("https://a.example/token", "one", SECRET).secrets() == (SECRET,)


def test_tools_see_the_arguments() -> None:
    """``inspect.signature``, and so ``help``, show the arguments of a grant."""
    for grant in (ClientCredentials, OwnClient):
        parameters = inspect.signature(grant).parameters
        assert list(parameters)[:4] == ["token_url", "client_id", "client_secret", "scope"]


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


def test_a_grant_is_immutable() -> None:
    """A grant cannot be changed, neither by its attributes nor by a mapping that it was made of."""
    params = {"a": "1"}
    grant = client(params=params)
    params["a"] = "2"
    assert grant == client(params={"a": "1"})
    with pytest.raises(AttributeError):
        grant.scope = "more"  # type: ignore[misc]


CONTENTS = {
    b"s3cr3t": "s3cr3t", b"\xef\xbb\xbfs3cr3t\r\n": "s3cr3t", b" s3 cr3t \n": " s3 cr3t ", "€ü\n".encode(): "€ü",
}  # fmt: skip


def test_a_secret_file_is_read_at_each_call(tmp_path: Path) -> None:
    """A rotated file takes effect. One trailing newline and a byte order mark do not belong to the secret."""
    path = tmp_path / "secret"
    grant, bodies = RefreshToken(URL, SecretFile(path)), list[bytes]()
    assert (hash(grant), repr(grant)) == (hash(RefreshToken(URL, SecretFile(path))), repr(grant)), "nothing is read"
    for content, secret in CONTENTS.items():
        path.write_bytes(content)
        assert (SecretFile(str(path))(), grant.secrets()) == (secret, (secret,))
        grant.request_token(lambda request: bodies.append(request.body) or Token(access_token=""))  # type: ignore[func-returns-value]
        assert parse_qs(bodies[-1].decode())["refresh_token"] == [secret]


def test_secret_files_of_one_path_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secret files of one path are equal."""
    monkeypatch.setenv("HOME", "/home/me")
    assert len({SecretFile("/home/me/s"), SecretFile(Path("/home/me/s")), SecretFile("~/s")}) == 1
    assert ClientCredentials(URL, "id", SecretFile("/a")) != ClientCredentials(URL, "id", SecretFile("/b"))


@pytest.mark.parametrize("content", [b"\xff" + SECRET.encode(), None], ids=["no UTF-8", "a directory"])
def test_a_secret_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """The error for a file that cannot be read names path and reason, and holds none of its content."""
    path = tmp_path if content is None else tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    reason = "Is a directory" if content is None else "it is not UTF-8 text"
    assert refused(SecretFile(path)).startswith(f"the secret file {str(path)!r} cannot be read ({reason}); check path")


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path counts from the working directory in which the object was made, in another process as well."""
    (tmp_path / "secret").write_text("s3cr3t")
    monkeypatch.chdir(tmp_path)
    made = SecretFile("secret"), from_env("ACME", {"ACME_API_KEY_FILE": "secret"})
    pickled = pickle.dumps(made)
    monkeypatch.chdir("/")
    file, key = pickle.loads(pickled)
    assert (file, key) == made == (SecretFile(tmp_path / "secret"), ApiKey(SecretFile(tmp_path / "secret")))
    assert (file(), key.secrets()) == ("s3cr3t", ("s3cr3t",))
    assert file != SecretFile("secret")


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


@pytest.mark.parametrize(("one", "other"), [("a", "b"), (["a"], ["b"]), (("a", []), ("a", {}))])
def test_an_attribute_of_a_subclass_counts(one: Any, other: Any) -> None:
    """Grants that differ in an attribute of a subclass, such as a tenant, do not share a token."""
    assert len({Tenant(one), Tenant(other), copy.copy(Tenant(one))}) == 2
    assert Tenant(one).identity() != Tenant(other).identity()
    cache = MemoryCache()
    assert cache.state(Tenant(one)) is not cache.state(Tenant(other))
    bare = Tenant(one)
    object.__delattr__(bare, "tenant")
    assert bare == copy.copy(bare) != Tenant(one)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SlottedTenant(ClientCredentials):
    """A grant with a field in a slot, which counts, and one that its user leaves out of comparisons."""

    __slots__ = ("tenant",)

    tenant: str
    log: list[str] = dataclasses.field(default_factory=list, compare=False)


def test_a_field_of_a_subclass_counts_if_it_is_compared() -> None:
    """A field of a subclass tells grants apart, in a slot as well, unless it has ``compare=False``."""
    one, same = (SlottedTenant(URL, "id", SECRET, tenant="a", log=log) for log in ([], ["a"]))
    assert (one, hash(one)) == (same, hash(same))
    assert one != SlottedTenant(URL, "id", SECRET, tenant="b")


PASSWORD = Password(URL, "u", SECRET)
STORED = RefreshToken(URL, "first")
ANY = (200, 302, 400, 401, 404, 429, 500, 503)
#: What an answer that refuses may be: status, error code, kind of the body, and Retry-After.
Refusal = tuple[int, str | None, str | None, float | None]
#: The grant, the answer to its refresh request, and whether the grant itself is used then.
REFUSALS: list[tuple[OAuthGrant, Refusal, bool]] = [
    *((client(), (status, None, kind, None), True) for status in ANY for kind in ("json", "page", None)),
    *((client(), (status, "server_error", "json", 9.0), True) for status in ANY),
    *((grant, (401, "invalid_client", "json", None), False) for grant in (client(), PASSWORD, STORED)),
    *(
        (grant, (status, code, "json", None), True)
        for grant in (client(), PASSWORD, STORED)
        for status in (200, 400, 500)
        for code in ("invalid_grant", "bad_refresh_token", "invalid_code")
    ),
    *(
        (PASSWORD, (status, code, kind, None), status in (200, 400, 401, 404))
        for status in ANY
        for code, kind in (("invalid_request", "json"), (None, "json"), (None, "form"), (None, "empty"))
    ),
    *((PASSWORD, (status, None, kind, None), False) for status in ANY for kind in ("page", "text", None)),
    *((PASSWORD, (400, None, "json", wait), False) for wait in (0.0, 9.0)),
    *(
        (PASSWORD, (400, code, "json", None), False)
        for code in ("slow_down", "temporarily_unavailable", "server_error")
    ),
    *((STORED, (status, None, "json", None), False) for status in ANY),
]
_numbers = itertools.count()


def uses_grant(grant: OAuthGrant, refusal: Refusal, refresh_token: str) -> bool:
    """Return whether the grant itself is used after *refusal*; else the error is raised."""
    status, code, kind, wait = refusal
    content = {
        "json": json.dumps({"error": code} if code else {"message": "no"}).encode(),
        "form": b"error=&reason=no",
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


@pytest.mark.parametrize(("grant", "refusal", "used"), REFUSALS)
def test_a_refused_refresh_token(grant: OAuthGrant, refusal: Refusal, used: bool) -> None:
    """The password is sent only if the refresh token is refused, or vaguely so; client credentials always are."""
    assert uses_grant(grant, refusal, f"refresh-{next(_numbers)}") is used
    assert not uses_grant(STORED, refusal, "first"), "the grant consists of this refresh token"


def test_a_vague_refusal_costs_one_password() -> None:
    """A refresh token that is refused vaguely costs one password, until it works again."""
    vague, clear = (400, None, "empty", None), (400, "invalid_grant", "json", None)
    assert [uses_grant(PASSWORD, vague, "again") for _ in range(3)] == [True, False, False]
    assert uses_grant(PASSWORD, vague, "another")
    assert uses_grant(Password(URL, "u", SECRET, refresh_url=f"{URL}/refresh"), vague, "again"), "another grant"
    assert uses_grant(PASSWORD, clear, "again"), "a clear refusal counts each time"
    PASSWORD.refresh(lambda _: Token(access_token="a"), "again")
    assert uses_grant(PASSWORD, vague, "again"), "it worked since"


def test_few_vague_refusals_are_remembered() -> None:
    """A process remembers vague refusals of the latest 1000 refresh tokens."""
    vague = (400, None, "json", None)
    assert all(uses_grant(PASSWORD, vague, f"one of many {number}") for number in range(1100))
    again = [uses_grant(PASSWORD, vague, f"one of many {number}") for number in (1099, 0, 200)]
    assert again == [False, True, False]


@pytest.mark.parametrize("raised", [TokenTransportError("no"), LookupError("no")])
def test_what_is_no_answer_refuses_nothing(raised: Exception) -> None:
    """An error that is no answer of the server refuses no refresh token."""

    def ask(_: Any) -> Token:
        raise raised

    for grant in (client(), PASSWORD, STORED):
        with pytest.raises(type(raised)):
            grant.refresh(ask, "second")


@pytest.mark.parametrize(("sent", "kept"), [(None, "old"), ("new", "new")])
def test_the_refresh_token_is_kept_or_replaced(sent: str | None, kept: str) -> None:
    """A refresh without a new refresh token keeps the old one; a new one replaces it."""
    token = client().refresh(lambda _: Token(access_token="a", refresh_token=sent), "old")
    assert token == Token(access_token="a", refresh_token=kept)
    assert client().refresh(no_request, None) is None


def test_the_secrets_of_a_grant_are_all_of_them() -> None:
    """secrets() returns every secret of the grant."""
    assert ClientCredentials(URL, "id").secrets() == ()
    assert Password(URL, "u", "p", "id", "s").secrets() == ("s", "p")
    assert RefreshToken(URL, lambda: "r", "id", "s").secrets() == ("s", "r")
