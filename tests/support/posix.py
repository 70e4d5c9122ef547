"""Marks of tests that need what Windows has not."""

from __future__ import annotations

import os

import pytest

needs_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX: fork, signals or Unix sockets")
