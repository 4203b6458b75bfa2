"""Merkle trees in memory, and signed checkpoints of them, for tests of the log's pure parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from glasshouse_log.checkpoint import Checkpoint, sign_checkpoint
from glasshouse_log.cosignature import cosign
from glasshouse_log.merkle import EMPTY_ROOT, Node, leaf_hash, node_hash, prove_inclusion
from glasshouse_log.note import KeyType, Note, NoteSigner
from glasshouse_log.policy import TrustPolicy
from glasshouse_log.proof import Proof

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
ORIGIN = "log.example/test"


def mth(leaves: Sequence[bytes]) -> bytes:
    """Return the root of leaf hashes, by the recursive definition of RFC 6962, section 2.1."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return node_hash(mth(leaves[:middle]), mth(leaves[middle:]))


@dataclass(frozen=True)
class MemoryTree:
    """A `HashReader` over leaf hashes in memory."""

    leaves: Sequence[bytes]

    def read_nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        return [self._read(node) for node in nodes]

    def _read(self, node: Node) -> bytes:
        part = self.leaves[node.number << node.level : (node.number + 1) << node.level]
        assert len(part) == 1 << node.level, f"{node} is not complete"
        return mth(part)


@dataclass
class Simulator:
    """A log and its witnesses without processes: whatever a test wants signed, it signs."""

    size: int = 5
    log: NoteSigner = field(default_factory=lambda: NoteSigner.generate(ORIGIN, KeyType.ED25519))
    witnesses: list[NoteSigner] = field(
        default_factory=lambda: [
            NoteSigner.generate(f"witness.example/w{i}", KeyType.COSIGNATURE_V1) for i in (1, 2, 3)
        ]
    )

    @property
    def entries(self) -> list[bytes]:
        return [b"entry %d" % index for index in range(self.size)]

    @property
    def leaves(self) -> list[bytes]:
        return [leaf_hash(entry) for entry in self.entries]

    def checkpoint(self, **changes: object) -> Checkpoint:
        fields = {"origin": self.log.name, "size": self.size, "root": mth(self.leaves), **changes}
        return Checkpoint(**fields)  # type: ignore[arg-type]

    def policy(self, quorum: str = "2") -> TrustPolicy:
        lines = [f"log {self.log.verifier_key.encode()}"]
        lines += [f"witness w{i} {w.verifier_key.encode()}" for i, w in enumerate(self.witnesses, 1)]
        if quorum == "none":
            lines.append("quorum none")
        else:
            names = " ".join(f"w{i}" for i in range(1, len(self.witnesses) + 1))
            lines += [f"group all-witnesses {quorum} {names}", "quorum all-witnesses"]
        return TrustPolicy.parse("".join(f"{line}\n" for line in lines).encode())

    def note(
        self, *, by: Sequence[int] = (1, 2, 3), times: Sequence[int] | None = None, **changes: object
    ) -> Note:
        """Return a checkpoint signed by the log and cosigned by the numbered witnesses."""
        note = sign_checkpoint(self.checkpoint(**changes), self.log)
        now = int(NOW.timestamp())
        lines = [
            cosign(note.text, self.witnesses[number - 1], time=time)
            for number, time in zip(by, times or [now] * len(by), strict=True)
        ]
        return Note(text=note.text, signatures=(*note.signatures, *lines))

    def proof(self, index: int, note: Note | None = None) -> bytes:
        hashes = prove_inclusion(index, self.size, MemoryTree(self.leaves))
        return Proof(index=index, hashes=hashes, checkpoint=(note or self.note()).encode()).encode()


def mutations(data: bytes) -> list[bytes]:
    """Return the data with each single byte changed in two ways, and each single byte left out."""
    changed = [
        data[:i] + bytes([data[i] ^ flip]) + data[i + 1 :] for i in range(len(data)) for flip in (1, 0x20)
    ]
    shortened = [data[:i] + data[i + 1 :] for i in range(len(data))]
    return [item for item in changed + shortened if item != data]
