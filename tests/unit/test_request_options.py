"""Token requests with other names, with parameters of refreshes alone, and with values that are callables."""

from __future__ import annotations

import itertools
import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from auth_plugins import ClientCredentials, ConfigurationError, Password, RefreshToken, SecretFile
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._protocol.messages import TokenRequest
from tests.support.frames import variables_of
from tests.unit.test_answers import URL, error_of, requests_of
from tests.unit.test_grants import rows

POST: dict[str, Any] = {"client_auth": "client_secret_post"}


def sent(request: TokenRequest) -> dict[str, str]:
    """The parameters of a request, each of which is sent once."""
    if request.body.startswith(b"{"):
        return dict(json.loads(request.body))
    pairs = parse_qsl(request.body.decode() or request.url.partition("?")[2], True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def both(grant: OAuthGrant) -> list[dict[str, str]]:
    """What is sent for the grant, and for a refresh."""
    return [sent(requests_of(grant)[0]), sent(grant.refresh_request("again"))]


# Names


@pytest.mark.parametrize(
    ("encoding", "method"), [("form", "POST"), ("json", "POST"), ("query", "POST"), ("form", "GET")]
)
def test_standard_parameters_have_other_names(encoding: Any, method: Any) -> None:
    """Each standard parameter is sent under its other name, for the grant and for a refresh, in each encoding."""
    way = {**POST, "encoding": encoding, "method": method}
    names = {
        "grant_type": "type", "client_id": "app_id", "client_secret": "app_secret", "scope": "rights",
        "audience": "api", "resource": "for", "username": "user", "password": "pass", "refresh_token": "renewal",
    }  # fmt: skip
    client = {"app_id": "id", "app_secret": "s", "api": "a", "for": "r"}
    options: dict[str, Any] = {"scope": "x", "audience": "a", "resource": "r", "names": names}
    grant = ClientCredentials(URL, "id", "s", **way, **options)
    renewal = {**client, "type": "refresh_token", "renewal": "again"}
    assert both(grant) == [{**client, "type": "client_credentials", "rights": "x"}, renewal]
    user = Password(URL, "u", "p", "id", "s", **way, **options)
    assert both(user) == [{**client, "type": "password", "user": "u", "pass": "p", "rights": "x"}, renewal]
    assert both(RefreshToken(URL, "again", "id", "s", **way, **options)) == [{**renewal, "rights": "x"}, renewal]


def test_parameters_of_the_user_keep_their_names() -> None:
    """``params`` are sent under the names that they have; None removes a parameter by either name."""
    names = {"grant_type": "type", "client_id": "app_id"}

    def parameters(params: dict[str, Any]) -> dict[str, str]:
        return both(ClientCredentials(URL, "id", names=names, params=params))[0]

    assert parameters({"client_id": "x"}) == {"type": "client_credentials", "app_id": "id", "client_id": "x"}
    assert parameters({"app_id": "x"}) == {"type": "client_credentials", "app_id": "x"}
    for name in ("grant_type", "type"):
        assert both(ClientCredentials(URL, "id", names=names, params={name: None})) == [
            {"app_id": "id"}, {"app_id": "id", "refresh_token": "again"}
        ]  # fmt: skip
    own = both(ClientCredentials(URL, "id", names=names, params={"type": "urn:x"}))
    assert [each["type"] for each in own] == ["urn:x", "refresh_token"], "that of the grant is not the refresh's"


def test_other_names_are_those_of_a_revocation_too() -> None:
    """A revocation sends the client under its other names."""
    grant = ClientCredentials(
        URL, "id", "s", **POST, names={"client_id": "app", "client_secret": "key"}, revocation_url=URL
    )
    [asked] = grant.revocation_requests("tok", None)
    assert sent(asked) == {"token": "tok", "token_type_hint": "access_token", "app": "id", "key": "s"}


def test_a_secret_under_another_name_is_hidden_and_advice_knows_it() -> None:
    """A server that quotes a secret under another name shows it in no error; advice is that for the standard names."""
    asked = requests_of(
        ClientCredentials(URL, "id", "s3cr3t-w0rd", **POST, names={"client_secret": "x", "scope": "y"})
    )[0]
    error = error_of(asked, {"error": "invalid_client", "error_description": "x=s3cr3t-w0rd is wrong"}, 401)
    assert (error.description, error.trouble) == ("*** is wrong", "client:client_id,client_secret")
    grant = RefreshToken(URL, "r", names={"refresh_token": "renewal", "grant_type": "type"})
    assert ", to a refresh; the refresh token is expired" in str(
        error_of(requests_of(grant)[0], {"error": "invalid_grant"}, 400)
    )


BAD_NAMES: dict[str, list[dict[str, Any]]] = {
    "names must be a mapping, got str": [{"names": "client_id=app_id"}],
    "names must have no other names than grant_type, client_id, client_secret, ": [{"names": {"clientid": "app_id"}}],
    "names must be a str, got ": [{"names": {"client_id": None}}, {"names": {"client_id": 5}}],
    "names must not be empty": [{"names": {"client_id": ""}}],
    "names must have another name for each parameter": [{"names": {"client_id": "a", "client_secret": "a"}, **POST}],
    "names must not have client_secret where client_auth sends it in a header; set client_auth to client_secret_post": [
        {"names": {"client_secret": "a"}}, {"names": {"client_secret": "a"}, "client_auth": "client_secret_basic_raw"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("options", "message"), rows(BAD_NAMES))
def test_names_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    """Names of what is no standard parameter, and names without effect, are refused."""
    with pytest.raises(ConfigurationError) as caught:
        ClientCredentials(URL, "id", "s", **options)
    assert message in str(caught.value)


# Refreshes


def test_parameters_of_refreshes_are_sent_with_refreshes_alone() -> None:
    """``refresh_params`` are applied after ``params``, to refresh requests only, a RefreshToken grant's included."""
    options: dict[str, Any] = {
        "params": {"a": "1", "b": "2"},
        "refresh_params": {"b": "3", "scope": "x", "client_id": None},
    }
    first, refresh = both(ClientCredentials(URL, "id", **options))
    assert first == {"grant_type": "client_credentials", "client_id": "id", "a": "1", "b": "2"}
    renewed = {"grant_type": "refresh_token", "refresh_token": "again", "a": "1", "b": "3", "scope": "x"}
    assert refresh == renewed
    assert both(RefreshToken(URL, "again", "id", **options)) == [renewed, renewed]
    typed = both(Password(URL, "u", "p", refresh_params={"grant_type": "urn:x"}))
    assert [each["grant_type"] for each in typed] == ["password", "urn:x"]
    [revoked] = ClientCredentials(URL, "id", revocation_url=URL, **options).revocation_requests("tok", None)
    assert "scope" not in sent(revoked)


# Callables


def test_a_callable_is_called_for_each_request(tmp_path: Path) -> None:
    """Callables in ``params``, ``refresh_params`` and ``headers`` are called once for each token request."""
    numbers, file = itertools.count(), tmp_path / "secret"
    grant = ClientCredentials(
        URL, "id",
        params={"n": lambda: next(numbers), "many": lambda: ["a", "b"], "gone": lambda: None, "empty": lambda: ""},
        refresh_params={"file": SecretFile(file)}, headers={"X-Key": SecretFile(file)},
    )  # fmt: skip
    for index in (0, 2):
        file.write_text(f"s3cr3t-{index}\n")
        first, refresh = requests_of(grant)[0], grant.refresh_request("again")
        assert first.body == f"grant_type=client_credentials&client_id=id&empty=&many=a&many=b&n={index}".encode()
        assert refresh.body.endswith(f"&empty=&many=a&many=b&n={index + 1}&file=s3cr3t-{index}".encode())
        assert first.headers["X-Key"] == refresh.headers["X-Key"] == f"s3cr3t-{index}"


def test_what_a_callable_returns_is_a_secret() -> None:
    """What a callable returns is in no error, whatever its name is and however ordinary it looks."""
    params: Any = {"tenant": lambda: "harmless", "list": lambda: ["mild", "meek"]}
    grant = ClientCredentials(URL, "id", params=params, headers={"X-A": lambda: "kind soul"})
    for asked in (requests_of(grant)[0], grant.refresh_request("again")):
        assert (
            error_of(asked, {"error": "x", "message": "harmless mild meek kind it is"}, 400).description
            == "*** *** *** *** it is"
        )


def raising() -> str:
    raise LookupError("no vault")


BAD_RESULTS: dict[str, list[tuple[str, Callable[[], Any]]]] = {
    "params['a'] must be a str or a sequence of them, got dict": [("params", lambda: {"s3cr3t": 1})],
    "params['a'] must be a str or a sequence of them, got function": [("params", lambda: raising)],
    "refresh_params['a'] must not have lone surrogates": [("refresh_params", lambda: "s3cr3t\udc80")],
    "headers['a'] must be a str of printable Latin-1 characters": [
        ("headers", lambda: "s3cr3t\n"), ("headers", lambda: None), ("headers", lambda: b"s3cr3t"),
    ],
    "params['a'] must be readable, but its callable raised LookupError": [("params", raising)],
    "headers['a'] must be readable, but its callable raised LookupError": [("headers", raising)],
    "the secret file '/nowhere' cannot be read": [
        ("params", SecretFile("/nowhere")), ("headers", SecretFile("/nowhere")),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("option", "message"), rows(BAD_RESULTS))
def test_a_callable_that_returns_no_value(option: tuple[str, Callable[[], Any]], message: str) -> None:
    """The error for a callable that returns what cannot be sent is raised in place of a request; no frame holds it."""
    name, function = option
    grant = ClientCredentials(URL, "id", **{name: {"a": function}})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as caught:
        grant.refresh_request("again")
    assert message in str(caught.value)
    assert "s3cr3t" not in f"{caught.value} {variables_of(caught.value)}"


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> str:
        return "s"


@pytest.mark.parametrize("name", ["params", "refresh_params", "headers"])
def test_a_callable_must_be_hashable_and_its_name_must_be_right(name: str) -> None:
    """A callable without a hash, and a wrong name of a header, are refused when the grant is made."""
    with pytest.raises(ConfigurationError) as caught:
        ClientCredentials(URL, "id", **{name: {"a": Unhashable()}})  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"{name}['a'] must be a callable that can be hashed")
    with pytest.raises(ConfigurationError, match=f"a name in {name} must"):
        ClientCredentials(URL, "id", **{name: {"": raising}})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="a name in headers must be a header name"):
        ClientCredentials(URL, "id", headers={"X A": raising})


def test_grants_with_equal_callables_are_equal() -> None:
    """Equal callables make equal grants, which have the same hash, can be pickled, and show nothing."""
    options: Any = {name: {"a": SecretFile("/a"), "b": raising} for name in ("params", "refresh_params", "headers")}
    one, same = ClientCredentials(URL, "id", **options), ClientCredentials(URL, "id", **options)
    assert (one, hash(one)) == (same, hash(same))
    assert pickle.loads(pickle.dumps(one)) == one
    assert "raising" not in repr(one)
    for name in options:
        assert ClientCredentials(URL, "id", **{**options, name: {"a": SecretFile("/b"), "b": raising}}) != one


def test_a_secret_file_among_the_options_is_a_secret_of_the_grant(tmp_path: Path) -> None:
    """A file that changes ends a remembered refusal; another callable, which may return a nonce, does not."""
    file = tmp_path / "secret"
    file.write_text("one")
    for name in ("params", "refresh_params", "headers"):
        grant = ClientCredentials(URL, "id", "s", **{name: {"a": SecretFile(file), "b": lambda: str(time.time())}})  # type: ignore[arg-type]
        assert grant.secrets() == ("s", "one")
    assert ClientCredentials(URL, "id", params={"b": raising}).secrets() == ()


def test_the_identity_has_what_callables_return() -> None:
    """What a callable returns now is part of what a token depends on."""
    value = ["one"]
    for name in ("params", "refresh_params", "headers"):
        grant = ClientCredentials(URL, "id", **{name: {"a": lambda: value[0]}})  # type: ignore[arg-type]
        first = json.dumps(grant.identity())
        value[0] = "two" if value[0] == "one" else "one"
        assert json.dumps(grant.identity()) != first


def test_the_identity_of_a_grant_without_new_options_is_that_of_version_0_1_0() -> None:
    """Options that version 0.1.0 did not have are no part of an identity where they are left out."""
    known = (
        "grant of token_url client_id client_secret scope audience resource client_auth encoding method params headers"
    )
    names = {*known.split(), "revocation_url", "_param_types"}
    assert ClientCredentials(URL, "id", params={"a": 1}).identity().keys() == names
    assert ClientCredentials(URL, "id", lifetime=5).identity().keys() == {*names, "lifetime"}
