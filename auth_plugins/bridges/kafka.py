"""Kafka with SASL/OAUTHBEARER: the callback of confluent-kafka; this imports no Kafka library."""

from __future__ import annotations

from collections.abc import Callable

from auth_plugins._base.runtime import runtime
from auth_plugins._source.source import TokenSource

#: Seconds after which confluent-kafka asks again if a token tells no expiry; it needs one.
_UNKNOWN_LIFETIME = 300.0


def kafka_oauth_cb(source: TokenSource) -> Callable[[str], tuple[str, float]]:
    """Return the ``oauth_cb`` of confluent-kafka: it returns a usable token, and its end in Unix seconds.

    librdkafka calls it before it connects, and again after 80 % of the token's remaining lifetime; after 4 minutes if
    the token tells no expiry. An :class:`auth_plugins.AuthError` that it raises is the client's, which tries again.

    :param source: where the tokens come from.
    """

    def oauth_cb(_: str) -> tuple[str, float]:
        token = source.token()
        return f"{token.access_token}", token.expires_at or runtime.clock.time() + _UNKNOWN_LIFETIME

    return oauth_cb
