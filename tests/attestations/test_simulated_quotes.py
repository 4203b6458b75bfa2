"""Simulated quotes: the launcher's word about an image, and nobody else's."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from glasshouse_attestations import canonical_json, dsse, simulated
from glasshouse_attestations.claims import Claims
from glasshouse_attestations.dsse import Envelope
from glasshouse_attestations.errors import EvidenceSignatureError, MalformedError
from glasshouse_attestations.evidence import Evidence
from support.attestation_samples import (
    EVIDENCE,
    IMAGE_SHA256,
    IMAGE_SHA384,
    LAUNCHER,
    MOMENT,
    REPORT_DATA,
    STRANGER,
)


def verify(evidence: Evidence) -> Claims:
    return simulated.verify(evidence, launcher_keys=[LAUNCHER.public_key])


def quote_of(payload: object, kind: str = simulated.PAYLOAD_TYPE) -> Evidence:
    envelope = dsse.sign(canonical_json.encode(payload), kind, LAUNCHER)  # type: ignore[arg-type]
    return Evidence(platform=simulated.PLATFORM, quote=envelope.encode())


def payload_fields() -> dict[str, Any]:
    fields = canonical_json.parse(Envelope.parse(EVIDENCE.quote).payload, max_size=4096)
    assert isinstance(fields, dict)
    return dict(fields)


def test_the_claims_are_what_the_launcher_signed() -> None:
    claims = verify(Evidence.parse(EVIDENCE.encode()))
    assert claims.platform == "simulated"
    assert claims.registers == {"image.sha256": IMAGE_SHA256, "image.sha384": IMAGE_SHA384}
    assert claims.report_data == REPORT_DATA
    assert dict(claims.attributes) == {"isolation": "namespaces", "quote time": "2030-01-31T12:00:00Z"}


def test_the_claims_say_that_nothing_is_proven_against_the_operator() -> None:
    assert verify(EVIDENCE).unproven == simulated.UNPROVEN
    assert any("operator" in item for item in simulated.UNPROVEN)


def test_every_changed_byte_of_a_quote_is_refused_with_a_named_error() -> None:
    for position in range(len(EVIDENCE.quote)):
        for mask in (0x01, 0x20):
            changed = bytearray(EVIDENCE.quote)
            changed[position] ^= mask
            with pytest.raises((MalformedError, EvidenceSignatureError)):
                verify(Evidence(platform="simulated", quote=bytes(changed)))


def test_every_flipped_bit_of_the_signature_is_refused_as_such() -> None:
    envelope = Envelope.parse(EVIDENCE.quote)
    signature = envelope.signatures[0]
    for bit in range(8 * len(signature.signature)):
        changed = bytearray(signature.signature)
        changed[bit // 8] ^= 1 << bit % 8
        broken = dsse.Signature(key_id=signature.key_id, signature=bytes(changed))
        quote = Envelope(payload=envelope.payload, payload_type=envelope.payload_type, signatures=(broken,))
        with pytest.raises(EvidenceSignatureError):
            verify(Evidence(platform="simulated", quote=quote.encode()))


def test_every_changed_byte_of_the_payload_is_refused_as_not_signed() -> None:
    envelope = Envelope.parse(EVIDENCE.quote)
    for position in range(len(envelope.payload)):
        changed = bytearray(envelope.payload)
        changed[position] ^= 1
        quote = Envelope(
            payload=bytes(changed), payload_type=envelope.payload_type, signatures=envelope.signatures
        )
        with pytest.raises(EvidenceSignatureError):
            verify(Evidence(platform="simulated", quote=quote.encode()))


def test_another_launcher_is_refused() -> None:
    for trusted in ([STRANGER.public_key], []):
        with pytest.raises(EvidenceSignatureError):
            simulated.verify(EVIDENCE, launcher_keys=trusted)


@pytest.mark.parametrize("platform", ["snp", "tdx", "tpm", "Simulated", "simulated ", ""])
def test_a_quote_under_another_platforms_name_is_malformed(platform: str) -> None:
    with pytest.raises(MalformedError, match="not of the simulated platform"):
        verify(Evidence(platform=platform, quote=EVIDENCE.quote))


def test_endorsements_are_malformed_since_none_would_be_checked() -> None:
    with pytest.raises(MalformedError, match="no endorsements"):
        verify(Evidence(platform="simulated", quote=EVIDENCE.quote, endorsements={"a": b""}))


def test_another_document_that_the_launcher_signed_is_malformed() -> None:
    with pytest.raises(MalformedError, match="payload type"):
        verify(quote_of(payload_fields(), kind="application/vnd.in-toto+json"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 2),
        ("version", True),
        ("version", "1"),
        ("image", {"sha256": "00" * 32}),
        ("image", {"sha256": "00" * 32, "sha384": "00" * 32}),
        ("image", {"sha256": "00" * 32, "sha384": "00" * 48, "sha512": "00" * 64}),
        ("image", {"sha256": "AA" * 32, "sha384": "00" * 48}),
        ("image", []),
        ("isolation", "none"),
        ("isolation", "NAMESPACES"),
        ("isolation", ["chroot"]),
        ("reportData", "00" * 63),
        ("reportData", "00" * 65),
        ("reportData", "0x" + "00" * 63),
        ("time", "2030-01-31 12:00:00Z"),
        ("extra", 1),
    ],
)
def test_a_malformed_quote_is_refused_although_it_is_signed(name: str, value: object) -> None:
    fields = payload_fields()
    fields[name] = value
    with pytest.raises(MalformedError):
        verify(quote_of(fields))


@pytest.mark.parametrize("payload", ["", 1, None, [], {}, ["version", 1]])
def test_a_payload_that_is_no_quote_is_malformed(payload: object) -> None:
    with pytest.raises(MalformedError):
        verify(quote_of(payload))


@pytest.mark.parametrize(
    "sizes", [{"image_sha256": 31}, {"image_sha384": 32}, {"report_data": 63}, {"report_data": 0}]
)
def test_a_quote_of_wrong_sizes_is_the_callers_mistake(sizes: dict[str, int]) -> None:
    fields = {"image_sha256": 32, "image_sha384": 48, "report_data": 64} | sizes
    with pytest.raises(ValueError, match="digests have 32 and 48 bytes"):
        simulated.sign_quote(
            LAUNCHER,
            isolation=simulated.Isolation.CHROOT,
            time=MOMENT,
            **{name: bytes(size) for name, size in fields.items()},
        )


@pytest.mark.parametrize("isolation", list(simulated.Isolation))
def test_every_isolation_is_shown(isolation: simulated.Isolation) -> None:
    evidence = simulated.sign_quote(
        LAUNCHER,
        image_sha256=IMAGE_SHA256,
        image_sha384=IMAGE_SHA384,
        isolation=isolation,
        report_data=REPORT_DATA,
        time=datetime(2030, 1, 1, tzinfo=timezone.utc),
    )
    assert dict(verify(evidence).attributes)["isolation"] == isolation.value
