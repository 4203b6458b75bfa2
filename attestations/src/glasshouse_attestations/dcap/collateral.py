"""Collateral: what Intel publishes about a processor and its firmware, carried with the evidence.

Each part is signed by Intel, so anybody may deliver it. The names are those that PCCS clients use, such as
the quote collateral of Intel's SGX DCAP Quote Verification API, ``sgx_ql_qve_collateral_t``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .. import canonical_json
from ..document import Document
from ..errors import MalformedError
from . import vendor_json

__all__ = ["MAX_COLLATERAL_SIZE", "Collateral"]

MAX_COLLATERAL_SIZE = 256 << 10
_MAX_TEXT = 64 << 10
_MAX_CHAIN = 16 << 10
_MAX_REVOCATION_LIST = 64 << 10
_SIGNATURE_SIZE = 64
_HEX = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collateral:
    """The nine parts, none of them verified yet.

    Chains are PEM text, the signer first and the root last. Revocation lists are DER. ``tcb_info`` and
    ``qe_identity`` are the exact bytes that Intel signed: the value of ``tcbInfo`` or ``enclaveIdentity``
    in an answer of the Provisioning Certification Service, cut out and not written anew. Signatures are
    r and s of 32 bytes each.
    """

    pck_crl_issuer_chain: bytes
    root_ca_crl: bytes
    pck_crl: bytes
    tcb_info_issuer_chain: bytes
    tcb_info: bytes
    tcb_info_signature: bytes
    qe_identity_issuer_chain: bytes
    qe_identity: bytes
    qe_identity_signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> Collateral:
        """Return the collateral in ``data``: a JSON object of nine texts, at most 256 KiB.

        White space and order are free, as the tools that fetch collateral differ in both; anything else
        that :meth:`encode` would not write is refused.
        """
        value = vendor_json.parse(data, name="collateral", max_size=MAX_COLLATERAL_SIZE, max_depth=1)
        document = Document(value, "collateral")
        collateral = cls(
            pck_crl_issuer_chain=_parse_text(document, "pck_crl_issuer_chain", _MAX_CHAIN),
            root_ca_crl=_parse_hex(document, "root_ca_crl", _MAX_REVOCATION_LIST),
            pck_crl=_parse_hex(document, "pck_crl", _MAX_REVOCATION_LIST),
            tcb_info_issuer_chain=_parse_text(document, "tcb_info_issuer_chain", _MAX_CHAIN),
            tcb_info=_parse_text(document, "tcb_info", _MAX_TEXT),
            tcb_info_signature=_parse_signature(document, "tcb_info_signature"),
            qe_identity_issuer_chain=_parse_text(document, "qe_identity_issuer_chain", _MAX_CHAIN),
            qe_identity=_parse_text(document, "qe_identity", _MAX_TEXT),
            qe_identity_signature=_parse_signature(document, "qe_identity_signature"),
        )
        document.end()
        return collateral

    def encode(self) -> bytes:
        """Write the collateral as :meth:`parse` reads it, in canonical JSON."""
        return canonical_json.encode(
            {
                "pck_crl_issuer_chain": self.pck_crl_issuer_chain.decode("ascii"),
                "root_ca_crl": self.root_ca_crl.hex(),
                "pck_crl": self.pck_crl.hex(),
                "tcb_info_issuer_chain": self.tcb_info_issuer_chain.decode("ascii"),
                "tcb_info": self.tcb_info.decode("ascii"),
                "tcb_info_signature": self.tcb_info_signature.hex(),
                "qe_identity_issuer_chain": self.qe_identity_issuer_chain.decode("ascii"),
                "qe_identity": self.qe_identity.decode("ascii"),
                "qe_identity_signature": self.qe_identity_signature.hex(),
            },
            max_size=MAX_COLLATERAL_SIZE,
        )


def _parse_text(document: Document, name: str, max_size: int) -> bytes:
    value = document.value(name)
    if not isinstance(value, str) or not 0 < len(value) <= max_size or not value.isascii():
        raise MalformedError(f"collateral.{name} is not an ASCII text of 1 to {max_size} characters")
    return value.encode("ascii")


def _parse_hex(document: Document, name: str, max_size: int) -> bytes:
    value = document.value(name)
    if not isinstance(value, str) or len(value) > 2 * max_size or not _HEX.fullmatch(value):
        raise MalformedError(f"collateral.{name} is not at most {max_size} bytes in lower-case hexadecimal")
    return bytes.fromhex(value)


def _parse_signature(document: Document, name: str) -> bytes:
    return document.digest(name, _SIGNATURE_SIZE)
