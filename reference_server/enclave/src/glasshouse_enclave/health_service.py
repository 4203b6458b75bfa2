"""The service ``grpc.health.v1.Health``, as load balancers ask for it."""

from __future__ import annotations

from glasshouse_attestations.rpc import METHODS, Refusal
from glasshouse_attestations.wire import health_pb2 as wire

from .endpoint import Call
from .errors import RefusedError

__all__ = ["check"]

_SERVICES = frozenset({"", *(method.service for method in METHODS)})


async def check(call: Call) -> wire.HealthCheckResponse:
    """Say that a service serves; the empty name means the whole server."""
    request = await call.message(wire.HealthCheckRequest)
    if request.service not in _SERVICES:
        raise RefusedError(Refusal.SERVICE_UNKNOWN)
    return wire.HealthCheckResponse(status=wire.HealthCheckResponse.SERVING)
