"""One OCSP response about one certificate of a chain (RFC 6960), given as an endorsement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, SignatureAlgorithmOID

from ..errors import CertificateRevokedError, MalformedError, RevocationListError, UnavailableError
from ..x509 import Algorithm, load_certificate, verify_chain

__all__ = ["verify_response"]

_MAX_RESPONSE = 16 << 10
# How a response names its certificate; the name is not what is trusted, so SHA-1 does no harm there.
_NAME_HASHES = (hashes.SHA1, hashes.SHA256, hashes.SHA384)


def verify_response(
    der: bytes, *, chain: Sequence[x509.Certificate], root_sha256: Collection[bytes], now: datetime
) -> datetime:
    """Return the time until which ``chain[0]`` is known to be good, if the response says so at ``now``.

    ``chain`` goes from the certificate in question over its issuer to the pinned root. The response must be
    about that certificate alone, current, and signed with ECDSA P-384 and SHA-384 by the issuer or by a
    responder to which the issuer itself gave the OCSP signing usage (4.2.2.2).

    Raises :class:`CertificateRevokedError` for a revoked certificate or one on hold,
    :class:`RevocationListError` for a response that is not the issuer's, not current or about something
    else, and :class:`UnavailableError` for one in which the responder declines to answer.
    """
    response = _load(der)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise UnavailableError(f"the OCSP responder declined: {response.response_status.name.lower()}")
    _verify_signature(response, _find_signer(response, chain, root_sha256, now))
    single = _find_answer(response, chain[0], chain[1])
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        reason = single.revocation_reason
        raise CertificateRevokedError(
            f"the certificate {_name(chain[0])} is revoked: {reason.name if reason else 'no reason'}"
        )
    if single.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        raise RevocationListError(f"the OCSP responder does not know the certificate {_name(chain[0])}")
    start, end = single.this_update_utc, single.next_update_utc
    if end is None or not start <= now < end:
        raise RevocationListError(f"the OCSP response about {_name(chain[0])} is not current")
    return end


def _load(der: bytes) -> ocsp.OCSPResponse:
    if len(der) > _MAX_RESPONSE:
        raise MalformedError(f"an OCSP response has at most {_MAX_RESPONSE} bytes")
    try:
        response = ocsp.load_der_ocsp_response(der)
        written = response.public_bytes(serialization.Encoding.DER)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise MalformedError("an OCSP response does not parse") from err
    if written != der:
        raise MalformedError("an OCSP response is followed by other bytes")
    if (
        response.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
        and b"\0" + response.signature not in der
    ):
        raise MalformedError("the signature of an OCSP response is not a whole number of bytes")
    return response


def _find_signer(
    response: ocsp.OCSPResponse,
    chain: Sequence[x509.Certificate],
    root_sha256: Collection[bytes],
    now: datetime,
) -> x509.Certificate:
    issuer = chain[1]
    delegates = response.certificates
    if not delegates or delegates[0] == issuer:
        return issuer
    responder = load_certificate(delegates[0].public_bytes(serialization.Encoding.DER))
    verify_chain(
        (responder, *chain[1:]),
        root_sha256=root_sha256,
        algorithms={Algorithm.ECDSA_P384_SHA384},
        now=now,
        understood={ExtensionOID.EXTENDED_KEY_USAGE},
    )
    try:
        usages = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound as err:
        raise RevocationListError("the OCSP responder's certificate has no extended key usage") from err
    if ExtendedKeyUsageOID.OCSP_SIGNING not in usages:
        raise RevocationListError("the OCSP responder's certificate is not for OCSP signing")
    return responder


def _verify_signature(response: ocsp.OCSPResponse, signer: x509.Certificate) -> None:
    key = signer.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise RevocationListError("the OCSP responder's key is not on P-384")
    if response.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
        raise RevocationListError("the OCSP response is not signed with ECDSA and SHA-384")
    try:
        key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as err:
        raise RevocationListError("the OCSP response is not signed by its responder") from err


def _find_answer(
    response: ocsp.OCSPResponse, certificate: x509.Certificate, issuer: x509.Certificate
) -> ocsp.OCSPSingleResponse:
    try:
        answers = tuple(response.responses)
        matches = [_is_about(answer, certificate, issuer) for answer in answers]
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise MalformedError("an OCSP response does not parse") from err
    if matches != [True]:
        raise RevocationListError(f"the OCSP response is not about {_name(certificate)} alone")
    return answers[0]


def _is_about(
    single: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate
) -> bool:
    if not isinstance(single.hash_algorithm, _NAME_HASHES):
        return False
    # The library computes what a response about this certificate has to say (RFC 6960, 4.1.1).
    expected = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, single.hash_algorithm).build()
    return (single.serial_number, single.issuer_name_hash, single.issuer_key_hash) == (
        expected.serial_number,
        expected.issuer_name_hash,
        expected.issuer_key_hash,
    )


def _name(certificate: x509.Certificate) -> str:

    return certificate.subject.rfc4514_string()[:120]
