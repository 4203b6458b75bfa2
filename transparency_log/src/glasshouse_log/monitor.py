"""Reading a log as a monitor does: every entry, in order, and never a tree that forgets one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .checkpoint import Checkpoint
from .client import LogClient
from .note import Note
from .verification import VerifiedCheckpoint, check_continues

__all__ = ["News", "read_news"]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """A verified checkpoint that continues the remembered one, and where its new entries start.

    `entries` reads them from the log, each proved to be in the checkpoint's tree. Remember
    `checkpoint.raw` only after reading them all.
    """

    checkpoint: VerifiedCheckpoint
    start: int
    client: LogClient

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Yield each new entry with its index."""
        return enumerate(self.client.entries(self.start, self.checkpoint), self.start)


def read_news(client: LogClient, remembered: bytes | None) -> News:
    """Return what is new since the remembered note, or everything if there is none.

    Raises what `check_continues` raises if the log does not continue what is remembered.
    """
    checkpoint = client.checkpoint()
    if remembered is None:
        return News(checkpoint=checkpoint, start=0, client=client)
    size = Checkpoint.parse(Note.parse(remembered).text).size
    proof = client.prove_consistency(size, checkpoint) if 0 < size < checkpoint.size else ()
    check_continues(remembered, checkpoint, proof)
    return News(checkpoint=checkpoint, start=size, client=client)
