"""The tokens that one system has issued."""

import secrets
from collections.abc import Callable, Mapping

from joserfc import jwt
from joserfc.jwk import OctKey


class IssuedTokens:
    """Issues tokens, and knows which ones are valid. The caller holds a lock.

    All tokens that descend from one sign-in are a *family*. A spent refresh token that is sent again is held by two
    parties, so the whole family is revoked (RFC 9700 §4.14.2).
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.reuses = 0  #: How many times a spent refresh token was sent.
        self.access: dict[str, tuple[str, float]] = {}  #: Valid access token -> its family, and when it expires.
        self.refresh: dict[str, str] = {}  #: Valid refresh token -> its family.
        self._spent: dict[str, str] = {}
        self._clock, self._key = clock, OctKey.generate_key(256)

    def issue(self, family: str, claims: Mapping[str, object], lifetime: float) -> tuple[str, str]:
        """Issue an access token, a JWT that is valid for *lifetime* seconds, and a refresh token."""
        now, refresh_token = self._clock(), secrets.token_urlsafe()
        claims = {**claims, "iat": now, "exp": now + lifetime, "jti": secrets.token_hex()}
        access_token = jwt.encode({"alg": "HS256"}, claims, self._key)
        self.access[access_token] = family, now + lifetime
        self.refresh[refresh_token] = family
        return access_token, refresh_token

    def is_valid(self, access_token: str) -> bool:
        """Return whether *access_token* was issued here, is not revoked and has not expired."""
        return access_token in self.access and self._clock() < self.access[access_token][1]

    def spend(self, refresh_token: str) -> str | None:
        """Spend *refresh_token* and return its family; ``None``: it is unknown, spent or revoked."""
        if reused := self._spent.get(refresh_token):
            self.reuses += 1
            self.access = {token: about for token, about in self.access.items() if about[0] != reused}
            self.refresh = {token: family for token, family in self.refresh.items() if family != reused}
        family = self.refresh.pop(refresh_token, None)
        if family is not None:
            self._spent[refresh_token] = family
        return family
