"""Signed notes and their keys (c2sp.org/signed-note).

A note is a text and the signature lines below it. Nothing in it counts until a signature by a key that
the verifier already knew has been verified; lines by other keys are ignored.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .errors import DuplicateSignatureError, MalformedKeyError, MalformedNoteError, NoteSignatureError
from .notation import decode_base64, encode_base64

__all__ = [
    "MAX_NOTE_SIZE",
    "MAX_SIGNATURES",
    "KeyType",
    "Note",
    "NoteSignature",
    "NoteSigner",
    "VerifierKey",
    "check_name",
    "parse_signature_lines",
]

MAX_NOTE_SIZE = 60 * 1024
MAX_SIGNATURES = 32
_MAX_NAME = 255
_MAX_VKEY = 512
_KEY_ID_SIZE = 4
_ED25519_SIZE = 32
_SIGNATURE_PREFIX = "— ".encode()
_FORBIDDEN = re.compile(rb"[\x00-\x09\x0b-\x1f]")


class KeyType(Enum):
    """The signature types that Glasshouse uses, by their identifier byte."""

    ED25519 = 0x01
    COSIGNATURE_V1 = 0x04


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """An Ed25519 public key with the name and the signature type that it is used under."""

    name: str
    type: KeyType
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != _ED25519_SIZE:
            raise MalformedKeyError(f"an Ed25519 key has {_ED25519_SIZE} bytes, not {len(self.public_key)}")

    @property
    def key_id(self) -> bytes:
        """The four bytes by which signature lines name this key, besides its name."""
        material = self.name.encode() + b"\n" + bytes([self.type.value]) + self.public_key
        return hashlib.sha256(material).digest()[:_KEY_ID_SIZE]

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Return the key that a vkey, `<name>+<id>+<type and key>`, writes; the id must be the key's own."""
        if len(text) > _MAX_VKEY:
            raise MalformedKeyError(f"a verifier key has at most {_MAX_VKEY} characters")
        name, _, rest = text.partition("+")
        key_id, plus, material = rest.partition("+")
        if not plus:
            raise MalformedKeyError("a verifier key is of the form name+id+key, as keygen prints it")
        data = decode_base64(material.encode("utf-8", "replace"), "the key", MalformedKeyError)
        try:
            kind = KeyType(data[0] if data else None)
        except ValueError as err:
            raise MalformedKeyError("a verifier key is of type 1 (Ed25519) or 4 (cosignature/v1)") from err
        key = cls(name=name, type=kind, public_key=data[1:])
        if key_id != key.key_id.hex():
            raise MalformedKeyError(f"the verifier key's id is {key.key_id.hex()}, not what it says")
        return key

    def encode(self) -> str:
        """Write the key as `parse` reads it."""
        material = encode_base64(bytes([self.type.value]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"

    def verify(self, signature: bytes, message: bytes) -> None:
        """Prove that this key signed exactly this message. Raises NoteSignatureError."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except InvalidSignature as err:
            raise NoteSignatureError(
                f"the signature by {self.name}+{self.key_id.hex()} does not verify"
            ) from err


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NoteSigner:
    """An Ed25519 private key with the name and the signature type that it is used under."""

    name: str
    type: KeyType
    private_key: Ed25519PrivateKey

    @classmethod
    def generate(cls, name: str, key_type: KeyType) -> NoteSigner:
        """Return a signer with a fresh key."""
        return cls(name=check_name(name), type=key_type, private_key=Ed25519PrivateKey.generate())

    @property
    def verifier_key(self) -> VerifierKey:
        """The public half."""
        public = self.private_key.public_key().public_bytes_raw()
        return VerifierKey(name=self.name, type=self.type, public_key=public)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over the message."""
        return self.private_key.sign(message)

    def sign_text(self, text: bytes) -> NoteSignature:
        """Return the signature line of a plain Ed25519 key over a note's text."""
        if self.type is not KeyType.ED25519:
            raise ValueError(f"a key of type {self.type.name} does not sign texts as they are")
        return NoteSignature(name=self.name, key_id=self.verifier_key.key_id, signature=self.sign(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """One signature line: who signed, by name and key id, and the signature bytes, not yet verified."""

    name: str
    key_id: bytes
    signature: bytes

    @classmethod
    def parse(cls, line: bytes) -> NoteSignature:
        """Return the signature that a line, without its newline, writes."""
        if not line.startswith(_SIGNATURE_PREFIX):
            raise MalformedNoteError("a signature line does not start with an em dash and a space")
        name, _, encoded = line[len(_SIGNATURE_PREFIX) :].partition(b" ")
        data = decode_base64(encoded, "a note's signature", MalformedNoteError)
        if len(data) <= _KEY_ID_SIZE:
            raise MalformedNoteError("a note's signature is too short")
        return cls(
            name=check_name(_decode(name), MalformedNoteError),
            key_id=data[:_KEY_ID_SIZE],
            signature=data[_KEY_ID_SIZE:],
        )

    def encode(self) -> bytes:
        """Write the line with its newline."""
        encoded = encode_base64(self.key_id + self.signature)
        return _SIGNATURE_PREFIX + self.name.encode() + b" " + encoded + b"\n"

    def names(self, key: VerifierKey) -> bool:
        """Whether this line claims to be by the key; both name and id decide."""
        return self.name == key.name and self.key_id == key.key_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text that ends in a newline, and at least one signature line."""

    text: bytes
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Return the note in `data`: at most 60 KiB and 32 signatures, UTF-8, no control characters."""
        if len(data) > MAX_NOTE_SIZE:
            raise MalformedNoteError(f"a note has at most {MAX_NOTE_SIZE} bytes, this one has {len(data)}")
        _decode(data)
        if _FORBIDDEN.search(data):
            raise MalformedNoteError("a note has a control character")
        body, separator, lines = data.rpartition(b"\n\n")
        if not separator:
            raise MalformedNoteError("a note has no empty line before its signatures")
        return cls(text=body + b"\n", signatures=parse_signature_lines(lines))

    def encode(self) -> bytes:
        """Write the note as `parse` reads it."""
        return self.text + b"\n" + b"".join(signature.encode() for signature in self.signatures)

    def lines_by(self, keys: Collection[VerifierKey]) -> tuple[tuple[VerifierKey, NoteSignature], ...]:
        """Return the lines that name a known key, in order, of which no key may have two.

        Their signatures are for the caller to verify, since each type signs another message.
        Raises DuplicateSignatureError.
        """
        found = [(key, line) for line in self.signatures for key in keys if line.names(key)]
        if len({key for key, _ in found}) != len(found):
            raise DuplicateSignatureError("one known key has two signature lines in a note")
        return tuple(found)


def parse_signature_lines(data: bytes) -> tuple[NoteSignature, ...]:
    """Return 1 to 32 signature lines, each ending in a newline."""
    if not data.endswith(b"\n"):
        raise MalformedNoteError("a note does not end with a signature line and a newline")
    lines = data[:-1].split(b"\n")
    if len(lines) > MAX_SIGNATURES:
        raise MalformedNoteError(f"a note has at most {MAX_SIGNATURES} signatures, this one has {len(lines)}")
    return tuple(NoteSignature.parse(line) for line in lines)


def check_name(
    name: str, error: type[MalformedKeyError] | type[MalformedNoteError] = MalformedKeyError
) -> str:
    """Return the name of a key if it is one: not empty, without white space, plus signs and controls."""
    if not 0 < len(name) <= _MAX_NAME:
        raise error(f"a key's name has 1 to {_MAX_NAME} characters")
    if any(character.isspace() or character == "+" or character < " " for character in name):
        raise error("a key's name has no space, plus sign or control character")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise error("a key's name is not UTF-8")
    return name


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as err:
        raise MalformedNoteError("a note is not UTF-8") from err
