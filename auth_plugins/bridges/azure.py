"""azure-core: credentials for clients of Azure, and policies that replace a rejected token."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Self

from auth_plugins._protocol.tokens import Token
from auth_plugins._source.rejections import withdraw
from auth_plugins._source.source import TokenSource

#: Seconds until azure-core takes a token for expired, if the server does not say when it ends.
_UNKNOWN_LIFETIME = 3600
#: When azure-core asks for a token again, in Unix seconds: at each request, so that a newer token is used at once.
_ALWAYS = 1


class _Credential:
    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def _access_token(self, token: Token, *, has_info: bool) -> Any:
        from azure.core.credentials import AccessToken, AccessTokenInfo

        value, end = f"{token.access_token}", int(token.expires_at or time.time() + _UNKNOWN_LIFETIME)
        return AccessTokenInfo(value, end, refresh_on=_ALWAYS) if has_info else AccessToken(value, end)


class AzureCredential(_Credential):
    """A ``TokenCredential`` of azure-core, which a client of Azure takes as ``credential=``.

    The grant of the source says for what a token is: scopes, claims and the tenant that a client names are ignored.

    :param source: where the tokens come from.
    """

    def get_token(self, *_: str, **__: Any) -> Any:
        """Return an ``AccessToken`` of azure-core.

        :raises AuthError: there is no token.
        """
        return self._access_token(self._source.token(), has_info=False)

    def get_token_info(self, *_: str, options: Any = None) -> Any:  # noqa: ARG002 - azure-core's name
        """Return an ``AccessTokenInfo`` of azure-core; likewise."""
        return self._access_token(self._source.token(), has_info=True)

    def close(self) -> None:
        """Do nothing, as a source holds no connection."""


class AsyncAzureCredential(_Credential):
    """An ``AsyncTokenCredential`` of azure-core: an :class:`AzureCredential` for the clients of ``azure.….aio``.

    :param source: where the tokens come from; a thread fetches them, so that no event loop is blocked.
    """

    async def get_token(self, *_: str, **__: Any) -> Any:
        """Return an ``AccessToken`` of azure-core."""
        return self._access_token(await self._source.atoken(), has_info=False)

    async def get_token_info(self, *_: str, options: Any = None) -> Any:  # noqa: ARG002
        """Return an ``AccessTokenInfo`` of azure-core."""
        return self._access_token(await self._source.atoken(), has_info=True)

    async def close(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class AzureReplayPolicy:
    """Replaces a token that the API rejects with a 401, and sends the request once more.

    azure-core by itself returns such a 401. Give it to a client as ``per_call_policies=[AzureReplayPolicy(source)]``.
    A stream or files are not sent again: the 401 is returned, and the next request has another token.

    :param source: that of the :class:`AzureCredential`.
    """

    #: The rest of the pipeline, which azure-core sets.
    next: Any

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def send(self, request: Any) -> Any:
        """Send *request*; azure-core calls this."""
        token = self._source.token()  # the credential returns this one, or a newer one, which then stays
        response = self.next.send(request)
        if self._may_repeat(request, response, token):
            token = self._source.token()
            response = self.next.send(request)
            self._note(response, token)
        return response

    def _may_repeat(self, request: Any, response: Any, token: Token) -> bool:
        # Not where a redirect led to another host, which did not get the token.
        sent = response.http_request.headers.get("Authorization", "")
        is_rejected = response.http_response.status_code == 401 and sent.endswith(token.access_token)
        is_replaced = is_rejected and self._source.reject(token)  # whatever the body is
        plain, files = request.http_request.body, request.http_request.files
        is_repeatable = not files and isinstance(plain, bytes | str | Mapping | None)
        if is_replaced and not is_repeatable:
            withdraw(self._source, token)
        return is_replaced and is_repeatable

    def _note(self, response: Any, token: Token) -> None:
        if response.http_response.status_code != 401:
            self._source.accept(token)


class AsyncAzureReplayPolicy(AzureReplayPolicy):
    """The same as :class:`AzureReplayPolicy`, for the clients of ``azure.….aio``.

    :param source: that of the :class:`AsyncAzureCredential`.
    """

    async def send(self, request: Any) -> Any:
        """Send *request*; azure-core calls this."""
        token = await self._source.atoken()
        response = await self.next.send(request)
        if self._may_repeat(request, response, token):
            token = await self._source.atoken()
            response = await self.next.send(request)
            self._note(response, token)
        return response
