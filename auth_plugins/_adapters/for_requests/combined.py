"""Several auths of requests as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from requests.auth import AuthBase, HTTPBasicAuth, HTTPDigestAuth, HTTPProxyAuth

from auth_plugins._adapters.combined import Combined, overwritten

from .combined_hook import CombinedHook
from .errors import OWN_ERRORS, library_error
from .token_hook import TokenHook

if TYPE_CHECKING:
    import requests


class CombinedAuth(Combined[AuthBase], AuthBase):
    """Puts the credentials of several auths on each request; on a refusal, their tokens are replaced in turn."""

    _library_name = "requests"
    _auth_base = AuthBase
    _authorizing = HTTPBasicAuth, HTTPDigestAuth

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the credentials on *request*; requests calls this. Those of other auths may depend on the tokens."""
        try:
            for auth in self._own:
                request = auth(request)
        except OWN_ERRORS:
            for auth in self._own:
                auth._remove(request)
            raise
        hooks = request.hooks.setdefault("response", [])
        carried = tuple(hook for hook in hooks if isinstance(hook, TokenHook))
        hooks[:] = [hook for hook in hooks if hook not in carried]
        for auth in self._others:
            request = auth(request)
        for hook in carried:
            if not hook.carries(request):
                for each in carried:
                    each.clear(request)
                raise library_error(overwritten(hook.place), request)
        if carried:
            digests = tuple(auth for auth in self._others if isinstance(auth, HTTPDigestAuth))
            # After those of other auths: what they answer themselves is no refusal of a token.
            request.hooks["response"].append(CombinedHook(carried, digests))
        return request

    def _place_of(self, auth: Any) -> str:
        return "" if isinstance(auth, HTTPProxyAuth) else super()._place_of(auth)
