"""gRPC: call credentials, and an interceptor that replaces a rejected token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from auth_plugins._base.errors import AuthError
from auth_plugins._source.source import TokenSource


def grpc_call_credentials(source: TokenSource) -> Any:
    """Return ``grpc.CallCredentials`` that put a usable token on each call, of ``grpc`` and of ``grpc.aio``.

    gRPC calls a plugin in a thread, so that no event loop is blocked. Without a token, a call fails with the status
    ``UNAVAILABLE`` or ``INTERNAL``, and the text of the :class:`auth_plugins.AuthError`.

    :param source: where the tokens come from.
    """
    import grpc

    def add_token(_: object, callback: Callable[[Any, Exception | None], None]) -> None:
        try:
            value = f"{source.token().header_value}"
        except AuthError as error:
            callback((), error)
        else:
            callback((("authorization", value),), None)

    return grpc.metadata_call_credentials(add_token, name="auth_plugins")


def grpc_retry(source: TokenSource) -> Any:
    """Return an interceptor that replaces the token and repeats the call, once, on ``UNAUTHENTICATED``.

    It serves calls with one request and one answer: ``grpc.intercept_channel(channel, grpc_retry(source))``. While new
    tokens are rejected as well, at most one is fetched in 30 seconds.

    :param source: that of the call credentials.
    """
    import grpc

    class Retry(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # it has no types
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            token = source.token()  # the plugin uses this one, or a newer one, which then stays
            call = continuation(details, request)
            if call.code() is grpc.StatusCode.UNAUTHENTICATED and source.reject(token):
                token = source.token()
                call = continuation(details, request)
            if call.code() is grpc.StatusCode.OK:
                source.accept(token)
            return call

    return Retry()
