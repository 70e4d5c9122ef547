"""The recipe for the SDKs of Azure."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest

from auth_plugins import TokenRequestError
from tests.support.apis import Api, finished
from tests.support.loopback import as_json
from tests.support.recipes import Recipe

policies = pytest.importorskip("azure.core.pipeline.policies", reason="the recipe needs azure-core")
exceptions = pytest.importorskip("azure.core.exceptions")
pytest.importorskip("aiohttp", reason="the async clients of azure-core need aiohttp")


@pytest.fixture
def api(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Api:
    """An API on loopback, without TLS, which azure-core refuses."""
    for module in (policies._authentication, policies._authentication_async):
        monkeypatch.setattr(module, "_enforce_https", lambda _: None)
    return Api(recipe, {"/orders": ["first"]})


def test_calls_share_a_token(recipe: Recipe, api: Api) -> None:
    """The clients share a token; after an early revocation they share another one."""
    names = recipe.run(1, **recipe.run())
    with names["client"]:
        api.survives(["first"], names["orders"], names["orders_async"])


def test_an_api_that_rejects_all_tokens_costs_one_more(recipe: Recipe, api: Api) -> None:
    """While new tokens are rejected as well, no other one is fetched, and the 401 is returned."""
    names = recipe.run(1, **recipe.run())
    recipe.server.api = lambda _: as_json({}, 401)
    with names["client"]:
        for call in (names["orders"], names["orders_async"]):
            with pytest.raises(exceptions.HttpResponseError):
                finished(call())
    assert recipe.tokens() == 2


BODIES: dict[str, Any] = {
    "content": io.BytesIO,
    "files": lambda rows: {"file": io.BytesIO(rows)},
    "data": lambda rows: {"rows": rows},
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_sent_again_if_it_can_be(recipe: Recipe, api: Api, name: str) -> None:
    """A stream and files, which are read, are sent once; the next request has another token. A form is sent again."""
    names = recipe.run()
    source, url = recipe.source(), f"{recipe.server.url}/orders"
    source.token()
    recipe.server.revoke()
    with names["client"] as client:
        statuses = [
            client.send_request(names["HttpRequest"]("PUT", url, **{name: BODIES[name](b"rows")})).status_code
            for _ in range(2)
        ]
    assert statuses == [200 if name == "data" else 401, 200]
    assert all(b"rows" in each.body for each in recipe.server.api_requests)
    assert recipe.tokens() == 2


def test_credentials_return_what_clients_ask_for(recipe: Recipe) -> None:
    """Both kinds of tokens have the end of the token; without one, an hour from now."""
    names: dict[str, Any] = recipe.run(1, **recipe.run())
    names["client"].close()
    for lifetime in (600, None):
        recipe.server.lifetime = lifetime
        names["source"].invalidate(names["source"].token())

        async def ask() -> list[Any]:
            async with names["AsyncAzureCredential"](names["source"]) as credential:
                return [await credential.get_token("scope"), await credential.get_token_info("scope")]

        credential = names["AzureCredential"](names["source"])
        tokens = [credential.get_token("scope"), credential.get_token_info("scope"), *finished(ask())]
        credential.close()
        assert {each.token for each in tokens} == {names["source"].token().access_token}
        assert all(abs(each.expires_on - time.time() - (lifetime or 3600)) < 100 for each in tokens)


def test_a_refused_token_request_is_raised(recipe: Recipe, api: Api) -> None:
    """A refused token request is raised as it is, and is sent once."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    names = recipe.run()
    with names["client"], pytest.raises(TokenRequestError):
        names["orders"]()
    assert recipe.tokens() == 1
