"""What the grants know of client authentication by an object."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from auth_plugins._base.frozen import Frozen, Record
from auth_plugins._base.tls_files import NO_FILES, TLSFiles


class Client(Record):
    """The client, and where it authenticates; *client_secret* is hidden from dumps."""

    client_id: str | None
    client_secret: str | None
    #: The token endpoint, whatever the request is for: it stands for the server (RFC 7523 §3).
    token_url: str


class ClientAuthentication(Frozen):
    """The base of client authentication objects: frozen, comparable and hashable as grants are."""

    #: As in the IANA registry of ``token_endpoint_auth_method``.
    name: ClassVar[str]
    #: The trouble, in the advice table of ``_protocol``, for a refused client.
    trouble: ClassVar[str] = "client"
    #: Whether it cannot work without the client's id, and without the client's secret; an unneeded secret is an error.
    needs_client_id: ClassVar[bool] = True
    needs_client_secret: ClassVar[bool] = False
    #: Whether it has a certificate for TLS, in place of that of a session.
    brings_certificate: ClassVar[bool] = False
    #: Whether it is renewed all the time, so that a refresh token must be found by the next one as well.
    is_renewed: ClassVar[bool] = False

    @abstractmethod
    def parameters(self, client: Client) -> Mapping[str, str]:
        """Return the parameters that authenticate *client*, besides ``client_id``; called for each attempt."""

    @abstractmethod
    def secrets(self) -> tuple[str, ...]:
        """Return the present values of its secrets: when one changes, a remembered refusal no longer counts."""

    def tls_files(self) -> TLSFiles:
        """Return the files that TLS with the token endpoint needs; by default none."""
        return NO_FILES

    def problem(self, client_id: str | None, client_secret: object) -> tuple[str, str]:
        """Return what is wrong with these arguments of a grant, and what to do; ``""``: nothing is."""
        if client_id is None and (self.needs_client_id or self.needs_client_secret):
            return "needs {client_id}", "give it"
        if client_secret is None and self.needs_client_secret:
            return f"{self.name} needs {{client_secret}}", "give it"
        if client_secret is not None and not self.needs_client_secret:
            return f"{self.name} sends no {{client_secret}}", "leave one of them out"
        return "", ""

    def present(self, field: str) -> Any:
        """Return the present value of *field*, secrets included, as a JSON type."""
        return getattr(self, field)

    def identity(self) -> Mapping[str, Any]:
        """Return all that a token depends on, secrets included, as JSON types."""
        from dataclasses import fields

        names = [each.name for each in fields(cast("Any", self)) if each.compare]
        return {"client_auth": type(self).__qualname__, **{name: self.present(name) for name in names}}
