"""How a log asks its witnesses for cosignatures (c2sp.org/tlog-witness, add-checkpoint)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import httpx

from glasshouse_attestations.errors import GlasshouseError

from .checkpoint import Checkpoint
from .cosignature import verify_cosignature
from .errors import MalformedRequestError, QuorumUnavailableError, WitnessUnavailableError
from .notation import decode_decimal
from .note import Note, NoteSignature, parse_signature_lines
from .policy import NO_QUORUM, TrustPolicy, Witness
from .request import AddCheckpoint

__all__ = ["MAX_RESPONSE_SIZE", "WitnessQuorum"]

MAX_RESPONSE_SIZE = 64 * 1024
_GRACE = 0.2
# Uncompressed, so that the limit on what arrives is the limit on what is kept.
_HEADERS = {"Accept-Encoding": "identity"}

ProveConsistency = Callable[[int], Sequence[bytes]]


class WitnessQuorum:
    """The witnesses of a policy, asked in parallel until its quorum has cosigned.

    It remembers which size each witness has seen last; a witness that disagrees says so, and is asked
    once more.
    """

    def __init__(self, policy: TrustPolicy, client: httpx.AsyncClient, *, timeout: float = 5.0) -> None:
        """Ask the policy's witnesses through `client`; each of them needs a URL in the policy."""
        missing = [witness.name for witness in policy.witnesses if witness.url is None]
        if missing:
            raise ValueError(f"the policy gives no URL for witness {', '.join(missing)}")
        self._policy = policy
        self._client = client
        self._timeout = timeout
        self._known: dict[str, int] = {}

    async def cosign(self, note: Note, prove: ProveConsistency) -> Note:
        """Return the note with cosignatures that meet the quorum.

        `prove(old_size)` gives the consistency proof to this checkpoint. Once there is a quorum, the other
        witnesses get a moment more, so that a slow one holds nobody up. Raises QuorumUnavailableError.
        """
        if self._policy.quorum == NO_QUORUM:
            return note
        names = {
            asyncio.create_task(self._ask(witness, note, prove)): witness.name
            for witness in self._policy.witnesses
        }
        lines: dict[str, NoteSignature] = {}
        refusals: dict[str, str] = {}
        deadline = time.monotonic() + self._timeout
        waiting = set(names)
        while waiting and (left := deadline - time.monotonic()) > 0:
            done, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                try:
                    lines[names[task]] = task.result()
                except GlasshouseError as err:
                    refusals[names[task]] = str(err)
            if self._is_met(lines):
                deadline = min(deadline, time.monotonic() + _GRACE)
        for task in waiting:
            task.cancel()
        if not self._is_met(lines):
            refusals |= {names[task]: "no answer in time" for task in waiting}
            reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(refusals.items()))
            raise QuorumUnavailableError(f"the witness quorum is not met ({reasons})")
        return Note(text=note.text, signatures=(*note.signatures, *lines.values()))

    def _is_met(self, lines: dict[str, NoteSignature]) -> bool:
        return self._policy.quorum_time(dict.fromkeys(lines, 1)) is not None

    async def _ask(self, witness: Witness, note: Note, prove: ProveConsistency) -> NoteSignature:
        size = Checkpoint.parse(note.text).size
        old_size = min(self._known.get(witness.name, 0), size)
        status, body = await self._post(witness, old_size, note, prove)
        if status == httpx.codes.CONFLICT:
            old_size = decode_decimal(body.removesuffix(b"\n"), "the witness's size", MalformedRequestError)
            if old_size > size:
                raise WitnessUnavailableError(f"it has seen a tree of {old_size}, larger than {size}")
            status, body = await self._post(witness, old_size, note, prove)
        if status != httpx.codes.OK:
            raise WitnessUnavailableError(f"it answers with status {status}")
        line = _verified_line(body, witness, note)
        self._known[witness.name] = size
        return line

    async def _post(
        self, witness: Witness, old_size: int, note: Note, prove: ProveConsistency
    ) -> tuple[int, bytes]:
        proof = tuple(await asyncio.to_thread(prove, old_size)) if old_size else ()
        request = AddCheckpoint(old_size=old_size, proof=proof, note=note).encode()
        url = f"{(witness.url or '').rstrip('/')}/add-checkpoint"
        body = b""
        try:
            async with self._client.stream(
                "POST", url, content=request, headers=_HEADERS, timeout=self._timeout
            ) as response:
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > MAX_RESPONSE_SIZE:
                        raise WitnessUnavailableError("its answer is too long")
        except httpx.HTTPError as err:
            raise WitnessUnavailableError(f"it cannot be reached ({type(err).__name__})") from err
        return response.status_code, body


def _verified_line(body: bytes, witness: Witness, note: Note) -> NoteSignature:
    """Return the witness's own line of an answer, verified; lines by other keys are ignored."""
    lines = [line for line in parse_signature_lines(body) if line.names(witness.key)]
    if len(lines) != 1:
        raise WitnessUnavailableError(f"its answer has {len(lines)} cosignatures by its key, not one")
    verify_cosignature(note.text, witness.key, lines[0])
    return lines[0]
