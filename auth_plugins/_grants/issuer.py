"""The issuer of tokens, whose metadata name its endpoints."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeVar

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.frozen import Record
from auth_plugins._base.validation import check_url

from .combinations import check_combination

if TYPE_CHECKING:
    from auth_plugins._protocol.metadata import Metadata

    from .oauth import OAuthGrant

_G = TypeVar("_G", bound="OAuthGrant")


class Issuer(Record):
    """A server whose metadata name its endpoints: OpenID Connect Discovery 1.0 §4, RFC 8414 §3.

    Give it as the *token_url* of any OAuth grant: ``ClientCredentials(Issuer("https://login.example.com"), ...)``. The
    metadata are fetched at the first token request, by the same session or client, within its timeout and without any
    secret; they are kept for an hour. If they cannot be fetched again, the known ones go on being used. They also give
    *revocation_url* and *client_auth*, where the grant has none of its own. Two of the same URL are equal.

    :param url: the issuer, exactly as the server's metadata have it, a slash at the end included: ``https://``, or
        ``http://`` on loopback; no query, and no ``/.well-known/``.
    :raises ConfigurationError: it is no such URL.
    """

    url: str

    def __init__(self, url: str) -> None:
        url = check_url("issuer", url)
        if "?" in url:
            raise ConfigurationError("must have no query (RFC 8414 §2)", argument="issuer", advice="leave it out")
        if "/.well-known/" in url:
            advice = "give the part before it"
            raise ConfigurationError("must not have /.well-known/", argument="issuer", advice=advice)
        super().__init__(url)

    def __repr__(self) -> str:
        return f"Issuer({str.__repr__(self.url)})"

    def __str__(self) -> str:
        return self.url


def check_endpoint_or_issuer(argument: str, value: Any) -> str | Issuer:
    """Return the URL of an endpoint, or the issuer that has it."""
    return value if isinstance(value, Issuer) else check_url(argument, value)


def with_metadata(grant: _G, metadata: Metadata) -> _G:
    """Return *grant* with the endpoints of its issuer, and with what the issuer supports where the grant has a choice.

    :raises ConfigurationError: that contradicts another argument.
    """
    is_mutual = grant.uses_mutual_tls
    values = {
        "token_url": metadata.endpoint("token_endpoint", by_certificate=is_mutual),
        "revocation_url": grant.revocation_url or metadata.endpoint("revocation_endpoint", by_certificate=is_mutual),
        "client_auth": grant.client_auth or metadata.client_auth(),
        **grant.metadata_values(metadata, str(grant.token_url)),
    }
    found = copy.copy(grant)  # with the attributes of a subclass
    for name, value in values.items():
        object.__setattr__(found, name, value)
    check_combination(found)
    return found
