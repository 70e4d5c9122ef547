"""The base of grants that are dataclasses, apart from that of all grants: adapters do without ``dataclasses``."""

from __future__ import annotations

from auth_plugins._base.frozen import Checks, Frozen

from .base import Grant

__all__ = ["Checks", "FrozenGrant"]


class FrozenGrant(Frozen, Grant):
    """The base of grants that are frozen dataclasses. Equal grants share a token."""
