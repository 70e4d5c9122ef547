"""The metadata of the issuer for ``auth-plugins check``: where they are, and what they say."""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import cast

from auth_plugins._base.errors import AuthError, InsecureTransportError
from auth_plugins._base.runtime import runtime
from auth_plugins._grants.issuer import Issuer
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._protocol.redaction import one_line
from auth_plugins._source.discovery.resolver import metadata_of, with_endpoints
from auth_plugins._source.retrying_sender import RetryingSender

from .context import FAILED, GOOD, NOTE, Context, Step
from .network import check_way, origin

#: Characters of the ways of client authentication that are shown.
_LONGEST = 300


def resolved(grant: OAuthGrant, context: Context) -> OAuthGrant:
    """Return *grant* with the endpoints of its issuer, if it has one; metadata that are known are not fetched again."""
    return cast("OAuthGrant", with_endpoints(grant, *_sending(context)))


def find_endpoints(
    grant: OAuthGrant, context: Context, explain: Callable[[AuthError, Context], Sequence[str]]
) -> Generator[Step, None, bool]:
    """Take the steps towards the token endpoint, by the metadata of the issuer if there is one; return whether all did.

    :param explain: returns what an error means, and what to do.
    """
    issuer = grant.token_url
    if not isinstance(issuer, Issuer):
        return (yield from check_way(issuer, context))
    if not (yield from check_way(issuer.url, context)):
        return False
    try:
        found, metadata = resolved(grant, context), metadata_of(grant, *_sending(context))
    except InsecureTransportError as error:
        advice = f"have the server's owner correct it, or set {context.variable('allow_http')}=true"
        yield Step(FAILED, "metadata", error.problem, advice)
        return False
    except AuthError as error:
        yield Step(FAILED, "metadata", *explain(error, context))
        return False
    url = str(found.token_url)
    yield Step(GOOD, "metadata", f"{metadata.place} has the token endpoint {url.partition('?')[0]}")
    yield from _compare_client_auth(grant, found, metadata.client_auth_methods, context)
    if origin(url) == origin(issuer.url):
        return True
    return (yield from check_way(url, context))


def _compare_client_auth(
    grant: OAuthGrant, found: OAuthGrant, methods: Sequence[str], context: Context
) -> Iterator[Step]:
    """Name the client authentication that the metadata lead to, or one that is not among the *methods* in them."""
    name = context.client_auth or str(getattr(found.client_auth, "name", found.client_auth))
    supported = one_line(" ".join(methods))[:_LONGEST]
    # Both ways with a certificate send the same (RFC 8705 §2).
    plain = name.removesuffix("_raw").removeprefix("self_signed_")
    if supported and {plain, f"self_signed_{plain}"}.isdisjoint(methods):
        what = f"the token endpoint supports {supported}, and not {name}"
        yield Step(NOTE, "client_auth", what, f"check {context.variable('client_auth')}")
    elif grant.client_auth is None:
        why = f"one of {supported}" if supported else "as the metadata name no other"
        yield Step(GOOD, "client_auth", f"{name}, {why}")


def _sending(context: Context) -> tuple[RetryingSender, float]:
    """Return what sends the requests for metadata, and when to end."""
    sender = RetryingSender(context.transport, allow_http=context.policy["allow_http"])
    return sender, runtime.clock.monotonic() + context.policy["timeout"]
