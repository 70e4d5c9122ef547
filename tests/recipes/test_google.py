"""The recipe for clients of Google."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from auth_plugins import TokenRequestError
from tests.support.apis import Api
from tests.support.loopback import as_json
from tests.support.recipes import Recipe

pytest.importorskip("google.auth", reason="the recipe needs google-auth")


@pytest.fixture
def api(recipe: Recipe) -> Api:
    return Api(recipe, {"/orders": ["first"]})


def test_calls_share_a_token(recipe: Recipe, api: Api) -> None:
    """The transports share a token; after an early revocation they share another one."""
    names = recipe.run(1, **recipe.run())
    with names["session"], names["http"]:
        api.survives(["first"], names["orders"], names["orders_urllib3"], revocations=1)


def test_threads_share_a_new_token(recipe: Recipe, api: Api) -> None:
    """After a revocation, 20 threads that get a 401 share one other token."""
    names = recipe.run()
    with names["session"], ThreadPoolExecutor(20) as pool:
        for count in (1, 2):
            assert list(pool.map(lambda _: names["orders"](), range(20))) == [["first"]] * 20
            assert recipe.tokens() == count
            recipe.server.revoke()


def test_an_api_that_rejects_all_tokens_costs_one_more(recipe: Recipe, api: Api) -> None:
    """While new tokens are rejected as well, no other one is fetched, and the 401 is returned."""
    names = recipe.run()
    recipe.server.api = lambda _: as_json({}, 401)
    with names["session"]:
        assert [names["session"].get(recipe.server.api_url).status_code for _ in range(2)] == [401, 401]
    assert recipe.tokens() == 2


def test_credentials_are_valid_and_can_be_copied(recipe: Recipe) -> None:
    """Credentials and their copies have a token of the source; to refresh unused ones replaces no token."""
    credentials = recipe.run()["credentials"]
    credentials.refresh(None)
    for each in (credentials, copy.deepcopy(credentials), pickle.loads(pickle.dumps(credentials))):
        assert (each.valid, each.expired, each.token) == (True, False, "token-1")


def test_a_refused_token_request_is_raised(recipe: Recipe, api: Api) -> None:
    """A refused token request is raised as it is, and is sent once."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    names = recipe.run()
    with names["session"], pytest.raises(TokenRequestError):
        names["orders"]()
    assert recipe.tokens() == 1
