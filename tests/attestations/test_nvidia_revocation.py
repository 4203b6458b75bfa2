"""OCSP responses about a device's certificates, all made by a generated hierarchy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from glasshouse_attestations import nvidia
from glasshouse_attestations.claims import Claims, Outcome
from glasshouse_attestations.errors import (
    CertificateChainError,
    CertificateExpiredError,
    CertificateRevokedError,
    GlasshouseError,
    MalformedError,
    RevocationListError,
    UnavailableError,
)
from glasshouse_attestations.nvidia.ocsp import verify_response
from support.pki_nvidia import NOW, Nvidia

_NVIDIA = Nvidia.generate()
_NAMES = ("ocsp_device", "ocsp_provisioner", "ocsp_family")
_REVOKED = ocsp.OCSPCertStatus.REVOKED
_REPORT = _NVIDIA.report()


def _verify(**responses: bytes | None) -> Claims:
    evidence = _NVIDIA.evidence(_REPORT, **{**_NVIDIA.statuses(), **responses})
    policy = _NVIDIA.lenient(require_revocation_status=True)
    return nvidia.verify(evidence, policy=policy, now=NOW)


def test_good_and_current_responses_pass() -> None:
    checks = [check for check in _verify().checks if check.name.startswith("revocation")]
    assert [check.outcome for check in checks] == [Outcome.PASSED] * 3
    assert all("2030-01-31T13:00:00Z" in check.detail for check in checks)


@pytest.mark.parametrize("name", _NAMES)
def test_each_response_is_required_unless_the_policy_says_otherwise(name: str) -> None:
    with pytest.raises(UnavailableError, match=name.replace("_", "-")):
        _verify(**{name: None})
    evidence = _NVIDIA.evidence(_REPORT, **{**_NVIDIA.statuses(), name: None})
    claims = nvidia.verify(evidence, policy=_NVIDIA.lenient(), now=NOW)
    unchecked = [
        check.name
        for check in claims.checks
        if check.name.startswith("revocation") and check.outcome is Outcome.NOT_CHECKED
    ]
    assert unchecked == [f"revocation: {name.removeprefix('ocsp_')}"]


@pytest.mark.parametrize("position", [1, 2, 3])
@pytest.mark.parametrize("reason", [x509.ReasonFlags.certificate_hold, x509.ReasonFlags.key_compromise, None])
def test_a_revoked_certificate_or_one_on_hold_is_refused(
    position: int, reason: x509.ReasonFlags | None
) -> None:
    response = _NVIDIA.status(position, status=_REVOKED, reason=reason)
    with pytest.raises(CertificateRevokedError, match=reason.name if reason else "no reason"):
        _verify(**{_NAMES[position - 1]: response})


def test_a_revoked_certificate_is_refused_even_if_no_status_is_required() -> None:
    evidence = _NVIDIA.evidence(_REPORT, ocsp_device=_NVIDIA.status(1, status=_REVOKED))
    with pytest.raises(CertificateRevokedError):
        nvidia.verify(evidence, policy=_NVIDIA.lenient(), now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": ocsp.OCSPCertStatus.UNKNOWN},
        {"start": NOW - timedelta(hours=2), "end": NOW},
        {"start": NOW + timedelta(seconds=1)},
        {"end": None},
        {"about": 2},
        {"about": 0},
        {"algorithm": hashes.SHA256()},
        {"responder": _NVIDIA.leaf},
        {"responder": _NVIDIA.root},
        {"responder": Nvidia.generate().provisioner},
        {"name_hash": hashes.SHA512()},
    ],
    ids=str,
)
def test_a_response_that_is_stale_or_somebody_else_s_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RevocationListError):
        _verify(ocsp_device=_NVIDIA.status(1, **changes))


@pytest.mark.parametrize("name_hash", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384()])  # noqa: S303
def test_a_certificate_may_be_named_with_any_of_three_hashes(name_hash: hashes.HashAlgorithm) -> None:
    _verify(ocsp_device=_NVIDIA.status(1, name_hash=name_hash))


def test_a_responder_that_the_issuer_appointed_may_answer() -> None:
    responder = _NVIDIA.responder(1)
    _verify(ocsp_device=_NVIDIA.status(1, responder=responder, include=[responder]))
    _verify(ocsp_device=_NVIDIA.status(1, include=[_NVIDIA.provisioner]))


def test_any_other_responder_is_refused() -> None:
    foreign = Nvidia.generate()
    cases: list[tuple[Any, type[GlasshouseError]]] = [
        (_NVIDIA.responder(1, usage=ExtendedKeyUsageOID.SERVER_AUTH), RevocationListError),
        (_NVIDIA.responder(2), CertificateChainError),
        (foreign.responder(1), CertificateChainError),
        (_NVIDIA.responder(1, end=NOW - timedelta(seconds=1)), CertificateExpiredError),
        (_NVIDIA.responder(1, curve=ec.SECP256R1()), RevocationListError),
        # The device's own firmware holds a certificate below the device; it may not answer for the device.
        (_NVIDIA.leaf, CertificateChainError),
    ]
    for responder, error in cases:
        response = _NVIDIA.status(1, responder=responder, include=[responder])
        with pytest.raises(error):
            _verify(ocsp_device=response)


def test_an_appointed_responder_must_have_signed() -> None:
    responder = _NVIDIA.responder(1)
    response = _NVIDIA.status(1, responder=_NVIDIA.responder(1), include=[responder])
    with pytest.raises(RevocationListError, match="not signed"):
        _verify(ocsp_device=response)


def test_a_refusal_to_answer_is_unavailable() -> None:
    refusal = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)

    with pytest.raises(UnavailableError, match="try_later"):
        _verify(ocsp_device=refusal.public_bytes(Encoding.DER))


def test_a_malformed_response_is_malformed() -> None:
    response = _NVIDIA.status(1)
    for der in (b"", b"\x30\x00", response + b"\0", response[:-1], bytes(17_000)):
        with pytest.raises(MalformedError):
            _verify(ocsp_device=der)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_every_byte_of_a_response_counts() -> None:
    responder = _NVIDIA.responder(1)
    response = _NVIDIA.status(1, responder=responder, include=[responder])
    root = _NVIDIA.policy().device_root_sha256
    chain = [one.certificate for one in _NVIDIA.chain[1:]]
    accepted = []
    for offset in range(len(response)):
        flipped = bytearray(response)
        # The lowest bit, since that is the one a parser of bit strings overlooks.
        flipped[offset] ^= 1
        try:
            verify_response(bytes(flipped), chain=chain, root_sha256=root, now=NOW)
        except GlasshouseError:
            continue
        accepted.append(offset)
    assert accepted == []
