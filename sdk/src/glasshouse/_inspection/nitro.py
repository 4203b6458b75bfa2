"""Nitro attestation documents, field by field (AWS, "Nitro Enclaves Attestation Process", 2.2 and 3.1)."""

from __future__ import annotations

from collections.abc import Iterator

from glasshouse_attestations.errors import GlasshouseError
from glasshouse_attestations.nitro import AttestationDocument, SignedDocument
from glasshouse_attestations.x509 import load_certificate

from .certificates import certificate
from .tree import Node, branch, leaf

__all__ = ["describe"]


def describe(data: bytes) -> Node:
    """Return the document's fields; of registers that are zero it is said what that means for PCR0."""
    signed = SignedDocument.parse(data)
    document = AttestationDocument.parse(signed.payload)
    below = (
        leaf("protected header", "{1: -35} (ES384)"),
        leaf("module_id", document.module_id),
        leaf("digest", "SHA384"),
        leaf("timestamp", document.timestamp),
        branch("pcrs", _registers(document)),
        _certificate("certificate", document.certificate),
        branch("cabundle", (_certificate(f"[{at}]", one) for at, one in enumerate(document.cabundle))),
        leaf("public_key", document.public_key),
        leaf("user_data", document.user_data),
        leaf("nonce", document.nonce),
        leaf("signature", signed.signature),
    )
    return branch("COSE_Sign1 attestation document", below)


def _registers(document: AttestationDocument) -> Iterator[Node]:
    for index, value in sorted(document.pcrs.items()):
        is_debug = index == 0 and not any(value)
        yield leaf(
            f"PCR{index}", f"{value.hex()} (zero: the enclave runs in debug mode)" if is_debug else value
        )


def _certificate(name: str, der: bytes) -> Node:
    try:
        return certificate(name, load_certificate(der))
    except GlasshouseError as err:
        return leaf(name, f"{len(der)} bytes that cannot be read: {err}")
