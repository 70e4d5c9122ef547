"""The client credentials grant (RFC 6749 §4.4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from auth_plugins._base.errors import TokenRequestError
from auth_plugins._base.validation import Secret

from .oauth import OAuthGrant


@dataclass(frozen=True, eq=False)
class ClientCredentials(OAuthGrant):
    """The client acts for itself (RFC 6749 §4.4). Frozen, comparable and hashable; equal grants share a token.

    :param token_url: the URL of the token endpoint: ``https://``, or ``http://`` on loopback; or an :class:`Issuer`,
        whose metadata name it.
    :param client_id: the client's id (RFC 6749 §2.2).
    :param client_secret: the client's secret: a str, or a callable without arguments that returns one and is called
        for each token request, in any thread; ``None`` (the default): a public client, which has none.
    :param scope: what the token shall allow (RFC 6749 §3.3): a str, or a sequence of them, sent joined by spaces.
        ``None`` (the default): the server decides.
    :param audience: the API that the token is for, sent unchanged; ``None`` (the default): not sent.
    :param resource: the API that the token is for (RFC 8707): a URI, or a sequence of them, one parameter each.
        ``None`` (the default): not sent.
    :param client_auth: the client authentication: ``client_secret_basic`` (RFC 6749 §2.3.1: id and secret
        percent-encoded, then Base64), ``client_secret_basic_raw`` (Base64 of ``id:secret`` in UTF-8),
        ``client_secret_post`` (as parameters), ``client_secret_jwt`` (signs an assertion by the secret),
        ``tls_client_auth`` or ``self_signed_tls_client_auth`` (RFC 8705: the certificate is that of ``session=`` or
        ``client=``) or ``none``; or a :class:`PrivateKeyJWT`, :class:`ClientSecretJWT`, :class:`ClientAssertion` or
        :class:`TLSClientAuth`. ``None`` (the default): ``client_secret_basic`` with a secret, else ``none``.
    :param encoding: how the parameters are sent: ``form`` (the default), ``json`` (an object as the body) or ``query``
        (in the URL). Every proxy sees a URL, and so do the DEBUG logs of urllib3 and the INFO logs of httpx: use
        ``query`` only for servers that accept nothing else.
    :param method: ``POST`` (the default), or ``GET``, which sends the parameters in the query.
    :param params: further parameters, a mapping, applied last: they replace standard ones of the same name, ``None``
        as a value removes one, a sequence of str repeats the parameter. A value may be a callable without arguments,
        such as :class:`SecretFile`, which is called for each token request. ``None`` (the default): none.
    :param headers: further headers of the token request, a mapping; a value may be a callable that returns a str.
        ``None`` (the default): none.
    :param revocation_url: the URL at which :meth:`TokenSource.revoke` revokes tokens (RFC 7009); ``None`` (the
        default): that of the issuer, else tokens cannot be revoked.
    :param answer: where the members are in the server's answer, a mapping: from ``access_token``, ``token_type``,
        ``expires_in``, ``expires_at``, ``refresh_token``, ``scope``, ``error`` or ``error_description`` to a path:
        member names (or indices of arrays) joined by dots, as in ``"data.0.token"``, or ``"header:X-Auth-Token"``. A
        member that is not listed is read under its standard name beside ``access_token``. If ``error`` is listed, 0,
        ``"0"``, ``""``, ``False`` and null mean success, and anything else is an error, even if a token is there.
        ``None`` (the default): where RFC 6749 §5 has them.
    :param names: other names for standard parameters of the token request, a mapping such as
        ``{"client_id": "app_id"}``. ``None`` (the default): none.
    :param refresh_params: as *params*, for refresh requests only, and applied after them. ``None`` (the default): none.
    :param lifetime: seconds, more than 0, that a token lives if the server tells no expiry; the ``exp`` of a JWT tells
        it. ``None`` (the default): such a token is used until an API refuses it.
    :param dpop: whether tokens are bound to a key, of which each request has a proof (RFC 9449): ``True`` for a key of
        this process, which is not pickled, or a :class:`DPoPKey`, which a shared cache needs. A server that answers
        Bearer tokens gets them without a proof. ``None`` or ``False`` (the default): they are bound to no key.
    :raises ConfigurationError: an argument cannot work, or contradicts another.
    """

    client_id: str
    client_secret: Secret | None = field(default=None, repr=False)

    def _parameters(self) -> dict[str, str]:
        return {"grant_type": "client_credentials"}

    def refresh_refused(self, error: TokenRequestError, refresh_token: str) -> bool:  # noqa: ARG002
        # Using the grant reveals no more than the refused request did, and servers refuse in many ways: by an error
        # page, a redirect, a 500. An unknown client does not make the refresh token invalid.
        return error.error != "invalid_client"
