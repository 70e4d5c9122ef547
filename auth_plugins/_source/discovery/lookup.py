"""Fetches the metadata of an issuer: at each place in turn, with the redirects that stay within its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auth_plugins._base.tls_files import TLSFiles
from auth_plugins._protocol.messages import TokenRequest, TokenResponse
from auth_plugins._protocol.metadata import (
    Metadata,
    Problem,
    metadata_error,
    metadata_request,
    places,
    read_metadata,
    redirected,
)

if TYPE_CHECKING:
    from auth_plugins._source.retrying_sender import RetryingSender

#: How many redirects are followed at one place.
_MOST_REDIRECTS = 3


def look_up(issuer: str, tls: TLSFiles, sender: RetryingSender, deadline: float) -> Metadata:
    """Return the metadata of *issuer*.

    :param tls: the files for TLS with it.
    :param deadline: when to end, by ``runtime.clock.monotonic``.
    :raises TokenRequestError: there are none, or they are not its own.
    :raises TokenTransportError: a place could not be reached in time.
    """
    problems: list[Problem] = []
    for place in places(issuer):
        found = read_metadata(issuer, *_get(place, tls, sender, deadline))
        if isinstance(found, Metadata):
            return found
        problems.append(found)
        if found.trouble == "trouble":  # a server in trouble is not asked for more
            break
    raise metadata_error(issuer, problems)


def _get(place: str, tls: TLSFiles, sender: RetryingSender, deadline: float) -> tuple[TokenRequest, TokenResponse]:
    request, response, _ = sender.send(metadata_request(place, tls), deadline)
    for _ in range(_MOST_REDIRECTS):
        target = redirected(request.url, response)
        if target is None:
            break
        request, response, _ = sender.send(metadata_request(target, tls), deadline)
    return request, response
