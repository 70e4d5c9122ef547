"""A token for gRPC metadata, Kafka or WebSockets.

$ export ACME_TOKEN_URL=https://id.example.com/token ACME_CLIENT_ID=orders
$ export ACME_CLIENT_SECRET=s3cr3t-of-orders
"""

from auth_plugins import Token, TokenSource

source = TokenSource.from_env("ACME")


def metadata() -> tuple[Token, list[tuple[str, str]]]:
    """Return a usable token, and the metadata that carries it."""
    token = source.token()  # in async code: await source.atoken()
    return token, [("authorization", token.header_value)]


token, sent = metadata()
print(sent[0][0])
# If the server answers UNAUTHENTICATED: this token is never used again,
# and the next call gets another one.
source.invalidate(token)
print(metadata()[0] != token)
