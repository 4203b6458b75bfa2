"""The one way in: how any call is admitted, read, answered, timed and refused.

Each method is registered as a stream of undecoded messages, which on the wire a single request is, too. So
a call takes its place, and an upload shows its API key, before the server reads a message, and a message
that is not protobuf is refused like any other mistake. This is the only place where errors become statuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.rpc import AUTHORIZATION_METADATA, REFUSAL_METADATA, Method, Refusal

from . import log
from .errors import AttestationUnavailableError, RefusedError
from .gate import Gate

__all__ = ["Call", "Endpoint", "decode", "generic_handlers"]

_Message = TypeVar("_Message", bound=Message)


class Call:
    """One call, as its handler sees it: who calls, and what they send, read only when asked for."""

    def __init__(
        self,
        bodies: AsyncIterator[bytes],
        metadata: Sequence[tuple[str, str | bytes]],
        configuration: RuntimeConfiguration,
    ) -> None:
        self.bodies = bodies
        self._metadata = metadata
        self._configuration = configuration

    @property
    def namespace(self) -> str | None:
        """The namespace of the API key shown, or ``None`` if none was; an unknown key is refused."""
        shown = [value for name, value in self._metadata if name == AUTHORIZATION_METADATA]
        if not shown:
            return None
        scheme, _, api_key = str(shown[0]).partition(" ")
        namespace = self._configuration.namespace_of(api_key)
        if len(shown) > 1 or scheme.lower() != "bearer" or namespace is None:
            raise RefusedError(Refusal.API_KEY_UNKNOWN)
        return namespace

    @property
    def own_namespace(self) -> str:
        """The namespace of the API key shown; without one, the call is refused."""
        if (namespace := self.namespace) is None:
            raise RefusedError(Refusal.API_KEY_REQUIRED)
        return namespace

    async def body(self) -> bytes:
        """Return the one message of the call, undecoded; refuses none, several, and one that is too large."""
        bodies = [body async for body in _at_most(2, self.bodies)]
        if len(bodies) != 1:
            raise RefusedError(Refusal.REQUEST_MALFORMED)
        if len(bodies[0]) > self._configuration.max_request_bytes:
            raise RefusedError(Refusal.REQUEST_TOO_LARGE)
        return bodies[0]

    async def message(self, type_: type[_Message]) -> _Message:
        """Return the one message of the call."""
        return decode(type_, await self.body())


def decode(type_: type[_Message], body: bytes) -> _Message:
    """Return the message in ``body``; refuses what is none."""
    try:
        return type_.FromString(body)
    except DecodeError:
        raise RefusedError(Refusal.REQUEST_MALFORMED) from None


async def _at_most(count: int, bodies: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for body in bodies:
        yield body
        count -= 1
        if count == 0:
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A method, what answers it, and how many may call it for how long (``timeout`` in seconds).

    The time counts from a call's admission to its answer, so that a caller who sends slowly, or nothing,
    does not keep a place.
    """

    method: Method
    handle: Callable[[Call], Awaitable[Message]]
    gate: Gate
    timeout: float
    on_timeout: Refusal = Refusal.REQUEST_TIMEOUT


def generic_handlers(
    endpoints: Sequence[Endpoint], configuration: RuntimeConfiguration
) -> tuple[grpc.GenericRpcHandler, ...]:
    """Return gRPC's handlers for ``endpoints``, one for each service."""
    services: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        services.setdefault(endpoint.method.service, {})[endpoint.method.name] = (
            grpc.stream_unary_rpc_method_handler(_behaviour(endpoint, configuration))
        )
    return tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items())


def _behaviour(endpoint: Endpoint, configuration: RuntimeConfiguration) -> Callable[..., Awaitable[bytes]]:
    async def answer(bodies: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        call = Call(bodies, tuple(context.invocation_metadata() or ()), configuration)
        try:
            with endpoint.gate.held():
                response = await asyncio.wait_for(endpoint.handle(call), endpoint.timeout)
                return response.SerializeToString()
        except RefusedError as err:
            refusal = err.refusal
        except asyncio.TimeoutError:
            refusal = endpoint.on_timeout
        except AttestationUnavailableError:
            refusal = Refusal.ATTESTATION_UNAVAILABLE
        except Exception as err:  # noqa: BLE001 - whatever it is, the caller gets a fixed text
            log.failure(err)
            refusal = Refusal.INTERNAL
        await context.abort(
            grpc.StatusCode[refusal.status], refusal.text, ((REFUSAL_METADATA, refusal.reason),)
        )
        raise AssertionError("abort raises")

    return answer
