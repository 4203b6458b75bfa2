"""A man in the middle: a TLS server with a key of its own, which forwards every call and writes it down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import grpc

from glasshouse_enclave.identity import Identity

__all__ = ["Relay", "always", "forward_to", "relay"]

Answer = Callable[[str, bytes], bytes]


class Relay(grpc.GenericRpcHandler):
    """What the server saw: each call's path, request and metadata."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.seen: list[tuple[str, bytes, dict[str, Any]]] = []
        self.address = ""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = handler_call_details.method

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.seen.append((path, request, dict(context.invocation_metadata())))
            return self.answer(path, request)

        return grpc.unary_unary_rpc_method_handler(handle)


@contextmanager
def relay(answer: Answer, *, identity: Identity | None = None, port: int = 0) -> Iterator[Relay]:
    """Serve with a fresh key, or that of ``identity``, whatever ``answer`` gives for a path and a request."""
    own = Identity.generate(now=datetime.now(timezone.utc)) if identity is None else identity
    handler = Relay(answer)
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handler,))
    credentials = grpc.ssl_server_credentials([(own.tls_key_pem, own.certificate_pem)])
    handler.address = f"127.0.0.1:{server.add_secure_port(f'127.0.0.1:{port}', credentials)}"
    server.start()
    try:
        yield handler
    finally:
        server.stop(None).wait()


def always(reply: bytes) -> Answer:
    """An answer that is the same whatever was asked."""

    def answer(path: str, request: bytes) -> bytes:
        return reply

    return answer


def forward_to(channel: grpc.Channel) -> Answer:
    """An answer that is the server's behind ``channel``, byte for byte."""

    def answer(path: str, request: bytes) -> bytes:
        call: Any = channel.unary_unary(path)
        reply: bytes = call(request, timeout=30)
        return reply

    return answer
