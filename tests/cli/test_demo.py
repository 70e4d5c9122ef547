"""The demo: real requests, judged by what the systems saw."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest

from auth_plugins._cli import demo
from auth_plugins.sandbox import AuthApi, System

SYSTEMS = ["upload-api", "jwt-api", "auth-api", "organization-api", "json-api"]


def problems(rows: list[demo.Row]) -> dict[str, list[str]]:
    return {row.system: row.problems for row in rows}


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
    """A row has a problem for each field that differs from what is expected."""
    row = demo.Row("auth-api", "requests", demo.expected("auth-api"))
    assert row.problems == []
    assert replace(row, seen={**row.seen, field: other}).problems == [
        f"{field}: expected {row.seen[field]}, saw {other}"
    ]


def test_a_step_that_fails_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that was not revoked shows as a problem of each row."""
    monkeypatch.setattr(System, "revoke", lambda _: None)
    found = problems(demo.play(lifetime=1, clients=["requests"]))
    assert set(found) == set(SYSTEMS)
    for name, [credentials, renewals, refused] in found.items():
        assert credentials.startswith("credentials: expected ("), name
        assert renewals.startswith("renewals: expected ("), name
        assert refused == "refused: expected 1, saw 0"


def test_a_row_that_breaks_off_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """If one system refuses, its row has the error, without the password; the other rows are complete."""
    variables = AuthApi.variables

    def wrong(self: AuthApi, prefix: str) -> dict[str, str]:
        return {**variables(self, prefix), f"{prefix}_PASSWORD": "s3cr3t canary"}

    monkeypatch.setattr(AuthApi, "variables", wrong)
    rows = demo.play(lifetime=1, clients=["requests"])
    failed = {name: found for name, found in problems(rows).items() if found}
    assert list(failed) == ["auth-api"]
    assert failed["auth-api"][0].startswith("TokenRequestError: ")
    assert "canary" not in str(rows)


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_a_missing_library_is_missed_at_once(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """A missing library is an ImportError that names its extra, before anything is started."""
    monkeypatch.delitem(sys.modules, f"auth_plugins.{library}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"pip install 'auth-plugins\[{library}\]'"):
        demo.play()
