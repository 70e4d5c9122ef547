"""The client's certificate for ``auth-plugins check``: whose it is, when it expires, and whether the key fits."""

import ssl
from collections.abc import Generator

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.tls_files import read_certificate

from .context import FAILED, GOOD, Context, Step
from .network import describe_certificate


def check_certificate(context: Context) -> Generator[Step, None, bool]:
    """Describe the certificate, if there is one; return whether it can be used."""
    files = context.tls
    if files.certificate is None:
        return True
    detail = f"{files.certificate!r}"
    try:
        detail += f": {describe_certificate(read_certificate(files.certificate))}"
        files.context(ssl.create_default_context)
    except ConfigurationError as error:
        yield Step(FAILED, "certificate", str(error))
        return False
    yield Step(GOOD, "certificate", f"{detail}; its key belongs to it")
    return True
