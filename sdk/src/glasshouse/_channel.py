"""The connection to a server: gRPC over TLS, pinned to exactly the certificate that the server first shows.

The certificate is self-signed and says nothing by itself; the quote says whose key it has. There is no way
to open a channel without TLS, and none to another certificate than the pinned one.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.message import DecodeError, Message

from glasshouse_attestations.rpc import AUTHORIZATION_METADATA, REFUSAL_METADATA, SERVER_NAME, Method

from ._refusal import refused
from .errors import (
    AnswerError,
    CertificateChangedError,
    ConfigurationError,
    DeadlineError,
    GlasshouseError,
    MalformedError,
    ServerUnavailableError,
)

__all__ = ["Address", "PinnedChannel", "fetch_certificate"]

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host name or IP address, and a TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address that ``host:port`` or ``[IPv6]:port`` writes."""
        match = _ADDRESS.fullmatch(text)
        if match is None or not 0 < int(match[3]) < 65536:
            raise ConfigurationError(
                f"the address {text!r} is not of the form host:port",
                hint="write it like enclave.example:50051, without a scheme or a path",
            )
        return cls(host=match[1] or match[2], port=int(match[3]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A server's certificate, in DER, as it came out of a TLS handshake."""

    der: bytes

    @property
    def spki_sha256(self) -> bytes:
        """The SHA-256 of the key's SubjectPublicKeyInfo, which is what quotes bind."""
        try:
            key = x509.load_der_x509_certificate(self.der).public_key()
        except (ValueError, UnsupportedAlgorithm) as err:
            raise MalformedError(
                "the server's certificate does not parse, or its key is of no known kind"
            ) from err
        return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def fetch_certificate(address: Address, *, timeout: float) -> Certificate:
    """Return the certificate of the server at ``address``: a TLS handshake, and not a byte more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    # Nobody vouches for this certificate yet: the quote will have to, before anything is sent.
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((address.host, address.port), timeout=timeout) as connection,
            context.wrap_socket(connection, server_hostname=SERVER_NAME) as tls,
        ):
            der = tls.getpeercert(binary_form=True)
    except TimeoutError as err:
        raise DeadlineError(f"the server at {address} did not answer in time") from err
    except UnicodeError as err:
        raise ConfigurationError(
            f"{address.host!r} is not the name of a host", hint="write it like enclave.example:50051"
        ) from err
    except OSError as err:
        # ssl.SSLError is one, too: a server without TLS is no server of ours.
        raise ServerUnavailableError(f"no TLS connection to {address}: {err.strerror or 'refused'}") from err
    if der is None:
        raise ServerUnavailableError(f"the server at {address} showed no certificate")
    return Certificate(der=der)


class PinnedChannel:
    """Calls to whoever has the certificate's key, and to nobody else, however often it reconnects."""

    def __init__(
        self, address: Address, certificate: Certificate, *, max_request_bytes: int, max_response_bytes: int
    ) -> None:
        self._address = address
        self._certificate = certificate
        pem = ssl.DER_cert_to_PEM_cert(certificate.der).encode("ascii")
        self._channel = grpc.secure_channel(
            f"dns:///{address}",
            grpc.ssl_channel_credentials(root_certificates=pem),
            options=(
                ("grpc.ssl_target_name_override", SERVER_NAME),
                ("grpc.max_send_message_length", max_request_bytes),
                ("grpc.max_receive_message_length", max_response_bytes),
                # What the environment says about proxies is not for a pinned connection.
                ("grpc.enable_http_proxy", 0),
                ("grpc.enable_retries", 0),
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.service_config_disable_resolution", 1),
            ),
        )

    def call(
        self,
        method: Method,
        request: Message | Iterable[Message],
        *,
        timeout: float,
        api_key: str | None = None,
    ) -> Message:
        """Return the server's answer. Raises what :mod:`glasshouse.errors` has for each way to get none."""
        metadata = ((AUTHORIZATION_METADATA, f"Bearer {api_key}"),) if api_key else ()
        try:
            data: bytes = self._stub(method)(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as err:
            raise self._translate(err, timeout) from err
        try:
            return method.response.FromString(data)
        except DecodeError as err:
            raise AnswerError("the server's answer does not parse") from err

    def close(self) -> None:
        """End the connection; calls under way are cancelled."""
        self._channel.close()

    def _stub(self, method: Method) -> Any:
        make = self._channel.stream_unary if method.streams_requests else self._channel.unary_unary
        # The answer's bytes are parsed by the caller: gRPC would log what does not parse.
        return make(method.path, request_serializer=method.request.SerializeToString)

    def _translate(self, err: Any, timeout: float) -> GlasshouseError:
        trailing = dict(err.trailing_metadata() or ())
        reason = trailing.get(REFUSAL_METADATA)
        if reason is not None:
            return refused(reason)
        status = err.code()
        if status is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineError(f"the server did not answer within {timeout:g} s")
        if status is grpc.StatusCode.UNAVAILABLE:
            return self._why_unavailable(timeout)
        return ServerUnavailableError(f"the call failed with the status {status.name}")

    def _why_unavailable(self, timeout: float) -> GlasshouseError:
        """Tell a server that is gone from one that came back with another key: one more handshake."""
        try:
            found = fetch_certificate(self._address, timeout=timeout)
        except GlasshouseError as err:
            return err
        if found != self._certificate:
            return CertificateChangedError(f"the server at {self._address} has another TLS key now")
        return ServerUnavailableError(f"the connection to {self._address} broke off")
