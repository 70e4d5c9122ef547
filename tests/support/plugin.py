"""The plugin of pytest in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Options that load the plugin where the package is not installed, so that pytest does not find it by itself.
PLUGIN = (
    () if entry_points(group="pytest11", name="auth_plugins") else ("-p", "auth_plugins._integrations.pytest_plugin")
)
#: What Python is called with.
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *PLUGIN)


def run_pytest(directory: Path, *options: str) -> str:
    """Run the tests in *directory*, and return what pytest prints."""
    done = subprocess.run(
        [sys.executable, *PYTEST, *options],
        cwd=directory,
        env={**os.environ, **({"PYTHONPATH": str(ROOT)} if PLUGIN else {})},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.stdout + done.stderr
