"""Quotes captured from real TPMs verify, or are refused for the reason that is known of them."""

from __future__ import annotations

import base64
import json
import struct
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key, load_pem_public_key

from glasshouse_attestations import tpm
from glasshouse_attestations.claims import Claims, Outcome
from glasshouse_attestations.errors import (
    CertificateChainError,
    EvidenceSignatureError,
    GlasshouseError,
    IdentityError,
    PcrError,
)
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.tpm import attestation_key
from glasshouse_attestations.tpm.structures import Attestation, PublicArea, Selection
from glasshouse_attestations.x509 import load_pem_chain
from support import gce_attestation, pki, pki_tpm, tpm_quotes
from support.vectors import moment, needs_vectors, vector

pytestmark = needs_vectors

ALL_REGISTERS = frozenset(range(24))
IN_JULY_2026 = moment(1_782_900_000)
AZURE = "normalized/azure/flashbots__azure-tdx-with-ak-intermediates-1780922561"
OLDER_AZURE = "normalized/azure/flashbots__azure-tdx-1764662251380464271"
AZURE_POLICY = tpm.Policy(
    root_sha256=frozenset({tpm.AZURE_ROOT_SHA256}), selection=ALL_REGISTERS, zero=frozenset()
)


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def public_key(pem: bytes) -> pki.SubjectKey:
    key = load_pem_public_key(pem)
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    return key


def azure_evidence(folder: str, issuers: bytes) -> Evidence:
    """A complete capture: quote, key's certificate and intermediates up to Microsoft's root."""
    endorsements = {
        "signature": tpm_quotes.rsassa(vector(f"{folder}/quote.sig")),
        "pcrs": tpm_quotes.encode_values(tpm_quotes.azure_values(vector(f"{folder}/pcrs_sha256.json"))),
        "ak-certificate": vector(f"{folder}/ak_cert.der"),
        "ak-chain": issuers + b"\n" + vector("tpm/roots/azure-virtual-tpm-root-2023.pem"),
    }
    return Evidence(platform="tpm", quote=vector(f"{folder}/quote.msg"), endorsements=endorsements)


def complete_azure_evidence() -> Evidence:
    return azure_evidence(AZURE, vector(f"{AZURE}/ak_intermediates.pem"))


def older_azure_evidence() -> Evidence:
    return azure_evidence(OLDER_AZURE, vector("tpm/roots/openpcc_azure_tpm_intermediate_03.pem"))


@pytest.mark.parametrize("evidence", [complete_azure_evidence, older_azure_evidence])
def test_an_azure_quote_verifies_up_to_microsofts_root(evidence: object) -> None:
    assert callable(evidence)
    claims = tpm.verify(evidence(), policy=AZURE_POLICY, now=IN_JULY_2026)
    assert len(claims.registers) == 24
    assert claims.product is not None
    assert claims.product.endswith(".ConfidentialVM.Azure.windows.net")
    assert claims.report_data == bytes(32)


def test_an_azure_certificate_verifies_with_the_zeros_of_nv_memory() -> None:
    evidence = older_azure_evidence()
    padded = evidence.endorsements["ak-certificate"] + bytes(3087)
    padded_evidence = tpm_quotes.with_endorsement(evidence, "ak-certificate", padded)
    tpm.verify(padded_evidence, policy=AZURE_POLICY, now=IN_JULY_2026)


def test_microsofts_root_is_not_googles() -> None:
    policy = replace(AZURE_POLICY, root_sha256=frozenset({tpm.GOOGLE_ROOT_SHA256}))
    with pytest.raises(CertificateChainError):
        tpm.verify(complete_azure_evidence(), policy=policy, now=IN_JULY_2026)


def cmcp_values() -> dict[int, bytes]:
    """Registers in the file that tpm2-tools write: a selection structure, then the digests in order."""
    data = vector("azure-vtpm/cmcp_20260727/pcrs.bin")
    return tools_values(data, Attestation.parse(vector("azure-vtpm/cmcp_20260727/quote.msg")).selections[0])


def tools_values(data: bytes, selection: Selection) -> dict[int, bytes]:
    digests: list[bytes] = []
    offset = 4 + 16 * 8  # TPML_PCR_SELECTION in the memory layout of the tools: count, then 16 banks
    (lists,) = struct.unpack_from("<I", data, offset)
    offset += 4
    for _ in range(lists):
        (count,) = struct.unpack_from("<I", data, offset)
        offset += 4
        for slot in range(8):
            (size,) = struct.unpack_from("<H", data, offset)
            if slot < count:
                digests.append(data[offset + 2 : offset + 2 + size])
            offset += 66
    return dict(zip(sorted(selection.registers), digests, strict=True))


def test_an_azure_certificate_of_another_key_does_not_verify_a_quote() -> None:
    """The capture of July 2026 has the certificate of another key beside the quote."""
    endorsements = {
        "signature": tpm_quotes.rsassa(vector("azure-vtpm/cmcp_20260727/quote.sig")),
        "pcrs": tpm_quotes.encode_values(cmcp_values()),
        "ak-certificate": vector("azure-vtpm/cmcp_20260727/akcert_0x01C101D0.der"),
        "ak-chain": vector("tpm/roots/openpcc_azure_tpm_intermediate_03.pem")
        + vector("tpm/roots/azure-virtual-tpm-root-2023.pem"),
    }
    quote = vector("azure-vtpm/cmcp_20260727/quote.msg")
    evidence = Evidence(platform="tpm", quote=quote, endorsements=endorsements)
    policy = replace(AZURE_POLICY, selection=frozenset(cmcp_values()))
    with pytest.raises(EvidenceSignatureError):
        tpm.verify(evidence, policy=policy, now=moment(1_785_200_000))
    ours = pki_tpm.certify(public_key(vector("azure-vtpm/cmcp_20260727/ak.pub")))
    certified = {**endorsements, "ak-certificate": ours, "ak-chain": pki_tpm.intermediate().pem}
    claims = tpm.verify(
        replace(evidence, endorsements=certified),
        policy=tpm_quotes.policy(selection=frozenset(cmcp_values()), zero=frozenset()),
        now=pki_tpm.NOW,
    )
    assert claims.report_data == bytes.fromhex(vector("azure-vtpm/cmcp_20260727/nonce.hex").decode().strip())


def gce_evidence(name: str, hash_id: int) -> tuple[Evidence, tpm.Policy]:
    attestation = gce_attestation.parse(vector(f"tpm/gotpmtools/{name}.pb"))
    quote = next(quote for quote in attestation.quotes if quote.hash_id == hash_id)
    bank = tpm.HashAlgorithm(hash_id)
    public = tpm_quotes.sized(attestation.public_area)
    evidence = tpm_quotes.captured(
        quote.message,
        signature=quote.signature,
        values=quote.values,
        key=PublicArea.parse(public).key,
        bank=bank.label,
        public=public,
        log=attestation.event_log,
    )
    unlogged = frozenset({10})
    policy = tpm_quotes.policy(
        bank=bank, selection=ALL_REGISTERS, zero=frozenset(), unlogged_registers=unlogged
    )
    return evidence, policy


@pytest.mark.parametrize("hash_id", [tpm_quotes.SHA256, tpm_quotes.SHA384])
@pytest.mark.parametrize(
    ("name", "nonce"), [("gce-cos-85-nonce9009", b"\x90\x09"), ("gce-cos-85-no-nonce", b"")]
)
def test_a_gce_quote_verifies_with_its_public_area_and_event_log(
    name: str, nonce: bytes, hash_id: int
) -> None:
    evidence, policy = gce_evidence(name, hash_id)
    claims = tpm.verify(evidence, policy=policy, now=pki_tpm.NOW)
    assert claims.report_data == nonce
    outcomes = {check.name: check.outcome for check in claims.checks}
    for step in ("attestation key attributes", "qualified signer", "event log"):
        assert outcomes[step] is Outcome.PASSED


@pytest.mark.parametrize("name", ["gce-cos-85-nonce9009", "gce-cos-85-no-nonce"])
def test_a_gce_quote_over_the_sha1_bank_is_refused(name: str) -> None:
    attestation = gce_attestation.parse(vector(f"tpm/gotpmtools/{name}.pb"))
    quote = next(quote for quote in attestation.quotes if quote.hash_id == tpm_quotes.SHA1)
    evidence, policy = gce_evidence(name, tpm_quotes.SHA256)
    evidence = tpm_quotes.with_endorsement(evidence, "signature", quote.signature)
    with pytest.raises(PcrError, match="not over exactly"):
        tpm.verify(replace(evidence, quote=quote.message), policy=policy, now=pki_tpm.NOW)


def test_a_quote_of_a_windows_machine_signed_with_sha1_is_refused() -> None:
    capture = json.loads(vector("tpm/goattestation/windows_gcp_shielded_vm.json"))
    area = base64.b64decode(capture["AK"]["Public"])
    modulus = int.from_bytes(area[-256:], "big")
    evidence = tpm_quotes.captured(
        base64.b64decode(capture["Quote"]["Quote"]),
        signature=base64.b64decode(capture["Quote"]["Signature"]),
        values={},
        key=rsa.RSAPublicNumbers(65537, modulus).public_key(),
    )
    with pytest.raises(EvidenceSignatureError, match="scheme"):
        tpm.verify(evidence, policy=tpm_quotes.policy(), now=pki_tpm.NOW)


def test_a_quote_of_keylime_verifies() -> None:
    message = vector("tpm/keylime/quote.out")
    selection = Attestation.parse(message).selections[0]
    values = tools_values(vector("tpm/keylime/quotepcr.out"), selection)
    evidence = tpm_quotes.captured(
        message,
        signature=vector("tpm/keylime/quotesig.out"),
        values=values,
        key=public_key(vector("tpm/keylime/akpub.pem")),
    )
    policy = tpm_quotes.policy(selection=selection.registers, zero=frozenset())
    assert len(tpm.verify(evidence, policy=policy, now=pki_tpm.NOW).report_data) == 20


def test_a_quote_of_trustee_verifies() -> None:
    capture = json.loads(vector("tpm/trustee/tpm_evidence.json"))
    quote = capture["tpm_quote"]
    key = load_der_public_key(base64.b64decode(capture["ak_public"]))
    assert isinstance(key, rsa.RSAPublicKey)
    values = {index: bytes.fromhex(value) for index, value in enumerate(quote["pcrs"])}
    evidence = tpm_quotes.captured(
        base64.b64decode(quote["message"]),
        signature=base64.b64decode(quote["signature"]),
        values=values,
        key=key,
    )
    policy = tpm_quotes.policy(selection=frozenset(values), zero=frozenset())
    assert len(tpm.verify(evidence, policy=policy, now=pki_tpm.NOW).report_data) == 64


def test_a_quote_of_dstack_parses() -> None:
    """It came without its signature."""
    attestation = Attestation.parse(vector("tpm/dstack/tpm_quote_sample.bin"))
    assert attestation.extra_data == bytes.fromhex("12345678")
    assert attestation.selections == (Selection(hash_id=0x000B, registers=frozenset({0, 1, 2})),)


def test_a_quote_by_no_captured_key_is_refused() -> None:
    """``tpm-quote.msg`` of trustee is signed by none of the keys captured on Azure."""
    message = vector("azure-vtpm/trustee_snp/tpm-quote.msg")
    signature = tpm_quotes.rsassa(vector("azure-vtpm/trustee_snp/tpm-quote.sig"))
    for folder in (AZURE, OLDER_AZURE):
        evidence = replace(
            tpm_quotes.with_endorsement(complete_azure_evidence(), "signature", signature), quote=message
        )
        with pytest.raises(EvidenceSignatureError):
            tpm.verify(evidence, policy=AZURE_POLICY, now=IN_JULY_2026)
        assert vector(f"{folder}/quote.msg") != message


def google_chain() -> bytes:
    intermediate = x509.load_der_x509_certificate(vector("tpm/roots/gcp_ek_ak_ca_intermediate_v3.crt"))
    return intermediate.public_bytes(Encoding.PEM) + vector("tpm/roots/gcp-root-ca.pem")


def google_certificate(name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(vector(f"tpm/gotpmtools/{name}.pem"))


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_a_google_attestation_key_is_certified_up_to_googles_root_and_names_its_instance(kind: str) -> None:
    certificate = google_certificate(f"pca_tpm_{kind}_sign_cert")
    roots = frozenset({tpm.GOOGLE_ROOT_SHA256})
    attestation_key.verify_certificate(certificate, google_chain(), root_sha256=roots, now=IN_JULY_2026)
    attestation_key.check_role(certificate)
    attestation_key.signing_key(certificate)
    instance = attestation_key.google_instance(certificate)
    assert instance is not None
    assert (instance.zone, instance.instance_id) == ("us-central1-a", 218557372616137117)
    assert (instance.project_id, instance.project_number) == ("google.com:wuale-gcp-testing", 117478743145)
    attestation_key.check_project(instance, projects=frozenset({"google.com:wuale-gcp-testing"}))
    with pytest.raises(IdentityError, match="does not name"):
        attestation_key.check_project(instance, projects=frozenset({"ours"}))


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_googles_certificate_of_an_encryption_key_is_refused(kind: str) -> None:
    with pytest.raises(CertificateChainError, match="digital signatures"):
        attestation_key.check_role(google_certificate(f"pca_tpm_{kind}_enc_cert"))


@pytest.mark.filterwarnings("ignore:Attribute's length must be")
@pytest.mark.parametrize("name", ["rsa_sign", "ecc_sign", "rsa_enc", "ecc_enc"])
def test_googles_older_endorsement_certificates_are_refused(name: str) -> None:
    """They are for endorsement keys, and their root is not among the captures: nothing pins it."""
    certificate = google_certificate(f"uca_tpm_{name}_cert")
    with pytest.raises(CertificateChainError):
        attestation_key.check_role(certificate)
    intermediate = x509.load_der_x509_certificate(vector("tpm/roots/tpm_ek_intermediate_3.crt"))
    with pytest.raises(CertificateChainError):
        attestation_key.verify_certificate(
            certificate,
            intermediate.public_bytes(Encoding.PEM),
            root_sha256=frozenset({tpm.GOOGLE_ROOT_SHA256}),
            now=IN_JULY_2026,
        )


def flipped(data: bytes) -> Iterator[tuple[int, bytes]]:
    for offset, byte in enumerate(data):
        yield offset, data[:offset] + bytes([byte ^ 1 << offset % 8]) + data[offset + 1 :]


def verdict(evidence: Evidence) -> Claims | None:
    with warnings.catch_warnings():
        # cryptography warns of names and versions that a flipped bit makes unusual.
        warnings.simplefilter("ignore")
        try:
            return tpm.verify(evidence, policy=AZURE_POLICY, now=IN_JULY_2026)
        except GlasshouseError:
            return None


def test_every_byte_of_a_captured_quote_is_bound() -> None:
    evidence = complete_azure_evidence()
    accepted = [offset for offset, data in flipped(evidence.quote) if verdict(replace(evidence, quote=data))]
    assert accepted == []


@pytest.mark.parametrize("part", ["signature", "pcrs", "ak-certificate"])
def test_every_byte_of_a_captured_quotes_endorsements_is_bound(part: str) -> None:
    evidence = complete_azure_evidence()
    accepted = [
        offset
        for offset, data in flipped(evidence.endorsements[part])
        if verdict(tpm_quotes.with_endorsement(evidence, part, data))
    ]
    assert accepted == []


def test_a_changed_byte_of_the_issuers_is_refused_unless_it_is_no_part_of_a_certificate() -> None:
    """PEM has bytes that mean nothing (line ends, text between blocks): those that pass give the same DER."""
    evidence = complete_azure_evidence()
    issuers = evidence.endorsements["ak-chain"]
    same = load_pem_chain(issuers, max_certificates=6)
    # Every seventh byte: 7 divides no line's length, so that all columns of the text have their turn.
    for offset, data in islice(flipped(issuers), 0, None, 7):
        if verdict(tpm_quotes.with_endorsement(evidence, "ak-chain", data)) is not None:
            assert load_pem_chain(data, max_certificates=6) == same, offset
