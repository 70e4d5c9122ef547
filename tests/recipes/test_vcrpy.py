"""The recipe for vcrpy: a cassette holds no secret and no token, and replays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recipes import Recipe

pytest.importorskip("vcr", reason="the recipe needs vcrpy")


@pytest.mark.parametrize("is_revoked", [False, True])
def test_a_cassette_holds_no_secret_and_replays(recipe: Recipe, is_revoked: bool) -> None:
    """A cassette with or without a revocation is replayed without a server, and has neither secret nor token."""
    if is_revoked:
        recipe.server.refuse_once()
    names = recipe.run()
    sent = 2 if is_revoked else 1
    assert (recipe.tokens(), len(recipe.server.api_requests)) == (sent, sent)
    assert (names["recorded"].status_code, len(names["recorded"].history)) == (200, sent - 1)
    text = Path("orders.yaml").read_text("utf-8")
    assert "grant_type" in text
    assert not [word for word in ("s3cr3t-of-orders", "token-1", "token-2", "czNjcjN0") if word in text]


def test_a_replay_needs_no_secret(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cassette is replayed with another secret, and after the server has ended."""
    names = recipe.run()
    monkeypatch.setenv("ACME_CLIENT_SECRET", "anything")
    with names["recorder"].use_cassette("orders.yaml", record_mode="none"):
        assert names["orders"]().json() == names["recorded"].json()
    assert recipe.tokens() == 1
