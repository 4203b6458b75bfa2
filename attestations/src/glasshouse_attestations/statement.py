"""in-toto Statements v1 with exactly one subject: the image.

Source: in-toto Attestation Framework, "Statement" layer, v1. Stricter than the framework: one subject, one
SHA-256 digest in lower case, no unknown fields, canonical JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import canonical_json
from .canonical_json import JSON
from .document import Document
from .dsse import MAX_ENVELOPE_SIZE, Envelope, sign
from .errors import MalformedError
from .keys import SigningKey

__all__ = ["IMAGE_NAME", "PAYLOAD_TYPE", "STATEMENT_TYPE", "Statement"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
IMAGE_NAME = "enclave.efi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What somebody says (``predicate``, of ``predicate_type``) about the image with this SHA-256."""

    image_sha256: bytes
    predicate_type: str
    predicate: dict[str, JSON]

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """Return the statement in ``payload``; raises :class:`MalformedError` for anything else."""
        document = Document(canonical_json.parse(payload, max_size=MAX_ENVELOPE_SIZE), "statement")
        document.constant("_type", STATEMENT_TYPE)
        subjects = list(document.documents("subject", max_count=1))
        if len(subjects) != 1:
            raise MalformedError("statement.subject does not have exactly one member")
        subject = subjects[0]
        subject.constant("name", IMAGE_NAME)
        digest = subject.document("digest")
        image_sha256 = digest.digest("sha256")
        digest.end()
        subject.end()
        predicate_type = document.text("predicateType", max_length=256)
        predicate = document.value("predicate")
        document.end()
        if not isinstance(predicate, dict):
            raise MalformedError("statement.predicate is not an object")
        return cls(image_sha256=image_sha256, predicate_type=predicate_type, predicate=predicate)

    def encode(self) -> bytes:
        """Write the statement as :meth:`parse` reads it."""
        return canonical_json.encode(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": IMAGE_NAME, "digest": {"sha256": self.image_sha256.hex()}}],
                "predicateType": self.predicate_type,
                "predicate": self.predicate,
            }
        )

    def predicate_of(self, predicate_type: str) -> Document:
        """Return the predicate, to be taken apart, if it is of ``predicate_type`` to the letter."""
        if self.predicate_type != predicate_type:
            raise MalformedError(f"statement.predicateType is not {predicate_type}")
        return Document(self.predicate, "predicate")

    def sign(self, *signers: SigningKey) -> Envelope:
        """Return an envelope around the statement, signed by each of ``signers``."""
        return sign(self.encode(), PAYLOAD_TYPE, *signers)
