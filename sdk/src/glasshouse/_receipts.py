"""Receipts that somebody else can verify later: the enclave's signature, and why its key can be trusted."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from glasshouse_attestations import canonical_json
from glasshouse_attestations.document import Document, parse_base64
from glasshouse_attestations.receipt import Receipt, Tensor, receipt_public_key, tensors_digest
from glasshouse_attestations.report_data import NONCE_SIZE

from ._log import Remembered
from ._policy import Policy
from ._verifier import Attestation, Channel, VerifiedServer, verify_attestation
from .errors import MalformedError, ReceiptError, SignatureError, UntrustedKeyError

__all__ = ["SignedReceipt", "VerifiedReceipt", "check_receipt", "verify_receipt"]

_SCHEMA = "glasshouse/signed-receipt/v1"
_MAX_RECEIPT = 64 << 10
_MAX_SIZE = 8 << 20
_NOT_FRESH = (
    "that the evidence was fresh when the receipt was made: only the client that drew the nonce knows"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedReceipt:
    """A receipt's envelope, with the attestation and the channel that show whose key signed it."""

    envelope: bytes
    attestation: Attestation
    channel: Channel

    @classmethod
    def parse(cls, data: bytes) -> SignedReceipt:
        """Return the receipt in ``data``: canonical JSON of at most 8 MiB."""
        document = Document(canonical_json.parse(data, max_size=_MAX_SIZE, max_depth=2), "receipt")
        document.constant("schema", _SCHEMA)

        def part(name: str) -> bytes:
            return parse_base64(document.value(name), f"receipt.{name}", max_size=_MAX_SIZE)

        parsed = cls(
            envelope=part("envelope"),
            attestation=Attestation(
                evidence=part("evidence"),
                bundle=part("bundle"),
                receipt_public_key=part("receipt_public_key"),
                configuration=part("configuration"),
            ),
            channel=Channel(
                nonce=document.digest("nonce", NONCE_SIZE),
                tls_spki_sha256=document.digest("tls_spki_sha256"),
            ),
        )
        document.end()
        return parsed

    def encode(self) -> bytes:
        """Write the receipt as :meth:`parse` reads it."""
        parts = {
            "envelope": self.envelope,
            "evidence": self.attestation.evidence,
            "bundle": self.attestation.bundle,
            "receipt_public_key": self.attestation.receipt_public_key,
            "configuration": self.attestation.configuration,
        }
        return canonical_json.encode(
            {
                "schema": _SCHEMA,
                "nonce": self.channel.nonce.hex(),
                "tls_spki_sha256": self.channel.tls_spki_sha256.hex(),
                **{name: base64.b64encode(part).decode("ascii") for name, part in parts.items()},
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt:
    """What a trusted enclave signed, that enclave, and in words what the two together do not show."""

    receipt: Receipt
    server: VerifiedServer
    unproven: tuple[str, ...]


def check_receipt(
    envelope: bytes,
    *,
    receipt_key: bytes,
    model_id: str,
    nonce: bytes,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> Receipt:
    """Return the receipt if the key signed it for exactly this model, this nonce and these tensors.

    ``model_id`` may be a bare name, of which the server chose the namespace.
    Raises ``MalformedError`` or :class:`ReceiptError`.
    """
    receipt = _verify_signature(envelope, receipt_key)
    if model_id not in (str(receipt.model_id), receipt.model_id.name):
        raise ReceiptError("the receipt is for another model")
    if receipt.nonce != nonce:
        raise ReceiptError("the receipt is for another nonce")
    if receipt.inputs_sha256 != tensors_digest(inputs):
        raise ReceiptError("the receipt is for other inputs")
    if receipt.outputs_sha256 != tensors_digest(outputs):
        raise ReceiptError("the receipt is for other outputs")
    return receipt


def verify_receipt(
    data: bytes | SignedReceipt, policy: Policy, *, now: datetime | None = None
) -> VerifiedReceipt:
    """Return what an enclave signed, if at the receipt's own time the policy would have trusted it.

    Offline. ``now`` instead asks whether the policy trusts it at another moment. The receipt names the model
    and the tensors by digest: whether these are yours is for you to compare (`tensors_digest`).
    Raises what a connection raises, and :class:`ReceiptError`.
    """
    signed = data if isinstance(data, SignedReceipt) else SignedReceipt.parse(data)
    receipt = _verify_signature(signed.envelope, signed.attestation.receipt_public_key)
    server = verify_attestation(
        signed.attestation,
        policy,
        channel=signed.channel,
        remembered=Remembered(),
        now=receipt.time if now is None else now,
    )
    return VerifiedReceipt(receipt=receipt, server=server, unproven=(*server.verdict.unproven, _NOT_FRESH))


def _verify_signature(envelope: bytes, key: bytes) -> Receipt:
    if len(envelope) > _MAX_RECEIPT:
        raise MalformedError(f"a receipt has at most {_MAX_RECEIPT} bytes")
    try:
        return Receipt.verify(envelope, receipt_key=receipt_public_key(key))
    except ValueError as err:
        raise MalformedError(f"the receipt key is none: {err}") from err
    except (SignatureError, UntrustedKeyError) as err:
        raise ReceiptError(f"the receipt is not signed by the attested key: {err}") from err
