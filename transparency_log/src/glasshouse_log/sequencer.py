"""Puts entries in order: batches them, has each new tree witnessed, publishes it, then acknowledges."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from .asking import WitnessQuorum
from .checkpoint import Checkpoint, sign_checkpoint
from .errors import LogUnavailableError, OverloadedError, QuorumUnavailableError, StoreCorruptError
from .merkle import leaf_hash, prove_consistency, prove_inclusion
from .note import Note, NoteSigner
from .proof import Proof
from .storage import Storage

__all__ = ["Sequencer"]

_log = logging.getLogger(__name__)


class Sequencer:
    """The one writer of a log.

    An entry is acknowledged, by its proof, only when it is in the published tree, which the quorum has
    cosigned. One and the same entry is added once, however often it is offered. While the quorum cannot
    be met nothing is published, the signed tree is offered again and again, and callers time out.
    """

    def __init__(
        self,
        storage: Storage,
        signer: NoteSigner,
        witnesses: WitnessQuorum,
        *,
        batch_delay: float = 0.05,
        max_batch: int = 256,
        max_waiting: int = 1024,
        retry_delay: float = 1.0,
        refresh_interval: float = 3600.0,
    ) -> None:
        """Continue the log in `storage`, whose checkpoints carry the signer's name.

        `refresh_interval` is how often an idle log has its checkpoint cosigned anew, which keeps it fresh
        for clients that ask for recent cosignatures.
        """
        for note in (storage.published, storage.pending):
            if note and Checkpoint.parse(note.text).origin != signer.name:
                raise StoreCorruptError(f"the store is not of the log {signer.name}")
        self._storage = storage
        self._signer = signer
        self._witnesses = witnesses
        self._batch_delay, self._max_batch, self._max_waiting = batch_delay, max_batch, max_waiting
        self._retry_delay, self._refresh_interval = retry_delay, refresh_interval
        self._index = {leaf: index for index, leaf in enumerate(storage.leaf_hashes())}
        self._waiting: dict[bytes, bytes] = {}
        self._arrived = asyncio.Event()
        self._published = asyncio.Condition()
        self._writing: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Publish what a former process left unpublished, then sequence entries until cancelled."""
        try:
            await self._sequence()
        finally:
            # A cancelled wait does not stop a thread; whoever closes the store must not overtake it.
            if self._writing is not None:
                await asyncio.wait([self._writing])

    async def _sequence(self) -> None:
        await self._sign_and_publish([])
        while True:
            try:
                await asyncio.wait_for(self._arrived.wait(), self._refresh_interval)
                await asyncio.sleep(self._batch_delay)
            except asyncio.TimeoutError:
                pass
            leaves = list(self._waiting)[: self._max_batch]
            await self._sign_and_publish([self._waiting[leaf] for leaf in leaves])
            for leaf in leaves:
                del self._waiting[leaf]
            if not self._waiting:
                self._arrived.clear()

    async def add(self, entry: bytes, *, timeout: float = 30.0) -> bytes:
        """Return the entry's tlog-proof once it is published.

        Raises OverloadedError if too many wait already, and LogUnavailableError if it takes too long;
        then the entry may still be added later, and offering it again is safe.
        """
        leaf = leaf_hash(entry)
        if leaf not in self._index and leaf not in self._waiting:
            if len(self._waiting) >= self._max_waiting:
                raise OverloadedError(f"{self._max_waiting} entries are waiting already")
            self._waiting[leaf] = entry
            self._arrived.set()
        try:
            async with self._published:
                await asyncio.wait_for(self._published.wait_for(lambda: self._has_published(leaf)), timeout)
        except asyncio.TimeoutError as err:
            raise LogUnavailableError("the entry could not be published in time") from err
        return await self.prove(leaf)

    async def prove(self, leaf: bytes) -> bytes:
        """Return the proof that this leaf is in the published tree. Raises KeyError if it is not."""
        if not self._has_published(leaf):
            raise KeyError("the leaf is not in the published tree")
        return await asyncio.to_thread(self._prove, self._index[leaf])

    def _prove(self, index: int) -> bytes:
        note = self._storage.published
        if note is None:
            raise KeyError("nothing is published")
        size = Checkpoint.parse(note.text).size
        hashes = prove_inclusion(index, size, self._storage.reader(size))
        return Proof(index=index, hashes=hashes, checkpoint=note.encode()).encode()

    def _has_published(self, leaf: bytes) -> bool:
        index = self._index.get(leaf)
        return index is not None and index < self._storage.published_size

    async def _sign_and_publish(self, entries: Sequence[bytes]) -> None:
        """Extend the tree, sign it, and offer it to the witnesses until the quorum has cosigned."""
        start = self._storage.tree.size
        await self._write(self._extend, entries)
        self._index |= {leaf_hash(entry): start + offset for offset, entry in enumerate(entries)}
        cosigned = await self._cosign()
        await self._write(self._storage.publish, cosigned)
        async with self._published:
            self._published.notify_all()

    async def _write(self, function: Callable[..., None], *arguments: object) -> None:
        self._writing = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
        await asyncio.shield(self._writing)

    async def _cosign(self) -> Note:
        """Return the signed note with a quorum of cosignatures, however long that takes."""
        note, size = self._storage.pending, self._storage.tree.size
        if note is None:
            raise StoreCorruptError("nothing was signed")
        reader = self._storage.reader(size)
        while True:
            try:
                return await self._witnesses.cosign(
                    note, lambda old_size: prove_consistency(old_size, size, reader)
                )
            except QuorumUnavailableError as err:
                _log.warning("%s; trying again", err)
                await asyncio.sleep(self._retry_delay)

    def _extend(self, entries: Sequence[bytes]) -> None:
        if self._storage.pending is None or entries:
            tree = self._storage.append(entries)
            checkpoint = Checkpoint(origin=self._signer.name, size=tree.size, root=tree.root())
            self._storage.sign(sign_checkpoint(checkpoint, self._signer), tree)
