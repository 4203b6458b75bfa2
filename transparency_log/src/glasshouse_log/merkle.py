"""The Merkle tree of RFC 6962 and RFC 9162: hashes, proofs, and their checks, as pure functions.

Provers read hashes through one method, `HashReader.read_nodes`; checkers need nothing but the proof.
A *node* (level, number) is the root of the complete subtree over the leaves
`number * 2**level` up to `(number + 1) * 2**level`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple, Protocol

from .errors import ConsistencyError, InclusionError

HASH_SIZE = 32
MAX_PROOF_LENGTH = 63
EMPTY_ROOT = hashlib.sha256(b"").digest()


class Node(NamedTuple):
    """The root of a complete subtree of `2**level` leaves, the `number`-th of its level."""

    level: int
    number: int


class HashReader(Protocol):
    """Where a prover finds the hashes of complete subtrees."""

    def read_nodes(self, nodes: Sequence[Node]) -> Sequence[bytes]:
        """Return the hash of each node, in the same order."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry as a leaf (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(size: int, reader: HashReader) -> bytes:
    """Return the root of the first `size` leaves."""
    return _read_ranges([(0, size)], reader)[0] if size else EMPTY_ROOT


def prove_inclusion(index: int, size: int, reader: HashReader) -> tuple[bytes, ...]:
    """Return the proof that leaf `index` is in the tree of `size` leaves (RFC 6962, section 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    return _read_ranges(_inclusion_ranges(index, 0, size), reader)


def check_inclusion(leaf: bytes, index: int, proof: Sequence[bytes], *, size: int, root: bytes) -> None:
    """Prove that the leaf hash is at `index` in the tree with this size and root (RFC 9162, 2.1.3.2).

    Costs one hash for each element of the proof. Raises InclusionError.
    """
    if not 0 <= index < size:
        raise InclusionError(f"leaf {index} is outside the tree of {size}")
    if any(len(item) != HASH_SIZE for item in (leaf, root, *proof)):
        raise InclusionError(f"a hash in an inclusion proof is not {HASH_SIZE} bytes long")
    position, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise InclusionError("the inclusion proof is too long")
        if position & 1 or position == last:
            found = node_hash(sibling, found)
            position, last = _climb_to_left_turn(position, last)
        else:
            found = node_hash(found, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise InclusionError("the inclusion proof is too short")
    if found != root:
        raise InclusionError(f"the inclusion proof leads to root {found.hex()}, not {root.hex()}")


def prove_consistency(old_size: int, size: int, reader: HashReader) -> tuple[bytes, ...]:
    """Return the proof that the first `old_size` leaves of the tree did not change (RFC 6962, 2.1.2)."""
    if not 0 < old_size <= size:
        raise ValueError(f"no proof leads from a tree of {old_size} to one of {size}")
    return _read_ranges(_consistency_ranges(old_size, 0, size, True), reader)


def check_consistency(
    old_size: int, old_root: bytes, proof: Sequence[bytes], *, size: int, root: bytes
) -> None:
    """Prove that the old tree is the beginning of the new one (RFC 9162, section 2.1.4.2).

    An empty old tree is refused: nothing can be proved of it. Raises ConsistencyError.
    """
    if not 0 < old_size <= size:
        raise ConsistencyError(f"no proof can lead from a tree of {old_size} to one of {size}")
    if old_size == size:
        if proof:
            raise ConsistencyError("a proof between trees of one size must be empty")
        if old_root != root:
            raise ConsistencyError(f"two roots for size {size}: {old_root.hex()} and {root.hex()}")
        return
    if any(len(item) != HASH_SIZE for item in (old_root, root, *proof)):
        raise ConsistencyError(f"a hash in a consistency proof is not {HASH_SIZE} bytes long")
    found_old, found_new = _fold_consistency(old_size, old_root, proof, size=size)
    if found_old != old_root:
        raise ConsistencyError(f"the proof does not lead to the old root {old_root.hex()}")
    if found_new != root:
        raise ConsistencyError(f"the proof does not lead to the new root {root.hex()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """The roots of the complete subtrees that make up a tree: all that appending to it needs."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    @classmethod
    def read(cls, size: int, reader: HashReader) -> Frontier:
        """Return the frontier of the first `size` leaves."""
        return cls(size=size, hashes=tuple(reader.read_nodes(_complete_nodes(0, size)) if size else ()))

    def extend(self, leaves: Iterable[bytes]) -> Frontier:
        """Return the frontier after these leaf hashes were appended."""
        size, stack = self.size, list(self.hashes)
        for leaf in leaves:
            stack.append(leaf)
            size += 1
            for _ in range((size & -size).bit_length() - 1):
                right, left = stack.pop(), stack.pop()
                stack.append(node_hash(left, right))
        return Frontier(size=size, hashes=tuple(stack))

    def root(self) -> bytes:
        """Return the root of the tree."""
        return _fold_right(self.hashes) if self.hashes else EMPTY_ROOT


def _climb_to_left_turn(position: int, last: int) -> tuple[int, int]:
    """Skip the levels at which this node is the rightmost and has no sibling."""
    while position & 1 == 0 and position:
        position, last = position >> 1, last >> 1
    return position, last


def _fold_consistency(
    old_size: int, old_root: bytes, proof: Sequence[bytes], *, size: int
) -> tuple[bytes, bytes]:
    """Recompute both roots from a consistency proof between trees of different sizes."""
    # When the old tree is complete, its root is the proof's implied first element.
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        raise ConsistencyError("the consistency proof is empty")
    position, last = old_size - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    found_old = found_new = path[0]
    for item in path[1:]:
        if last == 0:
            raise ConsistencyError("the consistency proof is too long")
        if position & 1 or position == last:
            found_old, found_new = node_hash(item, found_old), node_hash(item, found_new)
            position, last = _climb_to_left_turn(position, last)
        else:
            found_new = node_hash(found_new, item)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise ConsistencyError("the consistency proof is too short")
    return found_old, found_new


def _inclusion_ranges(index: int, start: int, end: int) -> list[tuple[int, int]]:
    """Return the leaf ranges whose roots form the audit path, the leaf's sibling first."""
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_inclusion_ranges(index, start, middle), (middle, end)]
    return [*_inclusion_ranges(index, middle, end), (start, middle)]


def _consistency_ranges(old_size: int, start: int, end: int, known: bool) -> list[tuple[int, int]]:
    """Return the leaf ranges of SUBPROOF; `known` says that the checker has this subtree's root."""
    if end == old_size:
        return [] if known else [(start, end)]
    middle = start + _split(end - start)
    if old_size <= middle:
        return [*_consistency_ranges(old_size, start, middle, known), (middle, end)]
    return [*_consistency_ranges(old_size, middle, end, False), (start, middle)]


def _split(width: int) -> int:
    """Return the largest power of two smaller than `width`."""
    return 1 << (width - 1).bit_length() - 1


def _complete_nodes(start: int, end: int) -> list[Node]:
    """Return the complete subtrees that make up a leaf range, left to right, the largest first."""
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append(Node(level, start >> level))
        start += 1 << level
    return nodes


def _read_ranges(ranges: Sequence[tuple[int, int]], reader: HashReader) -> tuple[bytes, ...]:
    """Return the root of each leaf range, with one call of the reader for all."""
    parts = [_complete_nodes(start, end) for start, end in ranges]
    hashes = iter(reader.read_nodes([node for part in parts for node in part]))
    return tuple(_fold_right([next(hashes) for _ in part]) for part in parts)


def _fold_right(hashes: Sequence[bytes]) -> bytes:
    """Join subtrees of falling size into one root, from the right."""
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes))
