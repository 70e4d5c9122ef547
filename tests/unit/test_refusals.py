"""What the token endpoint says when it refuses: its words, its other members, and what to do; never a secret."""

from __future__ import annotations

import copy
import json
import math
import pickle
import time
from collections.abc import Mapping
from typing import Any

import pytest

import auth_plugins.requests
from auth_plugins import ClientCredentials, Password, PrivateKeyJWT, RefreshToken, TokenRequestError
from auth_plugins._base import errors as _errors
from auth_plugins._protocol.advice import ADVICE, advice_for
from auth_plugins._protocol.messages import TokenRequest
from tests.support.keys import pem
from tests.unit.test_answers import JWT, NOW, SECRET, URL, error_of, refused, request, requests_of

#: An error answer, and the code and description that are read in it.
SAID: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
    "error_description": ({"error": "x", "error_description": "why", "message": "no"}, "x", "why"),
    "error_description as a list": ({"error": "x", "error_description": ["why", "how"]}, "x", "why, how"),
    "detail": ({"title": "Bad", "detail": "why"}, None, "why, Bad"),
    "detail as a list of objects": ({"detail": [{"loc": ["body"], "msg": "why"}]}, None, "why"),
    "errors by field": ({"message": "invalid", "errors": {"client_id": ["why", "how"]}}, None, "invalid, why, how"),
    "error as an object": ({"error": {"message": "why", "code": 401}}, "401", "why"),
    "error as an object with a type": ({"error": {"type": "OAuthException", "message": "no"}}, "OAuthException", "no"),
    "error as an object of words": ({"error": {"client": "why"}}, None, "why"),
    "error as an object of nothing": ({"error": {"x": 7}}, None, None),
    "error as a float": ({"error": 1.5}, "1.5", None),
    "error as 0": ({"error": 0, "message": "why"}, None, "why"),
    "error as the text null": ({"error": "null", "message": "why"}, None, "why"),
    "the same twice": ({"message": "why not", "reason": "why"}, None, "why not"),
    "no words": ({"message": 7, "reason": None, "errors": [1, [], {}]}, None, None),
    "behind much else": ({"data": "x" * 300, "message": "why"}, None, "why"),
    "nested in lists": ({"message": [[["why"]]]}, None, "why"),
    "nested without end": ({"message": [[[[["why"]]]]]}, None, None),
}


@pytest.mark.parametrize(("members", "code", "description"), SAID.values(), ids=SAID)
def test_the_words_of_the_server_are_shown(members: dict[str, Any], code: str | None, description: str | None) -> None:
    """The server's own words are in the message and in ``description``, in whichever member they stand."""
    for status in (400, 500):
        error = refused(members, status)
        assert (error.error, error.description) == (code, description)
        for said in filter(None, (code, *(description or "").split(", "))):
            assert said in str(error)


def test_names_hide_secrets() -> None:
    """The names of members that stand in place of the access token show no secret, and a part of each only."""
    error = refused({SECRET: 1, f"x {JWT}": 2, "n" * 100: 3})
    assert f"answered no access_token, but ***, x {JWT}, {'n' * 40}; is".replace(JWT, "***") in str(error)
    assert SECRET not in f"{error} {vars(error)}"
    assert JWT.split(".")[1] not in f"{error} {vars(error)}"


BIG = 1 << 20
#: The secret in percent-encoding, which makes a word worth a second look.
SPELT = "".join(f"%{ord(char):02x}" for char in SECRET)
HOSTILE: dict[str, Any] = {
    "many names": {f"n{number}": 1 for number in range(BIG // 16)},
    "long names": {chr(97 + number) * (BIG // 12): number for number in range(10)},
    "many words": {"errors": [{"errors": [{"errors": ["x%41&amp;" * 10] * 20}] * 20} for _ in range(4)]},
    "long words": dict.fromkeys(("message", "msg", "detail", "x", "y", "z"), "%41&amp;\\x41" * (BIG // 200)),
    "short words": {f"{number}{'a% ' * 8000}": f"{SPELT} {'a% ' * 2700}" for number in range(20)},
    "many values": {f"m{m}": {f"n{n}": "%41&amp;\\x41" * 150 for n in range(20)} for m in range(15)},
    "deep": {"error": json.loads('{"error":' * 400 + "1" + "}" * 400)},
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.timeout(60)
def test_no_error_answer_takes_long(members: Any) -> None:
    """A hostile server cannot keep a process busy by many, long or deep members, nor fill its memory."""
    for status in (200, 400):
        began = time.process_time()
        error = refused(members, status)
        assert time.process_time() - began < 2
        assert len(str(error)) < 2000
        assert len(error._extra) < 60_000


EXTRA: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Azure": (
        {"error": "x", "error_description": "d", "error_uri": "u", "error_codes": [7000215], "correlation_id": "a-b"},
        {"error_codes": [7000215], "correlation_id": "a-b"},
    ),
    "all kinds": ({"a": [None, True, 1.5, {"b": "c"}], "d": {}}, {"a": [None, True, 1.5, {"b": "c"}], "d": {}}),
    "a secret": (
        {"a": SECRET, SECRET: 1, "b": [{"c": f"was {SECRET}"}]},
        {"a": "***", "***": 1, "b": [{"c": "was ***"}]},
    ),
    "a token": ({"access_token": "tok", "id_token": "t", "refresh_token": "r", "x": f"a {JWT}"}, {"x": "a ***"}),
    "what may be one": (
        {"session_token": "tok", "api_key": 123, "token": {"value": ["tok"]}, "token_expired": True, "Password": None},
        {
            "session_token": "***",
            "api_key": "***",
            "token": {"value": ["***"]},
            "token_expired": True,
            "Password": None,
        },
    ),
    "long": (
        {"a": "x" * 501, "b": "x" * 2001, "c" * 41: 1, "d" * 2001: 2},
        {"a": "x" * 500, "b": "...", "c" * 40: 1, "...": 2},
    ),
    "many": ({f"m{n}": n for n in range(30)}, {f"m{n}": n for n in range(20)}),
    "many in a list": ({"a": list(range(30))}, {"a": list(range(20))}),
    "many in all": ({"a": [[7] * 20] * 4}, {"a": [[7] * 20, [7] * 20, [7] * 15 + ["..."] * 5, "..."]}),
    "deep": ({"a": [[[["b"]]]]}, {"a": [[["..."]]]}),
    "control characters": ({"a\n": "b\x1b[31m\u2028"}, {"a": "b [31m"}),
    "long numbers": ({"a": 10**39, "b": 10**41, "c": math.nan}, {"a": 10**39, "b": "...", "c": "..."}),
}


@pytest.mark.parametrize(("members", "extra"), EXTRA.values(), ids=EXTRA)
def test_the_other_members_are_extra(members: dict[str, Any], extra: dict[str, Any]) -> None:
    """What else the server says, such as Azure's correlation id, is in `extra`, without secrets and tokens."""
    error = refused(members, 400)
    assert error.extra == extra
    assert isinstance(error.extra, Mapping)
    with pytest.raises(TypeError):
        error.extra["a"] = 1  # type: ignore[index]


def test_a_number_that_is_a_secret_is_not_shown() -> None:
    """A PIN that the server echoes as a number is not shown."""
    error = error_of(request(params={"pin": "48151623"}), {"you_sent": 48151623, "error": 48151623}, 400)
    assert "48151623" not in f"{error} {vars(error)}"
    assert error.extra == {"you_sent": "***"}


def test_a_copy_keeps_all() -> None:
    """An error keeps all that the server said in another process, in another thread, and as a library's own error."""
    error = refused({"error": "invalid_grant", "error_description": "no", "error_uri": "u", "hint": ["x"]}, 400)
    library: Any = auth_plugins.requests
    as_librarys: Any = _errors.copy_error(error, library.TokenRequestError)
    for one in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error), as_librarys):
        assert (one.error, one.description, one.uri, one.status_code) == ("invalid_grant", "no", "u", 400)
        assert (one.extra, one._body_kind, one.trouble) == ({"hint": ["x"]}, "json", error.trouble)


def test_an_error_of_a_users_own_has_extra_too() -> None:
    """An error of a user's own grant may have members; what JSON has not is a text."""
    error = TokenRequestError("no; do", extra={"when": NOW, "what": {1}, "x": [1]})
    assert error.extra == {"when": NOW, "what": "{1}", "x": [1]}
    assert TokenRequestError("no; do").extra == {}


KINDS: dict[str, list[Any]] = {
    "json": ['{"error": "x"}', "[]", "{}"],
    "form": ["error=x", "hint=x&error_description=a b"],
    "empty": ["", " \r\n"],
    "page": ["<html>", " <p>x=1"],
    "text": ["no", "3", '"nope"', "a=b c", "error: x", "{", "[" * 100_000],
}


@pytest.mark.parametrize(("kind", "bodies"), KINDS.items())
def test_the_kind_of_a_body_is_noted(kind: str, bodies: list[str]) -> None:
    """An error knows the kind of the body, which tells a server from a firewall; only JSON objects have extra."""
    for body in bodies:
        error = refused(body, 400, "")
        assert (error._body_kind, error.extra) == (kind, {})
    assert refused("no", 400, "text/html")._body_kind == "page"
    assert refused("{}", 400, "text/html")._body_kind == "json"
    assert refused(b"", 400, content_encoding="gzip")._body_kind is None


def advice_on(asked: TokenRequest, body: Any, status: int = 400) -> str:
    """What to do, as the message says."""
    message = str(error_of(asked, body, status, ""))
    assert message.isprintable()
    assert message.count("; ") == 1, "what happened, and the remedy"
    return message.partition("; ")[2]


PUBLIC = ClientCredentials(URL, "id", scope="a")
STORED = RefreshToken(URL, "r3fr3sh", "id", "s3cr3t")
USER = Password(URL, "ann", "p4ss", "id", "s3cr3t")
PLAIN = ClientCredentials(URL, "id", "s3cr3t")
RAW = ClientCredentials(URL, "id", "a%b", client_auth="client_secret_basic_raw")
OWN = ClientCredentials(URL, "id", "ab", params={"grant_type": "urn:x"})
POSTED = ClientCredentials(URL, "id", "a+b=", client_auth="client_secret_post")
[BARE] = Password(URL, "ann", "p4ss", revocation_url=URL).revocation_requests("tok", None)
SIGNED = ClientCredentials(URL, "id", client_auth=PrivateKeyJWT(pem("ES256")), revocation_url=URL)
[REVOCATION] = SIGNED.revocation_requests("tok", None)
PROVED = RefreshToken(URL, "r3fr3sh", "id", "s3cr3t", dpop=True)
REFRESH = USER.refresh_request("r3fr3sh")
SPECIAL = "the id or secret has characters (such as + / = %) that client_secret_basic percent-encodes"
DEAD, CODE = {"error": "invalid_grant"}, {"error": "invalid_client"}
ENTERED = "begins or ends with whitespace or a quote"
#: The grant, the answer, and a part of the advice; behind "not", what is no part of it.
REMEDIES: dict[str, tuple[Any, Any, int, str]] = {
    "an empty 403 without scope": (PLAIN, "", 403, "no scope was sent: set scope (or the variable SCOPE) to"),
    "an empty 401 without scope": (PLAIN, "", 401, "not no scope"),
    "an empty 403 with a scope": (PUBLIC, "", 403, "not no scope"),
    "a 403 with words": (PLAIN, {"message": "no"}, 403, "not no scope"),
    "an empty 403 to a refresh": (STORED, "", 403, "not no scope"),
    "an invalid scope where none was sent": (PLAIN, {"error": "invalid_scope"}, 400, "no scope was sent"),
    "an invalid scope where none was sent, once": (PLAIN, {"error": "invalid_scope"}, 400, "not what this client was"),
    "an expired refresh token": (STORED, DEAD, 400, "token by signing in again, and set refresh_token (or"),
    "a refresh token that is bound to a key": (STORED, DEAD, 400, "if it is new, ask the server's owner whether this"),
    "the same with a proof": (PROVED, DEAD, 400, "not if it is new"),
    "the same, as GitHub says it": (STORED, {"error": "bad_refresh_token"}, 200, "obtain a new refresh token"),
    "the same, as Zoho says it": (STORED, {"error": "invalid_code"}, 200, "obtain a new refresh token"),
    "an invalid code, which is no refresh token": (PLAIN, {"error": "invalid_code"}, 200, "not refresh token"),
    "no password for a refresh": (REFRESH, "", 401, "not password"),
    "a refresh token that may have expired": (STORED, "", 400, "if the refresh token is expired, revoked or"),
    "a refresh token that LemonLDAP::NG does not know": (
        STORED, {"error": "invalid_request"}, 400, "if the refresh token is expired, revoked or",
    ),
    "a revocation by a key": (REVOCATION, CODE, 401, "a revocation endpoint may expect the issuer's URL as"),
    "a token request by a key": (SIGNED, CODE, 401, "not a revocation endpoint"),
    "a client that may be wrong": (STORED, CODE, 401, "not the refresh token"),
    "a wrong password": (USER, DEAD, 400, "check username and password, and if they are"),
    "a user without a client": (Password(URL, "ann", "p4ss"), "", 401, "check username and password, and that"),
    "a client that must send DPoP": (PLAIN, DEAD, 400, "must send a DPoP proof (RFC 9449)"),
    "special characters": (ClientCredentials(URL, "id", "a+b="), CODE, 401, SPECIAL),
    "special characters, raw": (RAW, {"error": "invalid_request"}, 400, SPECIAL),
    "special characters in the form": (POSTED, CODE, 401, "not the id or secret"),
    "no special characters": (PLAIN, CODE, 401, "not the id or secret"),
    "no secret": (PUBLIC, CODE, 401, "no client secret was sent: if this client has one, set client_secret"),
    "no secret, and another fault": (PUBLIC, {"error": "invalid_scope"}, 400, "not no client secret"),
    "a secret": (PLAIN, CODE, 401, "not no client secret"),
    "no client": (Password(URL, "ann", "p4ss"), CODE, 401, "no client was sent: if"),
    "no credentials at all": (BARE, CODE, 401, "check what the server's documentation asks for"),
    "an assertion": (ClientCredentials(URL, "id", params={"client_assertion": "x"}), CODE, 401, "not no client secret"),
    "a quote in the secret": (ClientCredentials(URL, "id", '"ab"'), "", 401, f"client_secret {ENTERED}"),
    "a space in the password": (Password(URL, "ann", "p4ss "), DEAD, 400, f"password {ENTERED}"),
    "a quote, and trouble": (ClientCredentials(URL, "id", '"ab"'), "", 503, "not begins"),
    "another grant type": (OWN, DEAD, 400, "check that what this grant consists of is valid, and has not expired"),
    "a server that asks for a pause": (PLAIN, {"error": "slow_down"}, 400, "try again later"),
}  # fmt: skip


@pytest.mark.parametrize(("grant", "body", "status", "part"), REMEDIES.values(), ids=REMEDIES)
def test_the_advice_fits_the_request(grant: Any, body: Any, status: int, part: str) -> None:
    """The advice depends on what was sent, and shows no value of it."""
    [asked] = [grant] if isinstance(grant, TokenRequest) else requests_of(grant)
    remedy = advice_on(asked, body, status)
    assert (part.removeprefix("not ") in remedy) is not part.startswith("not "), remedy
    assert not [value for value in ('"ab"', "a+b=", "a%b", "p4ss") if value in remedy]


def test_the_endpoint_that_refused_is_named() -> None:
    """A redirect from the refresh endpoint is a matter of refresh_url, and so on."""
    grant = Password(URL, "ann", "p4ss", refresh_url=URL + "/r", revocation_url=URL + "/x")
    [revocation] = grant.revocation_requests("tok", None)
    asked = {
        "token_url": requests_of(grant)[0],
        "refresh_url": grant.refresh_request("r"),
        "revocation_url": revocation,
    }
    for option, each in asked.items():
        assert f"set {option} to the final address" in advice_on(each, "", 302)
        assert f"is {option} the token endpoint" in advice_on(each, "<html>", 200)


def test_a_refused_refresh_is_called_so() -> None:
    """The message says whether a refresh was refused."""
    bare = RefreshToken(URL, "r3fr3sh", params={"grant_type": None})
    for asked in (STORED.refresh_request("r"), *requests_of(STORED), *requests_of(bare)):
        assert "(x), to a refresh; " in str(error_of(asked, {"error": "x"}, 400))
    for asked in (*requests_of(USER), BARE):
        assert "(x); " in str(error_of(asked, {"error": "x"}, 400))
    for body, status in (("", 302), ({"a": 1}, 200), ("", 200), ({"access_token": "a\n"}, 200)):
        assert ", to a refresh; " in str(error_of(REFRESH, body, status))


@pytest.mark.parametrize("trouble", ADVICE)
def test_advice_names_arguments_or_variables(trouble: str) -> None:
    """A message names arguments, and the command line names variables; both read the same table."""
    [in_code] = advice_for(f"{trouble}:scope")
    [by_variable] = advice_for(f"{trouble}:scope", lambda option: f"ACME_{option.upper()}")
    assert "{" not in in_code + by_variable
    assert ";" not in in_code
    assert ("ACME_" in by_variable) is ("{" in ADVICE[trouble])
