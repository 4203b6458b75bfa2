"""Wiring: what the server is made of, and how it starts, serves and stops.

The server is asynchronous: an upload or a call that waits costs no thread, so slow callers cannot use threads
up; whoever leaves, or takes too long, is cancelled; and the state of the services changes on one thread. All
that computes runs on the bounded threads of the engine.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone

import grpc

from glasshouse_attestations import rpc
from glasshouse_attestations.configuration import PreloadedModel, RuntimeConfiguration
from glasshouse_attestations.rpc import Refusal

from . import health_service, log
from .attestation_service import AttestationService
from .attester import Attester
from .endpoint import Endpoint, generic_handlers
from .engine import Engine
from .errors import RefusedError, StartError
from .gate import Gate
from .identity import Identity
from .inference_service import InferenceService
from .model_store import ModelStore, StoredModel
from .models_service import ModelsService
from .run_directory import RunDirectory

__all__ = ["serve"]

_DRAIN_SECONDS = 5.0
_SHORT_CALL_SECONDS = 20.0
# gRPC has one limit on the size of messages for all methods. So what callers can make the server hold in
# requests is that limit times the inferences allowed at once, these calls, and these uploads.
_SHORT_CALLS = 32
_UPLOADS = 8
# Room beyond the largest request in which a caller still gets the typed refusal, and not gRPC's own.
_MESSAGE_MARGIN = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    configuration: RuntimeConfiguration
    engine: Engine
    models: ModelStore
    inference: InferenceService
    uploads: ModelsService
    attestation: AttestationService
    identity: Identity = field(repr=False)


async def serve(
    *, attester: Attester, run_directory: RunDirectory, listen: str, on_ready: Callable[[int], None]
) -> None:
    """Serve on ``listen`` until SIGTERM or SIGINT, then end the calls under way within a bounded time.

    ``on_ready`` learns the port once calls are accepted. Raises :class:`StartError` or ``MalformedError`` if
    what the operator supplied cannot be used.
    """
    stop = _stop_signal()
    parts = _assemble(attester, run_directory)
    for model in parts.configuration.models:
        await _preload(model, parts, run_directory)
    server = grpc.aio.server(options=_options(parts.configuration), compression=None)
    server.add_generic_rpc_handlers(generic_handlers(_endpoints(parts), parts.configuration))
    port = _bind(server, listen, parts.identity)
    await server.start()
    on_ready(port)
    await stop.wait()
    log.event("draining")
    await server.stop(_DRAIN_SECONDS)
    parts.engine.close()
    log.event("stopped")


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.set_exception_handler(lambda _, context: log.failure(context.get("exception") or RuntimeError()))
    return stop


def _assemble(attester: Attester, run_directory: RunDirectory) -> _Parts:
    configuration_bytes = run_directory.configuration()
    configuration = RuntimeConfiguration.parse(configuration_bytes)
    identity = Identity.generate(now=datetime.now(timezone.utc))
    engine = Engine(capacity=configuration.max_concurrent_requests)
    models = ModelStore(configuration)
    return _Parts(
        configuration=configuration,
        engine=engine,
        models=models,
        inference=InferenceService(
            models=models,
            engine=engine,
            receipt_key=identity.receipt_key,
            max_response_bytes=configuration.max_request_bytes,
        ),
        uploads=ModelsService(models=models, engine=engine),
        attestation=AttestationService(
            attester=attester,
            identity=identity,
            configuration=configuration_bytes,
            run_directory=run_directory,
        ),
        identity=identity,
    )


async def _preload(preloaded: PreloadedModel, parts: _Parts, run_directory: RunDirectory) -> None:
    model_id, sha256 = preloaded.model_id, preloaded.sha256
    data = run_directory.model(sha256, max_size=parts.configuration.max_model_bytes)
    try:
        with parts.models.reserved(model_id, size=len(data)):
            model = await parts.engine.load(data)
            parts.models.put(StoredModel(model_id=model_id, sha256=sha256, size=len(data), model=model))
    except RefusedError as err:
        raise StartError(f"models/{sha256.hex()}.onnx: {err}") from err
    log.event("model-loaded", sha256=sha256.hex())


def _endpoints(parts: _Parts) -> list[Endpoint]:
    """Return an endpoint for each of :data:`rpc.METHODS`."""
    configuration, inference, uploads = parts.configuration, parts.inference, parts.uploads
    infer = Endpoint(
        method=rpc.MODEL_INFER,
        handle=inference.model_infer,
        gate=Gate(configuration.max_concurrent_requests),
        timeout=configuration.inference_timeout_ms / 1000,
        on_timeout=Refusal.INFERENCE_TIMEOUT,
    )
    upload = Endpoint(
        method=rpc.UPLOAD,
        handle=uploads.upload,
        gate=Gate(_UPLOADS),
        timeout=configuration.upload_timeout_ms / 1000,
        on_timeout=Refusal.UPLOAD_TIMEOUT,
    )
    short_calls = Gate(_SHORT_CALLS)
    short = {
        rpc.SERVER_LIVE: inference.server_live,
        rpc.SERVER_READY: inference.server_ready,
        rpc.SERVER_METADATA: inference.server_metadata,
        rpc.MODEL_READY: inference.model_ready,
        rpc.MODEL_METADATA: inference.model_metadata,
        rpc.GET_EVIDENCE: parts.attestation.get_evidence,
        rpc.LIST: uploads.list,
        rpc.DELETE: uploads.delete,
        rpc.HEALTH_CHECK: health_service.check,
    }
    return [
        infer,
        upload,
        *(
            Endpoint(method=method, handle=handle, gate=short_calls, timeout=_SHORT_CALL_SECONDS)
            for method, handle in short.items()
        ),
    ]


def _options(configuration: RuntimeConfiguration) -> list[tuple[str, int]]:
    largest = max(configuration.max_request_bytes, rpc.MAX_CHUNK_SIZE) + _MESSAGE_MARGIN
    return [
        # gRPC reads a message's length first, and does not read a message that is longer than this.
        ("grpc.max_receive_message_length", min(largest, (1 << 31) - 1)),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", 8 << 10),
        ("grpc.absolute_max_metadata_size", 16 << 10),
        ("grpc.max_concurrent_streams", 256),
        # No algorithm but identity: small compressed messages can become large ones.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.max_connection_idle_ms", 600_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        # Two servers on one port would share its callers between two keys.
        ("grpc.so_reuseport", 0),
        ("grpc.enable_retries", 0),
    ]


def _bind(server: grpc.aio.Server, listen: str, identity: Identity) -> int:
    credentials = grpc.ssl_server_credentials([(identity.tls_key_pem, identity.certificate_pem)])
    try:
        port = server.add_secure_port(listen, credentials)
    except RuntimeError as err:
        raise StartError("the address to listen on cannot be used") from err
    if port == 0:
        raise StartError("the address to listen on cannot be used")
    return port
