"""Mutation testing of one file by cosmic-ray: the small changes to the code that no test notices.

    tox -e mutation -- auth_plugins/_base/hosts.py tests/unit/test_hosts.py

The first argument is the file that is changed, in a copy of the checkout; the others are the tests that must notice, as
for pytest. Each change takes one run of these tests, so that few and quick ones are best.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What a copy does not need, and what is large.
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
#: Seconds that the tests may take for one change: a loop without an end counts as noticed.
TIMEOUT = 300.0
#: Changes that are none: ``|`` stands in annotations only, which do not run.
EXCLUDED = ["core/ReplaceBinaryOperator_BitOr_.*"]


def configuration(module: str, tests: list[str]) -> str:
    """The configuration of cosmic-ray, as TOML."""
    command = shlex.join([sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests])
    # A JSON string or list is one of TOML as well.
    return f"""
[cosmic-ray]
module-path = {json.dumps(module)}
timeout = {TIMEOUT}
excluded-modules = []
test-command = {json.dumps(command)}
distributor.name = "local"
filters.operators-filter.exclude-operators = {json.dumps(EXCLUDED)}
"""


def main(module: str, *tests: str) -> None:
    """Change *module* in each way, and print what *tests* did not notice."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        config, session = Path(folder, "config.toml"), Path(folder, "session.sqlite")
        config.write_text(configuration(module, list(tests)), "utf-8")
        # The copy stands before the package that is installed.
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}

        def run(*command: str) -> None:
            subprocess.run(command, cwd=copy, env=environment, check=True)

        run("cosmic-ray", "baseline", str(config))
        run("cosmic-ray", "init", str(config), str(session))
        run("cr-filter-operators", str(session), str(config))
        run("cosmic-ray", "exec", str(config), str(session))
        run("cr-report", "--surviving-only", "--show-diff", str(session))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
