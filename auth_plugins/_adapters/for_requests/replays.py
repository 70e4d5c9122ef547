"""What follows a response of requests: nothing, or the refused request again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import requests
from requests.utils import rewind_body

from auth_plugins._adapters.refusals import (
    NO_BODY,
    NO_CONNECTION,
    SETTLE_PAUSE,
    Verdict,
    is_repeatable,
    is_replayed,
    is_restored,
    settles,
    verdict_on,
)
from auth_plugins._adapters.rules import RefusalRules
from auth_plugins._base.errors import AuthError
from auth_plugins._base.runtime import runtime

from .errors import library_error

if TYPE_CHECKING:
    from .token_hook import TokenHook


def answer(hook: TokenHook, response: requests.Response, **kwargs: Any) -> requests.Response:
    """Return what the user gets for *response*, which may be a refusal."""
    verdict = verdict_of(hook.rules, response)
    if verdict is Verdict.ACCEPTED:
        hook.source.accept(hook.token)
        return response
    return _replace(hook, response, verdict, **kwargs)


def _replace(hook: TokenHook, refusal: requests.Response, verdict: Verdict, **kwargs: Any) -> requests.Response:
    """Replay a request as ``HTTPDigestAuth`` does: ``history`` gets the refusal, the pool its connection."""
    source, sent = hook.source, refusal.request
    # An adapter of the user's own need not say by which connection it answered.
    adapter = getattr(refusal, "connection", None)
    obstacle = NO_CONNECTION if adapter is None else "" if rewind(sent) else NO_BODY
    if not is_repeatable(refusal, source, hook.token, verdict, obstacle):
        return refusal
    if not source.grant.is_constant:  # the token request may need the connection
        discard_body(refusal)
    try:
        fresh = hook.renewed(source.token())
    except AuthError as error:
        if is_restored(refusal, source, hook.token, verdict):
            return refusal
        close(refusal)  # unread, as its body may have no end
        hook.clear(sent)
        raise library_error(error, sent) from error.__cause__
    if not is_replayed(refusal, source, hook.token, fresh.token):
        return refusal
    response = fresh.replay(refusal, adapter, **kwargs)
    if response.is_redirect:
        # The redirect copies the request that was sent first, which has the rejected token on it.
        hooks = sent.hooks["response"]
        if hook in hooks:  # not if another thread, which sends the same request, was here before
            hooks[hooks.index(hook)] = fresh
        fresh.put_on_redirects(sent)
    return response


def replay(hook: TokenHook, refusal: requests.Response, adapter: Any, **kwargs: Any) -> requests.Response:
    """Send the refused request with the token of *hook*; once more after a pause, if it is refused as it is new."""
    discard_body(refusal)
    response = send_again(refusal, hook, adapter, **kwargs)
    if verdict_of(hook.rules, response) is Verdict.ACCEPTED:
        hook.source.accept(hook.token)
    elif settles(response, hook.source, hook.token) and rewind(response.request):
        discard_body(response)
        runtime.clock.sleep(SETTLE_PAUSE)
        earlier = response
        response = send_again(earlier, hook, adapter, **kwargs)
        response.history[:0] = earlier.history
        if verdict_of(hook.rules, response) is Verdict.ACCEPTED:
            hook.source.accept(hook.token)
    return response


def verdict_of(rules: RefusalRules, response: requests.Response) -> Verdict:
    """Return what *response* means; a predicate that needs the body reads it."""
    verdict = verdict_on(response, rules)
    if verdict is Verdict.UNDECIDED:
        try:
            return Verdict.DOUBTED if rules.predicate(response) else Verdict.ACCEPTED
        except BaseException:
            close(response)  # the user does not get it
            raise
    return verdict


def send_again(refusal: requests.Response, fresh: Any, adapter: Any, **kwargs: Any) -> requests.Response:
    """Send the refused request by *adapter*, with the token of the *fresh* hook."""
    sent = refusal.request
    request = sent.copy()
    fresh.put(request)
    jar: Any = request._cookies
    # requests adds no cookie beside others. Those of the jar are added again; a header of the user's stays.
    given = request.headers.pop("Cookie", None)
    if given is not None and given != requests.cookies.get_cookie_header(jar, request):
        request.headers["Cookie"] = given
    requests.cookies.extract_cookies_to_jar(jar, sent, refusal.raw)
    request.prepare_cookies(jar)
    # No adapter takes it; requests-cache hands it to hooks, and requests itself does not.
    kwargs.pop("allow_redirects", None)
    response: requests.Response = adapter.send(request, **kwargs)
    if not response.history:  # else another auth has replayed it, and its request is that one
        response.request = request
    response.history.insert(0, refusal)
    return response


def rewind(request: requests.PreparedRequest) -> bool:
    """Rewind the body, and return whether it can be sent again: a consumed generator cannot."""
    if request.body is None or isinstance(request.body, (bytes, str)):
        return True
    try:
        rewind_body(request)
    except Exception:  # it is a generator, was closed, or is of a class of the user's
        return False
    return True


def discard_body(refusal: requests.Response) -> None:
    """Read *refusal*, so that its connection is free. A body that breaks off is dropped, as nothing needs it."""
    try:
        _ = refusal.content
    except Exception:
        refusal._content, refusal._content_consumed = b"", True
    close(refusal)


def close(response: requests.Response) -> None:
    """Close *response*, whose body the user does not get."""
    with contextlib.suppress(Exception):  # an adapter of the user's own need not make it whole
        response.close()
