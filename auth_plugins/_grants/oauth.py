"""Grants: what a token endpoint is asked for. Frozen, comparable, hashable; equal grants share one token."""

from __future__ import annotations

import contextlib
import functools
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from auth_plugins._base.errors import ConfigurationError, TokenRequestError
from auth_plugins._base.hidden import hidden
from auth_plugins._base.validation import (
    CLIENT_AUTH,
    ENCODINGS,
    METHODS,
    Parameter,
    Secret,
    check_header,
    check_secret,
    checked_id,
    checked_resources,
    checked_text,
    checked_url,
    frozen_headers,
    frozen_params,
    hide_arguments,
    joined_scope,
    one_of,
    resolve_secret,
)
from auth_plugins._protocol.advice import REFUSED_REFRESH_TOKEN, TROUBLE
from auth_plugins._protocol.tokens import Token

from .base import Grant

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest

__all__ = ["ApiKey", "ClientCredentials", "OAuthGrant", "Password", "RefreshToken", "SecretFile"]


#: Hashes of grants with refresh tokens that were refused without a clear word, the latest ones: the password was sent.
_doubted: dict[int, None] = {}
_MOST_DOUBTED = 1000
_ENDPOINTS = ("token_url", "refresh_url", "revocation_url")


def _is_doubted_first(grant: Grant, refresh_token: str) -> bool:
    """Whether it is the first time that *refresh_token* was refused without a clear word."""
    # Without a lock, as a fork may interrupt: at worst a password is sent once more.
    doubt = hash((grant, refresh_token))
    if doubt in _doubted:
        return False
    _doubted[doubt] = None
    for oldest in list(_doubted)[:-_MOST_DOUBTED]:
        _doubted.pop(oldest, None)
    return True


@dataclass(frozen=True)
class SecretFile:
    """A secret that is read from a file for each token request, so that a rotated one is picked up.

    One trailing newline is dropped, and a byte order mark. Two of the same path are equal, and so share a token.

    :param path: where it lies; ``~`` is the home directory. A relative path is one from where the process is now,
        and not from where it is when the file is read, or where this is unpickled.
    """

    path: str | os.PathLike[str]

    def __post_init__(self) -> None:
        if not isinstance(self.path, (str, os.PathLike)) or not os.fspath(self.path):
            raise ConfigurationError(
                f"path is empty, or of type {type(self.path).__name__}; give the path of the secret's file"
            )
        try:
            path = os.path.abspath(os.path.expanduser(os.fspath(self.path)))  # noqa: PTH100, PTH111 - stays a str
        except OSError:  # of a process whose directory was deleted
            raise ConfigurationError("path is relative, and the current directory is gone; give a whole path") from None
        object.__setattr__(self, "path", path)

    def __call__(self) -> str:
        """Read the secret.

        :raises ConfigurationError: the file cannot be read, or holds no text.
        """
        try:
            text = Path(self.path).read_bytes().decode("utf-8-sig")
        except (OSError, ValueError) as error:
            # A UnicodeDecodeError holds the file's bytes: neither it nor its text goes along.
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        else:
            return text.removesuffix("\n").removesuffix("\r")
        raise ConfigurationError(f"the secret file {self.path!r} cannot be read ({reason}); check path and permissions")


_G = TypeVar("_G")


class _Fields(Grant):
    """Grants are equal if their fields are; the hash is kept, as an auth that is made for each request needs it."""

    __slots__ = ("_hash",)

    _hash: int
    __dataclass_fields__: ClassVar[dict[str, Any]]  # as each of them is one

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        # At once, where there is nothing but fields.
        return (_is_plain(type(self)) and vars(self) == vars(other)) or (
            self._values() == other._values() and self._own() == other._own()
        )

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            object.__setattr__(self, "_hash", hash((type(self), *self._values(), *self._hashes_of_own())))
            return self._hash

    def __getstate__(self) -> dict[str, Any]:
        return vars(self).copy()  # without the hash, which is another in each process

    def __repr__(self) -> str:
        shown = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _values(self) -> list[Any]:
        members = vars(self)
        if _is_plain(type(self)) and len(members) == len(self.__dataclass_fields__):
            return [*members.values()]  # in the order of the fields, and at once
        return [getattr(self, each.name) for each in fields(self) if each.compare]

    def _own(self) -> dict[str, Any]:
        """What a subclass has besides fields: it may tell one tenant from another."""
        return {name: value for name, value in vars(self).items() if name not in self.__dataclass_fields__}

    def _hashes_of_own(self) -> Iterator[int]:
        for item in sorted(self._own().items(), key=lambda item: item[0]):
            with contextlib.suppress(TypeError):  # a list has none, and counts in == alone
                yield hash(item)


def _hide_arguments(kind: type[_G]) -> type[_G]:
    """The class *kind*, but the frames of an error that it raises when it is made do not hold its arguments."""
    kind.__init__ = hide_arguments(kind.__init__)  # type: ignore[method-assign]  # the one that dataclass made
    return kind


@functools.cache
def _is_plain(kind: type[_Fields]) -> bool:
    """Whether all fields of a grant count, and none is in a slot."""
    own = kind.__mro__[: kind.__mro__.index(_Fields)]
    return all(each.compare for each in fields(kind)) and not any("__slots__" in vars(base) for base in own)


@_hide_arguments
@dataclass(frozen=True, eq=False, repr=False)
class ApiKey(_Fields):
    """A constant key, for APIs, or older versions of them, that know no OAuth.

    :param value: the key, or a callable that returns it, called again when the API refused the key.
    :param header: the header it travels in.
    :param scheme: what stands before it, with a space between; ``""``: nothing.
    :raises ConfigurationError: an argument cannot work.
    """

    value: Secret = field(repr=False)
    header: str = "X-API-Key"
    scheme: str = ""

    is_constant = True

    def __post_init__(self) -> None:
        check_secret("value", self.value)
        object.__setattr__(self, "value", hidden(self.value))
        check_header(self.header, self.scheme)

    def secrets(self) -> tuple[str, ...]:
        return (resolve_secret("value", self.value),)

    def header_and_scheme(self) -> tuple[str, str]:
        return self.header, self.scheme

    def request_token(self, ask: Callable[[TokenRequest], Token]) -> Token:  # noqa: ARG002
        """The key as a token that never ends; nobody is asked, and two of one key are equal."""
        key = resolve_secret("value", self.value)
        if not key.isascii() or not key.isprintable() or key != key.strip():
            raise ConfigurationError("the API key has characters that cannot stand in a header; check its value")
        return Token(access_token=key, token_type=self.scheme)

    def refresh(self, ask: Callable[[TokenRequest], Token], refresh_token: str | None) -> None:
        """A key is no token: nothing renews it."""

    def revocation_requests(self, access_token: str | None, refresh_token: str | None) -> Sequence[TokenRequest]:  # noqa: ARG002
        return ()


@dataclass(frozen=True, eq=False, init=False, repr=False)
class OAuthGrant(_Fields):
    """What the grants of OAuth 2.0 have in common; :class:`ClientCredentials` describes the arguments."""

    token_url: str
    scope: str | Sequence[str] | None = field(default=None, kw_only=True)
    audience: str | None = field(default=None, kw_only=True)
    resource: str | Sequence[str] | None = field(default=None, kw_only=True)
    client_auth: str | None = field(default=None, kw_only=True)
    encoding: str = field(default="form", kw_only=True)
    method: str = field(default="POST", kw_only=True)
    params: Mapping[str, Parameter] | tuple[tuple[str, Parameter], ...] | None = field(
        default=None, kw_only=True, repr=False
    )
    headers: Mapping[str, str] | tuple[tuple[str, str], ...] | None = field(default=None, kw_only=True, repr=False)
    revocation_url: str | None = field(default=None, kw_only=True)
    #: True, 1 and 1.0 are equal, and not the same in a request.
    _param_types: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        client_id, client_secret = self._client()
        default_auth = "none" if client_secret is None else "client_secret_basic"
        normal: dict[str, Any] = {
            "token_url": checked_url("token_url", self.token_url),
            "scope": joined_scope(self.scope),
            "audience": checked_text("audience", self.audience),
            "resource": checked_resources(self.resource),
            "client_auth": one_of(
                "client_auth", default_auth if self.client_auth is None else self.client_auth, CLIENT_AUTH
            ),
            "encoding": one_of("encoding", self.encoding, ENCODINGS),
            "method": one_of("method", self.method, METHODS),
            "params": frozen_params(self.params),
            "headers": frozen_headers(self.headers),
        }
        normal["_param_types"] = tuple(type(value).__name__ for _, value in normal["params"] or ())
        for name in ("client_secret", "password", "refresh_token"):
            if hasattr(self, name):
                normal[name] = hidden(getattr(self, name))
        for name in ("revocation_url", "refresh_url"):
            if getattr(self, name, None) is not None:
                normal[name] = checked_url(name, getattr(self, name))
        # Equal arguments, however they were written, must make equal grants: those share a token.
        for name, value in normal.items():
            object.__setattr__(self, name, value)
        self._check_client(client_id, client_secret)
        if self.method == "GET" and self.encoding == "json":
            raise ConfigurationError('method="GET" has no body for encoding="json"; use POST, or encoding="query"')

    def _check_client(self, client_id: str | None, client_secret: Secret | None) -> None:
        checked_id("client_id", client_id)
        if client_secret is None:
            if self.client_auth != "none":
                raise ConfigurationError(f"client_auth={self.client_auth!r} needs a client_secret; none was given")
            return
        check_secret("client_secret", client_secret)
        if client_id is None:
            raise ConfigurationError("a client_secret needs its client_id; none was given")
        if self.client_auth == "none":
            raise ConfigurationError('client_auth="none" would not send the client_secret; leave one of them out')
        if self.client_auth == "client_secret_basic_raw" and ":" in client_id:
            raise ConfigurationError(
                'a client_id with ":" cannot travel in client_secret_basic_raw (RFC 7617 §2); use client_secret_basic'
            )

    @abstractmethod
    def _client(self) -> tuple[str | None, Secret | None]:
        """The client's id and secret."""

    @abstractmethod
    def _parameters(self) -> dict[str, str]:
        """``grant_type`` and the parameters of this grant; built anew each time, so that it has the latest secret."""

    def secrets(self) -> tuple[str, ...]:
        _, client_secret = self._client()
        return () if client_secret is None else (resolve_secret("client_secret", client_secret),)

    def identity(self) -> Mapping[str, Any]:
        # The fields, as a subclass may have them in slots, and whatever else it has.
        values = {**{each.name: getattr(self, each.name) for each in fields(self)}, **vars(self)}
        members = {name: resolve_secret(name, value) if callable(value) else value for name, value in values.items()}
        return {"grant": type(self).__qualname__, "of": type(self).__module__, **members}

    def header_and_scheme(self) -> tuple[str, str]:
        return "Authorization", "Bearer"

    def request_token(self, ask: Callable[[TokenRequest], Token]) -> Token:
        parameters = self._parameters()
        if self.scope:
            parameters["scope"] = str(self.scope)
        return ask(self._request(self.token_url, parameters, self._own_params()))

    def refresh(self, ask: Callable[[TokenRequest], Token], refresh_token: str | None) -> Token | None:
        if refresh_token is None:
            return None
        try:
            token = ask(self.refresh_request(refresh_token))
        except TokenRequestError as error:
            if not self.refresh_refused(error, refresh_token):
                raise
            return None
        _doubted.pop(hash((self, refresh_token)), None)
        # "The authorization server MAY issue a new refresh token" (RFC 6749 §6): else the old one goes on.
        return token if token.refresh_token else Token(**{**token.members(), "refresh_token": refresh_token})

    def refresh_request(self, refresh_token: str) -> TokenRequest:
        """The request that renews a token; no I/O."""
        # Without scope: that is "what was granted" (RFC 6749 §6), where the scope once asked for may be more than that.
        parameters = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        # A grant type of one's own is that of the grant, not of its renewal; none at all is none in either.
        params = [(name, value) for name, value in self._own_params() if name != "grant_type" or value is None]
        return self._request(self._refresh_url(), parameters, params)

    def _refresh_url(self) -> str:
        return self.token_url

    def refresh_refused(self, error: TokenRequestError, refresh_token: str) -> bool:  # noqa: ARG002
        """Whether *error* says that *refresh_token* is good no more, so that the grant itself is to be traded."""
        return error.error in REFUSED_REFRESH_TOKEN

    def revocation_requests(self, access_token: str | None, refresh_token: str | None) -> Sequence[TokenRequest]:
        if self.revocation_url is None:
            return ()
        hints = {"refresh_token": refresh_token, "access_token": access_token}
        return [
            self._request(self.revocation_url, {"token": value, "token_type_hint": hint}, self._own_params())
            for hint, value in hints.items()
            if value
        ]

    def _own_params(self) -> Sequence[tuple[str, Parameter]]:
        return cast("tuple[tuple[str, Parameter], ...]", self.params or ())

    def _request(self, url: str, parameters: dict[str, str], params: Sequence[tuple[str, Parameter]]) -> TokenRequest:
        from auth_plugins._protocol.authlib_client import build

        revoking = "grant_type" not in parameters
        if self.audience and not revoking:
            parameters["audience"] = self.audience
        client_id, client_secret = self._client()
        return build(
            url,
            parameters,
            resources=() if revoking else tuple(self.resource or ()),
            params=params,
            headers=cast("tuple[tuple[str, str], ...]", self.headers or ()),
            client_id=client_id,
            client_secret=None if client_secret is None else resolve_secret("client_secret", client_secret),
            client_auth=str(self.client_auth),
            encoding=self.encoding,
            method="POST" if revoking else self.method,
            endpoint=next((name for name in _ENDPOINTS if getattr(self, name, None) == url), "token_url"),
        )


@_hide_arguments
@dataclass(frozen=True, eq=False, repr=False)
class ClientCredentials(OAuthGrant):
    """The client acts for itself (RFC 6749 §4.4).

    :param token_url: the token endpoint; ``https://``, or ``http://`` on loopback.
    :param client_id: who asks.
    :param client_secret: what proves it: a string, or a callable that returns one and is called anew for each token
        request, from any thread; ``None``: a public client, which has none.
    :param scope: what the token is to allow (RFC 6749 §3.3): a string, or a sequence, joined by a space.
    :param audience: whom the token is for, sent as it is.
    :param resource: the same by RFC 8707: a URI, or a sequence of them; the parameter repeats for each.
    :param client_auth: how the client proves itself: ``client_secret_basic`` (RFC 6749 §2.3.1: id and secret
        percent-encoded, then Base64), ``client_secret_basic_raw`` (Base64 of ``id:secret`` as they are, in UTF-8),
        ``client_secret_post`` (as parameters), or ``none``. Left out: the first with a secret, else the last.
    :param encoding: how the parameters travel: ``form``; ``json``, an object as the body; or ``query``, in the URL.
        A URL is seen by every proxy, and in the DEBUG logs of urllib3 and the INFO logs of httpx: ``query`` is for
        servers that take nothing else.
    :param method: ``POST``, or ``GET``, which carries the parameters in the query.
    :param params: further parameters, applied last: they replace a standard one of the same name, and ``None`` takes
        it out. A sequence of strings repeats the parameter.
    :param headers: further headers of the token request.
    :param revocation_url: where :meth:`TokenSource.revoke` gives tokens back (RFC 7009); ``None``: nowhere.
    :raises ConfigurationError: an argument cannot work, or contradicts another.
    """

    client_id: str
    client_secret: Secret | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.client_id is None:
            raise ConfigurationError("client_id is None; give the id that the server's owner gave you")
        super().__post_init__()

    def _client(self) -> tuple[str | None, Secret | None]:
        return self.client_id, self.client_secret

    def _parameters(self) -> dict[str, str]:
        return {"grant_type": "client_credentials"}

    def refresh_refused(self, error: TokenRequestError, refresh_token: str) -> bool:  # noqa: ARG002
        # To ask afresh gives away nothing more than the refused request did, and a server's way of saying so may be
        # any: an error page, a redirect, a 500. That the client itself is unknown is no matter of the refresh token.
        return error.error != "invalid_client"


@_hide_arguments
@dataclass(frozen=True, eq=False, repr=False)
class Password(OAuthGrant):
    """Trade a user's name and password for a token (RFC 6749 §4.3), once; it is renewed by its refresh tokens.

    :param token_url: the token endpoint; ``https://``, or ``http://`` on loopback.
    :param username: whose token it is.
    :param password: a string, or a callable that returns one and is called anew each time the password is sent.
    :param client_id: the client's id, where the server knows clients; else ``None``.
    :param client_secret: the client's secret, where it has one; as in :class:`ClientCredentials`.
    :param refresh_url: where refresh tokens are traded; ``None``: at ``token_url``.

    Further keyword arguments, and what is raised: as :class:`ClientCredentials`.
    """

    username: str
    password: Secret = field(repr=False)
    client_id: str | None = None
    client_secret: Secret | None = field(default=None, repr=False)
    refresh_url: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if checked_id("username", self.username) is None:
            raise ConfigurationError("username is None; give the name that the server's owner gave you")
        check_secret("password", self.password)

    def _client(self) -> tuple[str | None, Secret | None]:
        return self.client_id, self.client_secret

    def _parameters(self) -> dict[str, str]:
        return {
            "grant_type": "password",
            "username": self.username,
            "password": resolve_secret("password", self.password),
        }

    def secrets(self) -> tuple[str, ...]:
        return (*super().secrets(), resolve_secret("password", self.password))

    def _refresh_url(self) -> str:
        return self.refresh_url or self.token_url

    def refresh_refused(self, error: TokenRequestError, refresh_token: str) -> bool:
        if error.error == "invalid_client":
            return False
        if super().refresh_refused(error, refresh_token):
            return True
        # Some servers say no more than 400. The password is sent for that too, but not for a firewall's page, nor for
        # a server in trouble, and not again and again.
        status, is_trouble = error.status_code or 0, error.retry_after is not None or error.error in TROUBLE
        is_answer = 200 <= status < 300 or (400 <= status < 500 and status != 429)
        is_vague = is_answer and not is_trouble and error._body_kind in ("json", "form", "empty")
        return is_vague and _is_doubted_first(self, refresh_token)


@_hide_arguments
@dataclass(frozen=True, eq=False, repr=False)
class RefreshToken(OAuthGrant):
    """Go on from a refresh token that was obtained elsewhere (RFC 6749 §6), by a login in a browser for one.

    Where the server rotates refresh tokens, the newest one lives in the cache only.

    :param token_url: the token endpoint; ``https://``, or ``http://`` on loopback.
    :param refresh_token: a string, or a callable that returns one.
    :param client_id: the client that the refresh token was issued to; ``None``: the server knows no clients.
    :param client_secret: its secret, where it has one; as in :class:`ClientCredentials`.

    Further keyword arguments, and what is raised: as :class:`ClientCredentials`.
    """

    refresh_token: Secret = field(repr=False)
    client_id: str | None = None
    client_secret: Secret | None = field(default=None, repr=False)

    # Where they rotate, the grant's own one has been spent by the first token.
    is_repeatable = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_secret("refresh_token", self.refresh_token)

    def _client(self) -> tuple[str | None, Secret | None]:
        return self.client_id, self.client_secret

    def _parameters(self) -> dict[str, str]:
        return {"grant_type": "refresh_token", "refresh_token": resolve_secret("refresh_token", self.refresh_token)}

    def own_refresh_token(self) -> str:
        return resolve_secret("refresh_token", self.refresh_token)

    def refresh_refused(self, error: TokenRequestError, refresh_token: str) -> bool:
        # The grant is a refresh token itself: the same one need not be sent twice.
        refused = super().refresh_refused(error, refresh_token)
        return refused and refresh_token != resolve_secret("refresh_token", self.refresh_token)

    def secrets(self) -> tuple[str, ...]:
        return (*super().secrets(), resolve_secret("refresh_token", self.refresh_token))
