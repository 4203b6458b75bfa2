"""No bit of a real report, nor of anything that endorses one, can be changed without being noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from glasshouse_attestations import snp
from glasshouse_attestations.errors import (
    CertificateChainError,
    EvidenceSignatureError,
    MalformedError,
    ProductError,
)
from glasshouse_attestations.evidence import Evidence
from support import pki_snp
from support.mutations import a_bit_of_every_byte, accepted, every_bit, flip
from support.snp_captures import amd_chain, evidence_of, lenient, time_of
from support.vectors import needs_vectors

CAPTURE = "oak/genoa_oc"
# Nothing is tolerated. If a change must be, its offset is listed here with the reason.
TOLERATED: dict[str, set[int]] = {}


def verify_with(evidence: Evidence, **changed: bytes) -> object:
    endorsements = {**evidence.endorsements, **changed}
    return snp.verify(
        replace(evidence, endorsements=endorsements), policy=lenient(CAPTURE), now=time_of(CAPTURE)
    )


@needs_vectors
def test_every_bit_of_the_report_counts() -> None:
    evidence, policy, now = evidence_of(CAPTURE), lenient(CAPTURE), time_of(CAPTURE)
    snp.verify(evidence, policy=policy, now=now)
    changes = every_bit(evidence.quote, len(evidence.quote))
    found = accepted(
        changes, lambda quote: snp.verify(replace(evidence, quote=quote), policy=policy, now=now)
    )
    assert found == TOLERATED.get("report", set())


@needs_vectors
@pytest.mark.parametrize("name", ["vcek", "ask", "ark"])
def test_every_byte_of_every_certificate_counts(name: str) -> None:
    evidence = evidence_of(CAPTURE)
    changes = a_bit_of_every_byte(evidence.endorsements[name])
    found = accepted(changes, lambda der: verify_with(evidence, **{name: der}))
    assert found == TOLERATED.get(name, set())


def test_every_byte_of_the_revocation_list_counts() -> None:
    evidence, policy = pki_snp.evidence(), pki_snp.policy()
    crl = pki_snp.revocation_list(77)

    def verify(der: bytes) -> object:
        endorsements = {**evidence.endorsements, "crl": der}
        return snp.verify(replace(evidence, endorsements=endorsements), policy=policy, now=pki_snp.NOW)

    verify(crl)
    assert accepted(a_bit_of_every_byte(crl), verify) == TOLERATED.get("crl", set())


@needs_vectors
def test_the_error_names_the_part_that_was_changed() -> None:
    evidence, policy, now = evidence_of(CAPTURE), lenient(CAPTURE), time_of(CAPTURE)
    quote, vcek = evidence.quote, evidence.endorsements["vcek"]
    for at in (0x50, 0x90, 0x2A0, 0x2E8):
        with pytest.raises(EvidenceSignatureError):
            snp.verify(replace(evidence, quote=flip(quote, at, 0)), policy=policy, now=now)
    for at in (0x330, 0x4C):
        with pytest.raises(MalformedError, match="reserved"):
            snp.verify(replace(evidence, quote=flip(quote, at, 0)), policy=policy, now=now)
    with pytest.raises(CertificateChainError, match="not signed by"):
        verify_with(evidence, vcek=flip(vcek, len(vcek) - 1, 0))
    ark = evidence.endorsements["ark"]
    with pytest.raises(CertificateChainError, match="pinned root"):
        verify_with(evidence, ark=flip(ark, len(ark) - 1, 0))


@needs_vectors
@pytest.mark.parametrize("size", [0, 1, 0x2A0, 0x49F, 0x4A1, 0x940])
def test_a_report_of_another_size_is_malformed(size: int) -> None:
    evidence = evidence_of(CAPTURE)
    quote = (evidence.quote * 2)[:size]
    with pytest.raises(MalformedError, match="1184"):
        snp.verify(replace(evidence, quote=quote), policy=lenient(CAPTURE), now=time_of(CAPTURE))


@needs_vectors
def test_the_certificates_of_another_product_are_refused() -> None:
    genoa, milan = evidence_of(CAPTURE), evidence_of("az/evidence-v0.json")
    turin = evidence_of("oak/turin_oc")
    with pytest.raises(ProductError, match="the endorsement is for Milan, the report of Genoa"):
        verify_with(genoa, **milan.endorsements)
    for other in (milan, turin):
        chain = {name: other.endorsements[name] for name in ("ask", "ark")}
        with pytest.raises(ProductError, match="the root is that of"):
            verify_with(genoa, **chain)
        with pytest.raises(CertificateChainError):
            verify_with(genoa, ask=other.endorsements["ask"])


@needs_vectors
def test_the_vcek_of_another_chip_of_the_same_product_is_refused() -> None:
    with pytest.raises(EvidenceSignatureError):
        verify_with(evidence_of(CAPTURE), vcek=evidence_of("veraison/tsm").endorsements["vcek"])


@needs_vectors
def test_the_intermediate_for_vleks_does_not_endorse_a_vcek() -> None:
    asvk, _ = amd_chain(snp.Product.GENOA, "vlek")
    with pytest.raises(CertificateChainError, match="SEV-Genoa"):
        verify_with(evidence_of(CAPTURE), ask=asvk)
