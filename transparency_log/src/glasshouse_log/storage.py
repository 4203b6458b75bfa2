"""A log's files on a POSIX file system, so that a crash at any moment loses nothing that was promised.

```
lock                      held by the one process that writes
checkpoint                the published note: signed by the log, cosigned by its quorum
pending                   the newest note that the log signed; witnesses may have cosigned it already
tile/<level>/<index>      full tiles, and of each partial tile the widest: <index>.p/<width>
tile/entries/<index>      entry bundles, in the same way
```

Every file is written beside its place, synced, renamed, and its directory synced. Tiles are written
before the pending checkpoint that covers them, and that before the published one. What lies past the
pending checkpoint was never signed: it is ignored, and overwritten by the next entries. What lies between
the two is kept, because a witness that cosigned it will never accept another tree of that size.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from .checkpoint import Checkpoint
from .durable import make_directory, write_durably
from .errors import MalformedTileError, StoreCorruptError, StoreLockedError
from .merkle import EMPTY_ROOT, HASH_SIZE, Frontier, leaf_hash
from .note import Note
from .tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    TileReader,
    cut_tile,
    decode_entries,
    encode_entries,
    partial_tiles,
    tile_at,
)

__all__ = ["LockedDirectory", "Storage"]

_READ_ATTEMPTS = 3


class LockedDirectory:
    """A directory that one process at a time may write to. Raises StoreLockedError."""

    def __init__(self, root: Path) -> None:
        """Create the directory if it is not there, and lock it until `close`."""
        make_directory(root)
        self._descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            os.close(self._descriptor)
            raise StoreLockedError(f"another process has {root} open") from err

    def close(self) -> None:
        """Let another process open the directory."""
        os.close(self._descriptor)


class Storage:
    """The tree of one log on disk; the only writer. A context manager that holds the lock.

    `tree` is the state up to the newest signed checkpoint, from which `append` goes on; `published` is the
    note that readers see, or None before the first.
    """

    def __init__(self, root: Path) -> None:
        """Open the store, take its lock, and check that it holds the tree of its newest checkpoint."""
        self.root = root
        self._lock = LockedDirectory(root)
        self._is_clean = False
        try:
            self.published = self._read_note("checkpoint")
            self.pending = self._read_note("pending")
            self.tree = self._load_tree()
            self._collect()
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Storage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    @property
    def published_size(self) -> int:
        """How many entries readers see."""
        return Checkpoint.parse(self.published.text).size if self.published else 0

    def append(self, entries: Sequence[bytes]) -> Frontier:
        """Write entries, with their tiles, after the newest signed tree; return the new tree.

        Nothing of it counts before `sign` has recorded a checkpoint for it.
        """
        if not self._is_clean:
            self._collect()
        self._is_clean = False
        leaves = [leaf_hash(entry) for entry in entries]
        tree = self.tree.extend(leaves)
        self._append_tiles(None, self.tree.size, entries)
        level, start, hashes = 0, self.tree.size, leaves
        while hashes:
            self._append_tiles(level, start, hashes)
            hashes = self._full_tile_roots(level, start, len(hashes))
            level, start = level + 1, start >> TILE_HEIGHT
        return tree

    def sign(self, note: Note, tree: Frontier) -> None:
        """Record the note that the log signed for this tree, before anybody else sees it."""
        write_durably(self.root / "pending", note.encode())
        self.pending, self.tree, self._is_clean = note, tree, True

    def publish(self, note: Note) -> None:
        """Let readers see the pending tree, under its note with cosignatures."""
        before = self.published_size
        write_durably(self.root / "checkpoint", note.encode())
        self.published = note
        self._drop_partial_tiles(before)

    def read_tile(self, tile: Tile) -> bytes:
        """Return a tile's or an entry bundle's bytes; a narrow one is the beginning of a wider one.

        Raises FileNotFoundError if nothing as wide is stored.
        """
        # A wider tile is in place before a narrower one goes, so whoever loses that race finds it at once.
        for _ in range(_READ_ATTEMPTS):
            for width in sorted(self._stored_widths(tile)):
                stored = Tile(level=tile.level, index=tile.index, width=width)
                if width >= tile.width and (data := _read_if_there(self.root / stored.path)) is not None:
                    return cut_tile(data, stored, tile.width)
        raise FileNotFoundError(tile.path)

    def reader(self, size: int | None = None) -> TileReader:
        """Return a reader of the hashes of the first `size` leaves, or of all that were signed."""
        return TileReader(self.tree.size if size is None else size, self.read_tile)

    def leaf_hashes(self) -> list[bytes]:
        """Return the hash of every leaf of the signed tree, in order."""
        reader = self.reader()
        tiles = (
            tile_at(0, index, size=self.tree.size)
            for index in range((self.tree.size + TILE_WIDTH - 1) // TILE_WIDTH)
        )
        return [item for tile in tiles if tile for item in reader.tile_hashes(tile)]

    def _read_note(self, name: str) -> Note | None:
        path = self.root / name
        return Note.parse(path.read_bytes()) if path.exists() else None

    def _load_tree(self) -> Frontier:
        notes = [Checkpoint.parse(note.text) for note in (self.published, self.pending) if note]
        checkpoint = max(notes, key=lambda item: item.size, default=None)
        if checkpoint is None:
            return Frontier()
        try:
            tree = Frontier.read(checkpoint.size, TileReader(checkpoint.size, self.read_tile))
        except (FileNotFoundError, MalformedTileError) as err:
            raise StoreCorruptError(f"a tile of the tree of {checkpoint.size} is missing or broken") from err
        if tree.root() != checkpoint.root or (not checkpoint.size and checkpoint.root != EMPTY_ROOT):
            raise StoreCorruptError(f"the tiles do not make up the signed tree of {checkpoint.size}")
        return tree

    def _append_tiles(self, level: int | None, start: int, items: Sequence[bytes]) -> None:
        """Write the tiles of one level that `items`, the `start`-th and following, fall into."""
        first = start % TILE_WIDTH
        index = start // TILE_WIDTH
        kept = self._items(Tile(level=level, index=index, width=first)) if first else ()
        pieces = [*kept, *items]
        for offset in range(0, len(pieces), TILE_WIDTH):
            part = pieces[offset : offset + TILE_WIDTH]
            tile = Tile(level=level, index=index + offset // TILE_WIDTH, width=len(part))
            data = encode_entries(part) if level is None else b"".join(part)
            write_durably(self.root / tile.path, data)

    def _full_tile_roots(self, level: int, start: int, count: int) -> list[bytes]:
        """Return the roots of the tiles of a level that became full by `count` new hashes."""
        roots = []
        for index in range(start // TILE_WIDTH, (start + count) // TILE_WIDTH):
            hashes = self._items(Tile(level=level, index=index))
            roots.append(Frontier().extend(hashes).root())
        return roots

    def _items(self, tile: Tile) -> tuple[bytes, ...]:
        data = self.read_tile(tile)
        if tile.level is None:
            return decode_entries(data, tile.width)
        return tuple(data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE))

    def _stored_widths(self, tile: Tile) -> list[int]:
        directory = self._partial_directory(tile)
        partial = [int(path.name) for path in directory.glob("[0-9]*")]
        return [*partial, TILE_WIDTH] if self._full_path(tile).is_file() else partial

    def _full_path(self, tile: Tile) -> Path:
        return self.root / Tile(level=tile.level, index=tile.index).path

    def _partial_directory(self, tile: Tile) -> Path:
        return (self.root / Tile(level=tile.level, index=tile.index, width=1).path).parent

    def _drop_partial_tiles(self, old_size: int) -> None:
        """Remove the partial tiles of the tree of `old_size` that wider ones have superseded."""
        for old in partial_tiles(old_size):
            new = tile_at(old.level, old.index, size=self.published_size)
            if new is not None and new.width > old.width:
                self._drop_narrower(new)

    def _drop_narrower(self, tile: Tile) -> None:
        self._drop_widths(tile, [width for width in self._stored_widths(tile) if width < tile.width])

    def _drop_widths(self, tile: Tile, widths: Sequence[int]) -> None:
        for width in widths:
            (self.root / Tile(level=tile.level, index=tile.index, width=width).path).unlink()
        directory = self._partial_directory(tile)
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()

    def _collect(self) -> None:
        """Remove what was written past the signed tree, and the partial tiles that it supersedes."""
        levels = [path.name for path in (self.root / "tile").glob("*")]
        for level in [None if name == "entries" else int(name) for name in levels]:
            index = (self.tree.size >> TILE_HEIGHT * (level or 0)) // TILE_WIDTH
            while widths := self._stored_widths(Tile(level=level, index=index)):
                signed = tile_at(level, index, size=self.tree.size)
                kept = signed.width if signed else 0
                unsigned = [width for width in widths if width > kept]
                self._drop_widths(Tile(level=level, index=index), unsigned)
                index += 1
        if self.published_size == self.tree.size:
            for tile in partial_tiles(self.tree.size):
                self._drop_narrower(tile)
        self._is_clean = True


def _read_if_there(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
