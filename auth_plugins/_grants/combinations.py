"""Which options of an OAuth grant go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._client_auth.named import authentication_of

if TYPE_CHECKING:
    from .oauth import OAuthGrant


def check_combination(grant: OAuthGrant) -> None:
    """Refuse options that cannot work together."""
    argument, problem, advice = "client_auth", "", ""
    if (authentication := authentication_of(grant.client_auth)) is not None:
        problem, advice = authentication.problem(grant.client_id, grant.client_secret)
    elif grant.client_secret is None:
        if grant.client_auth != "none":
            problem = f"must be none without {{client_secret}}, got {grant.client_auth}"
            advice = "give {client_secret} as well"
    elif grant.client_id is None:
        argument, problem, advice = "client_secret", "needs {client_id}", "give both"
    elif grant.client_auth == "none":
        problem, advice = "must not be none with {client_secret}, which would not be sent", "leave one of them out"
    elif grant.client_auth == "client_secret_basic_raw" and ":" in grant.client_id:
        argument, problem = "client_id", 'must not have ":" with client_secret_basic_raw (RFC 7617 §2)'
        advice = "use client_secret_basic"
    if not problem and grant.method == "GET" and grant.encoding == "json":
        argument, problem = "encoding", "must not be json when {method} is GET, which has no body"
        advice = "use POST, or query"
    if problem:
        raise ConfigurationError(problem, argument=argument, advice=advice)
    _check_headers(grant)


def _check_headers(grant: OAuthGrant) -> None:
    argument, problem, advice = "", "", ""
    if grant.names and "client_secret" in dict(grant._pairs("names")) and "basic" in str(grant.client_auth):
        argument, problem = "names", "must not have client_secret where {client_auth} sends it in a header"
        advice = "set {client_auth} to client_secret_post"
    if grant.dpop is not None and any(name.lower() == "dpop" for name, _ in grant._pairs("headers")):
        argument, problem = "headers", "must not have DPoP with {dpop}, which sends it"
        advice = "leave one of them out"
    if problem:
        raise ConfigurationError(problem, argument=argument, advice=advice)
