"""A shared cache of your own, in SQLite: four methods.

$ export ORDERS_SECRET=s3cr3t-of-orders
"""

import contextlib
import os
import sqlite3
import time
from contextlib import AbstractContextManager
from typing import Any

import filelock

from auth_plugins import ClientCredentials, TokenSource


class SqliteCache:
    """Stores each entry in one row; entries are not encrypted."""

    def __init__(self, path: str) -> None:
        self.path = path
        # Only the owner may read the tokens in it.
        os.close(os.open(path, os.O_CREAT, 0o600))
        columns = "key PRIMARY KEY, value, ends"
        self._run(f"CREATE TABLE IF NOT EXISTS tokens ({columns})")

    def get(self, key: str) -> str | None:
        """Return an entry; *key* is its name."""
        sql = "SELECT value FROM tokens WHERE key = ? AND ends > ?"
        row = self._run(sql, key, time.time())
        return str(row[0]) if row else None

    def set(self, key: str, value: str, ttl: float) -> None:
        """Store an entry for *ttl* seconds."""
        ends = time.time() + ttl
        self._run("REPLACE INTO tokens VALUES (?, ?, ?)", key, value, ends)

    def delete(self, key: str) -> None:
        """Delete an entry."""
        self._run("DELETE FROM tokens WHERE key = ?", key)

    def lock(self, key: str, lease: float) -> AbstractContextManager[Any]:
        """Return a lock; it is held while one process fetches the token.

        The others wait at most *lease* seconds.
        """
        return filelock.FileLock(f"{self.path}-{key}.lock", timeout=lease)

    def _run(self, sql: str, *values: object) -> Any:
        with (
            contextlib.closing(sqlite3.connect(self.path)) as database,
            database,
        ):
            return database.execute(sql, values).fetchone()


grant = ClientCredentials(
    "https://id.example.com/token", "orders", os.environ["ORDERS_SECRET"]
)
source = TokenSource(grant, cache=SqliteCache("tokens.db"))
print(source.token().token_type)
