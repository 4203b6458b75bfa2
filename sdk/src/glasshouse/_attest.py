"""The handshake: ask a server for its evidence, verify it, and open the channel that may be used.

All input and output around the verifier is here. Until it is through, the server has been sent a TLS
handshake and one request with a random nonce.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from glasshouse_attestations.bundle import MAX_BUNDLE_SIZE
from glasshouse_attestations.evidence import MAX_EVIDENCE_SIZE
from glasshouse_attestations.report_data import NONCE_SIZE
from glasshouse_attestations.rpc import GET_EVIDENCE
from glasshouse_attestations.wire.attestation_pb2 import GetEvidenceRequest, GetEvidenceResponse

from ._channel import Address, Certificate, PinnedChannel, fetch_certificate
from ._log import Remembered
from ._memory import Memory
from ._policy import Policy
from ._verifier import Attestation, Channel, VerifiedServer, verify_attestation
from .errors import MemoryUnusableError, RevokedError, SplitViewError

__all__ = ["Attested", "attest"]

_MAX_QUESTION = 1 << 10
_MAX_ANSWER = MAX_EVIDENCE_SIZE + MAX_BUNDLE_SIZE + (128 << 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """A verified server, the certificate whose key the quote binds, and what was verified."""

    server: VerifiedServer
    certificate: Certificate
    attestation: Attestation
    channel: Channel


def attest(
    address: Address, policy: Policy, memory: Memory, *, timeout: float, clock: Callable[[], datetime]
) -> Attested:
    """Return the server at ``address`` if all twelve steps pass, and remember its log's checkpoint."""
    certificate = fetch_certificate(address, timeout=timeout)
    channel = Channel(nonce=secrets.token_bytes(NONCE_SIZE), tls_spki_sha256=certificate.spki_sha256)
    attestation = _ask(address, certificate, channel.nonce, timeout=timeout)
    with memory.locked():
        remembered = memory.recall()
        server = _verify(attestation, policy, channel, memory, remembered, now=clock())
        memory.remember(
            remembered,
            log_key=server.trusted.log_key,
            checkpoint=server.trusted.checkpoint.raw,
            revocations=server.trusted.revocations,
        )
    return Attested(server=server, certificate=certificate, attestation=attestation, channel=channel)


def _ask(address: Address, certificate: Certificate, nonce: bytes, *, timeout: float) -> Attestation:
    # A channel of its own, whose limits do not depend on anything the server says.
    asking = PinnedChannel(
        address, certificate, max_request_bytes=_MAX_QUESTION, max_response_bytes=_MAX_ANSWER
    )
    try:
        answer = cast(
            GetEvidenceResponse,
            asking.call(GET_EVIDENCE, GetEvidenceRequest(nonce=nonce), timeout=timeout),
        )
    finally:
        asking.close()
    return Attestation(
        evidence=answer.evidence,
        bundle=answer.bundle,
        receipt_public_key=answer.receipt_public_key,
        configuration=answer.configuration,
    )


def _verify(
    attestation: Attestation,
    policy: Policy,
    channel: Channel,
    memory: Memory,
    remembered: Remembered,
    *,
    now: datetime,
) -> VerifiedServer:
    try:
        return verify_attestation(attestation, policy, channel=channel, remembered=remembered, now=now)
    except RevokedError as err:
        # The one thing worth keeping of a failure: the server must not be able to leave it out next time.
        try:
            memory.remember_revocations(remembered, err.revocations)
        except MemoryUnusableError as failure:
            err.hint = f"this could not be remembered, so a server may hide it next time: {failure}"
        raise
    except SplitViewError as err:
        try:
            kept = memory.keep_evidence(err)
            err.hint = f"send {kept[0]} and {kept[1]} to the log's monitors: together they convict the log"
        except MemoryUnusableError as failure:
            err.hint = f"the two checkpoints that convict the log could not be saved: {failure}"
        raise
