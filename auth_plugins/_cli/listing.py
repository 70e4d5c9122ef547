"""What the command line does with a shared cache: list its entries, and try whether it works."""

from __future__ import annotations

import os

from auth_plugins._caches.entries import StoredToken
from auth_plugins._caches.shared import KEY_CHECK, SharedCache

#: Seconds after which the entry and the lock of :func:`probe` end.
_BRIEF = 1.0


def list_entries(shared: SharedCache) -> list[StoredToken | str]:
    """Return all entries of a FileCache or RedisCache; for one that cannot be read, the reason.

    Raises what the cache raises.
    """
    listed: list[StoredToken | str] = []
    for name in shared.cache.names():  # type: ignore[attr-defined]
        text = shared.get(name)
        if name == KEY_CHECK or text is None:
            continue
        entry = shared.decode(name, text)
        if entry is not None:
            listed.append(entry)
        elif shared.cipher.keys and StoredToken.load(text):
            listed.append("not encrypted")
        else:
            listed.append(f"damaged, or under {'another' if shared.cipher.keys else 'a'} key")
    return listed


def probe(shared: SharedCache) -> None:
    """Lock, store, read and delete an entry that is no token.

    Raises what the cache raises, or LookupError if the entry is not found.
    """
    name, text = "probe", os.urandom(8).hex()
    with shared.cache.lock(name, _BRIEF):  # type: ignore[attr-defined]
        shared.cache.set(name, text, _BRIEF)
        found = shared.cache.get(name)
    shared.cache.delete(name)
    if found != text:
        raise LookupError("what was stored is not found again")
