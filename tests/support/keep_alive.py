"""A token endpoint that keeps its connections open, with or without TLS, and notes which one carried each request."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import itertools
import json
import socketserver
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class KeepAlive:
    """Answers each request with a token that names its client, once :attr:`gate` is open.

    :param certificate: the server's certificate and key; ``None``: no TLS.
    :param clients: the certificates of clients, one of which each connection must have; ``None``: none is asked for.
    :param version: the highest version of TLS.
    """

    def __init__(
        self,
        certificate: Path | None = None,
        clients: Sequence[Path] | None = None,
        version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> None:
        #: The name in the certificate of each request's client.
        self.peers: list[str] = []
        #: The names in certificates, and the clients, that are refused; ``"?"``: those without an id in the body.
        self.refused: set[str] = set()
        #: The client and the number of the connection of each request.
        self.requests: list[tuple[str, int]] = []
        #: By path, what a GET gets.
        self.documents: dict[str, Any] = {}
        #: Cleared to hold answers back.
        self.gate = threading.Event()
        self.gate.set()
        #: Set when a request has arrived.
        self.came = threading.Event()
        server = self
        numbers = itertools.count()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                self.number = next(numbers)
                super().setup()

            def log_message(self, *_: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                client = parse_qs(body).get("client_id", ["?"])[0]
                server.requests.append((client, self.number))
                if clients is not None:
                    server.peers.append(self.connection.getpeercert()["subject"][0][0][1])
                server.came.set()
                server.gate.wait(20)
                is_refused = not server.refused.isdisjoint([client, *server.peers[-1:]])
                members = {"error": "invalid_client"} if is_refused else {"access_token": f"token-of-{client}"}
                self.answer(401 if is_refused else 200, members)

            def do_GET(self) -> None:
                self.answer(200, server.documents.get(self.path, {}))

            def answer(self, status: int, members: Any) -> None:
                answer = json.dumps(members).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            context.maximum_version = version
            for path in clients or ():
                context.load_verify_locations(path)
            context.verify_mode = ssl.CERT_NONE if clients is None else ssl.CERT_REQUIRED
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def make_certificate(directory: Path, name: str = "127.0.0.1", days: int = 1) -> Path:
    """Write a self-signed certificate for *name* that expires in *days*, and its key, to one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    address = x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(ends - dt.timedelta(days=9))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "certificate-and-key.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
