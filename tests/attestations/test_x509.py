"""Chains and revocation lists of a generated authority: one rule of RFC 5280 broken at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from glasshouse_attestations.errors import (
    CertificateChainError,
    CertificateExpiredError,
    CertificateRevokedError,
    MalformedError,
    PlatformError,
    RevocationListError,
)
from glasshouse_attestations.x509 import (
    Algorithm,
    check_not_revoked,
    load_certificate,
    load_pem_chain,
    load_revocation_list,
    verify_chain,
    verify_revocation_list,
)

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=timezone.utc)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
START, END = NOW - 30 * DAY, NOW + 30 * DAY
Hash: TypeAlias = hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512
P256 = (Algorithm.ECDSA_P256_SHA256,)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
USAGE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{**USAGE, **dict.fromkeys(names, True)})


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def issue(
    name: str,
    issuer: Party | None = None,
    *,
    ca: bool | None = True,
    path_length: int | None = None,
    key_usage: x509.KeyUsage | None = None,
    without_usage: bool = False,
    issuer_name: str | None = None,
    key: Any = None,
    start: datetime = START,
    end: datetime = END,
    extension: x509.ExtensionType | None = None,
    critical: bool = True,
    hash_: Hash | None = None,
    pss: bool = False,
) -> Party:
    """Return a certificate that is in order, but for what the arguments say."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    issued_by = issuer.certificate.subject if issuer else named(name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer_name) if issuer_name else issued_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    if not without_usage:
        default = usage("key_cert_sign", "crl_sign") if ca else usage("digital_signature")
        builder = builder.add_extension(key_usage or default, critical=True)
    if extension is not None:
        builder = builder.add_extension(extension, critical=critical)
    signer = issuer.key if issuer else key
    salted = padding.PSS(padding.MGF1(hashes.SHA384()), padding.PSS.DIGEST_LENGTH) if pss else None
    return Party(certificate=builder.sign(signer, hash_ or hashes.SHA256(), rsa_padding=salted), key=key)


ROOT = issue("root")
AUTHORITY = issue("authority", ROOT)
LEAF = issue("leaf", AUTHORITY, ca=False)


def verify(
    *parties: Party, root: Party | None = None, algorithms: tuple[Algorithm, ...] = P256, **changes: Any
) -> x509.Certificate:
    pinned = root or parties[-1]
    arguments: dict[str, Any] = {
        "root_sha256": {pinned.certificate.fingerprint(hashes.SHA256())},
        "algorithms": algorithms,
        "now": NOW,
        **changes,
    }
    return verify_chain([party.certificate for party in parties], **arguments)


def refused(
    *parties: Party, because: str, error: type[PlatformError] = CertificateChainError, **how: Any
) -> None:
    with pytest.raises(error, match=because):
        verify(*parties, **how)


def test_a_chain_to_a_pinned_root_gives_its_leaf() -> None:
    assert verify(LEAF, AUTHORITY, ROOT) is LEAF.certificate
    assert verify(AUTHORITY, ROOT) is AUTHORITY.certificate


def test_a_root_that_is_not_pinned_is_refused() -> None:
    other = issue("root")
    refused(LEAF, AUTHORITY, ROOT, root=other, because="not a pinned root")
    refused(LEAF, AUTHORITY, ROOT, root_sha256=(), because="not a pinned root")
    refused(LEAF, AUTHORITY, root=ROOT, because="not a pinned root")


def test_a_leaf_that_signs_itself_is_no_chain_even_if_it_is_pinned() -> None:
    alone = issue("leaf", ca=False)
    refused(alone, because="at least a leaf and a root")
    refused(alone, alone, because="twice")
    refused(alone, ROOT, because="the issuer of CN=leaf is not CN=root")
    refused(because="at least", root=ROOT)


@pytest.mark.parametrize(
    "chain",
    [
        (LEAF, LEAF, AUTHORITY, ROOT),
        (LEAF, AUTHORITY, AUTHORITY, ROOT),
        (LEAF, AUTHORITY, ROOT, ROOT),
        (ROOT, ROOT),
    ],
)
def test_a_certificate_that_is_there_twice_is_refused(chain: tuple[Party, ...]) -> None:
    refused(*chain, because="twice")


def test_certificates_in_another_order_or_left_out_are_refused() -> None:
    refused(AUTHORITY, LEAF, ROOT, because="is not CN=leaf")
    refused(LEAF, ROOT, because="is not CN=root")


def test_the_name_of_the_issuer_must_be_the_issuers() -> None:
    misnamed = issue("leaf", AUTHORITY, ca=False, issuer_name="someone")
    refused(misnamed, AUTHORITY, ROOT, because="the issuer of CN=leaf is not CN=authority")


def test_a_certificate_in_an_issuers_name_by_another_key_is_refused() -> None:
    imposter = issue("authority")
    forged = issue("leaf", imposter, ca=False)
    refused(forged, AUTHORITY, ROOT, because="is not signed by CN=authority")
    refused(forged, imposter, ROOT, because="the issuer of CN=authority is not CN=root")


def test_a_pinned_certificate_that_another_one_signed_is_no_root() -> None:
    refused(LEAF, AUTHORITY, because="the issuer of CN=authority is not CN=authority")
    crossed = issue("root", issue("root"))
    refused(issue("leaf", crossed, ca=False), crossed, because="is not signed by CN=root")


@pytest.mark.parametrize("place", ["leaf", "authority", "root"])
@pytest.mark.parametrize(
    ("start", "end", "is_valid"),
    [
        (NOW, NOW, True),
        (NOW + SECOND, END, False),
        (START, NOW - SECOND, False),
    ],
)
def test_each_certificate_is_valid_from_its_first_second_to_its_last(
    place: str, start: datetime, end: datetime, *, is_valid: bool
) -> None:
    def period(name: str) -> dict[str, datetime]:
        return {"start": start, "end": end} if name == place else {}

    root = issue("root", **period("root"))  # type: ignore[arg-type]
    authority = issue("authority", root, **period("authority"))  # type: ignore[arg-type]
    leaf = issue("leaf", authority, ca=False, **period("leaf"))  # type: ignore[arg-type]
    if is_valid:
        verify(leaf, authority, root)
    else:
        refused(leaf, authority, root, because=f"CN={place} is valid", error=CertificateExpiredError)


@pytest.mark.parametrize("place", ["leaf", "authority", "root"])
def test_an_unknown_critical_extension_is_refused_unless_the_caller_enforces_it(place: str) -> None:
    def extension(name: str) -> dict[str, Any]:
        return {"extension": UNKNOWN} if name == place else {}

    root = issue("root", **extension("root"))
    authority = issue("authority", root, **extension("authority"))
    leaf = issue("leaf", authority, ca=False, **extension("leaf"))
    refused(
        leaf, authority, root, because=f"CN={place} has the unknown critical extension 1.3.6.1.4.1.99999.1"
    )
    verify(leaf, authority, root, understood=[UNKNOWN.oid])


@pytest.mark.parametrize(
    "extension",
    [
        x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=[x509.DNSName("example.com")]),
        x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None),
        x509.InhibitAnyPolicy(0),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
    ],
)
def test_a_constraint_that_is_not_enforced_here_refuses_where_it_is_critical(
    extension: x509.ExtensionType,
) -> None:
    constrained = issue("authority", ROOT, extension=extension)
    refused(issue("leaf", constrained, ca=False), constrained, ROOT, because="unknown critical extension")


def test_an_unknown_extension_that_is_not_critical_is_left_alone() -> None:
    verify(issue("leaf", AUTHORITY, ca=False, extension=UNKNOWN, critical=False), AUTHORITY, ROOT)


@pytest.mark.parametrize(
    ("how", "because"),
    [
        ({"ca": False}, "is not a certificate authority"),
        ({"ca": None}, "lacks basic constraints"),
        ({"without_usage": True}, "lacks basic constraints or key usage"),
        ({"key_usage": usage("digital_signature", "crl_sign")}, "is not a certificate authority"),
    ],
)
def test_an_issuer_is_an_authority_that_may_sign_certificates(how: dict[str, Any], because: str) -> None:
    issuer = issue("authority", ROOT, **how)
    refused(issue("leaf", issuer, ca=False), issuer, ROOT, because=f"CN=authority {because}")
    root = issue("root", **how)
    refused(issue("leaf", root, ca=False), root, because=f"CN=root {because}")


def test_a_leaf_signs_no_certificates() -> None:
    below = issue("below", LEAF, ca=False)
    refused(below, LEAF, AUTHORITY, ROOT, because="CN=leaf is not a certificate authority")


@pytest.mark.parametrize("allowed", [0, 1, 2, 3])
def test_the_path_below_an_authority_is_no_longer_than_it_allows(allowed: int) -> None:
    root = issue("root", path_length=allowed)
    chain = [root]
    for number in range(2):
        chain.insert(0, issue(f"authority {number}", chain[0]))
    chain.insert(0, issue("leaf", chain[0], ca=False))
    if allowed >= 2:
        verify(*chain)
    else:
        refused(*chain, because="CN=root may not stand so far above the leaf")


def test_an_authority_of_path_length_zero_signs_leaves_alone() -> None:
    last = issue("last", ROOT, path_length=0)
    verify(issue("leaf", last, ca=False), last, ROOT)
    beyond = issue("beyond", last)
    refused(issue("leaf", beyond, ca=False), beyond, last, ROOT, because="CN=last may not stand so far")


RSA_2048 = rsa.generate_private_key(65537, 2048)
RSA_1024 = rsa.generate_private_key(65537, 1024)  # noqa: S505 (refused is what it has to be)
P384_KEY = ec.generate_private_key(ec.SECP384R1())
HOW: dict[Algorithm, dict[str, Any]] = {
    Algorithm.ECDSA_P256_SHA256: {"hash_": hashes.SHA256()},
    Algorithm.ECDSA_P384_SHA384: {"hash_": hashes.SHA384(), "key": P384_KEY},
    Algorithm.RSA_PSS_SHA384: {"hash_": hashes.SHA384(), "key": RSA_2048, "pss": True},
    Algorithm.RSA_PKCS1_SHA256: {"hash_": hashes.SHA256(), "key": RSA_2048},
    Algorithm.RSA_PKCS1_SHA384: {"hash_": hashes.SHA384(), "key": RSA_2048},
    Algorithm.RSA_PKCS1_SHA512: {"hash_": hashes.SHA512(), "key": RSA_2048},
}


@pytest.mark.parametrize("algorithm", Algorithm)
def test_an_algorithm_is_accepted_as_itself_and_never_as_another(algorithm: Algorithm) -> None:
    root = issue("root", **HOW[algorithm])
    leaf = issue("leaf", root, ca=False, **{**HOW[algorithm], "key": None})
    verify(leaf, root, algorithms=(algorithm,))
    verify(leaf, root, algorithms=tuple(Algorithm))
    refused(leaf, root, algorithms=(), because="signed with another algorithm")
    others = tuple(each for each in Algorithm if each is not algorithm)
    refused(leaf, root, algorithms=others, because="signed with another algorithm")


@pytest.mark.parametrize(
    "how",
    [
        {"key": P384_KEY, "hash_": hashes.SHA256()},
        {"hash_": hashes.SHA384()},
        {"key": ec.generate_private_key(ec.SECP256K1()), "hash_": hashes.SHA256()},
        {"key": RSA_1024, "hash_": hashes.SHA256()},
        {"hash_": hashes.SHA224()},
    ],
    ids=["p-384 with sha-256", "p-256 with sha-384", "another curve", "a short modulus", "sha-224"],
)
def test_a_hash_curve_or_size_outside_the_algorithms_is_refused(how: dict[str, Any]) -> None:
    root = issue("root", **how)
    leaf = issue("leaf", root, ca=False, hash_=how["hash_"])
    refused(leaf, root, algorithms=tuple(Algorithm), because="signed with another algorithm")


def test_an_algorithm_named_outside_but_not_inside_the_signature_is_refused() -> None:
    # The outer name is not signed: SHA-256 becomes SHA-384 in the last of the two places.
    sha256, sha384 = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040303")
    head, _, tail = LEAF.der.rpartition(sha256)
    changed = Party(certificate=x509.load_der_x509_certificate(head + sha384 + tail), key=None)
    refused(changed, AUTHORITY, ROOT, algorithms=tuple(Algorithm), because="signed")


def test_a_verified_signature_is_remembered_for_its_exact_bytes_only() -> None:
    verify(LEAF, AUTHORITY, ROOT)
    spoiled = bytearray(LEAF.der)
    spoiled[-1] ^= 1
    changed = Party(certificate=x509.load_der_x509_certificate(bytes(spoiled)), key=None)
    for _ in range(2):
        refused(changed, AUTHORITY, ROOT, because="is not signed by CN=authority")
    imposter = issue("authority", ROOT)
    for _ in range(2):
        refused(LEAF, imposter, ROOT, because="is not signed by CN=authority")
    verify(LEAF, AUTHORITY, ROOT)
    refused(LEAF, AUTHORITY, ROOT, because="is valid", error=CertificateExpiredError, now=END + SECOND)


def test_every_flipped_bit_of_a_certificate_is_refused() -> None:
    for place in range(len(LEAF.der)):
        spoiled = bytearray(LEAF.der)
        spoiled[place] ^= 1
        with pytest.raises((MalformedError, PlatformError)):
            verify(Party(certificate=load_certificate(bytes(spoiled)), key=None), AUTHORITY, ROOT)


def test_a_name_cannot_write_to_a_terminal() -> None:
    hostile = issue("\x1b[2Jleaf\n", AUTHORITY, ca=False, end=NOW - SECOND)
    with pytest.raises(CertificateExpiredError) as caught:
        verify(hostile, AUTHORITY, ROOT)
    assert str(caught.value).isprintable()


def test_a_certificate_comes_back_as_it_was() -> None:
    assert load_certificate(LEAF.der) == LEAF.certificate


@pytest.mark.parametrize(
    "spoil",
    [
        lambda der: der[:0],
        lambda der: der[:-1],
        lambda der: der + b"\0",
        lambda der: der + der,
        lambda der: der[:1] + bytes(16 << 10),
        lambda der: der.replace(b"authority", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7"),
        lambda der: x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM),
    ],
)
def test_what_is_not_one_certificate_is_malformed(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(MalformedError):
        load_certificate(spoil(LEAF.der))


def test_unused_bits_of_a_signature_are_malformed() -> None:
    signature = LEAF.certificate.signature
    head = LEAF.der[: -len(signature) - 1]
    with pytest.raises(MalformedError):
        load_certificate(head + b"\1" + signature[:-1] + bytes((signature[-1] & 0xFE,)))


def test_a_pem_chain_keeps_its_order_and_its_limit() -> None:
    chain = (LEAF, AUTHORITY, ROOT)
    pem = b"".join(each.certificate.public_bytes(Encoding.PEM) for each in chain)
    assert load_pem_chain(pem, max_certificates=3) == tuple(each.certificate for each in chain)
    for data, most in ((pem, 2), (b"", 3), (b"nonsense", 3), (pem + bytes(99 << 10), 3), (pem[:-40], 3)):
        with pytest.raises(MalformedError):
            load_pem_chain(data, max_certificates=most)


def revocations(
    issuer: Party = AUTHORITY,
    *revoked: Party,
    signer: Party | None = None,
    start: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    extension: x509.ExtensionType | None = None,
    hash_: Hash | None = None,
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(start)
        .next_update(end)
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for party in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(party.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(start).build())
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign((signer or issuer).key, hash_ or hashes.SHA256())


def check(revoked: x509.CertificateRevocationList, issuer: Party = AUTHORITY, now: datetime = NOW) -> None:
    verify_revocation_list(revoked, issuer=issuer.certificate, now=now)


def test_a_certificate_that_a_verified_list_names_is_revoked_and_no_other() -> None:
    revoked = revocations(AUTHORITY, LEAF)
    check(revoked)
    with pytest.raises(CertificateRevokedError, match="CN=leaf"):
        check_not_revoked(LEAF.certificate, revoked)
    check_not_revoked(issue("leaf", AUTHORITY, ca=False).certificate, revoked)
    check_not_revoked(LEAF.certificate, revocations())


def test_a_list_says_nothing_of_another_issuers_certificates() -> None:
    with pytest.raises(RevocationListError, match="not of the issuer of CN=leaf"):
        check_not_revoked(LEAF.certificate, revocations(ROOT))


def test_a_list_is_current_from_its_first_second_until_the_next_one_is_due() -> None:
    revoked = revocations(start=NOW, end=NOW + DAY)
    check(revoked, now=NOW)
    check(revoked, now=NOW + DAY - SECOND)
    for moment in (NOW - SECOND, NOW + DAY, NOW + 2 * DAY):
        with pytest.raises(RevocationListError, match="not current"):
            check(revoked, now=moment)


def test_a_list_in_another_name_or_by_another_key_is_refused() -> None:
    with pytest.raises(RevocationListError, match="not issued by CN=authority"):
        check(revocations(ROOT))
    with pytest.raises(RevocationListError, match="not issued by CN=authority"):
        check(revocations(ROOT, signer=AUTHORITY))
    with pytest.raises(RevocationListError, match="not signed by CN=authority"):
        check(revocations(signer=LEAF))
    rsa_signed = revocations(signer=Party(certificate=LEAF.certificate, key=RSA_2048))
    with pytest.raises(RevocationListError, match=r"signed|checked"):
        check(rsa_signed)


def test_an_issuer_of_lists_may_sign_lists() -> None:
    silent = issue("silent", ROOT, key_usage=usage("key_cert_sign"))
    with pytest.raises(RevocationListError, match="may not sign revocation lists"):
        check(revocations(silent), silent)
    without = issue("without", ROOT, without_usage=True)
    with pytest.raises(RevocationListError, match="lacks key usage"):
        check(revocations(without), without)


def test_a_list_signed_over_another_hash_is_refused() -> None:
    for accepted in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        check(revocations(hash_=accepted))
    with pytest.raises(RevocationListError):
        check(revocations(hash_=hashes.SHA224()))


def test_a_key_of_another_kind_signs_no_lists() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    builder = x509.CertificateBuilder().subject_name(named("edward")).issuer_name(ROOT.certificate.subject)
    builder = builder.public_key(key.public_key()).serial_number(1).not_valid_before(START)
    signed = builder.not_valid_after(END).add_extension(usage("crl_sign"), critical=True)
    edward = Party(certificate=signed.sign(ROOT.key, hashes.SHA256()), key=key)
    with pytest.raises(RevocationListError, match="of a kind that signs no revocation list"):
        check(revocations(edward, signer=AUTHORITY), edward)


@pytest.mark.parametrize(
    "extension",
    [
        x509.DeltaCRLIndicator(1),
        x509.IssuingDistributionPoint(None, None, True, False, None, False, False),
        x509.IssuingDistributionPoint(None, None, False, False, None, True, False),
        UNKNOWN,
    ],
    ids=["delta", "users only", "indirect", "unknown"],
)
def test_a_list_that_does_not_speak_of_every_certificate_is_refused(extension: x509.ExtensionType) -> None:
    with pytest.raises(RevocationListError, match="does not speak of every certificate"):
        check(revocations(extension=extension))


def test_every_flipped_bit_of_a_list_is_refused() -> None:
    data = revocations(AUTHORITY, LEAF).public_bytes(Encoding.DER)
    check(load_revocation_list(data))
    for place in range(len(data)):
        spoiled = bytearray(data)
        spoiled[place] ^= 1
        with pytest.raises((MalformedError, RevocationListError)):
            check(load_revocation_list(bytes(spoiled)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda der: der[:0],
        lambda der: der[:-1],
        lambda der: der + b"\0",
        lambda der: der[:1] + bytes(1 << 20),
        lambda der: LEAF.der + der[:0],
    ],
)
def test_what_is_not_one_list_is_malformed(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(MalformedError):
        load_revocation_list(spoil(revocations().public_bytes(Encoding.DER)))
