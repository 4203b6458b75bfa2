"""Receipts: an enclave's signed statement that a model gave these outputs for these inputs.

The receipt key is made inside the enclave and bound by its quote, so that a receipt together with the
evidence of that time can be verified offline, later, by somebody else. Tensors stand in it as digests.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from . import canonical_json, dsse
from .document import Document, format_time
from .errors import MalformedError
from .framing import frame
from .keys import PublicKey, SigningKey
from .model_id import ModelId

__all__ = ["NONCE_SIZE", "PAYLOAD_TYPE", "Receipt", "Tensor", "receipt_public_key", "tensors_digest"]

PAYLOAD_TYPE = "application/vnd.glasshouse.receipt+json"
NONCE_SIZE = 32
_TENSORS_DOMAIN = b"glasshouse tensors v1"
_TENSOR_DOMAIN = b"glasshouse tensor v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor as it travels: name, Open Inference Protocol data type, shape, and raw contents."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    contents: bytes


def tensors_digest(tensors: Iterable[Tensor]) -> bytes:
    """Return the SHA-256 over the framed tensors in order of name: their names, types, shapes, contents.

    Raises ``ValueError`` if two tensors have one name, since then they would have no order.
    """
    ordered = sorted(tensors, key=lambda tensor: tensor.name)
    if len({tensor.name for tensor in ordered}) != len(ordered):
        raise ValueError("two tensors have one name")
    return hashlib.sha256(frame(_TENSORS_DOMAIN, *map(_frame_tensor, ordered))).digest()


def _frame_tensor(tensor: Tensor) -> bytes:
    shape = b"".join(struct.pack(">q", extent) for extent in tensor.shape)
    contents = hashlib.sha256(tensor.contents).digest()
    return frame(_TENSOR_DOMAIN, tensor.name.encode(), tensor.datatype.encode(), shape, contents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The model with this SHA-256, known under ``model_id``, mapped the inputs to the outputs at ``time``.

    ``inputs_sha256`` and ``outputs_sha256`` are :func:`tensors_digest` values; ``nonce`` is the 32 bytes
    that the client sent along.
    """

    model_id: ModelId
    model_sha256: bytes
    inputs_sha256: bytes
    outputs_sha256: bytes
    nonce: bytes
    time: datetime

    def sign(self, key: SigningKey) -> bytes:
        """Return the receipt in an encoded DSSE envelope, signed by the enclave's receipt key."""
        sizes = {len(self.model_sha256), len(self.inputs_sha256), len(self.outputs_sha256)}
        if sizes != {32} or len(self.nonce) != NONCE_SIZE:
            raise ValueError("the digests and the nonce of a receipt have 32 bytes")
        payload = canonical_json.encode(
            {
                "version": 1,
                "model": {"id": str(self.model_id), "sha256": self.model_sha256.hex()},
                "inputs": self.inputs_sha256.hex(),
                "outputs": self.outputs_sha256.hex(),
                "nonce": self.nonce.hex(),
                "time": format_time(self.time),
            }
        )
        return dsse.sign(payload, PAYLOAD_TYPE, key).encode()

    @classmethod
    def verify(cls, data: bytes, *, receipt_key: PublicKey) -> Receipt:
        """Return the receipt in the envelope ``data`` if ``receipt_key`` signed it.

        Raises ``MalformedError``, ``SignatureError`` or ``UntrustedKeyError``. What it says is then the
        enclave's word; whether the digests are those of the caller's tensors is for the caller to compare.
        """
        envelope = dsse.Envelope.parse(data)
        dsse.verify(envelope, payload_type=PAYLOAD_TYPE, trusted=(receipt_key,))
        document = Document(canonical_json.parse(envelope.payload, max_size=4096, max_depth=2), "receipt")
        document.constant("version", 1)
        model = document.document("model")
        receipt = cls(
            model_id=ModelId.parse(model.text("id", max_length=127)),
            model_sha256=model.digest("sha256"),
            inputs_sha256=document.digest("inputs"),
            outputs_sha256=document.digest("outputs"),
            nonce=document.digest("nonce", NONCE_SIZE),
            time=document.time("time"),
        )
        model.end()
        document.end()
        return receipt


def receipt_public_key(raw: bytes) -> PublicKey:
    """Return the Ed25519 key with these 32 raw bytes (RFC 8410, 4: a fixed prefix makes the SPKI).

    Raises :class:`MalformedError` for anything else, because the bytes come from a server.
    """
    if len(raw) != 32:
        raise MalformedError("an Ed25519 public key has 32 bytes")
    return PublicKey(spki=base64.b64decode("MCowBQYDK2VwAyEA") + raw)
