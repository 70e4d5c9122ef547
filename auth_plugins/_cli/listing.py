"""What the command line does with a shared cache: list its entries, and say why it cannot be used."""

from __future__ import annotations

from auth_plugins._caches.entries import StoredToken
from auth_plugins._caches.shared import KEY_CHECK, SharedCache
from auth_plugins._environment.configuration import cache_secrets
from auth_plugins._protocol.redaction import Redactor


def explain_error(error: Exception, prefix: str) -> str:
    """Return in one line why the cache of *prefix* raised *error*."""
    if isinstance(error, OSError) and type(error).__module__ == "builtins" and error.strerror:
        return f"{error.strerror}: {error.filename!r}" if error.filename else error.strerror
    # A Redis that does not know AUTH repeats the password. In other texts, what the URL has may be a common word.
    return f"{type(error).__name__}: {Redactor(cache_secrets(prefix))(str(error))}"


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
