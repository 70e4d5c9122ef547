"""The recipe for pyiceberg."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from auth_plugins import TokenRequestError
from tests.support.apis import Api
from tests.support.loopback import as_json
from tests.support.recipes import Recipe

exceptions = pytest.importorskip("pyiceberg.exceptions", reason="the recipe needs pyiceberg")
CONFIG: dict[str, dict] = {"defaults": {}, "overrides": {}}


@pytest.fixture
def api(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Api:
    """A catalog with a namespace, and the module of the page."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "iceberg_auth", raising=False)
    api = Api(recipe, {"/v1/config": CONFIG, "/v1/namespaces": {"namespaces": [["orders"]]}})
    recipe.write()
    return api


def test_calls_share_a_token(recipe: Recipe, api: Api) -> None:
    """Two catalogs share a token; after an early revocation they share another one."""
    api.survives([("orders",)], *(recipe.run(1)["namespaces"] for _ in range(2)), revocations=1)


def test_a_catalog_that_rejects_all_tokens_costs_one_more(recipe: Recipe, api: Api) -> None:
    """While new tokens are rejected as well, no other one is fetched, and the error is raised."""
    namespaces = recipe.run(1)["namespaces"]
    recipe.server.api = lambda _: as_json({}, 401)
    for _ in range(2):
        with pytest.raises(exceptions.UnauthorizedError):
            namespaces()
    assert recipe.tokens() == 2


def test_a_refused_token_request_is_raised(recipe: Recipe, api: Api) -> None:
    """A refused token request is raised as it is."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    with pytest.raises(TokenRequestError):
        recipe.run(1)
    assert recipe.tokens() == 1
