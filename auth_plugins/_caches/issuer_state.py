"""What one process knows of one issuer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auth_plugins._protocol.metadata import Metadata
    from auth_plugins._source.discovery.resolver import Lookup


class IssuerState:
    """The metadata of one issuer. Written under the lock of the memory cache, and read without it."""

    #: The metadata, and until when they are not fetched again, by ``runtime.elapsed``; ``None``: none were found yet.
    known: tuple[Metadata, float] | None = None
    #: The search for metadata that is under way.
    lookup: Lookup | None = None
