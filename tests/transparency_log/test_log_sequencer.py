"""The one writer of a log, without HTTP: what it promises when it is full, idle, stopped or alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from glasshouse_log.asking import WitnessQuorum
from glasshouse_log.errors import (
    LogUnavailableError,
    OverloadedError,
    QuorumUnavailableError,
    StoreCorruptError,
)
from glasshouse_log.merkle import leaf_hash
from glasshouse_log.note import KeyType, Note, NoteSigner
from glasshouse_log.policy import TrustPolicy
from glasshouse_log.proof import Proof
from glasshouse_log.sequencer import Sequencer
from glasshouse_log.storage import Storage
from glasshouse_log.verification import verify_entry
from support.log_trees import NOW

SIGNER = NoteSigner.generate("log.example", KeyType.ED25519)
POLICY = TrustPolicy.parse(f"log {SIGNER.verifier_key.encode()}\nquorum none\n".encode())


class Reluctant(WitnessQuorum):
    """A quorum that is not met while `refuses`; it counts how often it is asked."""

    refuses = False
    asked = 0

    async def cosign(self, note: Note, prove: Callable[[int], object]) -> Note:  # noqa: ARG002
        self.asked += 1
        if self.refuses:
            raise QuorumUnavailableError("not today")
        return note


def run(
    root: Path, scenario: Callable[[Sequencer, Reluctant, Storage], Awaitable[None]], **options: float
) -> None:
    """Run a scenario beside a running sequencer, which must not have failed at the end."""

    async def main() -> None:
        with Storage(root) as storage:
            async with httpx.AsyncClient() as client:
                quorum = Reluctant(POLICY, client)
                sequencer = Sequencer(storage, SIGNER, quorum, batch_delay=0.005, retry_delay=0.01, **options)  # type: ignore[arg-type]
                running = asyncio.create_task(sequencer.run())
                await scenario(sequencer, quorum, storage)
                running.cancel()
                await asyncio.wait([running])
                assert running.cancelled()

    asyncio.run(main())


def test_many_entries_at_once_become_few_batches(tmp_path: Path) -> None:
    async def scenario(sequencer: Sequencer, quorum: Reluctant, storage: Storage) -> None:
        entries = [b"entry %d" % number for number in range(600)]
        proofs = await asyncio.gather(*(sequencer.add(entry) for entry in entries))
        for entry, proof in zip(entries, proofs, strict=True):
            verify_entry(entry, proof, POLICY, now=NOW)
        assert {Proof.parse(proof).index for proof in proofs} == set(range(600))
        assert quorum.asked < 10
        assert storage.published_size == 600

    run(tmp_path, scenario)


def test_a_full_queue_refuses_and_accepts_again_later(tmp_path: Path) -> None:
    async def scenario(sequencer: Sequencer, quorum: Reluctant, storage: Storage) -> None:
        quorum.refuses = True
        waiting = [asyncio.create_task(sequencer.add(b"entry %d" % number)) for number in range(5)]
        await asyncio.sleep(0.1)
        with pytest.raises(OverloadedError):
            await sequencer.add(b"one too many")
        # What waits already is not refused when it is offered again.
        again = asyncio.create_task(sequencer.add(b"entry 3"))
        assert storage.published_size == 0
        quorum.refuses = False
        proofs = await asyncio.gather(*waiting, again)
        assert proofs[3] == proofs[5]
        await sequencer.add(b"one too many")

    run(tmp_path, scenario, max_waiting=5)


def test_a_caller_who_waits_too_long_is_told_and_may_ask_again(tmp_path: Path) -> None:
    async def scenario(sequencer: Sequencer, quorum: Reluctant, _storage: Storage) -> None:
        quorum.refuses = True
        with pytest.raises(LogUnavailableError):
            await sequencer.add(b"entry", timeout=0.05)
        with pytest.raises(KeyError):
            await sequencer.prove(leaf_hash(b"entry"))
        quorum.refuses = False
        assert Proof.parse(await sequencer.add(b"entry")).index == 0

    run(tmp_path, scenario)


def test_what_was_signed_but_not_published_is_published_by_the_next_process(tmp_path: Path) -> None:
    async def interrupted(sequencer: Sequencer, quorum: Reluctant, storage: Storage) -> None:
        await sequencer.add(b"published")
        quorum.refuses = True
        with pytest.raises(LogUnavailableError):
            await sequencer.add(b"signed", timeout=0.2)
        assert (storage.published_size, storage.tree.size) == (1, 2)

    async def resumed(sequencer: Sequencer, _quorum: Reluctant, storage: Storage) -> None:
        assert Proof.parse(await sequencer.add(b"signed")).index == 1
        assert storage.tree.size == 2

    run(tmp_path, interrupted)
    run(tmp_path, resumed)


def test_an_idle_log_is_cosigned_anew(tmp_path: Path) -> None:
    async def scenario(sequencer: Sequencer, quorum: Reluctant, _storage: Storage) -> None:
        await sequencer.add(b"entry")
        asked = quorum.asked
        await asyncio.sleep(0.3)
        assert quorum.asked > asked + 1

    run(tmp_path, scenario, refresh_interval=0.05)


def test_a_store_of_another_log_is_refused(tmp_path: Path) -> None:
    async def scenario(sequencer: Sequencer, _quorum: Reluctant, _storage: Storage) -> None:
        await sequencer.add(b"entry")

    run(tmp_path, scenario)
    other = NoteSigner.generate("other.example", KeyType.ED25519)
    with Storage(tmp_path) as storage, pytest.raises(StoreCorruptError):
        Sequencer(storage, other, WitnessQuorum(POLICY, httpx.AsyncClient()))
