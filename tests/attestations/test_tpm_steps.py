"""Each step of a TPM quote's verification refuses, by its own error, what only that step can refuse.

The quotes are signed by a key of the test's own, so that everything but the one changed thing is right.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from glasshouse_attestations import tpm
from glasshouse_attestations.claims import Check, Claims, Outcome
from glasshouse_attestations.errors import (
    AttributesError,
    CertificateChainError,
    CertificateExpiredError,
    EventLogError,
    EvidenceSignatureError,
    FreshnessError,
    GlasshouseError,
    IdentityError,
    KeyBindingError,
    MalformedError,
    OverrideRegisterError,
    PcrError,
    UnavailableError,
)
from glasshouse_attestations.evidence import Evidence
from support import pki, pki_tpm, tpm_quotes
from support.tpm_quotes import (
    Quoted,
    ecc_key,
    evidence_of,
    policy,
    rsa_key,
    selection,
    sized,
    with_endorsement,
)

QUOTED = Quoted(key=rsa_key(), values=tpm_quotes.uki_values())
ECC_QUOTED = Quoted(key=ecc_key(), values=tpm_quotes.uki_values())


def verify(evidence: Evidence, **changed: object) -> Claims:
    return tpm.verify(evidence, policy=policy(**changed), now=pki_tpm.NOW)


def refused(error: type[GlasshouseError], message: str, evidence: Evidence, **changed: object) -> None:
    with pytest.raises(error, match=message) as caught:
        verify(evidence, **changed)
    assert type(caught.value) is error


def check(claims: Claims, name: str) -> Check:
    return next(each for each in claims.checks if each.name == name)


@pytest.mark.parametrize("quoted", [QUOTED, ECC_QUOTED], ids=["rsa", "ecc"])
def test_a_quote_by_a_certified_key_gives_its_registers_and_qualifying_data(quoted: Quoted) -> None:
    claims = verify(evidence_of(quoted, public=True))
    assert claims.platform == "tpm"
    assert claims.registers == {f"pcr{index}.sha256": value for index, value in quoted.values.items()}
    assert claims.report_data == tpm_quotes.QUALIFYING_DATA
    outcomes = {each.name: each.outcome for each in claims.checks}
    assert outcomes == {
        "attestation key certificate": Outcome.PASSED,
        "attestation key revocation": Outcome.NOT_CHECKED,
        "attestation key role": Outcome.PASSED,
        "google cloud instance": Outcome.NOT_APPLICABLE,
        "attestation key attributes": Outcome.PASSED,
        "qualified signer": Outcome.PASSED,
        "quote signature": Outcome.PASSED,
        "register selection": Outcome.PASSED,
        "register digest": Outcome.PASSED,
        "override registers": Outcome.PASSED,
        "clock and counters": Outcome.NOT_CHECKED,
        "event log": Outcome.NOT_APPLICABLE,
        "qualifying data": Outcome.NOT_CHECKED,
    }
    assert all(each.source for each in claims.checks)


def test_what_a_tpm_cannot_show_is_said() -> None:
    claims = verify(evidence_of(QUOTED))
    assert any("confidential computing" in text for text in claims.unproven)
    assert claims.debug is None
    assert claims.migratable is None


def test_clock_and_reset_counters_are_shown() -> None:
    attributes = dict(verify(evidence_of(QUOTED)).attributes)
    assert attributes["tpm clock (ms)"] == "60000"
    assert attributes["tpm resets"] == "3"
    assert attributes["tpm restarts"] == "1"
    assert attributes["tpm clock safe"] == "yes"


def test_evidence_of_another_platform_is_refused() -> None:
    refused(MalformedError, "tpm platform", replace(evidence_of(QUOTED), platform="snp"))


@pytest.mark.parametrize("name", ["signature", "pcrs", "ak-certificate", "ak-chain"])
def test_a_missing_endorsement_is_unavailable(name: str) -> None:
    evidence = evidence_of(QUOTED)
    rest = {key: value for key, value in evidence.endorsements.items() if key != name}
    refused(UnavailableError, f"'{name}'", replace(evidence, endorsements=rest))


def test_an_unknown_endorsement_is_refused() -> None:
    refused(MalformedError, "does not have", with_endorsement(evidence_of(QUOTED), "vcek", b"x"))


def test_another_magic_is_refused() -> None:
    """An unrestricted key could sign a message that only looks like a TPM's."""
    refused(MalformedError, "TPM_GENERATED_VALUE", evidence_of(replace(QUOTED, magic=0xFF544348)))


def test_an_attestation_that_is_no_quote_is_refused() -> None:
    certify = 0x8017
    refused(MalformedError, "TPM_ST_ATTEST_QUOTE", evidence_of(replace(QUOTED, kind=certify)))


def test_bytes_after_the_quote_are_refused() -> None:
    evidence = evidence_of(QUOTED)
    refused(MalformedError, "followed by", replace(evidence, quote=evidence.quote + b"\0"))


def test_another_key_than_the_certified_one_is_refused() -> None:
    other = pki_tpm.certify(rsa_key("another").public_key())
    refused(EvidenceSignatureError, "not signed by", evidence_of(QUOTED, ak_certificate=other))


def test_a_root_outside_the_policy_is_refused() -> None:
    stranger = pki_tpm.root("A stranger's root, generated")
    certificate = pki_tpm.certify(QUOTED.key.public_key(), stranger)
    evidence = evidence_of(QUOTED, ak_certificate=certificate, ak_chain=stranger.pem)
    refused(CertificateChainError, "not a pinned root", evidence)


def test_a_root_of_the_same_name_with_another_key_is_refused() -> None:
    impostor = pki_tpm.root.__wrapped__()
    certificate = pki_tpm.certify(QUOTED.key.public_key(), impostor)
    evidence = evidence_of(QUOTED, ak_certificate=certificate, ak_chain=impostor.pem)
    refused(CertificateChainError, "not a pinned root", evidence)


def test_a_chain_without_its_intermediate_is_refused() -> None:
    refused(CertificateChainError, "issuer", evidence_of(QUOTED, ak_chain=pki_tpm.root().pem))


def test_a_certificate_signed_by_another_authority_of_that_name_is_refused() -> None:
    impostor = pki_tpm.intermediate.__wrapped__()
    certificate = pki_tpm.certify(QUOTED.key.public_key(), impostor)
    refused(CertificateChainError, "not signed by", evidence_of(QUOTED, ak_certificate=certificate))


def test_an_expired_certificate_is_refused() -> None:
    end = pki_tpm.NOW - timedelta(seconds=1)
    certificate = pki_tpm.certify(QUOTED.key.public_key(), end=end)
    refused(CertificateExpiredError, "valid from", evidence_of(QUOTED, ak_certificate=certificate))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"usage": pki.key_usage()}, "digital signatures"),
        (
            {"usage": pki.key_usage(digital_signature=True, key_cert_sign=True), "authority": True},
            "digital signatures",
        ),
        ({"authority": True}, "authority"),
        ({"purposes": ()}, "tcg-kp-AIKCertificate"),
        ({"purposes": (pki_tpm.EK_CERTIFICATE,)}, "tcg-kp-AIKCertificate"),
    ],
    ids=["no signatures", "signs certificates", "an authority", "no purpose", "an endorsement key"],
)
def test_a_certificate_for_something_else_is_refused(changed: dict[str, object], message: str) -> None:
    certificate = pki_tpm.certify(QUOTED.key.public_key(), **changed)  # type: ignore[arg-type]
    refused(CertificateChainError, message, evidence_of(QUOTED, ak_certificate=certificate))


def test_zeros_after_the_certificate_are_what_nv_memory_holds() -> None:
    padded = pki_tpm.certify(QUOTED.key.public_key()) + bytes(3000)
    verify(evidence_of(QUOTED, ak_certificate=padded))


def test_other_bytes_after_the_certificate_are_refused() -> None:
    padded = pki_tpm.certify(QUOTED.key.public_key()) + bytes(10) + b"\1"
    refused(MalformedError, "other bytes than zeros", evidence_of(QUOTED, ak_certificate=padded))


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP521R1())],  # noqa: S505 - refused
)
def test_a_key_too_short_or_of_another_curve_is_refused(key: tpm_quotes.Key) -> None:
    certificate = pki_tpm.certify(key.public_key())
    refused(AttributesError, "2048 bits", evidence_of(QUOTED, ak_certificate=certificate))


@pytest.mark.parametrize("quoted", [QUOTED, ECC_QUOTED], ids=["rsa", "ecc"])
@pytest.mark.parametrize(
    ("bit", "what"),
    [
        (1, "fixedTPM"),
        (4, "fixedParent"),
        (5, "sensitiveDataOrigin"),
        (11, "encryptedDuplication"),
        (16, "restricted"),
        (17, "decrypt"),
        (18, "sign"),
        (19, "x509sign"),
    ],
)
def test_an_attribute_that_is_not_an_attestation_keys_is_refused(quoted: Quoted, bit: int, what: str) -> None:
    area = tpm_quotes.public_area(quoted.key, attributes=tpm_quotes.AK_ATTRIBUTES ^ 1 << bit)
    refused(AttributesError, "attributes", evidence_of(quoted, ak_public=sized(area)))


def test_reserved_attributes_are_refused() -> None:
    area = tpm_quotes.public_area(QUOTED.key, attributes=tpm_quotes.AK_ATTRIBUTES | 1 << 30)
    refused(MalformedError, "reserved", evidence_of(QUOTED, ak_public=sized(area)))


def test_the_public_area_of_another_key_is_refused() -> None:
    area = tpm_quotes.public_area(rsa_key("another"))
    refused(KeyBindingError, "another key", evidence_of(QUOTED, ak_public=sized(area)))


def test_a_quote_that_names_another_kind_of_signer_is_refused() -> None:
    quoted = replace(QUOTED, signer=struct.pack(">H", tpm_quotes.SHA384) + bytes(48))
    refused(KeyBindingError, "name algorithm", evidence_of(quoted, public=True))


def test_a_signer_below_another_key_is_not_called_checked() -> None:
    quoted = replace(QUOTED, signer=struct.pack(">H", tpm_quotes.SHA256) + hashlib.sha256(b"below").digest())
    claims = verify(evidence_of(quoted, public=True))
    assert check(claims, "qualified signer").outcome is Outcome.NOT_CHECKED


def test_attributes_that_nobody_showed_are_not_called_checked() -> None:
    assert check(verify(evidence_of(QUOTED)), "attestation key attributes").outcome is Outcome.NOT_CHECKED


def test_a_policy_can_ask_for_the_public_area() -> None:
    refused(UnavailableError, "public area", evidence_of(QUOTED), require_ak_public=True)
    verify(evidence_of(QUOTED, public=True), require_ak_public=True)


@pytest.mark.parametrize(
    ("scheme", "hash_id"),
    [
        (tpm_quotes.RSAPSS, tpm_quotes.SHA256),
        (tpm_quotes.RSASSA, tpm_quotes.SHA384),
        (tpm_quotes.RSASSA, tpm_quotes.SHA1),
    ],
    ids=["rsapss", "sha384", "sha1"],
)
def test_the_signature_cannot_choose_its_scheme(scheme: int, hash_id: int) -> None:
    signature = tpm_quotes.sign(QUOTED.key, QUOTED.message(), scheme=scheme, hash_id=hash_id)
    refused(EvidenceSignatureError, "scheme", evidence_of(QUOTED, signature=signature))


def test_a_key_made_for_pss_signs_with_pss_alone() -> None:
    area = sized(tpm_quotes.public_area(QUOTED.key, scheme=tpm_quotes.RSAPSS))
    message = replace(QUOTED, signer=tpm_quotes.qualified_name(area[2:]))
    pss = tpm_quotes.sign(QUOTED.key, message.message(), scheme=tpm_quotes.RSAPSS)
    verify(evidence_of(message, ak_public=area, signature=pss))
    refused(EvidenceSignatureError, "RSAPSS", evidence_of(message, ak_public=area))


def test_a_key_that_signs_with_sha384_digests_the_registers_with_it() -> None:
    area = sized(tpm_quotes.public_area(QUOTED.key, scheme_hash=tpm_quotes.SHA384))
    joined = b"".join(QUOTED.values[index] for index in sorted(QUOTED.values))
    quoted = replace(
        QUOTED, signer=tpm_quotes.qualified_name(area[2:]), pcr_digest=hashlib.sha384(joined).digest()
    )
    signature = tpm_quotes.sign(QUOTED.key, quoted.message(), hash_id=tpm_quotes.SHA384)
    verify(evidence_of(quoted, ak_public=area, signature=signature))


def test_a_key_that_signs_with_sha1_is_refused() -> None:
    area = sized(tpm_quotes.public_area(QUOTED.key, scheme_hash=tpm_quotes.SHA1))
    signature = tpm_quotes.sign(QUOTED.key, QUOTED.message(), hash_id=tpm_quotes.SHA1)
    evidence = evidence_of(QUOTED, ak_public=area, signature=signature)
    refused(AttributesError, "SHA-256 or longer", evidence)


def test_a_scheme_of_another_kind_of_key_is_refused() -> None:
    area = tpm_quotes.public_area(QUOTED.key, scheme=tpm_quotes.ECDSA)
    refused(AttributesError, "kind of key", evidence_of(QUOTED, ak_public=sized(area)))


def test_an_ecdsa_signature_for_an_rsa_key_is_refused() -> None:
    signature = tpm_quotes.sign(ecc_key(), QUOTED.message())
    refused(EvidenceSignatureError, "scheme", evidence_of(QUOTED, signature=signature))


@pytest.mark.parametrize(
    "selections",
    [
        (),
        (selection(frozenset()),),
        (selection(frozenset({4, 8, 11, 12})),),
        (selection(frozenset({4, 8, 9, 11, 12, 13})),),
        (selection(frozenset({0, 1, 2, 3, 4})),),
        (selection(frozenset({4, 8, 11, 12, 13}), tpm_quotes.SHA1),),
        (selection(frozenset({4, 8, 11, 12, 13}), tpm_quotes.SHA384),),
        (selection(frozenset({4, 8, 11, 12, 13})), selection(frozenset({0}))),
        (selection(frozenset({4, 8, 11})), selection(frozenset({12, 13}))),
    ],
    ids=["none", "empty", "shorter", "longer", "other", "sha1", "sha384", "two banks", "in two parts"],
)
def test_another_selection_than_asked_for_is_refused(selections: tuple[bytes, ...]) -> None:
    refused(PcrError, "not over exactly", evidence_of(replace(QUOTED, selections=selections)))


def test_a_selection_of_another_width_is_refused() -> None:
    wide = struct.pack(">HB", tpm_quotes.SHA256, 4) + bytes.fromhex("10390000")
    refused(MalformedError, "3 bytes", evidence_of(replace(QUOTED, selections=(wide,))))


@pytest.mark.parametrize("index", sorted(tpm.UKI_REGISTERS))
def test_a_register_value_beside_the_quote_cannot_be_left_out(index: int) -> None:
    values = {register: value for register, value in QUOTED.values.items() if register != index}
    pcrs = tpm_quotes.encode_values(values)
    refused(PcrError, "not of exactly", evidence_of(QUOTED, pcrs=pcrs))


def test_a_register_value_cannot_be_added() -> None:
    pcrs = tpm_quotes.encode_values({**QUOTED.values, 7: bytes(32)})
    refused(PcrError, "not of exactly", evidence_of(QUOTED, pcrs=pcrs))


@pytest.mark.parametrize("index", sorted(tpm.UKI_REGISTERS))
def test_another_register_value_than_quoted_is_refused(index: int) -> None:
    values = {**QUOTED.values, index: hashlib.sha256(b"another").digest()}
    refused(PcrError, "not the digest", evidence_of(QUOTED, pcrs=tpm_quotes.encode_values(values)))


def test_values_of_another_bank_are_refused() -> None:
    refused(PcrError, "sha256 bank alone", evidence_of(QUOTED, pcrs=b'{"sha384":{}}'))


@pytest.mark.parametrize("name", ["24", "04", "-1", "four"])
def test_a_register_that_no_tpm_has_is_refused(name: str) -> None:
    pcrs = b'{"sha256":{"%s":"%s"}}' % (name.encode(), bytes(32).hex().encode())
    refused(PcrError, "0 to 23", evidence_of(QUOTED, pcrs=pcrs))


@pytest.mark.parametrize("index", sorted(tpm.OVERRIDE_REGISTERS))
def test_a_register_that_shows_an_override_is_refused(index: int) -> None:
    values = {**QUOTED.values, index: hashlib.sha256(b"systemd.debug_shell=1").digest()}
    refused(
        OverrideRegisterError, f"registers {index} are not zero", evidence_of(replace(QUOTED, values=values))
    )


def test_a_policy_that_asks_for_no_zero_registers_says_so() -> None:
    claims = verify(evidence_of(QUOTED), zero=frozenset())
    assert check(claims, "override registers").outcome is Outcome.NOT_CHECKED


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"maximum_clock_ms": 59_999}, "clock is 60000"),
        ({"maximum_reset_count": 2}, "reset count is 3"),
        ({"maximum_restart_count": 0}, "restart count is 1"),
    ],
)
def test_a_clock_or_counter_above_its_limit_is_refused(limit: dict[str, int], message: str) -> None:
    refused(FreshnessError, message, evidence_of(QUOTED), **limit)
    raised = {name: value + 1 for name, value in limit.items()}
    assert check(verify(evidence_of(QUOTED), **raised), "clock and counters").outcome is Outcome.PASSED


def test_a_policy_can_ask_for_a_safe_clock() -> None:
    unsafe = evidence_of(replace(QUOTED, clock=struct.pack(">QIIB", 0, 0, 0, 0)))
    verify(unsafe)
    refused(FreshnessError, "backwards", unsafe, require_safe_clock=True)


def test_a_clock_that_is_neither_safe_nor_unsafe_is_refused() -> None:
    clock = struct.pack(">QIIB", 0, 0, 0, 2)
    refused(MalformedError, "neither safe nor unsafe", evidence_of(replace(QUOTED, clock=clock)))


def test_qualifying_data_is_handed_on_in_full() -> None:
    assert verify(evidence_of(replace(QUOTED, qualifying_data=b""))).report_data == b""
    assert verify(evidence_of(replace(QUOTED, qualifying_data=bytes(64)))).report_data == bytes(64)


def test_an_event_log_that_does_not_replay_is_refused() -> None:
    log = tpm_quotes.event_log([])
    refused(EventLogError, "register 4", with_endorsement(evidence_of(QUOTED), "event-log", log))


def test_a_policy_can_ask_for_an_event_log() -> None:
    refused(UnavailableError, "event log", evidence_of(QUOTED), require_event_log=True)


def test_a_google_project_is_refused_where_the_certificate_names_none() -> None:
    refused(IdentityError, "names no google", evidence_of(QUOTED), google_projects=frozenset({"ours"}))


def test_a_certificate_with_malformed_google_information_is_refused() -> None:
    broken = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.1.21"), b"\x30\x03\x0c\x05a"
    )
    certificate = pki_tpm.certify(QUOTED.key.public_key(), extensions=(broken,))
    refused(MalformedError, "google instance", evidence_of(QUOTED, ak_certificate=certificate))


def test_a_chain_of_too_many_certificates_is_refused() -> None:
    pem = pki_tpm.root().certificate.public_bytes(Encoding.PEM)
    refused(MalformedError, "at most 6", evidence_of(QUOTED, ak_chain=pem * 7))
