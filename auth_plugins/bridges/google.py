"""google-auth: credentials for clients of Google, and for what else takes ``google.auth.credentials``."""

from __future__ import annotations

import threading
from typing import Any

try:
    from google.auth.credentials import Credentials
except ImportError:  # the first use says so: the names of a package can be imported without each library
    Credentials = None

from auth_plugins._source.source import TokenSource


class GoogleCredentials(Credentials or object):  # type: ignore[misc]  # it has no types
    """``Credentials`` of google-auth, which a client of Google takes as ``credentials=``.

    They never expire, as the source refreshes its token. After a 401, google-auth calls ``refresh``, which gives up the
    token that this thread used last; at most one is replaced in 30 seconds.

    :param source: where the tokens come from; its grant says for what they are.
    :raises ImportError: google-auth is missing.
    """

    def __init__(self, source: TokenSource) -> None:
        if Credentials is None:
            raise ImportError("GoogleCredentials needs google-auth: pip install google-auth")
        self._source = source
        #: In each thread, the token that it used last.
        self._used = threading.local()
        super().__init__()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the source, as it pickles itself: without a token."""
        return type(self), (self._source,)

    @property
    def token(self) -> str:
        """A token that can be used now; as :meth:`auth_plugins.TokenSource.token`, it may have to be fetched."""
        self._used.token = token = self._source.token()
        return f"{token.access_token}"

    @token.setter
    def token(self, _: object) -> None:
        """Change nothing: google-auth sets ``None`` at first."""

    def refresh(self, _: object) -> None:
        """Give up the token that this thread used last, and fetch another.

        :raises AuthError: there is none.
        """
        used = getattr(self._used, "token", None)
        if used is not None:
            self._source.reject(used)
        self._source.token()
