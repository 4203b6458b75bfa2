"""Tiles of height 8 and entry bundles: a log as static files (c2sp.org/tlog-tiles)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .errors import MalformedTileError
from .merkle import HASH_SIZE, Node, node_hash

__all__ = [
    "MAX_ENTRY_SIZE",
    "TILE_HEIGHT",
    "TILE_WIDTH",
    "Tile",
    "TileReader",
    "cut_tile",
    "decode_entries",
    "encode_entries",
    "partial_tiles",
    "tile_at",
]

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
MAX_ENTRY_SIZE = 65_535
_MAX_LEVEL = 63
_ENTRIES = "entries"
_PATH = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """`width` consecutive hashes of one level, or entries when `level` is None, from `index * 256` on."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The path below the log's prefix."""
        digits = f"{self.index:03d}"
        digits = digits.zfill((len(digits) + 2) // 3 * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        suffix = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{_ENTRIES if self.level is None else self.level}/{name}{suffix}"

    @classmethod
    def parse_path(cls, path: str) -> Tile:
        """Return the tile that a path names, in its one canonical form."""
        match = _PATH.fullmatch(path)
        if not match:
            raise MalformedTileError("not the path of a tile")
        level, digits, width = match.groups()
        tile = cls(
            level=None if level == _ENTRIES else int(level),
            index=int(digits.replace("/", "").replace("x", "")),
            width=int(width) if width else TILE_WIDTH,
        )
        if (tile.level or 0) > _MAX_LEVEL or tile.path != path:
            raise MalformedTileError("not the canonical path of a tile")
        return tile


def tile_at(level: int | None, index: int, *, size: int) -> Tile | None:
    """Return the tile at a place in a tree of `size` leaves, full or partial; None if it would be empty."""
    hashes = size >> TILE_HEIGHT * (level or 0)
    width = min(hashes - index * TILE_WIDTH, TILE_WIDTH)
    return Tile(level=level, index=index, width=width) if width > 0 else None


def partial_tiles(size: int) -> Iterator[Tile]:
    """Yield the partial tiles and the partial entry bundle of a tree of `size` leaves."""
    if size % TILE_WIDTH:
        yield Tile(level=None, index=size // TILE_WIDTH, width=size % TILE_WIDTH)
    level, hashes = 0, size
    while hashes:
        if hashes % TILE_WIDTH:
            yield Tile(level=level, index=hashes // TILE_WIDTH, width=hashes % TILE_WIDTH)
        level, hashes = level + 1, hashes >> TILE_HEIGHT


class TileReader:
    """A `HashReader` over the tiles of a tree of `size` leaves; each tile is fetched once.

    Whoever fetches from a stranger must check the proofs made with it against a verified root.
    """

    def __init__(self, size: int, fetch: Callable[[Tile], bytes]) -> None:
        """Read with `fetch`, which returns a tile's bytes."""
        self._size = size
        self._fetch = fetch
        self._tiles: dict[Tile, tuple[bytes, ...]] = {}

    def read_nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        """Return the hash of each node, in the same order."""
        return [self._read_node(node) for node in nodes]

    def tile_hashes(self, tile: Tile) -> tuple[bytes, ...]:
        """Return the hashes in a tile."""
        if tile not in self._tiles:
            data = self._fetch(tile)
            if len(data) != tile.width * HASH_SIZE:
                raise MalformedTileError(f"{tile.path} has {len(data)} bytes, not {tile.width * HASH_SIZE}")
            self._tiles[tile] = tuple(data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE))
        return self._tiles[tile]

    def _read_node(self, node: Node) -> bytes:
        level, height = divmod(node.level, TILE_HEIGHT)
        first = node.number << height
        tile = tile_at(level, first // TILE_WIDTH, size=self._size)
        if tile is None or first % TILE_WIDTH + (1 << height) > tile.width:
            raise ValueError(f"{node} is not in a tree of {self._size}")
        start = first % TILE_WIDTH
        return _subtree_root(self.tile_hashes(tile)[start : start + (1 << height)])


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """Write an entry bundle: each entry after its length in two big-endian bytes."""
    if any(len(entry) > MAX_ENTRY_SIZE for entry in entries):
        raise ValueError(f"an entry has at most {MAX_ENTRY_SIZE} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_entries(data: bytes, width: int) -> tuple[bytes, ...]:
    """Return the `width` entries of a bundle, which has nothing after them."""
    entries, position = [], 0
    for _ in range(width):
        end = position + 2 + int.from_bytes(data[position : position + 2], "big")
        if position + 2 > len(data) or end > len(data):
            raise MalformedTileError("an entry bundle ends in the middle of an entry")
        entries.append(data[position + 2 : end])
        position = end
    if position != len(data):
        raise MalformedTileError("an entry bundle has more entries than its width")
    return tuple(entries)


def cut_tile(data: bytes, tile: Tile, width: int) -> bytes:
    """Return the first `width` hashes or entries of a tile's bytes."""
    if width == tile.width:
        return data
    if tile.level is not None:
        return data[: width * HASH_SIZE]
    return encode_entries(decode_entries(data, tile.width)[:width])


def _subtree_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]
