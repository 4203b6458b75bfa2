"""A relay: somebody who ends the TLS connection with a key of their own and passes everything on.

The evidence that comes back is the genuine enclave's. Without the binding of a quote to the TLS key, the
relay would read and change whatever the client sends.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from glasshouse_attestations.rpc import SERVER_NAME

__all__ = ["relaying"]

_CHUNK = 65_536


@contextlib.contextmanager
def relaying(address: str, folder: Path) -> Iterator[str]:
    """Stand before the server at ``address`` for the length of a ``with`` block; gives its own address."""
    certificate = _own_certificate(folder)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, address, certificate), daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        # Closing alone does not wake a thread that waits to accept.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _accept(listener: socket.socket, address: str, certificate: Path) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_pass_on, args=(connection, address, certificate), daemon=True).start()


def _pass_on(connection: socket.socket, address: str, certificate: Path) -> None:
    """Be the server to the client and the client to the server, and copy what either says."""
    host, _, port = address.rpartition(":")
    # A client that only looks at the certificate hangs up at once, which is no matter.
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        stack.enter_context(connection)
        client = stack.enter_context(_as_server(certificate).wrap_socket(connection, server_side=True))
        onward = stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
        server = stack.enter_context(_as_client().wrap_socket(onward, server_hostname=SERVER_NAME))
        _copy_both_ways(client, server)


def _copy_both_ways(client: ssl.SSLSocket, server: ssl.SSLSocket) -> None:
    answers = threading.Thread(target=_copy, args=(server, client), daemon=True)
    answers.start()
    _copy(client, server)
    answers.join()


def _copy(source: ssl.SSLSocket, sink: ssl.SSLSocket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _as_server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2"])
    return context


def _as_client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def _own_certificate(folder: Path) -> Path:
    """Write a certificate for the enclave's name, and its key, into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "relay.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
