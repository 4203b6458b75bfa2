"""Certificates, revocation lists and other endorsements, described as far as they can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from glasshouse_attestations.errors import GlasshouseError
from glasshouse_attestations.x509 import load_certificate, load_pem_chain, load_revocation_list

from .tree import Node, branch, leaf

__all__ = ["certificate", "chain", "endorsement", "revocation_list"]

_MAX_CHAIN = 8
_PEM = b"-----BEGIN CERTIFICATE-----"


def endorsement(name: str, data: bytes) -> Node:
    """Return what ``data`` is, if it is a certificate, a chain of them, or a list; otherwise its size."""
    if name in ("vcek", "vlek"):
        return _endorsement_key(name, data)
    if name == "collateral":
        return _collateral(data)
    if data.lstrip().startswith(_PEM):
        return _read(name, data, lambda: chain(name, load_pem_chain(data, max_certificates=_MAX_CHAIN)))
    if name == "crl":
        return _read(name, data, lambda: revocation_list(name, data))
    if name in ("ask", "ark", "ak-certificate"):
        # What is read from a TPM's NV memory is followed by zeros.
        return _read(name, data, lambda: certificate(name, load_certificate(_without_padding(data))))
    return leaf(name, f"{len(data)} bytes")


def certificate(name: str, found: x509.Certificate) -> Node:
    """Return whose certificate it is, who issued it, and for which time."""
    below = (
        leaf("subject", found.subject.rfc4514_string()),
        leaf("issuer", found.issuer.rfc4514_string()),
        leaf("serialNumber", f"{found.serial_number:x}"),
        leaf("notBefore", found.not_valid_before_utc),
        leaf("notAfter", found.not_valid_after_utc),
        leaf("SHA-256", found.fingerprint(hashes.SHA256())),
    )
    return branch(name, below)


def chain(name: str, found: Iterable[x509.Certificate]) -> Node:
    """Return each certificate, in the order in which they stand."""
    return branch(name, (certificate(f"certificate {at}", one) for at, one in enumerate(found)))


def revocation_list(name: str, data: bytes) -> Node:
    """Return whose list it is, until when it is current, and how many it names."""
    found = load_revocation_list(data)
    below = (
        leaf("issuer", found.issuer.rfc4514_string()),
        leaf("thisUpdate", found.last_update_utc),
        leaf("nextUpdate", found.next_update_utc),
        leaf("revokedCertificates", len(found)),
    )
    return branch(name, below)


def _endorsement_key(name: str, data: bytes) -> Node:
    from glasshouse_attestations.snp import EndorsementKey

    def read() -> Node:
        key = EndorsementKey.parse(data)
        below = (
            leaf("kind", key.kind.value),
            leaf("productName", key.product.value),
            leaf("HWID", key.hardware_id),
            leaf("CSP_ID", key.provider),
            leaf("TCB", str(key.tcb)),
            leaf("notBefore", key.certificate.not_before),
            leaf("notAfter", key.certificate.not_after),
        )
        return branch(name, below)

    return _read(name, data, read)


def _collateral(data: bytes) -> Node:
    from glasshouse_attestations.dcap import Collateral, EnclaveIdentity, TcbInfo

    def read() -> Node:
        parts = Collateral.parse(data)
        info, identity = TcbInfo.parse(parts.tcb_info), EnclaveIdentity.parse(parts.qe_identity)
        below = (
            branch(
                "tcbInfo",
                (
                    leaf("id", info.tee),
                    leaf("fmspc", info.fmspc),
                    leaf("issueDate", info.issued),
                    leaf("nextUpdate", info.next_update),
                    leaf("tcbEvaluationDataNumber", info.evaluation_number),
                    leaf("tcbLevels", len(info.levels)),
                ),
            ),
            branch(
                "enclaveIdentity",
                (
                    leaf("id", identity.id),
                    leaf("issueDate", identity.issued),
                    leaf("nextUpdate", identity.next_update),
                    leaf("tcbEvaluationDataNumber", identity.evaluation_number),
                    leaf("mrsigner", identity.mr_signer),
                ),
            ),
            revocation_list("pck_crl", parts.pck_crl),
            revocation_list("root_ca_crl", parts.root_ca_crl),
        )
        return branch("collateral", below)

    return _read("collateral", data, read)


def _read(name: str, data: bytes, read: Callable[[], Node]) -> Node:
    try:
        return read()
    except GlasshouseError as err:
        return leaf(name, f"{len(data)} bytes that cannot be read: {err}")


def _without_padding(data: bytes) -> bytes:
    size = 4 + int.from_bytes(data[2:4], "big") if data[:2] == b"\x30\x82" else len(data)
    return data if any(data[size:]) else data[:size]
