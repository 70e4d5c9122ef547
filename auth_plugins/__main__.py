"""``python -m auth_plugins``: the command line."""

from auth_plugins._cli.main import main

if __name__ == "__main__":
    main()
