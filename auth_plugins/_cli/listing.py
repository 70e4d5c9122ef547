"""What the command line does with a shared cache: list its entries."""

from __future__ import annotations

from auth_plugins._caches.entries import StoredToken
from auth_plugins._caches.shared import KEY_CHECK, SharedCache


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
