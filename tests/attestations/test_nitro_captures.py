"""Nitro documents captured from real enclaves: each verifies, or is refused for its stated reason."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from glasshouse_attestations import nitro
from glasshouse_attestations.errors import (
    DebugError,
    EvidenceSignatureError,
    FreshnessError,
    GlasshouseError,
    MalformedError,
)
from glasshouse_attestations.evidence import Evidence
from support.vectors import case, cases, moment, needs_vectors, vector

pytestmark = needs_vectors

_VERIFY = {
    "dstack/nitro_attestation.bin",
    "dstack/nsm-attest_nitro_attestation.bin",
    "dstack/nsm-qvl_nitro_attestation.bin",
    "base/hinted_attestation_20260103.repaired.bin",
}
_REFUSED: dict[str, tuple[type[GlasshouseError], str]] = {
    "dstack/nitro_attestation_dbg.bin": (DebugError, "debug mode"),
    "fortanix/request_proper.bin": (DebugError, "debug mode"),
    "fortanix/em-app_expired_attestation.bin": (DebugError, "debug mode"),
    "fortanix/tampered_certificate.bin": (MalformedError, "certificate does not parse"),
    "fortanix/tampered_signature.bin": (EvidenceSignatureError, "not signed by its certificate's key"),
    # Three bytes are missing in the middle, as published.
    "base/hinted_attestation_20260103.bin": (MalformedError, "CBOR"),
    # A Sig_structure rather than a COSE_Sign1: what was signed, without the signature.
    "base/indefinite_cbor_parent_attestation.bin": (MalformedError, "protected header"),
}
_REAL = "base/hinted_attestation_20260103.repaired.bin"


def _document(entry: dict[str, Any]) -> bytes:
    data = vector(entry["doc"])
    trailing = re.search(r"trailing=([0-9]+)", entry["survey"])
    return data[: len(data) - int(trailing[1])] if trailing else data


def _time(entry: dict[str, Any]) -> datetime:
    return moment(entry.get("test_time", 1_767_472_867))


def _verify(data: bytes, now: datetime) -> None:
    nitro.verify(Evidence(platform="nitro", quote=data), policy=nitro.Policy(), now=now)


def test_every_capture_is_expected_here() -> None:
    assert {entry["source"] for entry in cases("nitro")} == _VERIFY | _REFUSED.keys()


@pytest.mark.parametrize("source", sorted(_VERIFY))
def test_a_genuine_document_verifies_at_its_time(source: str) -> None:
    entry = case("nitro", source)
    evidence = Evidence(platform="nitro", quote=_document(entry))
    claims = nitro.verify(evidence, policy=nitro.Policy(), now=_time(entry))
    pcr0 = re.search(r"pcr0=([0-9a-f]+)", entry["survey"])
    user_data = re.search(r"ud=([0-9a-f]+)", entry["survey"])
    assert pcr0 is not None
    assert user_data is not None
    assert set(claims.registers) == {"pcr0.sha384", "pcr1.sha384", "pcr2.sha384"}
    assert claims.registers["pcr0.sha384"].hex().startswith(pcr0[1])
    assert claims.report_data.hex().startswith(user_data[1])
    assert claims.debug is False
    assert claims.identity is not None
    assert claims.identity.decode().startswith("i-")


@pytest.mark.parametrize("source", sorted(_REFUSED))
def test_a_spoilt_document_is_refused_for_its_reason(source: str) -> None:
    error, reason = _REFUSED[source]
    entry = case("nitro", source)
    with pytest.raises(error, match=reason) as caught:
        _verify(_document(entry), _time(entry))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "source", sorted(entry["source"] for entry in cases("nitro") if "trailing=1" in entry["survey"])
)
def test_what_an_application_appends_to_a_document_is_refused(source: str) -> None:
    entry = case("nitro", source)
    with pytest.raises(MalformedError, match="followed by other bytes"):
        _verify(vector(entry["doc"]), _time(entry))


@pytest.mark.parametrize("source", sorted(_VERIFY))
def test_a_genuine_document_is_stale_an_hour_later(source: str) -> None:
    entry = case("nitro", source)
    with pytest.raises(FreshnessError, match="older than"):
        _verify(_document(entry), _time(entry) + timedelta(hours=1))


# A flipped serial number is negative, about which the library of certificates warns.
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_every_byte_of_a_genuine_document_counts() -> None:
    entry = case("nitro", _REAL)
    data, now = _document(entry), _time(entry)
    accepted = []
    for offset in range(len(data)):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << offset % 8
        try:
            _verify(bytes(flipped), now)
        except GlasshouseError:
            continue
        accepted.append(offset)
    assert accepted == []


def test_every_truncation_of_a_genuine_document_is_malformed() -> None:
    entry = case("nitro", _REAL)
    data, now = _document(entry), _time(entry)
    for size in range(0, len(data), 7):
        with pytest.raises(MalformedError):
            _verify(data[:size], now)
