"""``auth-plugins``, or ``python -m auth_plugins``: the command line."""

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command that ``sys.argv`` names; exits."""
    if not (find_spec("click") and find_spec("rich")):
        sys.stderr.write("error: the command line needs click and rich: pip install 'auth-plugins[cli]'\n")
        sys.exit(2)
    from auth_plugins._cli.main import main as run

    run()


if __name__ == "__main__":
    main()
