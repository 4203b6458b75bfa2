"""Collateral from a caching service: the answers of Intel's PCS API, version 4, put together and verified.

Source: Intel PCS API v4, "Get TCB Info", "Get Quoting Enclave Identity", "Get Revocation List"; and for the
root's list Intel PCCS, ``GET /sgx/certification/v4/rootcacrl``.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from glasshouse_attestations.dcap import Collateral, Quote, TcbPolicy, Tee, verify_collateral
from glasshouse_attestations.dcap.certificates import pck_extensions
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.x509 import load_pem_chain

__all__ = ["MAX_ANSWER_SIZE", "Answer", "fetch_collateral"]

MAX_ANSWER_SIZE = 64 << 10
_SGX, _TDX = "/sgx/certification/v4", "/tdx/certification/v4"
_AUTHORITIES = {"Intel SGX PCK Processor CA": "processor", "Intel SGX PCK Platform CA": "platform"}
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2})+", re.ASCII)
# Intel signs the bytes of the inner object, so it is cut out, and never parsed and written anew.
_SIGNED = re.compile(
    rb'\{"(?P<name>[a-zA-Z]+)":(?P<body>\{.*\}),"signature":"(?P<signature>[0-9a-fA-F]{128})"\}', re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a service answered with status 200: the body, and its headers by lower-case name."""

    body: bytes
    headers: Mapping[str, str]


def fetch_collateral(
    evidence: Evidence,
    fetch: Callable[[str], Answer],
    *,
    now: datetime,
    policy: TcbPolicy | None = None,
) -> Collateral:
    """Return the collateral for a quote, once its signatures, dates and subjects are verified.

    ``fetch`` gets a path and its query, such as ``/sgx/certification/v4/rootcacrl``. Whether the firmware is
    good enough is not asked here: that is for whoever verifies the quote. Raises the errors of
    :func:`glasshouse_attestations.dcap.verify_collateral`.
    """
    quote = Quote.parse(evidence.quote)
    chain = load_pem_chain(quote.pck_chain.rstrip(b"\0"), max_certificates=3)
    fmspc = pck_extensions(chain[0]).fmspc.hex().upper()
    authority = _authority(chain[0].issuer.rfc4514_string())
    base = _SGX if quote.tee is Tee.SGX else _TDX
    info = fetch(f"{base}/tcb?fmspc={fmspc}")
    identity = fetch(f"{base}/qe/identity")
    revoked = fetch(f"{_SGX}/pckcrl?ca={authority}&encoding=der")
    root = fetch(f"{_SGX}/rootcacrl")
    tcb_info, tcb_signature = _signed(info.body, b"tcbInfo")
    qe_identity, qe_signature = _signed(identity.body, b"enclaveIdentity")
    collateral = Collateral(
        pck_crl_issuer_chain=_chain(revoked, "sgx-pck-crl-issuer-chain"),
        root_ca_crl=_der(root.body),
        pck_crl=_der(revoked.body),
        tcb_info_issuer_chain=_chain(info, "tcb-info-issuer-chain"),
        tcb_info=tcb_info,
        tcb_info_signature=tcb_signature,
        qe_identity_issuer_chain=_chain(identity, "sgx-enclave-identity-issuer-chain"),
        qe_identity=qe_identity,
        qe_identity_signature=qe_signature,
    )
    with_collateral = Evidence(
        platform=quote.tee.name.lower(),
        quote=evidence.quote,
        endorsements={"collateral": collateral.encode()},
    )
    verify_collateral(with_collateral, policy=policy or TcbPolicy(minimum_evaluation_number=0), now=now)
    return collateral


def _authority(issuer: str) -> str:
    for name, short in _AUTHORITIES.items():
        if f"CN={name}" in issuer.split(","):
            return short
    raise MalformedError("the quote's PCK certificate is of neither the processor nor the platform authority")


def _signed(body: bytes, name: bytes) -> tuple[bytes, bytes]:
    match = _SIGNED.fullmatch(body.strip())
    if match is None or match["name"] != name or not body.isascii():
        raise MalformedError(f"the service's answer is not {name.decode()} with a signature")
    return match["body"], bytes.fromhex(match["signature"].decode("ascii"))


def _chain(answer: Answer, header: str) -> bytes:
    # Until 2021 the header of TCB info had another name.
    value = answer.headers.get(header) or answer.headers.get(f"sgx-{header}")
    if value is None:
        raise MalformedError(f"the service's answer lacks the header {header}")
    try:
        return unquote(value, errors="strict").encode("ascii")
    except ValueError as err:
        raise MalformedError(f"the header {header} of the service's answer is not a chain") from err


def _der(body: bytes) -> bytes:
    """A revocation list: DER, or DER in hexadecimal, as caching services write it."""
    text = body.strip()
    if not _HEX.fullmatch(text):
        return body
    try:
        return binascii.unhexlify(text)
    except binascii.Error as err:
        raise MalformedError("a revocation list of the service is neither DER nor hexadecimal") from err
