"""A secret that is read from a file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ConfigurationError
from .validation import resolve_secret


@dataclass(frozen=True, repr=False)
class SecretFile:
    """A secret that is read from a file for each token request, so that a rotated secret takes effect.

    One trailing newline is dropped, and a byte order mark. Two of the same path are equal, and so share a token.

    :param path: the path of the file, a str or path-like; ``~`` is the home directory. A relative path counts from
        the working directory of the moment in which this object is made.
    :raises ConfigurationError: the path is empty or no path, or is relative and the working directory is gone.
    """

    path: str | os.PathLike[str]
    #: The variable that gave the path. Errors name it in place of the path, which by mistake may be the secret itself.
    _variable: str | None = field(default=None, kw_only=True, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.path, (str, os.PathLike)) or not os.fspath(self.path):
            raise ConfigurationError("must be the path of the secret's file", argument="path")
        try:
            path = os.path.abspath(os.path.expanduser(os.fspath(self.path)))  # noqa: PTH100, PTH111 - stays a str
        except OSError:  # the working directory was deleted
            raise ConfigurationError("must be absolute, as the working directory is gone", argument="path") from None
        object.__setattr__(self, "path", path)

    def __repr__(self) -> str:
        return f"SecretFile({self._variable or self.path!r})"

    def __call__(self) -> str:
        """Read the secret; ConfigurationError: the file cannot be read, or its content is no secret."""
        return resolve_secret(self._label(), self.read())

    def read(self) -> str:
        """Read the file, whatever its content; ConfigurationError: it cannot be read, or is not UTF-8 text."""
        try:
            text = Path(self.path).read_bytes().decode("utf-8-sig")
        except (OSError, ValueError) as error:
            # Not raised from a UnicodeDecodeError, which holds the file's bytes.
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        else:
            return text.removesuffix("\n").removesuffix("\r")
        advice = "check path and permissions"
        raise ConfigurationError(f"cannot be read ({reason})", argument=self._label(), advice=advice)

    def _label(self) -> str:
        """Return how errors name the file."""
        return f"the file of {self._variable}" if self._variable else f"the secret file {self.path!r}"
