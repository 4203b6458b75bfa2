"""The service ``glasshouse.v1.Attestation``: what a client needs to decide on trust."""

from __future__ import annotations

import asyncio
import hashlib

from glasshouse_attestations.report_data import NONCE_SIZE, report_data
from glasshouse_attestations.rpc import Refusal
from glasshouse_attestations.wire import attestation_pb2 as wire

from .attester import Attester
from .endpoint import Call
from .errors import RefusedError
from .identity import Identity
from .run_directory import RunDirectory

__all__ = ["AttestationService"]


class AttestationService:
    """Binds a caller's nonce to the enclave's keys and configuration, and has the platform quote that."""

    def __init__(
        self,
        *,
        attester: Attester,
        identity: Identity,
        configuration: bytes,
        run_directory: RunDirectory,
    ) -> None:
        self._attester = attester
        self._identity = identity
        self._configuration = configuration
        self._run_directory = run_directory

    async def get_evidence(self, call: Call) -> wire.GetEvidenceResponse:
        """Return fresh evidence, and beside it the bundle that the operator supplies, as it is now."""
        request = await call.message(wire.GetEvidenceRequest)
        if len(request.nonce) != NONCE_SIZE:
            raise RefusedError(Refusal.NONCE_SIZE)
        evidence = await self._attester.quote(self._report_data(request.nonce))
        return wire.GetEvidenceResponse(
            evidence=evidence.encode(),
            bundle=await asyncio.to_thread(self._run_directory.bundle),
            receipt_public_key=self._identity.receipt_public_key,
            configuration=self._configuration,
        )

    def _report_data(self, nonce: bytes) -> bytes:
        return report_data(
            nonce=nonce,
            tls_spki_sha256=self._identity.tls_spki_sha256,
            receipt_public_key=self._identity.receipt_public_key,
            configuration_sha256=hashlib.sha256(self._configuration).digest(),
        )
