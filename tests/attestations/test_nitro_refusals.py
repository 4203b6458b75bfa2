"""What no captured Nitro document shows, under a generated root: each step refuses with its own error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given

from glasshouse_attestations import nitro
from glasshouse_attestations.claims import Claims, Outcome
from glasshouse_attestations.errors import (
    CertificateChainError,
    CertificateExpiredError,
    DebugError,
    EvidenceSignatureError,
    FreshnessError,
    GlasshouseError,
    IdentityError,
    KeyBindingError,
    MalformedError,
    MeasurementMismatchError,
    PcrError,
    ReportDataMismatchError,
)
from glasshouse_attestations.evidence import Evidence
from support.pki_nitro import INSTANCE, MODULE, NOW, REPORT_DATA, Nitro, encode, issue

_NITRO = Nitro.generate()
_PCRS = _NITRO.fields()["pcrs"]


def _verify(evidence: Evidence, pki: Nitro = _NITRO, **policy: Any) -> Claims:
    return nitro.verify(evidence, policy=pki.policy(**policy), now=NOW)


def _outcome(claims: Claims, name: str) -> Outcome:
    return next(check.outcome for check in claims.checks if check.name == name)


def test_a_generated_document_verifies() -> None:
    claims = _verify(_NITRO.evidence())
    assert claims.report_data == REPORT_DATA
    assert claims.registers == {f"pcr{index}.sha384": _PCRS[index] for index in range(3)}
    assert claims.identity == MODULE.encode()
    assert [check.name for check in claims.checks if check.outcome is Outcome.NOT_CHECKED] == [
        "deployment registers",
        "parent instance",
        "nonce",
        "public key",
    ]
    assert all(check.source for check in claims.checks)


def test_a_payload_map_of_definite_length_verifies_too() -> None:
    _verify(_NITRO.sign(encode(_NITRO.fields())))


def test_the_tag_of_a_cose_sign1_is_optional_and_stands_once() -> None:
    quote = _NITRO.evidence().quote
    _verify(Evidence(platform="nitro", quote=b"\xd2" + quote))
    with pytest.raises(MalformedError, match="unused kind"):
        _verify(Evidence(platform="nitro", quote=b"\xd2\xd2" + quote))


def test_optional_fields_may_be_absent() -> None:
    claims = _verify(_NITRO.evidence(public_key=..., user_data=..., nonce=...))
    assert claims.report_data == b""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"module_id": ...}, "lacks module_id"),
        ({"digest": ...}, "lacks digest"),
        ({"timestamp": ...}, "lacks timestamp"),
        ({"pcrs": ...}, "lacks pcrs"),
        ({"certificate": ...}, "lacks certificate"),
        ({"cabundle": ...}, "lacks cabundle"),
        ({"pcrs": ..., "nitrotpm_pcrs": _PCRS}, "lacks pcrs"),
        ({"nitrotpm_pcrs": _PCRS}, "unknown field"),
        ({"extra": 1}, "unknown field"),
        ({"module_id": ""}, "module_id"),
        ({"module_id": f"{INSTANCE}-tpm0123456789abcdef"}, "module_id"),
        ({"module_id": INSTANCE}, "module_id"),
        ({"module_id": MODULE + "\n"}, "module_id"),
        ({"module_id": None}, "module_id"),
        ({"digest": "SHA256"}, "digest"),
        ({"digest": "sha384"}, "digest"),
        ({"timestamp": 0}, "timestamp"),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": 2**64 - 1}, "timestamp"),
        ({"timestamp": "now"}, "timestamp"),
        ({"pcrs": {}}, "1 to 32"),
        ({"pcrs": []}, "1 to 32"),
        ({"pcrs": {index: bytes(48) for index in range(33)}}, "1 to 32"),
        ({"pcrs": {**_PCRS, 32: bytes(48)}}, "0 to 31"),
        ({"pcrs": {**_PCRS, -1: bytes(48)}}, "0 to 31"),
        ({"pcrs": {**_PCRS, "5": bytes(48)}}, "0 to 31"),
        ({"pcrs": {**_PCRS, 0: bytes(32)}}, "48 bytes"),
        ({"pcrs": {**_PCRS, 0: b""}}, "48 bytes"),
        ({"certificate": b""}, "1 to 1024"),
        ({"certificate": bytes(1025)}, "1 to 1024"),
        ({"certificate": b"\x30\x00"}, "certificate does not parse"),
        ({"certificate": _NITRO.leaf.der + b"\x00"}, "certificate"),
        ({"cabundle": []}, "1 to 8"),
        ({"cabundle": [_NITRO.root.der] * 9}, "1 to 8"),
        ({"cabundle": [bytes(1025)]}, "1 to 1024"),
        ({"cabundle": _NITRO.root.der}, "1 to 8"),
        ({"public_key": b""}, "public_key"),
        ({"public_key": bytes(1025)}, "public_key"),
        ({"user_data": bytes(513)}, "user_data"),
        ({"user_data": "text"}, "user_data"),
        ({"nonce": bytes(513)}, "nonce"),
    ],
)
def test_a_document_against_the_rules_of_its_fields_is_malformed(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(MalformedError, match=reason):
        _verify(_NITRO.evidence(**changes))


def test_a_payload_that_is_no_map_or_has_a_duplicate_key_is_malformed() -> None:
    with pytest.raises(MalformedError, match="is a map"):
        _verify(_NITRO.sign(encode([1])))
    fields = encode(_NITRO.fields(), indefinite=True)
    with pytest.raises(MalformedError, match="duplicate key"):
        _verify(_NITRO.sign(fields[:-1] + encode("digest") + encode("SHA384") + b"\xff"))
    with pytest.raises(MalformedError, match="other bytes"):
        _verify(_NITRO.sign(fields + b"\x00"))


@pytest.mark.parametrize(
    ("protected", "unprotected"),
    [
        (bytes.fromhex("a10126"), {}),  # ES256
        (bytes.fromhex("a1013823"), {}),  # ES512
        (bytes.fromhex("a0"), {}),
        (bytes.fromhex("a2013822044130"), {}),
        (b"", {}),
        (bytes.fromhex("bf013822ff"), {}),
        (bytes.fromhex("a1013822"), {1: -35}),
        (bytes.fromhex("a1013822"), []),
    ],
)
def test_any_other_algorithm_or_header_is_malformed(protected: bytes, unprotected: object) -> None:
    payload = encode(_NITRO.fields())
    with pytest.raises(MalformedError, match="header"):
        _verify(_NITRO.sign(payload, protected=protected, unprotected=unprotected))


@pytest.mark.parametrize("size", [0, 64, 95, 97])
def test_a_signature_of_another_size_is_malformed(size: int) -> None:
    with pytest.raises(MalformedError, match="96 bytes"):
        _verify(_NITRO.sign(encode(_NITRO.fields()), spoil=lambda _: bytes(size)))


@pytest.mark.parametrize("parts", [[], [b"", {}, b""], [b"", {}, b"", b"", b""], {1: 2}, b""])
def test_what_is_no_cose_sign1_is_malformed(parts: object) -> None:
    with pytest.raises(MalformedError, match="array of four"):
        _verify(Evidence(platform="nitro", quote=encode(parts)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: bytes(96),
        lambda signature: bytes(48) + signature[48:],
        lambda signature: signature[:48] + bytes(48),
        lambda signature: signature[48:] + signature[:48],
        lambda signature: b"\xff" * 48 + signature[48:],
        lambda signature: signature[:-1] + bytes([signature[-1] ^ 1]),
    ],
)
def test_another_signature_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(EvidenceSignatureError):
        _verify(_NITRO.sign(encode(_NITRO.fields()), spoil=spoil))


def test_a_document_signed_by_another_enclave_is_refused() -> None:
    other = Nitro(root=_NITRO.root, intermediate=_NITRO.intermediate, leaf=Nitro.generate().leaf)
    with pytest.raises(EvidenceSignatureError):
        _verify(other.sign(encode(_NITRO.fields())))


def test_a_leaf_key_on_another_curve_is_refused() -> None:
    pki = Nitro.generate(curve=ec.SECP521R1())
    evidence = pki.sign(encode(pki.fields()), spoil=lambda signature: signature[:96])
    with pytest.raises(EvidenceSignatureError, match="P-384"):
        _verify(evidence, pki)


def test_another_root_of_the_same_name_is_refused() -> None:
    with pytest.raises(CertificateChainError, match="not a pinned root"):
        _verify(Nitro.generate().evidence())
    with pytest.raises(CertificateChainError, match="not a pinned root"):
        nitro.verify(_NITRO.evidence(), policy=nitro.Policy(), now=NOW)


@pytest.mark.parametrize(
    "cabundle",
    [
        [_NITRO.intermediate.der, _NITRO.root.der],
        [_NITRO.root.der],
        [_NITRO.root.der, _NITRO.intermediate.der, _NITRO.intermediate.der],
        [_NITRO.intermediate.der],
    ],
    ids=["reversed", "gap", "repeated", "rootless"],
)
def test_a_chain_in_another_order_is_refused(cabundle: list[bytes]) -> None:
    with pytest.raises(CertificateChainError):
        _verify(_NITRO.evidence(cabundle=cabundle))


def test_a_chain_is_judged_at_the_document_s_own_time() -> None:
    late = Nitro.generate(start=NOW + timedelta(seconds=1))
    with pytest.raises(CertificateExpiredError):
        _verify(late.evidence(), late)
    early = Nitro.generate(end=NOW - timedelta(seconds=1))
    with pytest.raises(CertificateExpiredError):
        _verify(early.evidence(), early)
    brief = Nitro.generate(end=NOW + timedelta(seconds=30))
    nitro.verify(brief.evidence(), policy=brief.policy(), now=NOW + timedelta(seconds=60))


def test_a_leaked_key_cannot_date_a_document_after_its_certificate() -> None:
    leaked = Nitro.generate(start=NOW - timedelta(hours=4), end=NOW - timedelta(hours=1))
    with pytest.raises(CertificateExpiredError):
        _verify(leaked.evidence(), leaked)
    backdated = leaked.evidence(timestamp=int((NOW - timedelta(hours=2)).timestamp() * 1000))
    with pytest.raises(FreshnessError):
        _verify(backdated, leaked)


@pytest.mark.parametrize(
    "leaf",
    [{"ca": True}, {"digital_signature": False}],
    ids=["an authority", "no signatures"],
)
def test_a_leaf_that_is_not_for_signing_documents_is_refused(leaf: dict[str, Any]) -> None:
    pki = Nitro.generate(**leaf)
    with pytest.raises(CertificateChainError, match="not an end entity"):
        _verify(pki.evidence(), pki)


def test_a_leaf_below_a_leaf_is_refused() -> None:
    below = issue(f"{MODULE}.test-1.aws", _NITRO.leaf, ca=False)
    pki = Nitro(root=_NITRO.root, intermediate=_NITRO.intermediate, leaf=below)
    chain = [_NITRO.root.der, _NITRO.intermediate.der, _NITRO.leaf.der]
    with pytest.raises(CertificateChainError, match="not a certificate authority"):
        _verify(pki.evidence(cabundle=chain), pki)


@pytest.mark.parametrize("module", [MODULE[:-1] + "0", "x" + MODULE])
def test_a_certificate_of_another_module_is_refused(module: str) -> None:
    pki = Nitro.generate(module=module)
    with pytest.raises(KeyBindingError, match="not issued to the module"):
        _verify(pki.evidence(), pki)


def test_a_stale_document_and_one_from_the_future_are_refused() -> None:
    def at(offset: timedelta) -> Claims:
        return nitro.verify(_NITRO.evidence(), policy=_NITRO.policy(), now=NOW + offset)

    at(timedelta(minutes=5))
    with pytest.raises(FreshnessError, match="older than"):
        at(timedelta(minutes=5, seconds=1))
    at(-timedelta(minutes=1))
    with pytest.raises(FreshnessError, match="in the future"):
        at(-timedelta(minutes=1, seconds=1))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_zero_image_register_is_debug_mode(index: int) -> None:
    with pytest.raises(DebugError, match=f"PCR{index} is zero"):
        _verify(_NITRO.evidence(pcrs={**_PCRS, index: bytes(48)}))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_absent_image_register_is_refused_even_if_the_policy_does_not_ask(index: int) -> None:
    pcrs = {number: value for number, value in _PCRS.items() if number != index}
    with pytest.raises(PcrError, match=f"lacks PCR{index}"):
        _verify(_NITRO.evidence(pcrs=pcrs), pcrs=frozenset({3}))


def test_an_absent_register_that_the_policy_asks_for_is_refused() -> None:
    with pytest.raises(PcrError, match="lacks PCR8"):
        _verify(_NITRO.evidence(), pcrs=frozenset({0, 1, 2, 8}))
    with pytest.raises(PcrError, match="lacks PCR9"):
        _verify(_NITRO.evidence(), expected={9: bytes(48)})


def test_a_register_of_the_deployment_is_compared() -> None:
    claims = _verify(_NITRO.evidence(), expected={3: _PCRS[3]})
    assert _outcome(claims, "deployment registers") is Outcome.PASSED
    with pytest.raises(MeasurementMismatchError, match="PCR3"):
        _verify(_NITRO.evidence(), expected={3: bytes(48)})


def test_pcr4_is_that_of_the_instance_in_the_module_id() -> None:
    other = hashlib.sha384(bytes(48) + b"i-0fedcba9876543210").digest()
    for pcrs in ({**_PCRS, 4: other}, {**_PCRS, 4: bytes(48)}, {index: _PCRS[index] for index in range(4)}):
        with pytest.raises(IdentityError, match="PCR4"):
            _verify(_NITRO.evidence(pcrs=pcrs))


def test_an_instance_outside_the_policy_is_refused() -> None:
    claims = _verify(_NITRO.evidence(), instances=frozenset({INSTANCE}))
    assert _outcome(claims, "parent instance") is Outcome.PASSED
    with pytest.raises(IdentityError, match="does not accept"):
        _verify(_NITRO.evidence(), instances=frozenset({"i-0fedcba9876543210"}))


@pytest.mark.parametrize("field", ["nonce", "public_key"])
@pytest.mark.parametrize("carried", [..., None, b"y" * 32, b"x" * 31, b"x" * 33])
def test_a_nonce_or_key_is_compared_in_full(field: str, carried: object) -> None:
    expected: dict[str, Any] = {field: b"x" * 32}
    claims = _verify(_NITRO.evidence(**expected), **expected)
    assert _outcome(claims, field.replace("_", " ")) is Outcome.PASSED
    with pytest.raises(ReportDataMismatchError):
        _verify(_NITRO.evidence(**{field: carried}), **expected)


def test_evidence_of_another_platform_or_with_endorsements_is_malformed() -> None:
    quote = _NITRO.evidence().quote
    with pytest.raises(MalformedError, match="not of the nitro platform"):
        _verify(Evidence(platform="snp", quote=quote))
    with pytest.raises(MalformedError, match="no endorsements"):
        _verify(Evidence(platform="nitro", quote=quote, endorsements={"root": _NITRO.root.der}))


def test_an_oversize_document_is_malformed() -> None:
    with pytest.raises(MalformedError, match="more than"):
        _verify(_NITRO.evidence(user_data=bytes(20_000)))


@given(st.binary(max_size=2000))
def test_any_payload_signed_or_not_ends_in_a_typed_error(payload: bytes) -> None:
    with pytest.raises(GlasshouseError):
        _verify(Evidence(platform="nitro", quote=payload))
    with pytest.raises(GlasshouseError):
        nitro.AttestationDocument.parse(payload)


@given(st.data())
def test_a_document_with_spliced_bytes_ends_in_a_typed_error(data: st.DataObject) -> None:
    quote = _NITRO.evidence().quote
    start = data.draw(st.integers(0, len(quote)))
    end = data.draw(st.integers(start, min(len(quote), start + 8)))
    spliced = quote[:start] + data.draw(st.binary(max_size=8)) + quote[end:]
    if spliced != quote:
        with pytest.raises(GlasshouseError):
            _verify(Evidence(platform="nitro", quote=spliced))
