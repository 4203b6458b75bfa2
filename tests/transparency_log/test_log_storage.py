"""The log's files: what is in them, and what is left of them after a crash at any moment."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from glasshouse_log import durable, storage
from glasshouse_log.checkpoint import Checkpoint, sign_checkpoint
from glasshouse_log.errors import StoreCorruptError, StoreLockedError
from glasshouse_log.merkle import check_inclusion, leaf_hash, prove_inclusion, tree_root
from glasshouse_log.note import KeyType, NoteSigner
from glasshouse_log.storage import Storage
from glasshouse_log.tiles import Tile, decode_entries, partial_tiles, tile_at
from support.log_trees import mth

SIGNER = NoteSigner.generate("log.example", KeyType.ED25519)


def entry(number: int) -> bytes:
    return b"entry %d" % number


def grow(store: Storage, count: int, *, salt: bytes = b"") -> None:
    """Add entries, sign and publish."""
    size = store.tree.size
    tree = store.append([entry(number) + salt for number in range(size, size + count)])
    note = sign_checkpoint(Checkpoint(origin=SIGNER.name, size=tree.size, root=tree.root()), SIGNER)
    store.sign(note, tree)
    store.publish(note)


def read_entries(store: Storage) -> list[bytes]:
    found: list[bytes] = []
    while tile := tile_at(None, len(found) // 256, size=store.tree.size):
        found += decode_entries(store.read_tile(tile), tile.width)
        if tile.width < 256:
            break
    return found


def check_everything(store: Storage) -> None:
    """Check that entries, leaf hashes, tree and checkpoint say the same."""
    entries = read_entries(store)
    leaves = [leaf_hash(item) for item in entries]
    assert store.leaf_hashes() == leaves
    assert len(leaves) == store.tree.size
    assert store.tree.root() == tree_root(len(leaves), store.reader()) == mth(leaves)
    assert store.published_size <= store.tree.size


@pytest.mark.parametrize("steps", [[1] * 20, [255, 1, 1], [256, 256], [300, 300, 1], [0, 513, 0, 7]])
def test_a_log_grows_in_any_steps_and_reads_the_same_after_a_restart(
    tmp_path: Path, steps: list[int]
) -> None:
    with Storage(tmp_path) as store:
        for count in steps:
            grow(store, count)
            check_everything(store)
    with Storage(tmp_path) as store:
        check_everything(store)
        assert read_entries(store) == [entry(number) for number in range(sum(steps))]


def test_many_levels_of_tiles_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "write_durably", write_fast)
    size = 256 * 257 + 3
    with Storage(tmp_path) as store:
        grow(store, 256 * 256 - 2)
        grow(store, size - store.tree.size)
        assert {path.name for path in (tmp_path / "tile").iterdir()} == {"0", "1", "2", "entries"}
        leaves = [leaf_hash(entry(number)) for number in range(size)]
        for index in (0, 255, 65_535, 65_536, size - 1):
            proof = prove_inclusion(index, size, store.reader())
            check_inclusion(leaves[index], index, proof, size=size, root=store.tree.root())


def write_fast(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_of_each_partial_tile_only_the_widest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "write_durably", write_fast)
    with Storage(tmp_path) as store:
        for _ in range(300):
            grow(store, 1)
            stored = {
                str(path.relative_to(tmp_path))
                for path in (tmp_path / "tile").rglob("*")
                if ".p/" in str(path)
            }
            assert stored == {tile.path for tile in partial_tiles(store.tree.size)}


def test_narrower_tiles_are_still_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "write_durably", write_fast)
    with Storage(tmp_path) as store:
        for size in range(1, 260):
            grow(store, 1)
            leaves = store.leaf_hashes()
            for width in {1, max(1, size // 2), min(size, 255)}:
                assert store.read_tile(Tile(level=0, index=0, width=width)) == b"".join(leaves[:width])
                bundle = store.read_tile(Tile(level=None, index=0, width=width))
                assert decode_entries(bundle, width) == tuple(entry(number) for number in range(width))
        with pytest.raises(FileNotFoundError):
            store.read_tile(Tile(level=0, index=1, width=4))


def test_one_process_at_a_time_has_the_store(tmp_path: Path) -> None:
    with Storage(tmp_path), pytest.raises(StoreLockedError):
        Storage(tmp_path)
    with Storage(tmp_path):
        pass


class CrashError(Exception):
    """The machine stopped."""


@contextmanager
def crashing(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[list[int]]:
    """Stop at the `at`-th step on the disk: before a write, half-way, after it, or at a deletion."""
    steps = [0]

    def step() -> None:
        steps[0] += 1
        if steps[0] == at:
            raise CrashError

    def write(path: Path, data: bytes) -> None:
        step()
        if steps[0] + 1 == at:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.tmp").write_bytes(data[: len(data) // 2])
        step()
        durable.write_durably(path, data)
        step()

    unlink = Path.unlink

    def crash_unlink(path: Path, missing_ok: bool = False) -> None:
        step()
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_durably", write)
        patch.setattr(Path, "unlink", crash_unlink)
        yield steps


@pytest.mark.parametrize(("before", "added"), [(0, 1), (5, 3), (250, 20), (255, 1), (510, 260)])
def test_a_crash_at_any_step_loses_nothing_signed_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, added: int
) -> None:
    at, crashed = 0, True
    while crashed:
        at += 1
        root = tmp_path / str(at)
        with Storage(root) as store:
            grow(store, before)
        with Storage(root) as store, crashing(monkeypatch, at):
            try:
                grow(store, added, salt=b" lost")
                crashed = False
            except CrashError:
                pass
        with Storage(root) as store:
            check_everything(store)
            assert store.tree.size in (before, before + added)
            assert store.published_size in (before, before + added)
            survived = store.tree.size > before
            # Another batch goes where the lost one was, and nothing of that shows through.
            grow(store, added + 7)
            check_everything(store)
            entries = read_entries(store)
            assert entries[:before] == [entry(number) for number in range(before)]
            assert entries[before].endswith(b" lost") is survived
            assert sum(item.endswith(b" lost") for item in entries) == (added if survived else 0)
    assert at > 6


def test_a_failed_batch_in_a_running_process_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Storage(tmp_path) as store:
        grow(store, 250)
        with crashing(monkeypatch, 8), pytest.raises(CrashError):
            grow(store, 20, salt=b" lost")
        grow(store, 3)
        check_everything(store)
        grow(store, 300)
        check_everything(store)
        assert not any(item.endswith(b" lost") for item in read_entries(store))


def test_a_store_whose_tiles_are_not_its_checkpoints_is_refused(tmp_path: Path) -> None:
    with Storage(tmp_path) as store:
        grow(store, 300)
    tiles = [path for path in (tmp_path / "tile").rglob("*") if path.is_file() and "entries" not in str(path)]
    for path in tiles:
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        if "0/000" not in str(path):  # the first full tile is behind its root, which level 1 has
            with pytest.raises(StoreCorruptError):
                Storage(tmp_path)
        path.unlink()
        if "0/000" not in str(path):
            with pytest.raises(StoreCorruptError):
                Storage(tmp_path)
        path.write_bytes(data)
    with Storage(tmp_path) as store:
        check_everything(store)


def test_random_growth_with_random_crashes_stays_one_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(20300102)
    signed: list[bytes] = []
    for _ in range(60):
        with Storage(tmp_path) as store:
            check_everything(store)
            entries = read_entries(store)
            assert entries[: len(signed)] == signed
            with crashing(monkeypatch, rng.randrange(1, 40)):
                try:
                    while True:
                        signed = read_entries(store)
                        grow(store, rng.choice([1, 2, 60]), salt=b" %d" % rng.randrange(1000))
                except CrashError:
                    pass
