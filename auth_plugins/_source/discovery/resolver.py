"""Gives a grant the endpoints of its issuer: metadata are fetched by one caller for all, and kept for an hour."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, cast

from auth_plugins._base.errors import AuthError, InsecureTransportError, TokenTransportError, copy_error
from auth_plugins._base.frames import without_frames
from auth_plugins._base.hosts import check_endpoint
from auth_plugins._base.loading import small_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.memory import process_cache
from auth_plugins._grants.base import Grant
from auth_plugins._grants.issuer import Issuer, with_metadata

if TYPE_CHECKING:
    from auth_plugins._grants.oauth import OAuthGrant
    from auth_plugins._protocol.metadata import Metadata
    from auth_plugins._source.retrying_sender import RetryingSender

_log = logging.getLogger("auth_plugins")

#: Seconds for which metadata are kept; and for which known ones are used on if they cannot be fetched again.
LIFETIME, BACK_OFF = 3600.0, 60.0
#: The share of the time left for fetching known metadata again: the token request comes after it.
_REFRESH_SHARE = 1 / 3
#: Seconds after its deadline at which a lookup counts as lost.
_GRACE = 1.0


class Lookup(Future["Metadata | None"]):
    """One search for the metadata of an issuer, for all that need them; ``None``: it was interrupted."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        #: By ``runtime.clock.monotonic``.
        self.deadline = deadline
        #: The id of the thread that leads: it must not wait for itself.
        self.leader = threading.get_ident()


def with_endpoints(grant: Grant, sender: RetryingSender, deadline: float) -> Grant:
    """Return *grant* with the endpoints of its issuer; a grant that has endpoints of its own is returned as it is.

    :param deadline: when to end, by ``runtime.clock.monotonic``.
    :raises TokenRequestError: the issuer has no metadata, or they are not its own.
    :raises TokenTransportError: the issuer could not be reached in time.
    :raises InsecureTransportError: it, or its token endpoint, is ``http://``, and not on loopback.
    :raises ConfigurationError: what the server supports contradicts an argument of the grant.
    """
    issuer = getattr(grant, "token_url", None)
    if not isinstance(issuer, Issuer):
        return grant
    # First of all: another source may have been allowed what this one is not.
    check_endpoint(issuer.url, allow_http=sender.allow_http)
    oauth_grant = cast("OAuthGrant", grant)
    found = with_metadata(oauth_grant, metadata_of(oauth_grant, sender, deadline))
    try:
        check_endpoint(str(found.token_url), allow_http=sender.allow_http)
    except InsecureTransportError:
        endpoint = str(found.token_url).partition("?")[0]
        problem = f"the metadata of {issuer} have the token_endpoint {endpoint}, which would get a secret in clear"
    else:
        return found
    advice = "have the server's owner correct it, or use allow_http=True (the variable ALLOW_HTTP=true)"
    raise InsecureTransportError(problem, advice=advice)


def metadata_of(grant: OAuthGrant, sender: RetryingSender, deadline: float) -> Metadata:
    """Return the metadata of the issuer of *grant*: the known ones, or those that this or another thread fetches."""
    return _Search(grant, sender).metadata(deadline)


class _Search:
    """What one caller does to get the metadata of an issuer."""

    def __init__(self, grant: OAuthGrant, sender: RetryingSender) -> None:
        self._issuer, self._tls, self._sender = str(grant.token_url), grant.tls_files(), sender
        self._memory = process_cache()
        self._state = self._memory.issuer_state(self._issuer, self._tls.ca, sender.session)

    def metadata(self, deadline: float) -> Metadata:
        """Return the metadata, by *deadline*."""
        while True:
            known = self._state.known
            if known is not None and runtime.elapsed() < known[1]:
                return known[0]
            lookup, leads = self._join(deadline)
            if leads:
                return self._lead(lookup)
            if known is not None:
                return known[0]  # another thread fetches them again
            runtime.wait(lookup, max(deadline - runtime.clock.monotonic(), 0.0))
            if (metadata := self._result(lookup)) is not None:
                return metadata

    def _result(self, lookup: Lookup) -> Metadata | None:
        if not lookup.done():
            raise TokenTransportError(
                f"timed out waiting for the metadata of {self._issuer}, which another thread fetches; "
                "check that the issuer's name resolves, or try again later"
            )
        error = lookup.exception()
        if isinstance(error, AuthError):
            # Each caller raises a copy: raising one object in many threads would mix up its traceback.
            raise copy_error(error, type(error)) from error.__cause__
        return lookup.result()

    def _join(self, deadline: float) -> tuple[Lookup, bool]:
        """Return the present lookup, or a new one, and whether the caller has to lead it."""
        state = self._state
        with self._memory.lock:
            lookup = state.lookup
            is_lost = lookup is not None and runtime.clock.monotonic() >= lookup.deadline + _GRACE
            # A signal handler that broke into the leader's thread leads a lookup of its own.
            if lookup is not None and not is_lost and lookup.leader != threading.get_ident():
                return lookup, False
            lookup = Lookup(deadline)
            if state.known is not None and runtime.elapsed() < state.known[1]:  # found since the caller looked
                lookup.set_result(state.known[0])
                return lookup, False
            state.lookup = lookup
            return lookup, True

    def _lead(self, lookup: Lookup) -> Metadata:
        """Fetch the metadata in this thread, and complete *lookup*, whatever happens."""
        with small_imports():
            from .lookup import look_up
        state, known, deadline, lifetime = self._state, self._state.known, lookup.deadline, LIFETIME
        if known is not None:
            now = runtime.clock.monotonic()
            deadline = now + (deadline - now) * _REFRESH_SHARE
        metadata: Metadata | None = None
        failure: AuthError | None = None
        try:
            metadata = look_up(self._issuer, self._tls, self._sender, deadline)
        except AuthError as error:
            if known is None:
                failure = without_frames(error)
                raise
            metadata, lifetime = known[0], BACK_OFF
            message = "the known metadata of %s are used on, as they cannot be fetched again: %s"
            _log.warning(message, self._issuer, error)
        finally:
            with self._memory.lock:
                if metadata is not None:
                    state.known = metadata, runtime.elapsed() + lifetime
                if state.lookup is lookup:
                    state.lookup = None
            if failure is None:
                lookup.set_result(metadata)
            else:
                lookup.set_exception(failure)
            del failure  # an error and the frames of its traceback must not keep each other
        return metadata
