from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_log.errors import ConsistencyError, InclusionError
from glasshouse_log.merkle import (
    EMPTY_ROOT,
    Frontier,
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    tree_root,
)
from support.log_trees import MemoryTree, mth
from support.repository import SHARED

VECTORS = SHARED / "vectors" / "merkle"
SIZES = range(1, 34)
LEAVES = [leaf_hash(b"leaf %d" % number) for number in range(70)]


def tree(size: int) -> MemoryTree:
    return MemoryTree(LEAVES[:size])


@pytest.mark.parametrize("kind", ["inclusion", "consistency"])
def test_every_conformance_vector_behaves_as_it_says(kind: str) -> None:
    if not VECTORS.is_dir():
        pytest.skip("the Merkle conformance vectors of the shared folder are absent")
    paths = sorted((VECTORS / kind).rglob("*.json"))
    assert len(paths) == 98
    wrong = [path.relative_to(VECTORS) for path in paths if not _behaves(kind, path)]
    assert wrong == []


def _behaves(kind: str, path: Path) -> bool:
    vector = json.loads(path.read_text())
    try:
        check = _check_inclusion_vector if kind == "inclusion" else _check_consistency_vector
        check(vector, [base64.b64decode(item) for item in vector["proof"] or []])
    except (InclusionError, ConsistencyError):
        return bool(vector["wantErr"])
    return not vector["wantErr"]


def _check_inclusion_vector(vector: dict[str, Any], proof: list[bytes]) -> None:
    root, leaf = base64.b64decode(vector["root"]), base64.b64decode(vector["leafHash"])
    check_inclusion(leaf, vector["leafIdx"], proof, size=vector["treeSize"], root=root)


def _check_consistency_vector(vector: dict[str, Any], proof: list[bytes]) -> None:
    old, new = base64.b64decode(vector["root1"]), base64.b64decode(vector["root2"])
    check_consistency(vector["size1"], old, proof, size=vector["size2"], root=new)


def test_roots_follow_the_recursive_definition() -> None:
    assert tree_root(0, tree(0)) == Frontier().root() == EMPTY_ROOT
    for size in SIZES:
        expected = mth(LEAVES[:size])
        assert tree_root(size, tree(size)) == expected
        assert Frontier().extend(LEAVES[:size]).root() == expected
        assert Frontier.read(size, tree(size)) == Frontier().extend(LEAVES[:size])


def test_every_inclusion_proof_of_every_small_tree_checks_and_no_other_place_does() -> None:
    for size in SIZES:
        root = mth(LEAVES[:size])
        for index in range(size):
            proof = prove_inclusion(index, size, tree(size))
            check_inclusion(LEAVES[index], index, proof, size=size, root=root)
            for other in range(-1, size + 2):
                if other != index:
                    with pytest.raises(InclusionError):
                        check_inclusion(LEAVES[index], other, proof, size=size, root=root)


def test_every_consistency_proof_between_small_trees_checks() -> None:
    for size in SIZES:
        for old in range(1, size + 1):
            proof = prove_consistency(old, size, tree(size))
            check_consistency(old, mth(LEAVES[:old]), proof, size=size, root=mth(LEAVES[:size]))


def test_a_consistency_proof_for_another_old_tree_is_refused() -> None:
    for size in range(2, 20):
        for old in range(1, size):
            proof = prove_consistency(old, size, tree(size))
            forked = mth([*LEAVES[: old - 1], leaf_hash(b"another")])
            with pytest.raises(ConsistencyError):
                check_consistency(old, forked, proof, size=size, root=mth(LEAVES[:size]))
            for other in set(range(1, size + 1)) - {old}:
                with pytest.raises(ConsistencyError):
                    check_consistency(other, mth(LEAVES[:old]), proof, size=size, root=mth(LEAVES[:size]))


@pytest.mark.parametrize("size", [2, 3, 5, 7, 8, 13])
def test_every_changed_missing_or_added_hash_is_refused(size: int) -> None:
    root = mth(LEAVES[:size])
    for index in range(size):
        for proof in _changed(prove_inclusion(index, size, tree(size))):
            with pytest.raises(InclusionError):
                check_inclusion(LEAVES[index], index, proof, size=size, root=root)
    for old in range(1, size):
        for proof in _changed(prove_consistency(old, size, tree(size))):
            with pytest.raises(ConsistencyError):
                check_consistency(old, mth(LEAVES[:old]), proof, size=size, root=root)


def _changed(proof: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    changed = [
        (*proof[:i], item[:j] + bytes([item[j] ^ 1]) + item[j + 1 :], *proof[i + 1 :])
        for i, item in enumerate(proof)
        for j in range(len(item))
    ]
    changed += [(*proof[:i], *proof[i + 1 :]) for i in range(len(proof))]
    changed += [(*proof[:i], item[:-1], *proof[i + 1 :]) for i, item in enumerate(proof)]
    return [*changed, (*proof, bytes(32)), (bytes(32), *proof)]


def test_a_leaf_and_a_node_of_the_same_bytes_have_different_hashes() -> None:
    left, right = LEAVES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)
    with pytest.raises(InclusionError):
        check_inclusion(leaf_hash(left + right), 0, (), size=1, root=node_hash(left, right))


def test_an_empty_old_tree_proves_nothing() -> None:
    with pytest.raises(ConsistencyError):
        check_consistency(0, EMPTY_ROOT, (), size=3, root=mth(LEAVES[:3]))


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_a_leaf_outside_the_tree_cannot_be_proved(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="is not in a tree"):
        prove_inclusion(index, size, tree(size))


@pytest.mark.parametrize(("old", "size"), [(0, 3), (4, 3), (-1, 3)])
def test_no_consistency_proof_leads_backwards_or_from_nothing(old: int, size: int) -> None:
    with pytest.raises(ValueError, match="no proof leads"):
        prove_consistency(old, size, tree(size))


@given(st.lists(st.binary(max_size=8), max_size=70), st.data())
def test_a_frontier_grows_in_any_steps(entries: list[bytes], data: st.DataObject) -> None:
    leaves = [leaf_hash(entry) for entry in entries]
    cut = data.draw(st.integers(0, len(leaves)))
    assert Frontier().extend(leaves[:cut]).extend(leaves[cut:]).root() == mth(leaves)
