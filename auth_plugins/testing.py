"""For the tests of your program: tokens without network, a token endpoint on loopback, cassettes without secrets.

The plugin of pytest, which comes with this package, has the fixtures ``fake_tokens``, ``token_server`` and
``fresh_tokens``.
"""

from auth_plugins._integrations.fake_tokens import FakeTokens
from auth_plugins._integrations.scrubbing import scrub_request, scrub_response
from auth_plugins._integrations.token_server import TokenServer

__all__ = ["FakeTokens", "TokenServer", "scrub_request", "scrub_response"]
