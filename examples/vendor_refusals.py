"""How some APIs refuse a token: functions for ``OAuth2Auth(refused=…)``.

The content type is looked at first, so that no download is read for it.
"""

from typing import Any


def body_of(response: Any) -> dict[str, Any]:
    """Return the JSON object of a response; an empty one: there is none."""
    kind = response.headers.get("content-type", "")
    if not kind.startswith("application/json"):
        return {}
    try:
        body = response.json()
    except ValueError:  # the answer to a HEAD has no body
        return {}
    return body if isinstance(body, dict) else {}


def feishu_refused(response: Any) -> bool:
    return body_of(response).get("code") == 99991663


def marketo_refused(response: Any) -> bool:
    errors = body_of(response).get("errors") or []
    return any(error.get("code") in ("601", "602") for error in errors)


def withings_refused(response: Any) -> bool:
    return body_of(response).get("status") == 401
