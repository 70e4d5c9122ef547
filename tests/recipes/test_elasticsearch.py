"""The recipe for elasticsearch."""

from __future__ import annotations

import pytest

from auth_plugins import TokenRequestError
from tests.support.apis import Api, finished
from tests.support.loopback import as_json
from tests.support.recipes import Recipe

elasticsearch = pytest.importorskip("elasticsearch", reason="the recipe needs elasticsearch")


@pytest.fixture
def api(recipe: Recipe) -> Api:
    return Api(recipe, {"/orders/_count": as_json({"count": 3}, X_Elastic_Product="Elasticsearch")})


def test_calls_share_a_token(recipe: Recipe, api: Api) -> None:
    """The clients share a token; after an early revocation they share another one."""
    names = recipe.run(1, **recipe.run())
    with names["client"]:
        api.survives(3, names["count"], names["count_async"])


def test_a_refused_token_request_is_raised_or_quoted(recipe: Recipe, api: Api) -> None:
    """A refused token request is raised, or is the text of the async client's error; it is sent once."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    names = recipe.run(1, **recipe.run())
    with names["client"], pytest.raises(TokenRequestError):
        names["count"]()
    with pytest.raises(elasticsearch.ConnectionError, match="invalid_client"):
        finished(names["count_async"]())
    assert recipe.tokens() == 1
