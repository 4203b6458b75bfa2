"""What endorses a report: chains, revocation lists and leaves made by test keys, each wrong in one thing."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from glasshouse_attestations import snp
from glasshouse_attestations.claims import Claims
from glasshouse_attestations.errors import (
    CertificateChainError,
    CertificateExpiredError,
    CertificateRevokedError,
    GlasshouseError,
    IdentityError,
    KeyBindingError,
    MalformedError,
    ProductError,
    RevocationListError,
    UnavailableError,
)
from glasshouse_attestations.evidence import Evidence
from support import pki_snp
from support.pki_snp import ARK_SERIAL, ASK_SERIAL, NOW, FakeReport, Leaf, revocation_list, rsa_key

TURIN = snp.Product.TURIN
VLEK = snp.Kind.VLEK
DAY = timedelta(days=1)
GOOD = FakeReport()


def verify(report: FakeReport = GOOD, **replaced: bytes | None) -> Claims:
    return snp.verify(pki_snp.evidence(report, **replaced), policy=pki_snp.policy(), now=NOW)


def with_leaf(**changes: Any) -> FakeReport:
    return FakeReport(leaf=Leaf(**changes))


# What is wrong, by name: the endorsements to replace, the error and a part of its message.
CHAINS: dict[str, tuple[dict[str, Any], type[GlasshouseError], str]] = {
    "intermediate not signed by the root": (
        {"ask": pki_snp.ask(issuer_key=rsa_key("other"))},
        CertificateChainError,
        "not signed by",
    ),
    "intermediate of another product": ({"ask": pki_snp.ask(TURIN)}, CertificateChainError, "issuer"),
    "intermediate for VLEKs": (
        {"ask": pki_snp.ask(kind=VLEK)},
        CertificateChainError,
        "not that of SEV-Genoa",
    ),
    "intermediate that is no authority": (
        {"ask": pki_snp.ask(is_ca=False)},
        CertificateChainError,
        "not a certificate authority",
    ),
    "intermediate with a salt of another length": (
        {"ask": pki_snp.ask(salt=32)},
        CertificateChainError,
        "another algorithm",
    ),
    "intermediate signed with PKCS #1 v1.5": (
        {"ask": pki_snp.ask(salt=None)},
        CertificateChainError,
        "another algorithm",
    ),
    "intermediate expired": ({"ask": pki_snp.ask(end=NOW - DAY)}, CertificateExpiredError, "valid"),
    "root not pinned": (
        {"ark": pki_snp.ark(key=rsa_key("other"), issuer_key=rsa_key("other"))},
        CertificateChainError,
        "pinned root",
    ),
    "root in the place of the intermediate": (
        {"ask": pki_snp.ark()},
        CertificateChainError,
        "not that of SEV-Genoa",
    ),
    "no intermediate": ({"ask": None}, UnavailableError, "lacks the endorsement ask"),
    "no root": ({"ark": None}, UnavailableError, "lacks the endorsement ark"),
    "no VCEK": ({"vcek": None}, UnavailableError, "lacks the endorsement vcek"),
    "no list": ({"crl": None}, UnavailableError, "revocation list"),
    "list that is stale": (
        {"crl": revocation_list(end=NOW)},
        RevocationListError,
        "not current",
    ),
    "list of the future": ({"crl": revocation_list(start=NOW + DAY)}, RevocationListError, "not current"),
    "list of another key": (
        {"crl": revocation_list(key=rsa_key("other"))},
        RevocationListError,
        "not signed",
    ),
    "list of another issuer": ({"crl": revocation_list(product=TURIN)}, RevocationListError, "not issued"),
    "list signed with PKCS #1 v1.5": (
        {"crl": revocation_list(salt=None)},
        RevocationListError,
        "another algorithm",
    ),
    "list signed by the intermediate": (
        {"crl": revocation_list(key=rsa_key("ask"))},
        RevocationListError,
        "not signed",
    ),
    "delta list": (
        {"crl": revocation_list(extensions=[(x509.DeltaCRLIndicator(1), True)])},
        RevocationListError,
        "limited",
    ),
    "delta list not marked critical": (
        {"crl": revocation_list(extensions=[(x509.DeltaCRLIndicator(1), False)])},
        RevocationListError,
        "limited",
    ),
    "list that names the intermediate": (
        {"crl": revocation_list(7, ASK_SERIAL)},
        CertificateRevokedError,
        "SEV-Genoa",
    ),
    "list that names the root": ({"crl": revocation_list(ARK_SERIAL)}, CertificateRevokedError, "ARK-Genoa"),
    "an endorsement of an unknown name": ({"x509": b""}, MalformedError, "unknown name"),
}


@pytest.mark.parametrize("name", CHAINS)
def test_endorsements_that_are_wrong_in_one_thing_are_refused_in_the_named_error(name: str) -> None:
    replaced, error, message = CHAINS[name]
    with pytest.raises(GlasshouseError, match=message) as caught:
        verify(**replaced)
    assert type(caught.value) is error


def test_a_list_that_names_others_is_no_obstacle() -> None:
    assert verify(crl=revocation_list(7, 8)).product == "Genoa"


def test_a_root_that_may_not_sign_lists_is_refused_with_one() -> None:
    ark = pki_snp.ark(crl_sign=False)
    policy = pki_snp.policy(root_sha256=hashlib.sha256(ark).digest())
    with pytest.raises(RevocationListError, match="may not sign"):
        snp.verify(pki_snp.evidence(ark=ark), policy=policy, now=NOW)


LEAVES: dict[str, tuple[Leaf, type[GlasshouseError], str]] = {
    "not signed by the intermediate": (Leaf(issuer_key="other"), CertificateChainError, "not signed by"),
    "signed by the root": (Leaf(issuer_key="ark"), CertificateChainError, "not signed by"),
    "issued in another name": (Leaf(issuer="SEV-Milan"), CertificateChainError, "issuer"),
    "issued in the root's name": (Leaf(issuer="ARK-Genoa"), CertificateChainError, "issuer"),
    "another subject": (Leaf(subject="SEV-Genoa"), CertificateChainError, "neither"),
    "salt of another length": (Leaf(salt=32), CertificateChainError, "another algorithm"),
    "signed with PKCS #1 v1.5": (Leaf(salt=None), CertificateChainError, "another algorithm"),
    "expired": (Leaf(end=NOW - DAY), CertificateExpiredError, "valid"),
    "not yet valid": (Leaf(start=NOW + DAY), CertificateExpiredError, "valid"),
    "P-256": (Leaf(curve=ec.SECP256R1), CertificateChainError, "P-384"),
    "P-521": (Leaf(curve=ec.SECP521R1), CertificateChainError, "P-384"),
    "critical extension": (Leaf(critical=frozenset({"4"})), CertificateChainError, "critical"),
    "another product": (
        Leaf(extensions={"2": pki_snp.der_text("Milan-B0")}),
        ProductError,
        "endorsement is for Milan",
    ),
    "unknown product": (Leaf(extensions={"2": pki_snp.der_text("Rome")}), ProductError, "no pinned root"),
    "product whose name only starts the same": (
        Leaf(extensions={"2": pki_snp.der_text("Genoa2")}),
        ProductError,
        "no pinned root",
    ),
    "another chip": (Leaf(extensions={"4": bytes(64)}), IdentityError, "another chip"),
    "short hardware id": (Leaf(extensions={"4": bytes(63)}), MalformedError, "64 bytes"),
    "hardware id of Turin's size": (Leaf(extensions={"4": bytes(8)}), MalformedError, "64 bytes"),
    "hardware id wrapped as another type": (
        Leaf(extensions={"4": b"\x03\x40" + bytes(64)}),
        MalformedError,
        "tag",
    ),
    "component of more than a byte": (
        Leaf(extensions={"3.3": pki_snp.der_integer(256 + 27)}),
        MalformedError,
        "more than one byte",
    ),
    "component not in its shortest form": (
        Leaf(extensions={"3.3": b"\x02\x02\x00\x1b"}),
        MalformedError,
        "shortest",
    ),
    "negative component": (Leaf(extensions={"3.3": b"\x02\x01\x9b"}), MalformedError, "negative"),
    "component followed by other bytes": (
        Leaf(extensions={"3.3": pki_snp.der_integer(27) + b"\x00"}),
        MalformedError,
        "left over",
    ),
    "another version of extensions": (
        Leaf(extensions={"1": pki_snp.der_integer(2)}),
        MalformedError,
        "unknown version",
    ),
    "reserved component": (
        Leaf(extensions={"3.5": pki_snp.der_integer(1)}),
        MalformedError,
        "reserved component",
    ),
    "fmc before Turin": (Leaf(extensions={"3.9": pki_snp.der_integer(0)}), MalformedError, "fmc"),
    "provider in a VCEK": (
        Leaf(extensions={"5": pki_snp.der_text("CN=cloud.example")}),
        MalformedError,
        "names a provider",
    ),
    **{
        f"extension {arcs} missing": (Leaf(extensions={arcs: None}), MalformedError, message)
        for arcs, message in {
            "1": "missing",
            "2": "missing",
            "3.1": "missing",
            "3.2": "missing",
            "3.3": "missing",
            "3.8": "missing",
            "4": "names a chip",
        }.items()
    },
    **{
        f"component {arcs} differs from the report's": (
            Leaf(extensions={arcs: pki_snp.der_integer(99)}),
            KeyBindingError,
            "for the TCB",
        )
        for arcs in ("3.1", "3.2", "3.3", "3.8")
    },
}


@pytest.mark.parametrize("name", LEAVES)
def test_a_vcek_that_is_wrong_in_one_thing_is_refused_in_the_named_error(name: str) -> None:
    leaf, error, message = LEAVES[name]
    with pytest.raises(GlasshouseError, match=message) as caught:
        verify(FakeReport(leaf=leaf))
    assert type(caught.value) is error


def test_fmc_of_turin_must_be_there_and_equal() -> None:
    def verify_turin(fmc: bytes | None) -> Claims:
        leaf = Leaf(product=TURIN, tcb=snp.Tcb(fmc=1, microcode=0x50), extensions={"3.9": fmc})
        return snp.verify(pki_snp.evidence(FakeReport(leaf=leaf)), policy=pki_snp.policy(TURIN), now=NOW)

    assert verify_turin(pki_snp.der_integer(1)).product == "Turin"
    with pytest.raises(KeyBindingError):
        verify_turin(pki_snp.der_integer(2))
    with pytest.raises(MalformedError, match="missing"):
        verify_turin(None)


def test_a_hardware_id_may_be_wrapped_as_amds_newer_certificates_do() -> None:
    wrapped = b"\x04\x40" + Leaf().hardware_id
    assert verify(with_leaf(extensions={"4": wrapped})).identity == Leaf().hardware_id


def test_a_chip_id_of_turin_is_eight_bytes_and_zeros() -> None:
    leaf = Leaf(product=TURIN, tcb=snp.Tcb(fmc=1, microcode=0x50))
    chip_id = leaf.hardware_id[:8] + bytes(55) + b"\x01"
    with pytest.raises(IdentityError, match="another chip"):
        snp.verify(
            pki_snp.evidence(FakeReport(leaf=leaf, chip_id=chip_id)), policy=pki_snp.policy(TURIN), now=NOW
        )


def test_a_certificate_of_the_other_kind_is_refused_under_either_name() -> None:
    vlek = Leaf(kind=VLEK)
    with pytest.raises(KeyBindingError, match="a VCEK signed the report"):
        verify(vcek=vlek.encode())
    policy = pki_snp.policy(vlek_providers=frozenset({pki_snp.PROVIDER}))
    with pytest.raises(KeyBindingError, match="a VLEK signed the report"):
        snp.verify(pki_snp.evidence(FakeReport(leaf=vlek), vlek=Leaf().encode()), policy=policy, now=NOW)
    with pytest.raises(UnavailableError, match="vlek"):
        snp.verify(
            pki_snp.evidence(FakeReport(leaf=vlek), vlek=None, vcek=Leaf().encode()), policy=policy, now=NOW
        )


def test_a_vlek_without_its_provider_or_with_a_chip_is_malformed() -> None:
    policy = pki_snp.policy(vlek_providers=frozenset({pki_snp.PROVIDER}))
    for extensions, message in (({"5": None}, "names a provider"), ({"4": bytes(64)}, "names a chip")):
        report = FakeReport(leaf=Leaf(kind=VLEK, extensions=extensions))
        with pytest.raises(MalformedError, match=message):
            snp.verify(pki_snp.evidence(report), policy=policy, now=NOW)


def test_test_keys_never_verify_under_amds_roots() -> None:
    with pytest.raises(CertificateChainError, match="pinned root"):
        snp.verify(pki_snp.evidence(), policy=snp.Policy(), now=NOW)


def test_unused_bits_and_bytes_behind_a_signed_object_are_malformed() -> None:
    for name in ("vcek", "ask", "crl"):
        der = pki_snp.evidence().endorsements[name]
        for changed in (der + b"\x00", der[:-1], with_unused_bit(der)):
            with pytest.raises(MalformedError):
                verify(GOOD, **{name: changed})


def with_unused_bit(der: bytes) -> bytes:
    """Say that the last bit of the signature, of 256 bytes, is unused."""
    at = len(der) - 257
    assert der[at] == 0
    return der[:at] + b"\x01" + der[at + 1 :]


def test_evidence_of_another_platform_is_malformed() -> None:
    with pytest.raises(MalformedError, match="SEV-SNP"):
        snp.verify(Evidence(platform="tdx", quote=bytes(1184)), policy=snp.Policy(), now=NOW)
