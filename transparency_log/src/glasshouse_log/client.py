"""A client of a log that believes nothing it has not verified against its own policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from types import TracebackType
from urllib.parse import urlsplit

import httpx

from glasshouse_attestations.bundle import Bundle, ConsistencyProof, LoggedStatement
from glasshouse_attestations.errors import GlasshouseError

from .errors import (
    AdmissionError,
    InclusionError,
    LogUnavailableError,
    MalformedEntryError,
)
from .merkle import check_inclusion, leaf_hash, prove_consistency, prove_inclusion
from .note import MAX_NOTE_SIZE
from .policy import TrustPolicy
from .proof import MAX_PROOF_SIZE, Proof
from .tiles import MAX_ENTRY_SIZE, TILE_WIDTH, Tile, TileReader, cut_tile, decode_entries, tile_at
from .verification import VerifiedCheckpoint, verify_checkpoint, verify_entry

__all__ = ["LogClient", "is_loopback"]

_MAX_EARLIER_SIZES = 256
_MAX_REFUSAL = 4096
_RETRIED = frozenset({429, 502, 503, 504})


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine, which no proxy of the environment should stand before."""
    return (urlsplit(url).hostname or "") in {"127.0.0.1", "::1", "localhost"}


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class LogClient:
    """Adds entries to a log, reads it, and makes proofs and bundles, all verified before they are returned.

    What the log answers is checked against `policy`; a log that answers wrongly causes a verification
    error. Requests that fail for lack of an answer are repeated: adding is idempotent, so that is safe.
    """

    def __init__(
        self,
        url: str,
        policy: TrustPolicy,
        *,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], datetime] = _utc_now,
        timeout: float = 40.0,
        attempts: int = 4,
        retry_delay: float = 0.25,
        max_retry_delay: float = 5.0,
    ) -> None:
        """Talk to the log at `url`; `transport` and `now` replace the network and the clock in tests."""
        self.policy = policy
        self._now = now
        self._attempts, self._retry_delay, self._max_delay = attempts, retry_delay, max_retry_delay
        self._client = httpx.Client(
            base_url=url,
            transport=transport,
            timeout=timeout,
            trust_env=not is_loopback(url),
            # Uncompressed, so that the limit on what arrives is the limit on what is kept.
            headers={"Accept-Encoding": "identity"},
        )

    def __enter__(self) -> LogClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def add(self, envelope: bytes) -> bytes:
        """Add an envelope, unless the log has it, and return its tlog-proof, verified."""
        if len(envelope) > MAX_ENTRY_SIZE:
            raise MalformedEntryError(f"an entry has at most {MAX_ENTRY_SIZE} bytes")
        proof = self._request("POST", "/v1/entries", max_size=MAX_PROOF_SIZE, content=envelope)
        verify_entry(envelope, proof, self.policy, now=self._now())
        return proof

    def checkpoint(self) -> VerifiedCheckpoint:
        """Return the log's latest checkpoint, verified."""
        note = self._request("GET", "/checkpoint", max_size=MAX_NOTE_SIZE)
        return verify_checkpoint(note, self.policy, now=self._now())

    def fetch_tile(self, tile: Tile) -> bytes:
        """Return a tile's bytes as the log gives them: check what you compute from them against a root."""
        max_size = TILE_WIDTH * (2 + MAX_ENTRY_SIZE)
        try:
            return self._request("GET", f"/{tile.path}", max_size=max_size)
        except LogUnavailableError:
            if tile.width == TILE_WIDTH:
                raise
            # A log may drop a partial tile once the full one is there, which begins with the same bytes.
            full = Tile(level=tile.level, index=tile.index)
            return cut_tile(self._request("GET", f"/{full.path}", max_size=max_size), full, tile.width)

    def reader(self, checkpoint: VerifiedCheckpoint) -> TileReader:
        """Return a reader of the tree's hashes; proofs from it must be checked against the checkpoint."""
        return TileReader(checkpoint.size, self.fetch_tile)

    def entries(self, start: int, checkpoint: VerifiedCheckpoint) -> Iterator[bytes]:
        """Yield the entries from `start` on, each one proved to be in the checkpoint's tree."""
        reader = self.reader(checkpoint)
        for index in range(start // TILE_WIDTH, (checkpoint.size + TILE_WIDTH - 1) // TILE_WIDTH):
            bundle = tile_at(None, index, size=checkpoint.size)
            if bundle is None:
                return
            entries = decode_entries(self.fetch_tile(bundle), bundle.width)
            for number, entry in enumerate(entries, index * TILE_WIDTH):
                if number >= start:
                    self._check_entry(entry, number, checkpoint, reader)
                    yield entry

    def prove(self, entry: bytes) -> bytes:
        """Return the tlog-proof that the log has this entry, verified. Raises LogUnavailableError if not."""
        path = f"/v1/proof?leaf_hash={leaf_hash(entry).hex()}"
        proof = self._request("GET", path, max_size=MAX_PROOF_SIZE)
        verify_entry(entry, proof, self.policy, now=self._now())
        return proof

    def prove_index(self, index: int) -> tuple[bytes, bytes]:
        """Return the entry at an index and its tlog-proof under the latest checkpoint, verified."""
        checkpoint = self.checkpoint()
        bundle = tile_at(None, index // TILE_WIDTH, size=checkpoint.size)
        if bundle is None or not 0 <= index < checkpoint.size:
            raise InclusionError(f"the log has no entry {index}, only {checkpoint.size} entries")
        entry = decode_entries(self.fetch_tile(bundle), bundle.width)[index % TILE_WIDTH]
        return entry, self._prove_at(entry, index, checkpoint, self.reader(checkpoint))

    def build_bundle(self, envelopes: Sequence[bytes]) -> Bundle:
        """Return a bundle of logged envelopes whose proofs all name the latest checkpoint.

        Its consistency proofs lead there from each of the last 256 earlier sizes, so that a client that
        remembers any of them can compare offline.
        """
        indexes = [Proof.parse(self.prove(envelope)).index for envelope in envelopes]
        checkpoint = self.checkpoint()
        reader = self.reader(checkpoint)
        entries = tuple(
            LoggedStatement(envelope=envelope, proof=self._prove_at(envelope, index, checkpoint, reader))
            for envelope, index in zip(envelopes, indexes, strict=True)
        )
        first = max(1, checkpoint.size - _MAX_EARLIER_SIZES)
        consistency = tuple(
            ConsistencyProof(size=size, hashes=prove_consistency(size, checkpoint.size, reader))
            for size in range(first, checkpoint.size)
        )
        return Bundle(entries=entries, consistency=consistency)

    def prove_consistency(self, old_size: int, checkpoint: VerifiedCheckpoint) -> tuple[bytes, ...]:
        """Return the consistency proof from an earlier size, for the caller to check with its old root."""
        return prove_consistency(old_size, checkpoint.size, self.reader(checkpoint))

    def _prove_at(
        self, entry: bytes, index: int, checkpoint: VerifiedCheckpoint, reader: TileReader
    ) -> bytes:
        if index >= checkpoint.size:
            raise LogUnavailableError("the log's checkpoint is older than its proof of the entry")
        hashes = self._check_entry(entry, index, checkpoint, reader)
        return Proof(index=index, hashes=hashes, checkpoint=checkpoint.raw).encode()

    def _check_entry(
        self, entry: bytes, index: int, checkpoint: VerifiedCheckpoint, reader: TileReader
    ) -> tuple[bytes, ...]:
        """Return the inclusion proof of an entry after checking it."""
        hashes = prove_inclusion(index, checkpoint.size, reader)
        check_inclusion(leaf_hash(entry), index, hashes, size=checkpoint.size, root=checkpoint.root)
        return hashes

    def _request(self, method: str, path: str, *, max_size: int, content: bytes | None = None) -> bytes:
        """Return the body of a successful answer, asking again while there is hope and an attempt left."""
        reason = "not asked"
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(min(self._retry_delay * 2 ** (attempt - 1), self._max_delay))
            try:
                return self._exchange(method, path, max_size, content)
            except _TryAgainError as err:
                reason = str(err)
        raise LogUnavailableError(f"{reason}, {self._attempts} times")

    def _exchange(self, method: str, path: str, max_size: int, content: bytes | None) -> bytes:
        body = bytearray()
        try:
            with self._client.stream(method, path, content=content) as response:
                limit = max_size if response.is_success else _MAX_REFUSAL
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > limit:
                        raise LogUnavailableError(f"the log's answer has more than {limit} bytes")
        except httpx.TransportError as err:
            where = self._client.base_url
            raise _TryAgainError(f"no answer from the log at {where} ({type(err).__name__})") from err
        if response.status_code in _RETRIED:
            raise _TryAgainError(f"the log answered with status {response.status_code}")
        if response.status_code != httpx.codes.OK:
            raise _refusal(response.status_code, bytes(body))
        return bytes(body)


class _TryAgainError(Exception):
    """No answer, or one that promises that another attempt may succeed."""


def _refusal(status: int, body: bytes) -> GlasshouseError:
    """Return the error for an answer that another attempt would not change."""
    message = body.decode("utf-8", "replace")
    reason = f"the log refused with status {status}: {message if message.isprintable() else '(unprintable)'}"
    return {400: MalformedEntryError, 413: MalformedEntryError, 403: AdmissionError}.get(
        status, LogUnavailableError
    )(reason)
