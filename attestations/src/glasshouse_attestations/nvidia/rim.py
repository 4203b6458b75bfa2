"""NVIDIA's reference integrity manifests (RIM): which measurements a driver or VBIOS release may show.

A manifest is a SWID tag (ISO/IEC 19770-2) with measurements as TCG's RIM information model puts them
there, signed by an enveloped XML signature whose key is certified up to NVIDIA's CoRIM signing root.

XML signatures are not this project's business: ``signxml`` over ``lxml`` verifies them. Both come with the
extra ``glasshouse-attestations[nvidia]``; without them a manifest cannot be checked, which is an error and
never a pass. What is read from a manifest is what the library hands back as signed, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509

from ..errors import (
    CertificateChainError,
    CertificateExpiredError,
    CollateralError,
    MalformedError,
    UnavailableError,
)
from ..x509 import Algorithm, load_certificate, verify_chain
from .spdm import DIGEST_SIZE

__all__ = ["ReferenceManifest"]

_MAX_MANIFEST = 256 << 10
_MAX_CHAIN = 5
_MAX_INDEX = 254
_MAX_ALTERNATIVES = 64
_SWID = "{http://standards.iso.org/iso/19770/-2/2015/schema.xsd}"
_DSIG = "{http://www.w3.org/2000/09/xmldsig#}"
_HASH = re.compile(r"\{http://www\.w3\.org/2001/04/xmlenc#sha384\}Hash([0-9]{1,2})", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]{96}", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)
_TEXT = re.compile(r"[!-~]{1,32}", re.ASCII)
_START = b"<SoftwareIdentity "
_C14N = "http://www.w3.org/2006/12/xml-c14n11"
_ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_ATTRIBUTES = frozenset({"type", "index", "active", "alternatives", "name", "size"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceManifest:
    """The verified content of a manifest.

    ``measurements`` are the digests that each active block may show, by block index of the report, which is
    the manifest's index plus one. ``signer_expired`` is set if the chain is valid no longer.
    """

    product: str
    version: str
    measurements: Mapping[int, frozenset[bytes]]
    signer_expired: datetime | None

    @classmethod
    def verify(
        cls, xml: bytes, *, root_sha256: Collection[bytes], now: datetime, allow_expired: bool
    ) -> ReferenceManifest:
        """Return the manifest in ``xml`` if a chain to a pinned root signs all of it.

        With ``allow_expired`` a chain that has been valid and is no longer is accepted, since manifests
        carry no time and are not signed anew; it is never accepted before it becomes valid.

        Raises :class:`UnavailableError` without the libraries, :class:`CollateralError` for a signature
        that does not verify, and the errors of :func:`glasshouse_attestations.x509.verify_chain`.
        """
        etree, signxml = _libraries()
        signature = _parse_signature(xml, etree)
        chain = _load_chain(signature)
        expired = _verify_chain(chain, root_sha256, now, allow_expired)
        signed = _verify_signature(xml, chain[0], etree, signxml)
        product, version = _parse_meta(signed)
        return cls(
            product=product,
            version=version,
            measurements=_parse_measurements(signed),
            signer_expired=expired,
        )


def _libraries() -> tuple[Any, Any]:
    try:
        return importlib.import_module("lxml.etree"), importlib.import_module("signxml")
    except ImportError as err:
        error = UnavailableError("a RIM cannot be checked without the libraries for XML signatures")
        error.hint = "install glasshouse-attestations[nvidia]"
        raise error from err


def _parser(etree: Any) -> Any:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def _parse_signature(xml: bytes, etree: Any) -> Any:
    """Return the one signature of the document, which must cover the whole of it in the one known way."""
    if len(xml) > _MAX_MANIFEST:
        raise MalformedError(f"a RIM has at most {_MAX_MANIFEST} bytes")
    # No byte order mark, declaration, document type, comment or CDATA: there is one reading of the rest.
    if not xml.startswith(_START) or b"<!" in xml or b"<?" in xml:
        raise MalformedError("a RIM is not plain XML that starts with its root element")
    try:
        root = etree.fromstring(xml, _parser(etree))
    except etree.XMLSyntaxError as err:
        raise MalformedError("a RIM is not well-formed XML") from err
    signatures = list(root.iter(f"{_DSIG}Signature"))
    if (
        root.tag != f"{_SWID}SoftwareIdentity"
        or len(signatures) != 1
        or signatures[0].getparent() is not root
    ):
        raise MalformedError("a RIM is a software identity with one signature as its child")
    references = list(signatures[0].iter(f"{_DSIG}Reference"))
    transforms = [one.get("Algorithm") for one in signatures[0].iter(f"{_DSIG}Transform")]
    methods = [one.get("Algorithm") for one in signatures[0].iter(f"{_DSIG}CanonicalizationMethod")]
    if len(references) != 1 or references[0].get("URI") != "":
        raise MalformedError("the signature of a RIM is not over the whole document")
    if transforms != [_ENVELOPED, _C14N] or methods != [_C14N]:
        raise MalformedError("the signature of a RIM transforms the document in another way")
    return signatures[0]


def _load_chain(signature: Any) -> tuple[x509.Certificate, ...]:
    texts = [one.text or "" for one in signature.iter(f"{_DSIG}X509Certificate")]
    if not 2 <= len(texts) <= _MAX_CHAIN:
        raise MalformedError(f"a RIM carries 2 to {_MAX_CHAIN} certificates")
    try:
        return tuple(load_certificate(base64.b64decode("".join(t.split()), validate=True)) for t in texts)
    except (binascii.Error, ValueError) as err:
        raise MalformedError("a certificate of a RIM is not base64") from err


def _verify_chain(
    chain: tuple[x509.Certificate, ...], root_sha256: Collection[bytes], now: datetime, allow_expired: bool
) -> datetime | None:
    """Return when the chain expired, or ``None`` while it is valid."""
    starts, ends = zip(*((one.not_valid_before_utc, one.not_valid_after_utc) for one in chain), strict=True)
    expired = min(ends) if min(ends) < now else None
    moment = max(starts) if expired and allow_expired else now
    if moment > now:
        raise CertificateExpiredError("the chain of a RIM is not valid yet")
    signer = verify_chain(
        chain, root_sha256=root_sha256, algorithms={Algorithm.ECDSA_P384_SHA384}, now=moment
    )
    try:
        usage = signer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as err:
        raise CertificateChainError("the signer of a RIM has no key usage") from err
    if not usage.digital_signature:
        raise CertificateChainError("the signer of a RIM is not certified for signatures")
    return expired


def _verify_signature(xml: bytes, signer: x509.Certificate, etree: Any, signxml: Any) -> Any:
    """Return the signed element, which is what a reader may believe."""
    expected = signxml.SignatureConfiguration(
        require_x509=True,
        location="./",
        expect_references=1,
        signature_methods=frozenset({signxml.SignatureMethod.ECDSA_SHA384}),
        digest_algorithms=frozenset({signxml.DigestAlgorithm.SHA384}),
        # The chain's validity has been judged; the library must not look at a clock.
        verification_time=signer.not_valid_before_utc,
    )
    verifier = signxml.XMLVerifier()
    try:
        result = verifier.verify(xml, x509_cert=signer, parser=_parser(etree), expect_config=expected)
    except (signxml.exceptions.SignXMLException, etree.LxmlError, ValueError, TypeError) as err:
        raise CollateralError("the RIM is not signed by its certificate's key") from err
    if result.signed_xml is None:
        raise CollateralError("the signature of the RIM covers no XML")
    return result.signed_xml


def _parse_meta(root: Any) -> tuple[str, str]:
    metas = root.findall(f"{_SWID}Meta")
    if len(metas) != 1:
        raise MalformedError("a RIM has one element with its product and version")
    product, version = metas[0].get("product", ""), metas[0].get("colloquialVersion", "")
    if not _TEXT.fullmatch(product) or not _TEXT.fullmatch(version):
        raise MalformedError("a RIM names its product and its version")
    return product, version


def _parse_measurements(root: Any) -> Mapping[int, frozenset[bytes]]:
    payloads = root.findall(f"{_SWID}Payload")
    if len(payloads) != 1:
        raise MalformedError("a RIM has one payload")
    seen: set[int] = set()
    active: dict[int, frozenset[bytes]] = {}
    for resource in payloads[0]:
        if resource.tag != f"{_SWID}Resource" or resource.get("type") != "Measurement":
            raise MalformedError("the payload of a RIM has something else than measurements")
        index, digests = _parse_resource(resource)
        if index in seen:
            raise MalformedError(f"a RIM has the measurement {index} twice")
        seen.add(index)
        if resource.get("active") == "True":
            active[index + 1] = digests
    if not active:
        raise MalformedError("a RIM has no active measurement")
    return active


def _parse_resource(resource: Any) -> tuple[int, frozenset[bytes]]:
    index = _number(resource.get("index"), _MAX_INDEX)
    alternatives = _number(resource.get("alternatives"), _MAX_ALTERNATIVES)
    if resource.get("active") not in ("True", "False") or resource.get("size") != str(DIGEST_SIZE):
        raise MalformedError(f"the measurement {index} of a RIM has no known state or size")
    hashes: dict[int, bytes] = {}
    for name, value in resource.attrib.items():
        match = _HASH.fullmatch(name)
        if match is None and name not in _ATTRIBUTES:
            raise MalformedError(f"the measurement {index} of a RIM has an unknown attribute")
        if match is not None:
            hashes[_number(match[1], _MAX_ALTERNATIVES)] = _digest(value)
    if hashes.keys() != set(range(alternatives)) or not hashes:
        raise MalformedError(f"the measurement {index} of a RIM does not have its number of alternatives")
    return index, frozenset(hashes.values())


def _number(text: str | None, maximum: int) -> int:
    if text is None or not _NUMBER.fullmatch(text) or int(text) > maximum:
        raise MalformedError(f"a RIM has a number that is not from 0 to {maximum}")
    return int(text)


def _digest(text: str) -> bytes:
    if not _HEX.fullmatch(text):
        raise MalformedError(f"a RIM has a measurement that is not {DIGEST_SIZE} bytes in hexadecimal")
    return bytes.fromhex(text)
