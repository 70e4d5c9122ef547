"""The recipe for gql."""

from __future__ import annotations

from typing import Any

import pytest

from auth_plugins import TokenRequestError
from tests.support.apis import Api
from tests.support.loopback import as_json
from tests.support.recipes import Recipe

exceptions = pytest.importorskip("gql.transport.exceptions", reason="the recipe needs gql")
REFUSAL = {"errors": [{"message": "log in", "extensions": {"code": "UNAUTHENTICATED"}}]}


@pytest.mark.parametrize("refusal", [None, as_json(REFUSAL)])
def test_calls_share_a_token(recipe: Recipe, refusal: Any) -> None:
    """The transports share a token; after an early revocation, with a 401 or an error in a 200, they share another."""
    api = Api(recipe, {"/graphql": {"data": {"orders": ["first"]}}}, refusal)
    names = recipe.run(1, **recipe.run())
    revocations = 1 if refusal else 2  # an error may mean that permissions are missing
    api.survives(["first"], names["orders"], names["orders_async"], revocations=revocations)


def test_a_refused_token_request_is_the_cause(recipe: Recipe) -> None:
    """A refused token request is the cause of the error, and is sent once."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    names = recipe.run()
    with pytest.raises(exceptions.TransportConnectionFailed) as raised:
        names["orders"]()
    assert isinstance(raised.value.__cause__, TokenRequestError)
    assert recipe.tokens() == 1
