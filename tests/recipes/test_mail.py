"""The recipe for IMAP and SMTP, against servers on loopback that speak just enough."""

from __future__ import annotations

import base64
import imaplib
import smtplib
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from auth_plugins import ConfigurationError, InsecureTransportError
from auth_plugins.bridges import mail_login
from tests.support.frames import frames_of
from tests.support.recipes import Recipe

ERROR = base64.b64encode(b'{"status":"400","schemes":"Bearer"}')


class Mail(socketserver.StreamRequestHandler):
    """Reads lines; accepts XOAUTH2 with a live token."""

    #: The test's, as is what was accepted and refused.
    live: ClassVar[Callable[[str], bool]]
    log: ClassVar[list[str]]

    def send(self, *lines: bytes) -> None:
        self.wfile.writelines(line + b"\r\n" for line in lines)

    def accepts(self, response: bytes) -> bool:
        user, bearer = base64.b64decode(response).decode().removesuffix("\x01\x01").split("\x01")
        assert user == "user=orders@example.com"
        accepted = type(self).live(bearer.removeprefix("auth=Bearer "))
        self.log.append(f"{type(self).__name__} {accepted}")
        return accepted


class Imap(Mail):
    def handle(self) -> None:
        self.send(b"* OK ready")
        for line in self.rfile:
            tag, command, *_ = line.split()
            if command == b"CAPABILITY":
                self.send(b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2")
            if command == b"AUTHENTICATE":
                self.send(b"+ ")
                if not self.accepts(self.rfile.readline()):
                    self.send(b"+ " + ERROR)
                    assert self.rfile.readline() == b"\r\n"
                    self.send(tag + b" NO refused")
                    continue
            self.send(tag + b" OK done")
            if command == b"LOGOUT":
                return


class Smtp(Mail):
    def handle(self) -> None:
        self.send(b"220 ready")
        for line in self.rfile:
            command = line.split()[0].upper()
            if command == b"EHLO":
                self.send(b"250-here", b"250 AUTH XOAUTH2")
            elif command == b"AUTH" and not self.accepts(line.split()[2]):
                self.send(b"334 " + ERROR)
                assert self.rfile.readline() == b"\r\n"
                self.send(b"535 refused")
            elif command == b"DATA":
                self.send(b"354 go on")
                while self.rfile.readline() != b".\r\n":
                    pass
                self.send(b"250 done")
            else:
                self.send({b"AUTH": b"235 done", b"QUIT": b"221 bye"}.get(command, b"250 done"))
            if command == b"QUIT":
                return


@pytest.fixture
def log(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the servers that the page reaches accepted and refused."""
    log: list[str] = []
    monkeypatch.setattr(Mail, "live", lambda token: token in recipe.server.live, raising=False)
    monkeypatch.setattr(Mail, "log", log, raising=False)
    servers = [socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) for handler in (Imap, Smtp)]
    for server, kind in zip(servers, ("imaplib.IMAP4", "smtplib.SMTP"), strict=True):
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        host = f"{kind[:4]}.example.com"
        recipe.replaced[f'{kind}_SSL("{host}")'] = f'{kind}("127.0.0.1", {server.server_address[1]})'
    yield log
    for server in servers:
        server.shutdown()
        server.server_close()


def test_both_log_in(recipe: Recipe, log: list[str]) -> None:
    """IMAP and SMTP share a token; after a revocation, the first login replaces it, in the same connection."""
    recipe.run()
    assert (log, recipe.tokens()) == (["Imap True", "Smtp True"], 1)
    recipe.server.revoke()
    recipe.run()
    assert (log[2:], recipe.tokens()) == (["Imap False", "Imap True", "Smtp True"], 2)


@pytest.mark.parametrize(
    ("connect", "error"),
    [(imaplib.IMAP4, imaplib.IMAP4.error), (smtplib.SMTP, smtplib.SMTPAuthenticationError)],
)
def test_a_server_that_refuses_all_tokens(
    recipe: Recipe, log: list[str], monkeypatch: pytest.MonkeyPatch, connect: Any, error: type[Exception]
) -> None:
    """The library's own error is raised; while new tokens are refused too, one login is tried."""
    monkeypatch.setattr(Mail, "live", lambda _: False)
    name = f"{connect.__module__}.{connect.__name__}"
    made = next(text for text in recipe.replaced.values() if text.startswith(name))
    source = recipe.source()
    for attempts in (2, 3):
        with eval(made, {"imaplib": imaplib, "smtplib": smtplib}) as connection, pytest.raises(error) as raised:
            mail_login(connection, "orders@example.com", source)
        # No frame of the library, whose variables hold the token.
        assert {Path(frame.f_code.co_filename).stem for frame in frames_of(raised.value)} <= {"test_mail", "mail"}
        assert len(log) == attempts
    assert recipe.tokens() == 2


def test_a_connection_that_ends_gets_no_second_login(recipe: Recipe, log: list[str]) -> None:
    """A connection that ends during the login says nothing of the token."""
    source, connection = recipe.source(), imaplib.IMAP4.__new__(imaplib.IMAP4)

    def end(*_: Any) -> None:
        raise imaplib.IMAP4.abort("the connection has ended")

    vars(connection).update(authenticate=end, sock=SimpleNamespace(getpeername=lambda: ("127.0.0.1", 143)))
    with pytest.raises(imaplib.IMAP4.abort):
        mail_login(connection, "orders@example.com", source)
    assert source.token().access_token == "token-1"


def test_an_address_that_smtplib_cannot_send(recipe: Recipe) -> None:
    """Smtplib sends ASCII only, and its error would quote the token: the address is refused before."""
    with smtplib.SMTP() as connection, pytest.raises(ConfigurationError, match="user must be ASCII"):
        mail_login(connection, "jürgen@example.com", recipe.source())
    assert recipe.tokens() == 0


def test_no_token_in_clear(recipe: Recipe) -> None:
    """Without TLS, no token goes to another machine, and none is fetched."""
    connection = smtplib.SMTP()
    vars(connection).update(sock=SimpleNamespace(getpeername=lambda: ("192.0.2.1", 25)))
    with pytest.raises(InsecureTransportError, match="starttls"):
        mail_login(connection, "orders@example.com", recipe.source())
    assert recipe.tokens() == 0
