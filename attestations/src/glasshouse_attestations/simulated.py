"""Quotes of the ``simulated`` platform: for development, since they prove nothing against the operator.

A quote is a DSSE envelope signed by the launcher, a process apart from the enclave that measured the image
file before it started it. Whoever holds the launcher's key can sign any measurement.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import Enum

from . import canonical_json, dsse
from .claims import Claims
from .document import Document, format_time
from .errors import EvidenceSignatureError, MalformedError, SignatureError, UntrustedKeyError
from .evidence import Evidence
from .keys import PublicKey, SigningKey
from .report_data import REPORT_DATA_SIZE

__all__ = ["PAYLOAD_TYPE", "PLATFORM", "UNPROVEN", "Isolation", "sign_quote", "verify"]

PLATFORM = "simulated"
PAYLOAD_TYPE = "application/vnd.glasshouse.simulated-quote+json"
UNPROVEN = (
    "that the operator cannot read the memory of the server",
    "that the launcher measured honestly: its key is software",
    "which kernel runs: only the image's own userland is started",
)


class Isolation(Enum):
    """How the launcher keeps the image's userland apart from the host's, strongest first."""

    NAMESPACES = "namespaces"
    CHROOT = "chroot"
    LOADER = "loader"


def sign_quote(
    key: SigningKey,
    *,
    image_sha256: bytes,
    image_sha384: bytes,
    isolation: Isolation,
    report_data: bytes,
    time: datetime,
) -> Evidence:
    """Return evidence, signed by the launcher's ``key``, that the image with these digests was started."""
    if (len(image_sha256), len(image_sha384), len(report_data)) != (32, 48, REPORT_DATA_SIZE):
        raise ValueError("digests have 32 and 48 bytes, report data has 64")
    payload = canonical_json.encode(
        {
            "version": 1,
            "image": {"sha256": image_sha256.hex(), "sha384": image_sha384.hex()},
            "isolation": isolation.value,
            "reportData": report_data.hex(),
            "time": format_time(time),
        }
    )
    return Evidence(platform=PLATFORM, quote=dsse.sign(payload, PAYLOAD_TYPE, key).encode())


def verify(evidence: Evidence, *, launcher_keys: Collection[PublicKey]) -> Claims:
    """Return the claims of a simulated quote signed by one of ``launcher_keys``.

    Raises :class:`MalformedError` for bytes that are no such quote, and :class:`EvidenceSignatureError` if
    no trusted launcher signed it or the signature is broken.
    """
    if evidence.platform != PLATFORM:
        raise MalformedError("the evidence is not of the simulated platform")
    if evidence.endorsements:
        raise MalformedError("simulated evidence has no endorsements")
    envelope = dsse.Envelope.parse(evidence.quote)
    try:
        dsse.verify(envelope, payload_type=PAYLOAD_TYPE, trusted=launcher_keys)
    except (SignatureError, UntrustedKeyError) as err:
        raise EvidenceSignatureError(f"the simulated quote is not the launcher's: {err}") from err
    return _parse_claims(envelope.payload)


def _parse_claims(payload: bytes) -> Claims:
    document = Document(canonical_json.parse(payload, max_size=4096, max_depth=2), "quote")
    document.constant("version", 1)
    image = document.document("image")
    registers = {"image.sha256": image.digest("sha256"), "image.sha384": image.digest("sha384", 48)}
    image.end()
    isolation = _parse_isolation(document.text("isolation", max_length=16))
    report_data = document.digest("reportData", REPORT_DATA_SIZE)
    time = document.time("time")
    document.end()
    return Claims(
        platform=PLATFORM,
        registers=registers,
        report_data=report_data,
        attributes=(("isolation", isolation.value), ("quote time", format_time(time))),
        unproven=UNPROVEN,
    )


def _parse_isolation(text: str) -> Isolation:
    try:
        return Isolation(text)
    except ValueError:
        raise MalformedError("quote.isolation is not namespaces, chroot or loader") from None
