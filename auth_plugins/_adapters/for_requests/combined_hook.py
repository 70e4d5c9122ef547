"""The response hook of a request that carries the tokens of several auths."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from requests.hooks import dispatch_hook

from auth_plugins._adapters.parts import Exchange, Part
from auth_plugins._adapters.refusals import NO_BODY, NO_CONNECTION, SETTLE_PAUSE, is_replayed, is_restored
from auth_plugins._base.errors import AuthError
from auth_plugins._base.runtime import runtime

from .errors import library_error
from .replays import close, discard_body, rewind, send_again, verdict_of
from .token_hook import TokenHook

if TYPE_CHECKING:
    import requests
    from requests.auth import HTTPDigestAuth


class CombinedHook:
    """Replaces the tokens of one request in turn until the API accepts them, and keeps each from other origins."""

    __slots__ = ("digests", "hooks")

    def __init__(self, hooks: tuple[TokenHook, ...], digests: tuple[HTTPDigestAuth, ...]) -> None:
        #: One for each token, in the order in which they are replaced.
        self.hooks = hooks
        #: Auths that sign each replay, as a server may accept a signature once.
        self.digests = digests

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial, (_apply_each, *self.hooks)

    def __call__(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        sent = response.request
        carried = [hook for hook in self.hooks if hook.carries(sent)]
        if carried:
            response = self._answer(carried, response, **kwargs)
        for hook in carried:
            hook.follow(response, sent)
        return response

    def _answer(self, carried: list[TokenHook], response: requests.Response, **kwargs: Any) -> requests.Response:
        """Return what the user gets for *response*, which may be a refusal of any of the *carried* tokens."""
        sent, adapter = response.request, getattr(response, "connection", None)
        # If another auth has replayed the request, a redirect copies a request that is unknown here.
        is_first = not response.history
        signing = _DigestTransport(adapter, self.digests) if self.digests and adapter is not None else adapter
        for hook in carried:
            response = hook.answer(response, signing, **kwargs)
        for hook in self.hooks:
            signing = hook.over(signing)
        exchange = Exchange(Part(hook, hook.source, hook.token) for hook in carried)
        while (following := _next(exchange, response, adapter)) is not None:
            refusal = response
            discard_body(refusal)
            response = send_again(refusal, following, signing, **kwargs)
            response.history[:0] = refusal.history
        if response.is_redirect and is_first:
            # The redirect copies the request that was sent first, which has the rejected tokens on it.
            fresh = {before: part.carrier for before, part in zip(carried, exchange.parts, strict=True)}
            hooks = sent.hooks["response"]
            if self in hooks:  # not if another thread, which sends the same request, was here before
                replaced = tuple(fresh.get(hook, hook) for hook in self.hooks)
                hooks[hooks.index(self)] = CombinedHook(replaced, self.digests)
            for hook in fresh.values():
                hook.put_on_redirects(sent)
        return response


def _next(exchange: Exchange, response: requests.Response, adapter: Any) -> TokenHook | None:
    """Return the hook with which the request of *response* is sent again; ``None``: the user gets the response."""
    request = response.request
    for part in exchange.parts:
        part.verdict = verdict_of(part.carrier.rules, response)
    if not exchange.is_refused(lambda part: part.carrier.carries(request)):
        return None
    # An adapter of the user's own need not say by which connection it answered.
    obstacle = NO_CONNECTION if adapter is None else "" if rewind(request) else NO_BODY
    for part in exchange.renewable(response, obstacle):
        if _renew(part, response):
            return _hook_of(part)
    if not obstacle and exchange.settles(response):
        discard_body(response)
        runtime.clock.sleep(SETTLE_PAUSE)
        return _hook_of(exchange.refused[0])
    failure = exchange.failure()
    if failure is not None:
        close(response)  # unread, as its body may have no end
        for part in exchange.parts:
            part.carrier.clear(request)
        raise library_error(failure, request) from failure.__cause__
    return None


def _hook_of(part: Part) -> TokenHook:
    hook: TokenHook = part.carrier
    return hook


def _renew(part: Part, refusal: requests.Response) -> bool:
    """Replace the token of *part*, and return whether there is another one."""
    if not part.source.grant.is_constant:  # the token request may need the connection
        discard_body(refusal)
    try:
        fresh = part.carrier.renewed(part.source.token())
    except AuthError as error:
        if not is_restored(refusal, part.source, part.token, part.verdict):
            part.failure = error
        return False
    if is_replayed(refusal, part.source, part.token, fresh.token):
        part.carrier, part.token, part.is_renewed = fresh, fresh.token, True
    return part.is_renewed


class _DigestTransport:
    """A transport adapter that sends by another one, after the *digests* have signed the request again."""

    def __init__(self, adapter: Any, digests: tuple[HTTPDigestAuth, ...]) -> None:
        self._adapter, self._digests = adapter, digests

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        hooks, request.hooks = request.hooks, {"response": []}
        for digest in self._digests:
            digest(request)
        response = self._adapter.send(request, **kwargs)
        # They answer a new challenge.
        response = dispatch_hook("response", request.hooks, response, **kwargs)
        request.hooks = hooks
        return response


def _apply_each(*hooks: Any, **kwargs: Any) -> Any:
    """Apply *hooks* to the response, which is the last of them: the hook of a request that was pickled."""
    *each, response = hooks
    for hook in each:
        response = hook(response, **kwargs)
    return response
