"""Tokens without a token endpoint, for the tests of users."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Self

from auth_plugins._base.errors import (
    REFUSED_REFRESH_TOKEN,
    AuthError,
    LoginRequiredError,
    TokenRequestError,
    copy_error,
)
from auth_plugins._base.frames import without_frames
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.memory import forget_all
from auth_plugins._grants import password
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import TokenRequest, TokenResponse
from auth_plugins._protocol.redaction import Redactor
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.wiring import endpoint_of

#: Seconds that a token lives; it is replaced in the second half of them.
_LIFETIME = 3600.0


def forget() -> None:
    """Forget all tokens, refusals and metadata of issuers that are in the memory of this process."""
    forget_all()
    password._vaguely_refused.clear()


class FakeTokens:
    """Gives every grant a token, in this process, and sends no token request: the fixture ``fake_tokens``.

    Nothing is read from a shared cache, or stored there. All other behaviour is the real one: a token that your mocked
    API answers 401 to is replaced, and a refusal is remembered. As a context manager it serves other test frameworks.
    """

    def __init__(self) -> None:
        #: The grants that asked for a token, in this order; one that finds its token in memory does not ask.
        self.requests: list[Grant] = []
        self._lock, self._count = threading.Lock(), 0
        #: What is raised, or body, status and headers of what is answered; ``None``: tokens are given.
        self._refusal: AuthError | tuple[bytes, int, dict[str, str]] | None = None
        #: The token that each grant gets.
        self.token: Token = self._next()

    def __enter__(self) -> Self:
        forget()
        self._before, runtime.make_token = runtime.make_token, self._make
        return self

    def __exit__(self, *_: object) -> None:
        runtime.make_token = self._before
        forget()

    def expire(self) -> None:
        """End the present token: the next request gets another one, :attr:`token` from now on."""
        with self._lock:
            self.token = self._next()
        forget()

    def refuse(
        self,
        error: str | AuthError | None = "invalid_client",
        description: str = "",
        *,
        status_code: int = 401,
        retry_after: float | None = None,
    ) -> None:
        """Let token requests fail from now on; a token that was handed out before is still used.

        :param error: the code that the token endpoint answers (RFC 6749 §5.2), or the error to raise, such as
            ``TokenTransportError("no answer")``. ``None``: give tokens again.
        :param description: the ``error_description``; ``""``: none.
        :param status_code: the status of the answer.
        :param retry_after: seconds that the answer asks to wait; ``None``: it does not ask.
        """
        if error is None or isinstance(error, AuthError):
            self._refusal = error
        else:
            members = {"error": error, **({"error_description": description} if description else {})}
            headers = {} if retry_after is None else {"retry-after": str(retry_after)}
            self._refusal = (json.dumps(members).encode(), status_code, headers)
        if error is None:
            forget()

    def _next(self) -> Token:
        self._count += 1
        now = runtime.clock.time()
        return Token(access_token=f"fake-token-{self._count}", expires_at=now + _LIFETIME, issued_at=now)

    def _make(self, grant: Grant, rejected: Sequence[Token]) -> Token:
        """Return the token of *grant*, or raise the refusal; another one than the *rejected* ones."""
        self.requests.append(grant)
        now, refusal = runtime.clock.time(), self._refusal
        if isinstance(refusal, AuthError):
            raise without_frames(refusal)
        if refusal is not None:
            body, status, headers = refusal
            request = TokenRequest(
                method="POST", url=endpoint_of(grant), headers={}, body=b"", redact=Redactor(()), lifetime=None
            )
            try:
                read(request, TokenResponse(status=status, headers=headers, body=body, received_at=now), now)
            except TokenRequestError as error:
                if grant.is_repeatable or error.error not in REFUSED_REFRESH_TOKEN:
                    raise
                raise copy_error(error, LoginRequiredError) from None
        with self._lock:
            if self.token in rejected or not 0 <= now - self.token.issued_at < _LIFETIME / 2:
                self.token = self._next()
            return self.token
