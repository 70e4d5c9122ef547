"""The mark of tests that need what Windows does not have. The others run there too."""

from __future__ import annotations

import os

import pytest

needs_posix = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="needs POSIX: fork, signals, modes and links of files, Unix sockets, or a shell"
)
