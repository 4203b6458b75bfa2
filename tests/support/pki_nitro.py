"""A generated Nitro: a root, its chain and a hypervisor that signs what a test asks for.

Everything here is made up by the tests; nothing of it was signed by AWS. The defaults are a document that
verifies, and every argument is a way to spoil it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from glasshouse_attestations import nitro
from glasshouse_attestations.evidence import Evidence
from support import pki
from support.pki import Holder

NOW = datetime(2030, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
INSTANCE = "i-0123456789abcdef0"
MODULE = f"{INSTANCE}-enc0123456789abcdef"
REPORT_DATA = bytes(range(64))
_LEAF: dict[str, Any] = {
    "ca": False,
    "start": NOW - timedelta(minutes=10),
    "end": NOW + timedelta(hours=3) - timedelta(minutes=10),
}
PROTECTED = bytes.fromhex("a1013822")


def encode(value: object, *, indefinite: bool = False) -> bytes:
    """Write ``value`` as CBOR; the outermost map is of indefinite length if ``indefinite``."""
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, (list, tuple)):
        return _head(4, len(value)) + b"".join(encode(item) for item in value)
    assert isinstance(value, dict)
    items = b"".join(encode(key) + encode(item) for key, item in value.items())
    return b"\xbf" + items + b"\xff" if indefinite else _head(5, len(value)) + items


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    width = next(width for width in (1, 2, 4, 8) if argument < 1 << (8 * width))
    return bytes([major << 5 | 23 + width.bit_length()]) + argument.to_bytes(width, "big")


def issue(
    name: str,
    issuer: Holder | None,
    *,
    ca: bool = True,
    path_length: int | None = None,
    digital_signature: bool = True,
    curve: ec.EllipticCurve | None = None,
    start: datetime = NOW - timedelta(days=1),
    end: datetime = NOW + timedelta(days=1),
) -> Holder:
    """Return a certificate for ``name``, signed by ``issuer`` or by itself."""
    return pki.issue(
        pki.distinguished(name),
        issuer,
        key=ec.generate_private_key(curve or ec.SECP384R1()),
        digest=hashes.SHA384(),
        start=start,
        end=end,
        critical=[
            x509.BasicConstraints(ca=ca, path_length=path_length),
            pki.key_usage(digital_signature=digital_signature, key_cert_sign=ca),
        ],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Nitro:
    """A root, an intermediate and the leaf of one enclave."""

    root: Holder
    intermediate: Holder
    leaf: Holder

    @classmethod
    def generate(cls, *, module: str = MODULE, **leaf: Any) -> Nitro:
        root = issue("test.nitro-enclaves", None)
        intermediate = issue("zone.test.nitro-enclaves", root, path_length=0)
        return cls(
            root=root,
            intermediate=intermediate,
            leaf=issue(f"{module}.test-1.aws", intermediate, **{**_LEAF, **leaf}),
        )

    def policy(self, **fields: Any) -> nitro.Policy:
        """Return a policy that pins this root."""
        root = hashlib.sha256(self.root.der).digest()
        return nitro.Policy(**{"root_sha256": frozenset({root}), **fields})

    def fields(self, **changes: Any) -> dict[int | str, Any]:
        """Return the fields of a document; one that is ``...`` is left out."""
        pcrs: Mapping[int, bytes] = {index: bytes([index + 1]) * 48 for index in range(4)}
        fields: dict[int | str, Any] = {
            "module_id": MODULE,
            "digest": "SHA384",
            "timestamp": int(NOW.timestamp() * 1000),
            "pcrs": {**pcrs, 4: hashlib.sha384(bytes(48) + INSTANCE.encode()).digest()},
            "certificate": self.leaf.der,
            "cabundle": [self.root.der, self.intermediate.der],
            "public_key": None,
            "user_data": REPORT_DATA,
            "nonce": None,
        }
        fields.update(changes)
        return {name: value for name, value in fields.items() if value is not ...}

    def sign(
        self,
        payload: bytes,
        *,
        protected: bytes = PROTECTED,
        unprotected: object = None,
        spoil: Callable[[bytes], bytes] = bytes,
    ) -> Evidence:
        """Return evidence with ``payload``, signed by the leaf; ``spoil`` changes the signature."""
        signed = b"\x84" + b"".join(encode(part) for part in ("Signature1", protected, b"", payload))
        r, s = decode_dss_signature(self.leaf.key.sign(signed, ec.ECDSA(hashes.SHA384())))
        size = (self.leaf.key.curve.key_size + 7) // 8
        signature = spoil(r.to_bytes(size, "big") + s.to_bytes(size, "big"))
        quote = encode([protected, {} if unprotected is None else unprotected, payload, signature])
        return Evidence(platform="nitro", quote=quote)

    def evidence(self, **changes: Any) -> Evidence:
        """Return evidence of a document with ``changes`` to its fields."""
        return self.sign(encode(self.fields(**changes), indefinite=True))
