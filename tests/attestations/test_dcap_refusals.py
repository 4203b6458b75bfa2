"""What no capture shows: each step of the SGX and TDX verification refuses what it is there for.

The evidence is signed by a generated Intel (support/pki_dcap.py).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from glasshouse_attestations.claims import Outcome
from glasshouse_attestations.dcap import ROOT_SPKI_SHA256, SgxPolicy, TdxPolicy, verify
from glasshouse_attestations.errors import (
    AttributesError,
    CertificateChainError,
    CertificateExpiredError,
    CertificateRevokedError,
    CollateralError,
    DebugError,
    EvidenceSignatureError,
    GlasshouseError,
    IdentityError,
    KeyBindingError,
    MalformedError,
    MeasurementMismatchError,
    MigrationError,
    ModuleIdentityError,
    ProductError,
    RevocationListError,
    TcbFloorError,
    UnavailableError,
)
from glasshouse_attestations.evidence import Evidence
from support.pki_dcap import (
    DAY,
    FMSPC,
    NOW,
    PPID,
    TEE_TCB_SVN,
    Intel,
    enclave_report,
    intel,
    issue,
    module,
    qe_identity,
    revocation_list,
    sgx_extensions,
    sign,
    tcb_info,
    td_report,
    text,
)

Error = type[GlasshouseError]
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def refused(
    error: Error, evidence: Evidence, policy: SgxPolicy | TdxPolicy | None = None, **fields: Any
) -> str:
    """The message with which ``evidence`` is refused, by exactly ``error``."""
    with pytest.raises(error) as caught:
        verify(evidence, policy=policy or intel().tdx(), **{"now": NOW, **fields})
    assert type(caught.value) is error
    return str(caught.value)


def refused_quote(error: Error, body: bytes | None = None, **fields: Any) -> str:
    return refused(error, intel().evidence(intel().quote(body, **fields)))


def refused_collateral(error: Error, *args: Any, **parts: bytes) -> str:
    return refused(error, intel().evidence(collateral=intel().collateral(*args, **parts)))


@pytest.mark.parametrize("now", [NOW, NOW + timedelta(seconds=1)])
def test_evidence_without_a_fault_verifies(now: Any) -> None:
    td = verify(intel().evidence(), policy=intel().tdx(), now=now)
    assert (td.platform, td.tcb_status, td.identity) == ("tdx", "UpToDate", PPID)
    enclave = verify(intel().sgx_evidence(), policy=intel().sgx(), now=now)
    assert (enclave.platform, enclave.registers) == ("sgx", {"mrenclave.sha256": b"E" * 32})
    newer = intel().quote(td_report(tee_tcb_svn_2=TEE_TCB_SVN))
    assert verify(intel().evidence(newer), policy=intel().tdx(), now=now).tcb_status == "UpToDate"
    on_v5 = intel().sgx_evidence(intel().quote(enclave_report(), version=5))
    assert verify(on_v5, policy=intel().sgx(), now=now).checks[0].detail == "version 5"


# The format


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 2}, "version 2 are unknown"),
        ({"version": 6}, "version 6 are unknown"),
        ({"version": 3}, "TDX quotes of version 3"),
        ({"tee": 0}, "SGX quotes of version 4"),
        ({"tee": 0x82}, "TEE type 0x82"),
        ({"key_type": 3}, "of type 3, not ECDSA P-256"),
        ({"vendor": bytes(16)}, "not of Intel's format"),
        ({"version": 5, "body_type": 1}, "body of type 1"),
        ({"version": 5, "body_type": 3}, "body of type 3"),
        ({"version": 5, "body_type": 4}, "body of type 4"),
        ({"version": 5, "body_size": 583}, "583 bytes"),
        ({"outer_type": 5}, "type 6 belongs"),
        ({"inner_type": 3}, "type 5 belongs"),
        ({"authentication_data": bytes(1025)}, "at most 1024"),
        ({"chain": b""}, "exactly 3 certificates"),
    ],
)
def test_another_format_is_refused(fields: dict[str, Any], message: str) -> None:
    assert message in refused_quote(MalformedError, **fields)


def test_an_sgx_quote_is_not_tdx_evidence_nor_the_other_way_round() -> None:
    sgx, tdx = intel().sgx_evidence(), intel().evidence()
    assert "of SGX, not of TDX" in refused(MalformedError, replace(sgx, platform="tdx"))
    assert "of TDX, not of SGX" in refused(MalformedError, replace(tdx, platform="sgx"), intel().sgx())
    assert "not of the tdx platform" in refused(MalformedError, sgx)
    assert "not of the sgx platform" in refused(MalformedError, tdx, intel().sgx())


def test_a_reserved_byte_of_an_enclave_report_is_refused() -> None:
    quote = intel().quote(enclave_report(reserved=bytes(31) + b"\1"))
    assert "reserved" in refused(MalformedError, intel().sgx_evidence(quote), intel().sgx())
    assert "reserved" in refused_quote(MalformedError, qe={"reserved": b"\1" + bytes(31)})


def test_a_quote_beyond_the_limit_is_refused_before_it_is_read() -> None:
    assert "at most 65536" in refused(MalformedError, intel().evidence(bytes(65537)))


def test_collateral_is_needed_and_alone() -> None:
    evidence = intel().evidence()
    assert "no collateral" in refused(UnavailableError, replace(evidence, endorsements={}))
    more = {**evidence.endorsements, "vcek": b"x"}
    assert "only endorsement" in refused(MalformedError, replace(evidence, endorsements=more))


# Row 11: the PCK chain and its revocation lists


def test_the_chain_must_end_in_the_pinned_key_and_not_only_in_the_name() -> None:
    impostor = Intel.generate()
    assert "pinned" in refused(CertificateChainError, impostor.evidence())
    assert intel().tdx().tcb.root_spki_sha256 != TdxPolicy().tcb.root_spki_sha256
    assert TdxPolicy().tcb.root_spki_sha256 == SgxPolicy().tcb.root_spki_sha256 == {ROOT_SPKI_SHA256}


def test_what_one_policy_trusts_is_not_remembered_for_another() -> None:
    evidence = intel().evidence()
    verify(evidence, policy=intel().tdx(), now=NOW)
    refused(CertificateChainError, evidence, TdxPolicy())


def chain_of(*authorities: Any) -> bytes:
    return b"".join(authority.pem for authority in authorities)


def test_a_chain_with_another_certificate_in_it_is_refused() -> None:
    own, other = intel(), Intel.generate()
    chains = [
        chain_of(other.pck, own.authority, own.root),
        chain_of(own.pck, other.authority, own.root),
        chain_of(own.pck, own.root, own.authority),
        chain_of(own.tcb_signer, own.root, own.root),
    ]
    for chain in chains:
        refused_quote(CertificateChainError, chain=chain)


def test_a_chain_of_another_length_or_with_other_text_is_refused() -> None:
    own = intel()
    whole = chain_of(own.pck, own.authority, own.root)
    chains = [
        chain_of(own.pck, own.root),
        chain_of(own.pck, own.authority, own.root, own.root),
        b"text" + whole,
        whole + b"\0\0",
        whole.replace(b"\n", b"\r\n"),
        whole.replace(b"-----\n-----", b"-----\n\n-----"),
    ]
    for chain in chains:
        refused_quote(MalformedError, chain=chain)


def test_a_signer_of_collateral_is_no_processor_and_a_processor_no_signer() -> None:
    signer = intel().with_pck(name="Intel SGX TCB Signing")
    assert "PCK Certificate belongs" in refused(CertificateChainError, signer.evidence())
    imposed = issue("Intel SGX PCK Certificate", intel().root, ca=False, extension=sgx_extensions())
    collateral = replace(intel(), tcb_signer=imposed).collateral()
    refused(CertificateChainError, intel().evidence(collateral=collateral))
    authority = replace(intel(), tcb_signer=intel().authority).collateral()
    refused(CertificateChainError, intel().evidence(collateral=authority))


def test_the_processors_certificate_is_no_authority() -> None:
    refused(CertificateChainError, intel().with_pck(ca=True).evidence())


def test_certificates_have_their_time() -> None:
    expired = intel().with_pck(end=NOW - timedelta(seconds=1))
    early = intel().with_pck(start=NOW + timedelta(seconds=1))
    for processor in (expired, early):
        refused(CertificateExpiredError, processor.evidence())
    signer = issue("Intel SGX TCB Signing", intel().root, ca=False, end=NOW - DAY)
    collateral = replace(intel(), tcb_signer=signer).collateral()
    refused(CertificateExpiredError, intel().evidence(collateral=collateral))


def test_time_is_asked_anew_for_what_was_verified_before() -> None:
    evidence = intel().evidence()
    verify(evidence, policy=intel().tdx(), now=NOW)
    refused(CertificateExpiredError, evidence, now=NOW + 366 * DAY)
    refused(RevocationListError, evidence, now=NOW + 29 * DAY)
    refused(RevocationListError, evidence, now=NOW - 2 * DAY)


def test_a_revoked_certificate_is_refused() -> None:
    own = intel()
    revoked = revocation_list(own.authority, [own.pck.certificate])
    assert "PCK Certificate is revoked" in refused_collateral(CertificateRevokedError, pck_crl=revoked)
    for authority in (own.authority, own.tcb_signer):
        refused_collateral(
            CertificateRevokedError, root_ca_crl=revocation_list(own.root, [authority.certificate])
        )


@pytest.mark.parametrize("part", ["pck_crl", "root_ca_crl"])
def test_a_revocation_list_must_be_its_issuers_and_current(part: str) -> None:
    issuer = intel().authority if part == "pck_crl" else intel().root
    lists = [
        revocation_list(issuer, signer=Intel.generate().root),
        revocation_list(Intel.generate().root),
        revocation_list(intel().tcb_signer),
        revocation_list(issuer, end=NOW),
        revocation_list(issuer, critical=x509.DeltaCRLIndicator(1)),
        revocation_list(issuer, start=NOW + timedelta(seconds=1)),
    ]
    for der in lists:
        refused_collateral(RevocationListError, **{part: der})
    refused_collateral(MalformedError, **{part: lists[0] + b"\0"})


def test_the_list_of_another_authority_is_refused() -> None:
    processor_ca = issue("Intel SGX PCK Processor CA", intel().root)
    parts = {
        "pck_crl_issuer_chain": processor_ca.pem + intel().root.pem,
        "pck_crl": revocation_list(processor_ca),
    }
    assert "another authority" in refused_collateral(RevocationListError, **parts)
    namesake = issue("Intel SGX PCK Platform CA", intel().root)
    chain = namesake.pem + intel().root.pem
    assert "another authority" in refused_collateral(RevocationListError, pck_crl_issuer_chain=chain)


@pytest.mark.parametrize(
    "extension",
    [
        None,
        sgx_extensions(without=[4]),
        sgx_extensions(ppid=b"P" * 15),
        sgx_extensions(components=(256,) + (0,) * 15),
        sgx_extensions(components=(1,) * 15),
        sgx_extensions(extra=b"\x30\x00"),
        sgx_extensions(configuration={4: True}),
        sgx_extensions()[:-1],
        sgx_extensions() + b"\0",
        b"",
        b"\x30\x80\x00\x00",
    ],
)
def test_malformed_sgx_extensions_are_refused(extension: bytes | None) -> None:
    refused(MalformedError, intel().with_pck(extension=extension).evidence())


# Row 12: the signatures of the quote


def test_each_signature_of_a_quote_is_checked() -> None:
    assert "PCK" in refused_quote(KeyBindingError, pck_key=OTHER_KEY)
    assert "attestation key" in refused_quote(EvidenceSignatureError, quote_key=OTHER_KEY)


def test_the_attestation_key_is_the_one_that_the_quoting_enclave_reported() -> None:
    assert "reported" in refused_quote(KeyBindingError, qe_report_data=bytes(64))
    numbers = OTHER_KEY.public_key().public_numbers()
    point = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    refused_quote(EvidenceSignatureError, point=point)
    assert "not a point" in refused_quote(EvidenceSignatureError, point=b"\xff" * 64)


def test_the_second_half_of_the_quoting_enclaves_report_data_is_zero() -> None:
    own = intel()
    quote = own.quote()
    at = quote.index(b"Q" * 32)
    digest = quote[at - 128 + 320 : at - 128 + 352]
    assert "reported" in refused_quote(KeyBindingError, qe_report_data=digest + b"\1" * 32)


def test_a_quote_without_authentication_data_is_one_too() -> None:
    verify(intel().evidence(intel().quote(authentication_data=b"")), policy=intel().tdx(), now=NOW)


# Row 13: TCB info and identities


@pytest.mark.parametrize("part", ["tcb_info", "qe_identity"])
def test_a_document_must_be_signed_by_intels_signer(part: str) -> None:
    own = intel()
    document = getattr(own.collateral(), part)
    for signature in (sign(OTHER_KEY, document), sign(own.pck.key, document), bytes(64), b"\xff" * 64):
        refused_collateral(CollateralError, **{f"{part}_signature": signature})
    refused_collateral(CollateralError, **{part: document.replace(b'"0000"', b'"0001"') + b" "})
    stranger = Intel.generate()
    chain = stranger.tcb_signer.pem + stranger.root.pem
    refused_collateral(CertificateChainError, **{f"{part}_issuer_chain": chain})


def test_the_signature_is_over_the_exact_bytes_and_not_over_their_meaning() -> None:
    spaced = text(tcb_info()).replace(b",", b", ")
    verify(intel().evidence(collateral=intel().collateral(spaced)), policy=intel().tdx(), now=NOW)
    signature = sign(intel().tcb_signer.key, text(tcb_info()))
    refused_collateral(CollateralError, tcb_info=spaced, tcb_info_signature=signature)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": 4},
        {"id": "SGX", "tdxModule": None, "tdxModuleIdentities": None},
        {"id": "TPM"},
        {"fmspc": "00906EA10000"},
        {"pceId": "0100"},
        {"issueDate": "2030-01-31T12:00:01Z"},
        {"nextUpdate": "2030-01-31T12:00:00Z"},
        {"tcbEvaluationDataNumber": 18},
    ],
)
def test_tcb_info_for_something_else_is_refused(changes: dict[str, Any]) -> None:
    info = tcb_info(**changes)
    if changes.get("id") == "SGX":
        info = tcb_info("SGX")
    refused_collateral(CollateralError, info)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1},
        {"id": "QE"},
        {"id": "QVE"},
        {"issueDate": "2030-01-31T12:00:01Z"},
        {"nextUpdate": "2030-01-31T12:00:00Z"},
        {"tcbEvaluationDataNumber": 18},
    ],
)
def test_a_qe_identity_for_something_else_is_refused(changes: dict[str, Any]) -> None:
    refused_collateral(CollateralError, None, qe_identity(**changes))


@pytest.mark.parametrize(
    "fields",
    [
        {"mrsigner": b"X" * 32},
        {"isv_prod_id": 1},
        {"misc_select": 1},
        {"attributes": 0x17},
        {"attributes": 0x05},
    ],
)
def test_another_quoting_enclave_is_refused(fields: dict[str, Any]) -> None:
    refused_quote(ModuleIdentityError, qe=fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"mr_signer_seam": b"\1" + bytes(47)},
        {"seam_attributes": 1},
        {"tee_tcb_svn": bytes((6, 2, 3)) + bytes(13)},
    ],
)
def test_another_tdx_module_is_refused(fields: dict[str, Any]) -> None:
    refused_quote(ModuleIdentityError, td_report(**fields))


def test_a_module_identity_with_attributes_is_refused() -> None:
    info = tcb_info(tdxModule={**module(), "attributes": "01" + "00" * 7})
    quote = intel().quote(td_report(tee_tcb_svn=bytes((6, 0, 3)) + bytes(13)))
    refused(ModuleIdentityError, intel().evidence(quote, intel().collateral(info)))


def test_only_the_modules_of_the_policy_are_accepted() -> None:
    evidence = intel().evidence()
    verify(evidence, policy=intel().tdx(mr_seams=frozenset({b"M" * 48})), now=NOW)
    refused(ModuleIdentityError, evidence, intel().tdx(mr_seams=frozenset({b"N" * 48})))


def test_a_module_below_the_policys_minimum_is_refused() -> None:
    verify(intel().evidence(), policy=intel().tdx(minimum_tee_tcb_svn=TEE_TCB_SVN), now=NOW)
    minimum = bytes((0, 0, 4)) + bytes(13)
    refused(TcbFloorError, intel().evidence(), intel().tdx(minimum_tee_tcb_svn=minimum))


# Row 15: attributes and owner's fields


@pytest.mark.parametrize("bit", range(8))
def test_a_debuggable_td_is_refused_whatever_the_policy(bit: int) -> None:
    policy = intel().tdx(allowed_attributes=1 << 28 | 1 << 29 | 1 << 63)
    quote = intel().quote(td_report(attributes=1 << 28 | 1 << bit))
    refused(DebugError, intel().evidence(quote), policy)


@pytest.mark.parametrize("bit", [bit for bit in range(8, 64) if bit not in {28, 29}])
def test_an_attribute_that_the_policy_does_not_name_is_refused(bit: int) -> None:
    refused_quote(AttributesError, td_report(attributes=1 << 28 | 1 << bit))


def test_page_table_exceptions_must_be_off() -> None:
    assert "lacks the attributes 0x10000000" in refused_quote(AttributesError, td_report(attributes=0))
    lenient = intel().tdx(required_attributes=0)
    verify(intel().evidence(intel().quote(td_report(attributes=0))), policy=lenient, now=NOW)


def test_a_migratable_td_is_refused_unless_the_policy_says_so() -> None:
    body = td_report(attributes=1 << 28 | 1 << 29)
    refused_quote(MigrationError, body)
    policy = intel().tdx(allowed_attributes=1 << 28 | 1 << 29)
    assert verify(intel().evidence(intel().quote(body)), policy=policy, now=NOW).migratable


@pytest.mark.parametrize("bit", range(64))
def test_xfam_has_its_fixed_bits_and_no_others(bit: int) -> None:
    xfam = 0x602E7 ^ 1 << bit
    evidence = intel().evidence(intel().quote(td_report(xfam=xfam)))
    if bit >= 2 and 0x6DBE7 & 1 << bit:
        verify(evidence, policy=intel().tdx(), now=NOW)
    else:
        refused(AttributesError, evidence)


def pinned(name: str, value: bytes | None) -> TdxPolicy:
    fields: dict[str, Any] = {name: value}
    return intel().tdx(**fields)


@pytest.mark.parametrize("name", ["mr_config_id", "mr_owner", "mr_owner_config", "rtmr3"])
def test_each_owners_field_is_pinned(name: str) -> None:
    value = b"O" * 48
    fields: dict[str, Any] = {name: value}
    if name == "rtmr3":
        fields = {"rtmrs": (bytes(48),) * 3 + (value,)}
    evidence = intel().evidence(intel().quote(td_report(**fields)))
    refused(MeasurementMismatchError, evidence, pinned(name, bytes(48)))
    verify(evidence, policy=pinned(name, value), now=NOW)
    claims = verify(evidence, policy=pinned(name, None), now=NOW)
    label = name.replace("_", "").upper()
    assert [check.outcome for check in claims.checks if check.name == label] == [Outcome.NOT_CHECKED]


def test_a_service_td_is_refused_unless_pinned() -> None:
    service = b"V" * 48
    quote = intel().quote(td_report(tee_tcb_svn_2=TEE_TCB_SVN, mr_service_td=service))
    refused(MigrationError, intel().evidence(quote))
    verify(intel().evidence(quote), policy=intel().tdx(mr_service_td=service), now=NOW)
    claims = verify(intel().evidence(), policy=intel().tdx(), now=NOW)
    (check,) = (check for check in claims.checks if check.name == "MRSERVICETD")
    assert check.outcome is Outcome.NOT_APPLICABLE


def refused_enclave(error: Error, policy: SgxPolicy | None = None, **fields: Any) -> str:
    evidence = intel().sgx_evidence(intel().quote(enclave_report(**fields)))
    return refused(error, evidence, policy or intel().sgx())


def test_a_debug_enclave_is_refused() -> None:
    refused_enclave(DebugError, attributes=0x07)


@pytest.mark.parametrize("bit", [0, *(bit for bit in range(3, 64) if bit != 7)])
def test_an_enclave_with_other_attributes_is_refused(bit: int) -> None:
    refused_enclave(AttributesError, attributes=0x05 ^ 1 << bit)


@pytest.mark.parametrize("xfrm", [0xE6, 0xE5, 0, 0xE7 | 1 << 8, 0xE7 | 1 << 63])
def test_an_enclave_with_other_features_is_refused(xfrm: int) -> None:
    refused_enclave(AttributesError, xfrm=xfrm)
    refused_enclave(AttributesError, misc_select=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("config_id", b"C" * 64),
        ("config_svn", 1),
        ("isv_ext_prod_id", b"X" * 16),
        ("isv_family_id", b"F" * 16),
    ],
)
def test_key_separation_fields_are_pinned(field: str, value: Any) -> None:
    refused_enclave(IdentityError, **{field: value})
    evidence = intel().sgx_evidence(intel().quote(enclave_report(**{field: value})))
    verify(evidence, policy=intel().sgx(**{field: value}), now=NOW)


def test_signer_product_and_version_of_an_enclave_are_compared_where_pinned() -> None:
    pins: dict[str, Any] = {"mr_signers": frozenset({b"S" * 32}), "isv_prod_id": 1, "minimum_isv_svn": 3}
    claims = verify(intel().sgx_evidence(), policy=intel().sgx(**pins), now=NOW)
    assert not {"MRSIGNER", "ISVPRODID", "ISVSVN"} & {
        check.name for check in claims.checks if check.outcome is not Outcome.PASSED
    }
    refused_enclave(IdentityError, intel().sgx(**pins), mrsigner=b"Z" * 32)
    refused_enclave(IdentityError, intel().sgx(**pins), isv_prod_id=2)
    refused_enclave(TcbFloorError, intel().sgx(**pins), isv_svn=2)


# The processor


def test_processor_and_family_are_compared_where_pinned() -> None:
    evidence = intel().evidence()
    same = {"ppids": frozenset({PPID}), "fmspcs": frozenset({FMSPC})}
    verify(evidence, policy=intel().tdx(tcb=same), now=NOW)
    refused(IdentityError, evidence, intel().tdx(tcb={"ppids": frozenset({bytes(16)})}))
    refused(ProductError, evidence, intel().tdx(tcb={"fmspcs": frozenset({bytes(6)})}))


def test_a_forbidden_configuration_is_refused_and_an_unstated_one_too() -> None:
    evidence = intel().evidence()
    verify(evidence, policy=intel().tdx(tcb={"forbidden_configuration": frozenset({"cached keys"})}), now=NOW)
    policy = intel().tdx(tcb={"forbidden_configuration": frozenset({"smt"})})
    assert "with smt" in refused(ProductError, evidence, policy)
    silent = intel().with_pck(extension=sgx_extensions(configuration=None))
    refused(ProductError, silent.evidence(), policy)


def test_collateral_is_capped() -> None:
    endorsements = {"collateral": b" " * (256 << 10) + intel().collateral().encode()}
    refused(MalformedError, replace(intel().evidence(), endorsements=endorsements))
