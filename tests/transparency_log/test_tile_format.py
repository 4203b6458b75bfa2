from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_log.errors import MalformedTileError
from glasshouse_log.merkle import Node, leaf_hash, tree_root
from glasshouse_log.tiles import (
    Tile,
    TileReader,
    cut_tile,
    decode_entries,
    encode_entries,
    partial_tiles,
    tile_at,
)
from support.log_trees import MemoryTree, mth


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(level=0, index=1234067), "tile/0/x001/x234/067"),
        (Tile(level=0, index=0), "tile/0/000"),
        (Tile(level=63, index=999), "tile/63/999"),
        (Tile(level=1, index=1000), "tile/1/x001/000"),
        (Tile(level=None, index=273, width=112), "tile/entries/273.p/112"),
        (Tile(level=2, index=0, width=1), "tile/2/000.p/1"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert Tile.parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/x001/x000",
        "tile/0/001/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000/",
        "tile/0/../../checkpoint",
        "tile/Entries/000",
        "tile/0/٠٠٠",
        "tile/0/000\n",
        "tile/0/" + "x001/" * 7 + "000",
    ],
)
def test_what_is_no_tiles_path_is_refused(path: str) -> None:
    with pytest.raises(MalformedTileError):
        Tile.parse_path(path)


def test_the_tiles_of_a_tree_of_70000_are_those_of_the_specification() -> None:
    assert list(partial_tiles(70_000)) == [
        Tile(level=None, index=273, width=112),
        Tile(level=0, index=273, width=112),
        Tile(level=1, index=1, width=17),
        Tile(level=2, index=0, width=1),
    ]
    assert tile_at(0, 272, size=70_000) == Tile(level=0, index=272)
    assert tile_at(0, 274, size=70_000) is None
    assert list(partial_tiles(256)) == [Tile(level=1, index=0, width=1)]
    assert list(partial_tiles(0)) == []


def test_every_complete_subtree_can_be_read_from_tiles() -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(600)]
    tree = MemoryTree(leaves)

    def fetch(tile: Tile) -> bytes:
        assert tile.level is not None
        first = tile.index * 256
        return b"".join(tree.read_nodes([Node(8 * tile.level, first + i) for i in range(tile.width)]))

    for size in (1, 2, 255, 256, 257, 511, 512, 600):
        reader = TileReader(size, fetch)
        assert tree_root(size, reader) == mth(leaves[:size])
        for level in range(size.bit_length()):
            nodes = [Node(level, number) for number in range(size >> level)]
            assert reader.read_nodes(nodes) == tree.read_nodes(nodes)
            with pytest.raises(ValueError, match="is not in a tree"):
                reader.read_nodes([Node(level, size >> level)])


def test_a_tile_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(MalformedTileError):
        TileReader(2, lambda _tile: bytes(63)).read_nodes([Node(0, 0)])


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_entry_bundles_come_back_as_they_were(entries: Sequence[bytes], data: st.DataObject) -> None:
    bundle = encode_entries(entries)
    assert decode_entries(bundle, len(entries)) == tuple(entries)
    width = data.draw(st.integers(0, len(entries)))
    cut = cut_tile(bundle, Tile(level=None, index=0, width=len(entries)), width)
    assert decode_entries(cut, width) == tuple(entries[:width])


@pytest.mark.parametrize(
    ("data", "width"),
    [
        (b"", 1),
        (b"\x00", 1),
        (b"\x00\x01", 1),
        (b"\x00\x01a", 2),
        (b"\x00\x01a\x00", 1),
        (b"\x00\x01a\x00\x01b", 1),
        (b"\xff\xffabc", 1),
    ],
)
def test_what_is_no_entry_bundle_is_refused(data: bytes, width: int) -> None:
    with pytest.raises(MalformedTileError):
        decode_entries(data, width)


def test_an_entry_has_at_most_65535_bytes() -> None:
    assert decode_entries(encode_entries([b"x" * 65_535]), 1) == (b"x" * 65_535,)
    with pytest.raises(ValueError, match="at most"):
        encode_entries([b"x" * 65_536])
