"""``auth-plugins check``: tries what is configured, step by step, and explains what fails; it prints nothing.

No secret and no token is shown: secrets are taken out of texts of others, and a URL goes without query and user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .api import call
from .context import Context, context_of
from .report import Report, Step, shown
from .token import describe, facts_of
from .token_request import fetch_token
from .variables import check_cache, check_grant, check_variables

__all__ = ["Report", "Step", "check", "shown"]


def check(
    prefix: str,
    environ: Mapping[str, str],
    url: str | None,
    *,
    library: Any,
    adapter: Callable[..., Any],
    may_try: Callable[[Sequence[str]], bool],
    tell: Callable[[Step], None],
    api_timeout: float = 60.0,
) -> Report:
    """Try what the variables of *prefix* configure.

    :param url: an API to be tried as well; ``None``: none.
    :param library: requests, httpx2 or httpx; *adapter*: its ``OAuth2Auth``.
    :param may_try: asked, where the server refuses the client, whether it may prove itself in these other ways too.
    :param tell: called with each step as soon as it is taken.
    :param api_timeout: seconds that the API may take to answer.
    :raises ConfigurationError: it cannot work.
    """
    context = context_of(prefix, environ, library=library, adapter=adapter, may_try=may_try, api_timeout=api_timeout)
    taken: list[Step] = []
    for step in _steps(context, url):
        taken.append(step)
        tell(step)
    return Report(prefix, tuple(taken), context.token_facts)


def _steps(context: Context, url: str | None) -> Iterator[Step]:
    yield from check_variables(context)
    yield check_grant(context)
    yield check_cache(context)
    token = yield from fetch_token(context)
    if token is not None:
        context.token_facts = facts_of(token, context)
        yield from describe(token, context.token_facts, context)
    if url is not None and token is not None:
        yield call(url, token, context)
    elif url is not None:
        yield Step.note("API", f"{shown(url, url)} not tried, as there is no token")
