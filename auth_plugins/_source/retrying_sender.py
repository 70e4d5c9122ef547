"""Sends one token request, with retries inside one deadline."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from auth_plugins._base.errors import TokenTransportError
from auth_plugins._base.hosts import check_endpoint
from auth_plugins._base.loading import request_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._transports.base import LibraryTransport, Transport, default_transport

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest, TokenResponse

_log = logging.getLogger("auth_plugins")

#: Seconds before the first and the second retry, before jitter.
_RETRY_DELAYS = (0.2, 0.8)


class RetryingSender:
    """Sends token requests by one transport.

    :param transport: ``None``: that of the first installed library.
    :param session: the user's session or client, by which *transport* sends; ``None``: it sends by none of the user's.
    """

    def __init__(
        self, transport: Transport | LibraryTransport | None, *, allow_http: bool, session: object = None
    ) -> None:
        self._transport, self.allow_http, self.session = transport, allow_http, session
        self._loaded: Transport | None = None

    def load(self) -> Transport:
        """Import all that a token request needs, while no fork can happen; return the transport."""
        if self._loaded is None:
            with request_imports():
                # Imported here for the grants, and for the readers of answers.
                from auth_plugins._protocol import answers, authlib_client  # noqa: F401

                transport = self._transport or default_transport()
                self._loaded = transport.load() if isinstance(transport, LibraryTransport) else transport
        return self._loaded

    def send(self, request: TokenRequest, deadline: float) -> tuple[TokenRequest, TokenResponse, float]:
        """Send *request*, and again at most twice after passing connection errors, 5xx, and 429 with ``Retry-After``.

        A retry sends :meth:`TokenRequest.again`. Return the request that was sent last, its answer, and the moment at
        which that try began, in Unix seconds.

        :param deadline: when to end, by ``runtime.clock.monotonic``.
        :raises InsecureTransportError: the URL is ``http://``, and not on loopback.
        :raises TokenTransportError: no try got an answer.
        """
        transport = self.load()
        check_endpoint(request.url, allow_http=self.allow_http)
        delays = iter(_RETRY_DELAYS)
        while True:
            delay, asked_at = next(delays, None), runtime.clock.time()
            try:
                request, response = send_once(transport, request, deadline)
            except TokenTransportError as error:
                # A certificate that one side refuses stays refused.
                delay = None if delay is None or not error.transient else with_jitter(delay)
                if delay is None or runtime.clock.monotonic() + delay >= deadline:
                    raise
            else:
                delay = _delay_after(response, delay)
                if delay is None or runtime.clock.monotonic() + delay >= deadline:
                    return request, response, asked_at
            _log.debug("%s did not answer, or answered an error; retrying in %.1f s", request.endpoint, delay)
            runtime.clock.sleep(delay)
            request = request.again()


def send_once(transport: Transport, request: TokenRequest, deadline: float) -> tuple[TokenRequest, TokenResponse]:
    """Send *request*; once more, at once, if the server asks for a DPoP proof with its nonce (RFC 9449 §8)."""
    response = transport(request, max(deadline - runtime.clock.monotonic(), 0.001))
    if (proof := request.proof) is not None and (nonce := proof.wanted_nonce(response)) is not None:
        request = proof.with_nonce(request.again(), nonce)
        response = transport(request, max(deadline - runtime.clock.monotonic(), 0.001))
        proof.wanted_nonce(response)  # for the nonce of the next request
    return request, response


def _delay_after(response: TokenResponse, delay: float | None) -> float | None:
    """Return the seconds to wait before a retry; ``None``: the answer is final.

    :param delay: the usual wait, in seconds; ``None``: there is no further retry.
    """
    if delay is None or (response.status != 429 and response.status < 500):
        return None
    asked = response.retry_after if response.status in (429, 503) else None
    if asked is None:
        return None if response.status == 429 else with_jitter(delay)
    return asked


def with_jitter(seconds: float) -> float:
    """Return a random part of *seconds*, at least half, so that clients which failed together do not retry together."""
    return seconds * runtime.uniform(0.5, 1.0)
