"""The demo's play: real requests by every library, judged by what the systems saw."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest

from auth_plugins._cli import demo as _demo
from auth_plugins.sandbox import AuthApi, System

SYSTEMS = ["upload-api", "jwt-api", "auth-api", "organization-api", "json-api"]
CLIENTS = ["requests", "httpx", "httpx async", "httpx2", "httpx2 async"]


@pytest.fixture(scope="module")
def rows() -> list[_demo.Row]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        return _demo.play()


@pytest.fixture
def with_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """One client will do."""
    monkeypatch.setattr(_demo, "CLIENTS", {"requests": _demo.CLIENTS["requests"]})


def problems(rows: list[_demo.Row]) -> dict[str, list[str]]:
    return {row.system: row.problems for row in rows}


def test_there_is_a_row_for_each_system_and_client(rows: list[_demo.Row]) -> None:
    """I see how each system gets on with the library, and the mode, that I use."""
    assert [(row.system, row.client) for row in rows] == [(system, client) for system in SYSTEMS for client in CLIENTS]


def test_each_row_is_as_expected(rows: list[_demo.Row]) -> None:
    """Three tokens for six calls: the first ends, the second is revoked, and no caller sees a 401."""
    assert [problem for row in rows for problem in row.problems] == []
    for row in rows:
        assert (len(row.seen.credentials), row.seen.answers, row.seen.refused) == (3, (200,) * 6, 1)


def test_the_password_goes_out_once_and_refresh_tokens_do_the_rest(rows: list[_demo.Row]) -> None:
    """auth-api sees my password once, then refresh tokens, each of them once."""
    for row in rows:
        if row.system == "auth-api":
            assert (row.seen.passwords, row.seen.reuses, set(row.seen.renewals)) == (1, 0, {"refresh token"})
            assert row.seen.credentials == ("form", "refresh token in form", "refresh token in form")


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("credentials", ("form",) * 3),
        ("renewals", ("refresh token",)),
        ("passwords", 2),
        ("reuses", 1),
        ("answers", (200,) * 5 + (401,)),
        ("refused", 2),
    ],
)
def test_whatever_is_not_as_expected_fails_the_row(field: str, other: Any) -> None:
    """A row that is ok is ok in all that it says, and one that isn't says what it is about."""
    expected = _demo.EXPECTED["auth-api"]
    row = _demo.Row("auth-api", "requests", expected, expected)
    assert row.problems == []
    changed: Any = {field: other}
    assert replace(row, seen=replace(expected, **changed)).problems == [
        f"{field}: expected {getattr(expected, field)}, saw {other}"
    ]


@pytest.mark.usefixtures("with_requests")
def test_a_step_that_fails_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a token isn't replaced, because nobody revoked it, the demo doesn't say that it was."""
    monkeypatch.setattr(System, "revoke", lambda _: None)
    found = problems(_demo.play(lifetime=1))
    assert set(found) == set(SYSTEMS)
    for name, [credentials, renewals, refused] in found.items():
        assert credentials.startswith("credentials: expected ("), name
        assert renewals.startswith("renewals: expected ("), name
        assert refused == "refused: expected 1, saw 0"


@pytest.mark.usefixtures("with_requests")
def test_a_row_that_breaks_off_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """One system refuses: its row has the error, without the password, and the others are played to their end."""
    variables = AuthApi.variables

    def wrong(self: AuthApi, prefix: str) -> dict[str, str]:
        return {**variables(self, prefix), f"{prefix}_PASSWORD": "s3cr3t canary"}

    monkeypatch.setattr(AuthApi, "variables", wrong)
    rows = _demo.play(lifetime=1)
    failed = {name: found for name, found in problems(rows).items() if found}
    assert list(failed) == ["auth-api"]
    assert failed["auth-api"][0].startswith("TokenRequestError: ")
    assert "canary" not in str(rows)


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_a_missing_library_is_missed_at_once(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """I am told which extra to install, before anything is started."""
    monkeypatch.delitem(sys.modules, f"auth_plugins.{library}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"pip install 'auth-plugins\[{library}\]'"):
        _demo.play()
