"""Secrets whose file is named by a variable."""

from __future__ import annotations

from dataclasses import dataclass

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.validation import resolve_secret
from auth_plugins._grants.secret_file import SecretFile


@dataclass(frozen=True, eq=False)
class FileOfVariable(SecretFile):
    """A secret file whose errors name the variable, not the path, which may be the secret itself by mistake."""

    variable: str

    def __eq__(self, other: object) -> bool:
        # Equal to one from code: two of the same path share a token.
        return self.path == other.path if isinstance(other, SecretFile) else NotImplemented

    __hash__ = SecretFile.__hash__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.variable!r})"

    def __call__(self) -> str:
        try:
            return resolve_secret("file", super().__call__())
        except ConfigurationError as error:
            problem = error.renamed({"file": self._label()})
        raise problem

    def text(self) -> str:
        """Return the content of the file, even if it cannot be a secret."""
        return super().__call__()

    def _label(self) -> str:
        return f"the file of {self.variable}"
