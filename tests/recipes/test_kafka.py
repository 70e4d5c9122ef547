"""The recipe for Kafka, without a broker: the callbacks are called as the libraries do."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from auth_plugins import TokenRequestError
from auth_plugins.bridges import kafka_oauth_cb
from tests.support.loopback import as_json
from tests.support.recipes import Recipe

for _name in ("confluent_kafka", "aiokafka", "kafka"):
    pytest.importorskip(_name, reason=f"the recipe needs {_name}")


def test_librdkafka_has_a_token(recipe: Recipe) -> None:
    """Librdkafka calls ``oauth_cb`` while a producer is made; a second producer has the same token."""
    recipe.replaced["broker.example.com:9094"] = "127.0.0.1:9"
    producers = [recipe.run()["producer"] for _ in range(2)]
    assert (len(producers), recipe.tokens()) == (2, 1)


def test_librdkafka_reports_a_refusal(recipe: Recipe) -> None:
    """Without a token, no producer is made."""
    from confluent_kafka import KafkaException

    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    with pytest.raises(KafkaException, match="token not set"):
        recipe.run()


def test_the_callback_returns_token_and_end(recipe: Recipe) -> None:
    """A token that is invalidated is never returned again, and costs one token request; a token has an end."""
    source = recipe.source()
    callback = kafka_oauth_cb(source)
    first, end = callback("")
    assert (first, type(first)) == ("token-1", str)
    assert 3500 < end - time.time() <= 3600
    source.invalidate(source.token())
    recipe.server.lifetime = None
    again, end = callback("")
    assert again == callback("")[0] == "token-2"
    assert 200 < end - time.time() <= 300
    assert recipe.tokens() == 2


def test_the_callback_raises(recipe: Recipe) -> None:
    """A refused token request is the callback's error, which librdkafka takes."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    with pytest.raises(TokenRequestError, match="invalid_client"):
        kafka_oauth_cb(recipe.source())("")


@pytest.mark.parametrize("number", [1, 2])
def test_token_providers(recipe: Recipe, number: int) -> None:
    """The libraries take the objects of the page, and get a token for each connection."""
    names = recipe.run(number, source=recipe.source())
    provider, source = names["options"]["sasl_oauth_token_provider"], names["source"]

    def token() -> Any:
        found = provider.token()
        return asyncio.run(found) if asyncio.iscoroutine(found) else found

    assert [token(), token()] == ["token-1"] * 2
    source.invalidate(source.token())
    assert [token(), token()] == ["token-2"] * 2
    assert recipe.tokens() == 2
