"""The option ``answer``: where the members of an answer are; ``lifetime``; and what stands beside the token."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from auth_plugins import ClientCredentials, ConfigurationError, Token, TokenRequestError
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import TokenRequest
from tests.support.frames import variables_of
from tests.unit.test_answers import NOW, URL, error_of, jwt, request, response, rows

NESTED = {"access_token": "data.token"}
CODES = {**NESTED, "error": "code", "error_description": "msg"}
HEADER = {"access_token": "header:X-Auth-Token"}
TOKEN = "t0k3n"


def read_by(answer: Any, body: Any, **headers: Any) -> Token:
    return read(request(answer=answer), response(body, **headers), NOW)


#: The option, the body, and the header of an answer whose token is :data:`TOKEN`.
PLACES: dict[str, tuple[dict[str, str], Any, dict[str, str]]] = {
    "another name": ({"access_token": "token"}, {"token": TOKEN}, {}),
    "in an object": (NESTED, {"data": {"token": TOKEN}}, {}),
    "deep": ({"access_token": "a.b.c.d"}, {"a": {"b": {"c": {"d": TOKEN}}}}, {}),
    "in an array": ({"access_token": "data.0.token"}, {"data": [{"token": TOKEN}]}, {}),
    "in an array of texts": ({"access_token": "1"}, ["x", TOKEN], {}),
    "in an array at the top": ({"access_token": "0.token"}, [{"token": TOKEN}], {}),
    "a number as a name": ({"access_token": "data.0"}, {"data": {"0": TOKEN}}, {}),
    "in a form": ({"access_token": "token"}, "token=t0k3n&x=1", {}),
    "in a header": (HEADER, {"user": "me"}, {"x_auth_token": TOKEN}),
    "in a header of an empty answer": (HEADER, "", {"x_auth_token": TOKEN}),
    "in a header of a page": (HEADER, "<html>", {"x_auth_token": TOKEN}),
    "in a header, in another case": ({"access_token": "header:X-AUTH-token"}, [], {"x_auth_token": TOKEN}),
    "with its scheme": (HEADER, "", {"x_auth_token": f"Bearer {TOKEN}"}),
    "at its place, where only others are listed": ({"expires_in": "ttl"}, {"access_token": TOKEN}, {}),
    "beside an error that is not listed, and elsewhere": (NESTED, {"error": "x", "data": {"token": TOKEN}}, {}),
    **{
        f"with {code!r} as its error": (CODES, {"code": code, "msg": "ok", "data": {"token": TOKEN}}, {})
        for code in (0, "0", "", False, None)
    },
    "without its error": (CODES, {"data": {"token": TOKEN}}, {}),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_token_is_read_where_answer_says(place: str) -> None:
    """The token is read by its path, or from its header."""
    answer, body, headers = PLACES[place]
    token = read_by(answer, body, **headers)
    assert (token.access_token, token.token_type, token.issued_at) == (TOKEN, "Bearer", NOW)


BESIDE = {"expires_in": 60, "refresh_token": "again", "scope": "x y"}


@pytest.mark.parametrize(
    ("answer", "body", "headers"),
    [
        (
            {"access_token": "a", "expires_in": "b.0", "refresh_token": "header:r", "scope": "c.d", "token_type": "e"},
            {"a": TOKEN, "b": [60], "c": {"d": ["x", "y"]}, "e": "bearer", "expires_in": 5, "refresh_token": "old"},
            {"r": "again"},
        ),
        (NESTED, {"data": {"token": TOKEN, **BESIDE}, "scope": "z"}, {}),
        (HEADER, BESIDE, {"x_auth_token": TOKEN}),
    ],
    ids=["listed", "beside the token", "beside a header"],
)  # fmt: skip
def test_other_members_are_read_where_answer_says_or_beside_the_token(answer: Any, body: Any, headers: Any) -> None:
    """A listed member is read by its path, and any other beside the token; beside a header that is the top level."""
    token = read_by(answer, body, **headers)
    assert (token.access_token, token.expires_at, token.refresh_token, token.scope) == (
        TOKEN, NOW + 60, "again", "x y"
    )  # fmt: skip


def test_a_listed_end_may_be_a_date() -> None:
    """A listed ``expires_at`` or ``expires_in`` may be a date, or a moment in seconds or milliseconds."""
    for name in ("expires_at", "expires_in"):
        for value in ("2023-11-14T23:13:20", NOW + 3600, (NOW + 3600) * 1000):
            token = read_by({**NESTED, name: "until"}, {"data": {"token": TOKEN}, "until": value})
            assert token.expires_at == NOW + 3600


@pytest.mark.parametrize(
    ("code", "error"),
    [(10014, "10014"), ("10014", "10014"), (-1, "-1"), (1.5, "1.5"), ("invalid_client", "invalid_client"), (True, None),
     ("null", None), ([], None), ({"code": 7}, "7")],
)  # fmt: skip
def test_a_listed_error_counts_more_than_a_token(code: Any, error: str | None) -> None:
    """Any value of a listed ``error`` but 0, "0", "", false and null is an error; a number is text in ``.error``."""
    refused = error_of(request(answer=CODES), {"code": code, "msg": "no such app", "data": {"token": TOKEN}})
    assert (refused.error, refused.description, refused.status_code) == (error, "no such app", 200)
    assert "if this code means success, leave error out of answer" in str(refused)


def test_an_error_without_the_object_of_the_token_is_read_at_the_top() -> None:
    """An error that is not listed is read at the top level where no token is beside it; another status is an error."""
    for body in ({"error": "x", "data": None}, {"error": "x"}, {"error": "x", "data": {}}):
        assert error_of(request(answer=NESTED), body).error == "x"
    assert error_of(request(answer=NESTED), {"data": {"error": "y"}}, 400).error == "y"
    assert error_of(request(answer=NESTED), {"data": {"token": TOKEN}}, 400).error is None


@pytest.mark.parametrize("path", ["data.1.token", "data.token", "data.-1", "data.0.token.x", "x.y", "header:X-Other"])
def test_a_path_that_leads_nowhere_finds_no_token(path: str) -> None:
    """A path to a member, an element or a header that is not there finds nothing: the answer holds no token."""
    error = error_of(request(answer={"access_token": path}), {"data": [{"token": TOKEN}]})
    assert "answered no access_token, but data.0.token; the answer has data.0.token: set " in str(error)


def test_a_refusal_by_the_standard_names_is_read_all_the_same() -> None:
    """A refusal without the listed members is read by their standard names; a success is none for that."""
    body: dict[str, Any] = {"error": "invalid_client", "error_description": "unknown app"}
    for status in (401, 200):
        error = error_of(request(answer=CODES), body, status)
        assert (error.error, error.description) == ("invalid_client", "unknown app")
    assert read_by(CODES, {**body, "data": {"token": TOKEN}}).access_token == TOKEN


@pytest.mark.parametrize("name", ["sid", "key", "value"])
def test_no_error_shows_a_token_under_another_name(name: str) -> None:
    """What ``answer`` calls a token is in no error, whatever the server calls it."""
    answer = {"access_token": f"data.{name}", "refresh_token": "again", "error": "code"}
    for token in ("quite secret", 12345678):
        for status, code in ((200, 7), (400, 0), (200, 0)):
            body = {"code": code, "data": {name: token}, "again": "qu1te", "note": [f"it is {token}", "qu1te"]}
            if (status, code) == (200, 0):
                body["data"][name] = f"\n{token}"  # type: ignore[index]
            error = error_of(request(answer=answer), body, status)
            assert not [each for each in (str(token), "qu1te") if each in f"{error} {error.extra} {error.description}"]


def test_the_lifetime_counts_where_the_server_tells_no_end() -> None:
    """``lifetime`` ends a token whose answer tells no expiry, and a JWT without ``exp``; else it does not count."""
    asked, plain = request(lifetime=90), {"access_token": TOKEN}
    table: list[tuple[Any, float]] = [
        (plain, 90), ({**plain, "expires_in": 0}, 90), ({**plain, "expires_in": "soon"}, 90),
        ({**plain, "expires_at": NOW - 1}, 90), ({"access_token": jwt({"sub": "me"})}, 90),
        ({**plain, "expires_in": 60}, 60), ({**plain, "expires": NOW + 600}, 600),
        ({"access_token": jwt({"exp": NOW + 30})}, 30),
    ]  # fmt: skip
    for body, seconds in table:
        assert read(asked, response(body), NOW).expires_at == NOW + seconds


STANDARD = {"access_token": TOKEN, "token_type": "bearer", "expires_in": 5, "scope": "a", "error": None, "expires": 5}
DEEP: Any = json.loads("[" * 32 + "]" * 32)


@pytest.mark.parametrize(
    ("answer", "body", "extra"),
    [
        (None, {**STANDARD, "refresh_token": "r", "expires_at": 5, "expires_on": 5, "error_uri": ""}, {}),
        (None, {**STANDARD, "instance_url": "https://a", "n": 5, "x": {"y": [1.5, None]}, "id_token": "i"},
         {"instance_url": "https://a", "n": 5, "x": {"y": [1.5, None]}, "id_token": "i"}),
        (None, "access_token=t0k3n&instance_url=https://a", {"instance_url": "https://a"}),
        (None, jwt({"sub": "me"}), {}),
        (None, {"access_token": TOKEN, "deep": DEEP, "deeper": [DEEP]}, {"deep": DEEP}),
        (NESTED, {"data": {"token": TOKEN, "user": "me"}, "outside": 1}, {"user": "me"}),
        ({**NESTED, "expires_in": "data.ttl", "scope": "outside"}, {"data": {"token": TOKEN, "ttl": 5, "outside": 1}},
         {"outside": 1}),
        (HEADER, {"user": "me"}, {"user": "me"}),
        (HEADER, "", {}),
        ({"access_token": "data.0"}, {"data": [TOKEN, 1]}, {}),
    ],
)  # fmt: skip
def test_what_stands_beside_the_token_is_extra(answer: Any, body: Any, extra: dict[str, Any]) -> None:
    """``Token.extra`` holds the other members that stand beside the access token, as they are."""
    token = read_by(answer, body, **({"x_auth_token": TOKEN} if answer == HEADER else {}))
    assert token.extra == extra
    assert "user" not in repr(token)
    assert "https://a" not in repr(token)


def test_extra_cannot_be_changed() -> None:
    """``Token.extra`` is immutable, counts in ``==``, and is none of the caller's objects."""
    given = {"a": ["1"]}
    token = Token(access_token=TOKEN, extra=given)
    given["a"].append("2")
    with pytest.raises(TypeError):
        token.extra["b"] = 1  # type: ignore[index]
    token.extra["a"].append("3")
    assert token.extra == {"a": ["1"]}
    assert Token(access_token=TOKEN, extra={"b": 1, "a": 2}) == Token(access_token=TOKEN, extra={"a": 2, "b": 1})
    assert len({token, Token(access_token=TOKEN), Token(access_token=TOKEN, extra={})}) == 2
    assert Token(access_token=TOKEN).extra == {}
    cycle: list[Any] = []
    cycle.append(cycle)
    for wrong in ({"a": b"s3cr3t"}, {"a": object()}, {"a": cycle}, {1: 2, "a": 3}, 5):
        with pytest.raises(ConfigurationError, match="extra must be a mapping of what JSON is made of") as caught:
            Token(access_token=TOKEN, extra=wrong)  # type: ignore[arg-type]
        assert caught.value.__context__ is None
        assert not re.search(f"{TOKEN}|s3cr3t", variables_of(caught.value))


#: The body of an answer without a token, its headers, and the option that the error suggests.
SUGGESTED: list[tuple[Any, dict[str, str], str]] = [
    ({"data": {"access_token": "x"}}, {},
     "the answer has data.access_token: set answer=dict(access_token='data.access_token')"),
    ({"token": "x", "refreshToken": "r", "ttl": 5}, {},
     "access_token='token', expires_in='ttl', refresh_token='refreshToken')"),
    ({"id_token": "x", "accessToken": "y"}, {}, "dict(access_token='accessToken')"),
    ({"result": [{"jwt": "x", "expiry": "2030-01-01"}]}, {},
     "access_token='result.0.jwt', expires_at='result.0.expiry')"),
    ([{"access_token": "x", "expires_in": 5}], {}, "set answer=dict(access_token='0.access_token')"),
    ({"code": 0, "msg": "ok", "data": {"token": "x"}}, {},
     "dict(access_token='data.token', error='code', error_description='msg')"),
    ({"code": 200, "message": "ok", "data": {"token": "x"}}, {}, "dict(access_token='data.token')"),
    ("", {"x-auth-token": "x"}, "set answer=dict(access_token='header:X-Auth-Token')"),
    ({"errcode": 40013, "errmsg": "invalid appid"}, {},
     "set answer=dict(error='errcode', error_description='errmsg'), and check what the server's documentation asks"),
    ({"code": 10003, "message": "no", "data": None}, {}, "dict(error='code', error_description='message')"),
    ({"code": 401, "message": "no"}, {}, "is token_url the token endpoint?"),
    ({"code": "failed", "message": "no"}, {}, "is token_url the token endpoint?"),
    ({"a, b": {"token": "x"}}, {}, "is token_url the token endpoint?"),
    ({"s3cr3t-word-1": {"token": "x"}}, {}, "is token_url the token endpoint?"),
    ({"token": ["x"]}, {}, "is token_url the token endpoint?"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "words"), SUGGESTED)
def test_an_answer_without_a_token_suggests_the_option(body: Any, headers: dict[str, str], words: str) -> None:
    """The error for an answer without a token names its members, and the option that would read them."""
    more: dict[str, Any] = {**headers}
    error = error_of(request(client_secret="s3cr3t-word-1"), body, **more)
    assert words in str(error)
    if "answer=dict(" in words:
        answer = dict(re.findall(r"(\w+)='(.*?)'", str(error).partition("answer=")[2]))
        asked = request(answer=answer)
        if "access_token" in answer:
            assert read(asked, response(body, **more), NOW).access_token in ("x", "y")
        else:
            again = error_of(asked, body)
            assert (again.error, again.description) == (str(body.get("errcode", body.get("code"))), error.description)


#: The present option, an answer without a token, and the option that the error suggests.
EXTENDED: list[tuple[dict[str, str], Any, str]] = [
    ({"access_token": "body.access_token"}, {"code": 40013, "msg": "no", "body": None},
     "set answer=dict(error='code', error_description='msg', access_token='body.access_token')"),
    ({"error": "status", "scope": "a b"}, {"status": 0, "data": {"access_token": "x"}},
     "the answer has data.access_token: set answer=dict(access_token='data.access_token', error='status')"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "body", "words"), EXTENDED)
def test_the_suggested_option_replaces_the_present_one(answer: dict[str, str], body: Any, words: str) -> None:
    """It holds what the present one lists besides, without paths that a variable could not hold."""
    assert words in str(error_of(request(answer=answer), body))


def test_all_members_are_named() -> None:
    """Members of objects are named by their paths, and of an array those of its first element; not all of very many."""
    body = {"a": {"b": [{"c": 1}, {"d": 1}], "e": {}}, "f": [1], "g": {"h": {"i": {"j": {"k": {"l": 1}}}}}}
    assert "but a.b.0.c, a.e, f, g.h.i.j.k; is" in str(error_of(request(), body))
    assert "and 190 more; is" in str(error_of(request(), {f"m{number}": {"x": 1} for number in range(1000)}))


BAD: dict[str, list[Any]] = {
    "answer must be a mapping, got str": ["access_token=token"],
    "answer must have no other names than access_token, token_type, ": [{"acces_token": "a"}, {"id_token": "a"}],
    "answer must be a str, got ": [{"access_token": None}, {"access_token": ["a", "b"]}, {"scope": 5}],
    "answer must not be empty": [{"access_token": ""}],
    "answer must not have a control character": [{"access_token": "a\nb"}],
    "answer must have member names joined by dots as the path of scope, such as data.token; or give header:": [
        {"scope": "a..b"}, {"scope": ".a"}, {"scope": "a."}, {"scope": "."},
    ],
    "the header for access_token in answer must be a header name": [
        {"access_token": "header:"}, {"access_token": "header:X Y"}, {"access_token": "header:X-Käy"},
    ],
    "a name in answer must be a str": [{None: "a"}],
}  # fmt: skip


@pytest.mark.parametrize(("answer", "message"), rows(BAD))
def test_an_answer_that_cannot_be_is_refused(answer: Any, message: str) -> None:
    """An unknown name, or a path that cannot be, is an error when the grant is made."""
    with pytest.raises(ConfigurationError) as caught:
        ClientCredentials(URL, "id", answer=answer)
    assert message in str(caught.value)


@pytest.mark.parametrize("lifetime", [0, -1, True, "60", float("nan"), float("inf")])
def test_a_lifetime_is_a_number_of_seconds(lifetime: Any) -> None:
    """A lifetime that is no number of seconds, or not more than 0, is refused."""
    with pytest.raises(ConfigurationError, match="lifetime must be a number of seconds, more than 0"):
        ClientCredentials(URL, "id", lifetime=lifetime)


def test_a_revocation_that_is_refused_is_read_by_answer() -> None:
    """The error of a revocation is read where ``answer`` says."""
    grant = ClientCredentials(URL, "id", revocation_url=URL, answer=CODES)
    asked: list[TokenRequest] = [*grant.revocation_requests("a", None)]
    with pytest.raises(TokenRequestError) as caught:
        read(asked[0], response({"code": 7}, 400), NOW)
    assert caught.value.error == "7"
