"""Our errors as those of requests; imported where one is first needed, as most programs need none."""

from __future__ import annotations

import requests

from auth_plugins._adapters.own_classes import own_errors
from auth_plugins._base.errors import AuthError, to_library_error

OWN_ERRORS = own_errors(requests)


def library_error(error: AuthError, request: requests.PreparedRequest) -> AuthError:
    """Return *error* as the same kind of error that is a ``RequestException`` as well."""
    return to_library_error(error, OWN_ERRORS, request=request, response=None)
