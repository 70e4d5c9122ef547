"""``auth-plugins demo`` and ``auth-plugins sandbox``."""

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Mapping

import click

from .common import fail


def play_sandbox(lifetime: int) -> None:
    """Play the systems until Ctrl-C; print the variables of each.

    :param lifetime: of access tokens, in seconds.
    """
    from auth_plugins.sandbox import Sandbox, SignInApi

    with Sandbox(lifetime) as systems, contextlib.suppress(KeyboardInterrupt):
        for system in systems:
            prefix = f"ACME_{system.name.removesuffix('-api').upper().replace('-', '_')}"
            variables, commands = system.variables(prefix), [f"get {system.api_url} {prefix}"]
            if isinstance(system, SignInApi):  # commands share a login by a cache
                variables[f"{prefix}_CACHE"] = "file"
                commands = [f"login {prefix}", *commands, f"logout {prefix}"]
            _print_exports(system.name, variables, *commands)
        upload = systems["upload-api"]
        url, prefix = f"{upload.url}/v1{upload.api_path}", "ACME_UPLOAD_V1"
        _print_exports("upload-api, version 1", upload.legacy_variables(prefix), f"get {url} {prefix}")
        enterprise, prefix = systems["enterprise-api"], "ACME_ENTERPRISE_MTLS"
        # An API that wants a certificate gets that of the caller's own session; auth-plugins has none.
        _print_exports("enterprise-api, by a certificate", enterprise.mtls_variables(prefix), f"check {prefix}")
        click.echo("# They run until Ctrl-C.")
        while True:
            time.sleep(3600)


def _print_exports(title: str, variables: Mapping[str, str], *commands: str) -> None:
    click.echo(f"# {title}")
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    for words in commands:
        click.echo(f"# auth-plugins {words}")
    click.echo()


def play_demo() -> None:
    """Play the systems with each library, print what they saw, and exit."""
    from .demo import load
    from .demo_output import new_console, print_all

    # No request leaves the machine, so none may go to a proxy.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    try:
        auths = load()
    except ImportError as error:
        fail(error, 2)
    sys.exit(print_all(new_console(), auths))
