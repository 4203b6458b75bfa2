"""The transparency bundle: signed statements with their log proofs, stapled to a server's evidence."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from . import canonical_json
from .document import Document, parse_base64
from .dsse import MAX_ENVELOPE_SIZE
from .errors import MalformedError

__all__ = ["MAX_BUNDLE_SIZE", "Bundle", "ConsistencyProof", "LoggedStatement"]

_SCHEMA = "glasshouse/bundle/v1"
MAX_BUNDLE_SIZE = 4 << 20
_MAX_ENTRIES = 64
_MAX_CONSISTENCY_PROOFS = 256
_MAX_HASHES = 128
_MAX_PROOF_SIZE = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedStatement:
    """An envelope's exact bytes, and the tlog-proof (c2sp.org/tlog-proof@v1) that a log includes them."""

    envelope: bytes
    proof: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """The RFC 6962 proof that the log's first ``size`` entries are a prefix of the bundle's checkpoint."""

    size: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Statements about an image, each with its proof, and proofs from earlier sizes to the same checkpoint.

    Nothing in a bundle is trusted for being there: a client verifies every part. ``consistency`` lets a
    client compare the checkpoint with the one it remembers without asking anybody.
    """

    entries: tuple[LoggedStatement, ...]
    consistency: tuple[ConsistencyProof, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Bundle:
        """Return the bundle in ``data``: canonical JSON of at most 4 MiB."""
        document = Document(canonical_json.parse(data, max_size=MAX_BUNDLE_SIZE, max_depth=5), "bundle")
        document.constant("schema", _SCHEMA)
        entries = tuple(_parse_entry(item) for item in document.documents("entries", max_count=_MAX_ENTRIES))
        consistency = tuple(
            _parse_consistency(item)
            for item in document.documents("consistency", max_count=_MAX_CONSISTENCY_PROOFS)
        )
        document.end()
        if not entries:
            raise MalformedError("bundle.entries is empty")
        if len({entry.envelope for entry in entries}) != len(entries):
            raise MalformedError("bundle.entries has one statement twice")
        sizes = [proof.size for proof in consistency]
        if sizes != sorted(set(sizes)):
            raise MalformedError("bundle.consistency is not sorted by size, without duplicates")
        return cls(entries=entries, consistency=consistency)

    def encode(self) -> bytes:
        """Write the bundle as :meth:`parse` reads it."""
        return canonical_json.encode(
            {
                "schema": _SCHEMA,
                "entries": [
                    {"envelope": entry.envelope.decode("utf-8"), "proof": entry.proof.decode("utf-8")}
                    for entry in self.entries
                ],
                "consistency": [
                    {"size": proof.size, "hashes": [base64.b64encode(h).decode() for h in proof.hashes]}
                    for proof in self.consistency
                ],
            },
            max_size=MAX_BUNDLE_SIZE,
        )


def _parse_entry(document: Document) -> LoggedStatement:
    entry = LoggedStatement(
        envelope=_bytes(document, "envelope", MAX_ENVELOPE_SIZE),
        proof=_bytes(document, "proof", _MAX_PROOF_SIZE),
    )
    document.end()
    return entry


def _bytes(document: Document, name: str, max_size: int) -> bytes:
    value = document.value(name)
    data = value.encode("utf-8") if isinstance(value, str) else b""
    if not 0 < len(data) <= max_size:
        raise MalformedError(f"bundle.entries.{name} is not a text of 1 to {max_size} bytes")
    return data


def _parse_consistency(document: Document) -> ConsistencyProof:
    size = document.integer("size", minimum=1)
    hashes = tuple(
        parse_base64(item, "bundle.consistency.hashes", max_size=32)
        for item in document.list("hashes", max_count=_MAX_HASHES)
    )
    document.end()
    if any(len(item) != 32 for item in hashes):
        raise MalformedError("bundle.consistency.hashes are not 32 bytes each")
    return ConsistencyProof(size=size, hashes=hashes)
