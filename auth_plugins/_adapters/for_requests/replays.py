"""How requests sends a refused request again, and what it reads of responses for that."""

from __future__ import annotations

import contextlib
from typing import Any

import requests
from requests.utils import rewind_body

from auth_plugins._adapters.refusals import RefusalRules, Verdict


def verdict_of(rules: RefusalRules, response: requests.Response) -> Verdict:
    """Return what *response* means; a predicate that needs the body reads it."""
    verdict = rules.verdict(response)
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
