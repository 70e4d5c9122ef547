"""A predicate for ``refused=``, for GraphQL APIs."""

from __future__ import annotations

from typing import Any

#: The code in ``extensions`` of an error by which servers say that a token is missing or has expired.
_CODE = "UNAUTHENTICATED"


def graphql_unauthenticated(response: Any) -> bool:
    """Return whether a GraphQL *response* says ``UNAUTHENTICATED``, as many servers do in a 200.

    For ``OAuth2Auth(grant, refused=graphql_unauthenticated)``. The ``extensions.code`` of one of the ``errors`` has to
    be ``UNAUTHENTICATED``. Only a body of a JSON type is read; a download or an event stream is not.

    :param response: a response of requests, httpx or httpx2.
    """
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        return False
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return False
    # Several operations in one request are answered by a list.
    return any(_says_so(answer) for answer in (body if isinstance(body, list) else [body]))


def _says_so(answer: Any) -> bool:
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if not isinstance(errors, list):
        return False
    extensions = [error.get("extensions") for error in errors if isinstance(error, dict)]
    return any(each.get("code") == _CODE for each in extensions if isinstance(each, dict))
