"""What a relying party asks of an NVIDIA GPU or switch, beside NVIDIA's own reference values."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..document import Document
from ..errors import MalformedError
from .spdm import NONCE_SIZE

__all__ = ["DEVICE_ROOT_SHA256", "RIM_ROOT_SHA256", "Policy"]

DEVICE_ROOT_SHA256 = bytes.fromhex("102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48")
"""SHA-256 of the DER of "NVIDIA Device Identity CA"."""

RIM_ROOT_SHA256 = bytes.fromhex("12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1")
"""SHA-256 of the DER of "NVIDIA CoRIM signing Root CA"."""

_MAX_NAMES = 256
_PRODUCT = re.compile(r"[A-Z]{2}_?[0-9]{2,3}", re.ASCII)
_VERSION = re.compile(r"[0-9A-Z]{1,8}(?:\.[0-9A-Z]{1,8}){1,5}", re.ASCII)
_SERIAL = re.compile(r"(?:[0-9a-f]{2}){9,20}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The expectations of one relying party; the defaults are the strict ones.

    ``products`` are the chips to accept: GH100 is Hopper, GB100 is Blackwell, LS_10 is the third NVSwitch.
    ``serials`` (of the device certificate), ``driver_versions`` and ``vbios_versions`` are accepted, any if
    ``None``. ``nonce`` is what the GPU was challenged with (see :func:`~.binding.gpu_nonce`).

    Unless ``require_rims`` is false, evidence without NVIDIA's reference values cannot be checked; unless
    ``require_revocation_status`` is false, evidence without an OCSP response for each certificate that
    NVIDIA can revoke cannot be checked either. ``allow_expired_rim_signers`` accepts reference values whose
    signer's certificate has expired. ``allow_protected_pcie`` accepts GPUs whose traffic to each other is
    not encrypted. The roots are for tests with roots of their own.
    """

    products: frozenset[str] = frozenset({"GH100", "GB100"})
    serials: frozenset[bytes] | None = None
    driver_versions: frozenset[str] | None = None
    vbios_versions: frozenset[str] | None = None
    nonce: bytes | None = None
    require_rims: bool = True
    require_revocation_status: bool = True
    allow_expired_rim_signers: bool = False
    allow_protected_pcie: bool = False
    device_root_sha256: frozenset[bytes] = frozenset({DEVICE_ROOT_SHA256})
    rim_root_sha256: frozenset[bytes] = frozenset({RIM_ROOT_SHA256})

    def __post_init__(self) -> None:
        if not self.products:
            raise ValueError("a policy accepts at least one product")
        if self.nonce is not None and len(self.nonce) != NONCE_SIZE:
            raise ValueError(f"a nonce has {NONCE_SIZE} bytes")

    @classmethod
    def parse(cls, document: Document) -> Policy:
        """Return the policy written as a table, every field of which may be left out.

        ::

            products = ["GH100"]
            serials = ["<hex>"]
            driver_versions = ["550.144.03"]
            vbios_versions = ["96.00.5E.00.01"]
            require_rims = true
            require_revocation_status = true
            allow_expired_rim_signers = false
            allow_protected_pcie = false
        """
        default = cls()
        serials = _parse_names(document, "serials", _SERIAL)
        policy = cls(
            products=_parse_names(document, "products", _PRODUCT) or default.products,
            serials=None if serials is None else frozenset(map(bytes.fromhex, serials)),
            driver_versions=_parse_names(document, "driver_versions", _VERSION),
            vbios_versions=_parse_names(document, "vbios_versions", _VERSION),
            require_rims=_parse_choice(document, "require_rims", True),
            require_revocation_status=_parse_choice(document, "require_revocation_status", True),
            allow_expired_rim_signers=_parse_choice(document, "allow_expired_rim_signers", False),
            allow_protected_pcie=_parse_choice(document, "allow_protected_pcie", False),
        )
        document.end()
        return policy


def _parse_names(document: Document, name: str, form: re.Pattern[str]) -> frozenset[str] | None:
    if not document.has(name):
        return None
    values = document.list(name, max_count=_MAX_NAMES)
    known = [value for value in values if isinstance(value, str) and form.fullmatch(value)]
    if not known or len(known) != len(values):
        raise MalformedError(f"{name} is not a list of 1 to {_MAX_NAMES} {name.replace('_', ' ')}")
    return frozenset(known)


def _parse_choice(document: Document, name: str, default: bool) -> bool:
    value = document.value(name) if document.has(name) else default
    if not isinstance(value, bool):
        raise MalformedError(f"{name} is neither true nor false")
    return value
