"""What a quote binds: the one computation that the enclave and its clients share."""

from __future__ import annotations

import hashlib

from .framing import frame

__all__ = ["NONCE_SIZE", "REPORT_DATA_SIZE", "qualifying_data", "report_data"]

NONCE_SIZE = 32
REPORT_DATA_SIZE = 64
_DOMAIN = b"glasshouse report data v1"


def report_data(
    *, nonce: bytes, tls_spki_sha256: bytes, receipt_public_key: bytes, configuration_sha256: bytes
) -> bytes:
    """Return the 64 bytes that bind a client's nonce to one enclave's keys and configuration.

    ``SHA-512(domain ‖ NUL ‖ field(nonce) ‖ field(SHA-256 of the TLS key's SPKI) ‖ field(receipt key) ‖
    field(SHA-256 of the runtime configuration))``, where each value has 32 bytes and ``field`` puts its
    length in front. ``receipt_public_key`` is the raw Ed25519 key.
    """
    values = (nonce, tls_spki_sha256, receipt_public_key, configuration_sha256)
    if any(len(value) != 32 for value in values):
        raise ValueError("each value that report data binds has 32 bytes")
    return hashlib.sha512(frame(_DOMAIN, *values)).digest()


def qualifying_data(report_data: bytes) -> bytes:
    """Return what a TPM's quote has in place of the 64 bytes: their SHA-256, since not every TPM takes 64."""
    if len(report_data) != REPORT_DATA_SIZE:
        raise ValueError(f"report data has {REPORT_DATA_SIZE} bytes")
    return hashlib.sha256(report_data).digest()
