"""IMAP and SMTP with XOAUTH2."""

from __future__ import annotations

import imaplib
import smtplib
import ssl

from auth_plugins._base.errors import ConfigurationError, InsecureTransportError
from auth_plugins._base.hosts import is_loopback
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.source import TokenSource


def mail_login(connection: imaplib.IMAP4 | smtplib.SMTP, user: str, source: TokenSource) -> None:
    """Log in by XOAUTH2; if the server refuses the token, once more with another one.

    :param connection: one with TLS: ``IMAP4_SSL`` or ``SMTP_SSL``, or another after ``starttls()``.
    :param user: the address of the mailbox.
    :param source: where the token comes from.
    :raises AuthError: there is no token.
    :raises ConfigurationError: *user* is not ASCII, for SMTP.
    :raises InsecureTransportError: the connection has no TLS, and leads to another machine.
    :raises imaplib.IMAP4.error: the server refused both tokens, or ``smtplib.SMTPAuthenticationError``.
    """
    if isinstance(connection, smtplib.SMTP) and not user.isascii():  # its error would quote the token
        raise ConfigurationError("must be ASCII, as smtplib sends nothing else", argument="user")
    sock = connection.sock
    if sock is not None and not isinstance(sock, ssl.SSLSocket) and not is_loopback(sock.getpeername()[0]):
        advice = "use IMAP4_SSL or SMTP_SSL, or call starttls() first"
        raise InsecureTransportError("the mail server would get a token in clear", advice=advice)
    token = source.token()
    try:
        _authenticate(connection, user, token)
    except imaplib.IMAP4.abort:  # the connection has ended
        raise
    except (imaplib.IMAP4.error, smtplib.SMTPAuthenticationError):
        if not source.reject(token):
            raise
        token = source.token()
        _authenticate(connection, user, token)
    source.accept(token)


def _authenticate(connection: imaplib.IMAP4 | smtplib.SMTP, user: str, token: Token) -> None:
    def answer(challenge: bytes | None = None) -> str:
        # A challenge that is not empty is an error, and the server waits for an empty answer to it.
        return "" if challenge else f"user={user}\x01auth=Bearer {token.access_token}\x01\x01"

    try:
        if isinstance(connection, imaplib.IMAP4):
            connection.authenticate("XOAUTH2", lambda challenge: answer(challenge).encode())
        else:
            connection.ehlo_or_helo_if_needed()
            connection.auth("XOAUTH2", answer)
    except Exception as error:
        problem = error
    else:
        return
    # Outside of `except`, as the frames of the library, and what it had caught before, hold the token.
    problem.__cause__ = problem.__context__ = None
    try:
        raise problem.with_traceback(None)
    finally:
        del problem  # a cycle: it holds this frame
