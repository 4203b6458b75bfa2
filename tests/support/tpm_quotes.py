"""Quotes in a TPM's formats, signed by a key of the test's own: for what no TPM and no capture would show.

Also the captured quotes, brought into the shape of evidence; those that came without a certificate get one of
the generated authorities.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from glasshouse_attestations import canonical_json, tpm
from glasshouse_attestations.evidence import Evidence
from support import pki, pki_tpm

RSASSA, RSAPSS, ECDSA = 0x0014, 0x0016, 0x0018
SHA1, SHA256, SHA384, SHA512 = 0x0004, 0x000B, 0x000C, 0x000D
NULL, RSA, ECC, AES, CFB = 0x0010, 0x0001, 0x0023, 0x0006, 0x0043
P256 = 0x0003
AK_ATTRIBUTES = 0x00050072  # fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign
ENDORSEMENT = bytes.fromhex("4000000b")
QUALIFYING_DATA = hashlib.sha256(b"report data of a test").digest()

HASHES: Mapping[int, hashes.HashAlgorithm] = {
    SHA1: hashes.SHA1(),  # noqa: S303 - to be refused
    SHA256: hashes.SHA256(),
    SHA384: hashes.SHA384(),
    SHA512: hashes.SHA512(),
}


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


@cache
def rsa_key(name: str = "attestation key") -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def ecc_key(name: str = "attestation key") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def public_area(
    key: Key,
    *,
    attributes: int = AK_ATTRIBUTES,
    scheme: int | None = None,
    scheme_hash: int = SHA256,
    name_algorithm: int = SHA256,
) -> bytes:
    """Return TPMT_PUBLIC of ``key``, as a TPM would describe it."""
    if isinstance(key, rsa.RSAPrivateKey):
        modulus = key.public_key().public_numbers().n.to_bytes(key.key_size // 8, "big")
        head = struct.pack(">HHI", RSA, name_algorithm, attributes) + sized(b"")
        parameters = struct.pack(">HHHHI", NULL, scheme or RSASSA, scheme_hash, key.key_size, 0)
        return head + parameters + sized(modulus)
    numbers = key.public_key().public_numbers()
    head = struct.pack(">HHI", ECC, name_algorithm, attributes) + sized(b"")
    parameters = struct.pack(">HHHHH", NULL, scheme or ECDSA, scheme_hash, P256, NULL)
    return head + parameters + sized(numbers.x.to_bytes(32, "big")) + sized(numbers.y.to_bytes(32, "big"))


def name_of(area: bytes) -> bytes:
    return struct.pack(">H", SHA256) + hashlib.sha256(area).digest()


def qualified_name(area: bytes, parent: bytes = ENDORSEMENT) -> bytes:
    return struct.pack(">H", SHA256) + hashlib.sha256(parent + name_of(area)).digest()


def sign(key: Key, message: bytes, *, scheme: int | None = None, hash_id: int = SHA256) -> bytes:
    """Return TPMT_SIGNATURE of ``message``."""
    digest = HASHES[hash_id]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        size = key.key_size // 8
        numbers = sized(r.to_bytes(size, "big")) + sized(s.to_bytes(size, "big"))
        return struct.pack(">HH", scheme or ECDSA, hash_id) + numbers
    if scheme == RSAPSS:
        signature = key.sign(message, padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH), digest)
    else:
        signature = key.sign(message, padding.PKCS1v15(), digest)
    return struct.pack(">HH", scheme or RSASSA, hash_id) + sized(signature)


def selection(registers: frozenset[int], bank: int = SHA256) -> bytes:
    bits = sum(1 << index for index in registers)
    return struct.pack(">HB", bank, 3) + bits.to_bytes(3, "little")


@dataclass(frozen=True, kw_only=True)
class Quoted:
    """Everything that goes into a quote, to be changed one thing at a time by :func:`dataclasses.replace`."""

    key: Key
    values: Mapping[int, bytes]
    magic: int = 0xFF544347
    kind: int = 0x8018
    signer: bytes | None = None
    qualifying_data: bytes = QUALIFYING_DATA
    clock: bytes = struct.pack(">QIIB", 60_000, 3, 1, 1)
    selections: tuple[bytes, ...] | None = None
    pcr_digest: bytes | None = None

    def message(self) -> bytes:
        """Return TPMS_ATTEST."""
        signer = qualified_name(public_area(self.key)) if self.signer is None else self.signer
        selections = (selection(frozenset(self.values)),) if self.selections is None else self.selections
        joined = b"".join(self.values[index] for index in sorted(self.values))
        digest = hashlib.sha256(joined).digest() if self.pcr_digest is None else self.pcr_digest
        return b"".join(
            (
                struct.pack(">IH", self.magic, self.kind),
                sized(signer),
                sized(self.qualifying_data),
                self.clock,
                struct.pack(">Q", 0x2020_0312_0012_0003),
                struct.pack(">I", len(selections)),
                *selections,
                sized(digest),
            )
        )


def uki_values() -> dict[int, bytes]:
    """Registers as a unified kernel image leaves them: measured where it is, zero where others could add."""
    measured = {index: hashlib.sha256(b"register %d" % index).digest() for index in (4, 11)}
    return measured | {index: bytes(32) for index in (8, 12, 13)}


def encode_values(values: Mapping[int, bytes], bank: str = "sha256") -> bytes:
    return canonical_json.encode({bank: {str(index): value.hex() for index, value in values.items()}})


def evidence_of(quoted: Quoted, *, public: bool = False, **changed: bytes) -> Evidence:
    """Return the evidence of a quote by a key that the generated authority certified."""
    message = quoted.message()
    endorsements = {
        "signature": sign(quoted.key, message),
        "pcrs": encode_values(quoted.values),
        "ak-certificate": pki_tpm.certify(quoted.key.public_key()),
        "ak-chain": pki_tpm.intermediate().pem,
    }
    if public:
        endorsements["ak-public"] = sized(public_area(quoted.key))
    named = {name.replace("_", "-"): value for name, value in changed.items()}
    return Evidence(platform="tpm", quote=message, endorsements=endorsements | named)


def with_endorsement(evidence: Evidence, name: str, value: bytes) -> Evidence:
    return replace(evidence, endorsements={**evidence.endorsements, name: value})


def policy(**changed: object) -> tpm.Policy:
    """Return a policy that trusts the generated authority, otherwise the default with ``changed``."""
    base = tpm.Policy(root_sha256=pki_tpm.root().root_sha256)
    return replace(base, **changed)  # type: ignore[arg-type] # each test names its own fields


def captured(
    message: bytes,
    *,
    signature: bytes,
    values: Mapping[int, bytes],
    key: pki.SubjectKey,
    bank: str = "sha256",
    public: bytes | None = None,
    log: bytes | None = None,
) -> Evidence:
    """Return a captured quote as evidence, its key certified by the generated authority."""
    endorsements = {
        "signature": signature,
        "pcrs": encode_values(values, bank),
        "ak-certificate": pki_tpm.certify(key),
        "ak-chain": pki_tpm.intermediate().pem,
    }
    if public is not None:
        endorsements["ak-public"] = public
    if log is not None:
        endorsements["event-log"] = log
    return Evidence(platform="tpm", quote=message, endorsements=endorsements)


def rsassa(signature: bytes) -> bytes:
    """Return TPMT_SIGNATURE around the bare RSA signature that some captures have instead."""
    return struct.pack(">HH", RSASSA, SHA256) + sized(signature)


def azure_values(listed: bytes) -> dict[int, bytes]:
    """Return the registers of ``pcrs_sha256.json`` among the normalised captures."""
    return {index: bytes.fromhex(value) for index, value in enumerate(json.loads(listed))}


_DIGEST_SIZES = ((SHA1, 20), (SHA256, 32))


def event_log(events: list[tuple[int, int, bytes]]) -> bytes:
    """Return a crypto-agile log of events, each a register, a type and the data that is hashed."""
    return log_header() + b"".join(log_event(*event) for event in events)


def log_header() -> bytes:
    algorithms = b"".join(struct.pack("<HH", *each) for each in _DIGEST_SIZES)
    spec_id = (
        b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, len(_DIGEST_SIZES)) + algorithms + b"\0"
    )
    return struct.pack("<II20xI", 0, 3, len(spec_id)) + spec_id


def log_event(register: int, event_type: int, data: bytes, *, measured: bytes | None = None) -> bytes:
    """Return TCG_PCR_EVENT2; what was ``measured`` is the data unless something else is given."""
    content = data if measured is None else measured
    digests = struct.pack("<H", SHA1) + hashlib.sha1(content).digest()  # noqa: S324 - the log has such a bank
    digests += struct.pack("<H", SHA256) + hashlib.sha256(content).digest()
    return struct.pack("<III", register, event_type, 2) + digests + struct.pack("<I", len(data)) + data


def extended(*contents: bytes, initial: bytes = bytes(32)) -> bytes:
    """Return the SHA-256 register that extends by the hashes of ``contents`` leave."""
    value = initial
    for content in contents:
        value = hashlib.sha256(value + hashlib.sha256(content).digest()).digest()
    return value
