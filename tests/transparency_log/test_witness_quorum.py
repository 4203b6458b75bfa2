"""How the log asks its witnesses: in parallel, none holding the others up, every answer verified."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx
import pytest

from glasshouse_log.asking import WitnessQuorum
from glasshouse_log.cosignature import cosign
from glasshouse_log.errors import QuorumUnavailableError
from glasshouse_log.merkle import prove_consistency
from glasshouse_log.note import KeyType, Note, NoteSigner
from glasshouse_log.policy import TrustPolicy
from glasshouse_log.request import AddCheckpoint
from glasshouse_log.verification import verify_checkpoint
from support.log_trees import NOW, MemoryTree, Simulator

Behaviour = Callable[[AddCheckpoint], Awaitable[httpx.Response]]
SECONDS = int(NOW.timestamp())


def respond(status: int, content: bytes) -> httpx.Response:
    """Return an answer that arrives as a stream, as one from the network does."""
    return httpx.Response(status, stream=httpx.ByteStream(content))


def honest(signer: NoteSigner) -> Behaviour:
    async def answer(request: AddCheckpoint) -> httpx.Response:
        return respond(200, cosign(request.note.text, signer, time=SECONDS).encode())

    return answer


def refusing(status: int, content: bytes = b"") -> Behaviour:
    async def answer(_request: AddCheckpoint) -> httpx.Response:
        return respond(status, content)

    return answer


async def hanging(_request: AddCheckpoint) -> httpx.Response:
    await asyncio.sleep(60)
    raise AssertionError


async def unreachable(_request: AddCheckpoint) -> httpx.Response:
    raise httpx.ConnectError("refused")


def cosigned(log: Simulator, behaviours: list[Behaviour], *, quorum: str = "2", timeout: float = 0.5) -> Note:
    text = log.policy(quorum).encode().decode().splitlines()
    lines = [
        f"{line} http://w{line.split()[1][1:]}.invalid/prefix/" if line.startswith("witness ") else line
        for line in text
    ]
    policy = TrustPolicy.parse("".join(f"{line}\n" for line in lines).encode())

    async def route(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/prefix/add-checkpoint"
        number = int(request.url.host[1])
        return await behaviours[number - 1](AddCheckpoint.parse(await request.aread()))

    async def run() -> Note:
        async with httpx.AsyncClient(transport=httpx.MockTransport(route)) as client:
            asking = WitnessQuorum(policy, client, timeout=timeout)
            tree = MemoryTree(log.leaves)
            return await asking.cosign(log.note(by=()), lambda old: prove_consistency(old, log.size, tree))

    return asyncio.run(run())


def test_all_witnesses_that_answer_are_in_the_note() -> None:
    log = Simulator()
    note = cosigned(log, [honest(witness) for witness in log.witnesses])
    assert len(verify_checkpoint(note.encode(), log.policy("all"), now=NOW).cosigned) == 3


def test_a_hanging_witness_holds_nobody_up_once_there_is_a_quorum() -> None:
    log = Simulator()
    start = time.monotonic()
    note = cosigned(log, [honest(log.witnesses[0]), hanging, honest(log.witnesses[2])], timeout=30)
    assert time.monotonic() - start < 10
    checkpoint = verify_checkpoint(note.encode(), log.policy("2"), now=NOW)
    assert {name for name, _ in checkpoint.cosigned} == {"w1", "w3"}


def test_a_witness_that_remembers_another_size_is_asked_again_from_there() -> None:
    log = Simulator()
    sizes: list[int] = []

    async def remembers_three(request: AddCheckpoint) -> httpx.Response:
        sizes.append(request.old_size)
        if request.old_size != 3:
            return respond(409, b"3\n")
        assert request.proof == prove_consistency(3, log.size, MemoryTree(log.leaves))
        return await honest(log.witnesses[0])(request)

    cosigned(log, [remembers_three, hanging, hanging], quorum="any")
    assert sizes == [0, 3]


def test_without_a_quorum_nothing_comes_back_and_the_reasons_are_named() -> None:
    log = Simulator()
    with pytest.raises(QuorumUnavailableError, match=r"w2: no answer in time; w3: it cannot be reached"):
        cosigned(log, [honest(log.witnesses[0]), hanging, unreachable])


def by_a_stranger() -> Behaviour:
    return honest(NoteSigner.generate("witness.example/w2", KeyType.COSIGNATURE_V1))


async def over_another_text(request: AddCheckpoint) -> httpx.Response:
    return respond(200, request.note.signatures[0].encode())


@pytest.mark.parametrize(
    "behaviour",
    [
        refusing(403),
        refusing(404),
        refusing(422),
        refusing(500),
        refusing(302),
        refusing(409, b"3"),
        refusing(409, b"999\n"),
        refusing(409, b"-1\n"),
        refusing(409, b"nonsense\n"),
        refusing(200),
        refusing(200, b"nonsense\n"),
        refusing(200, b"x" * 100_000),
        by_a_stranger(),
        over_another_text,
    ],
)
def test_an_answer_that_is_no_cosignature_by_this_witness_does_not_count(behaviour: Behaviour) -> None:
    log = Simulator()
    with pytest.raises(QuorumUnavailableError):
        cosigned(log, [honest(log.witnesses[0]), behaviour, hanging])


def test_a_forged_cosignature_does_not_count() -> None:
    log = Simulator()

    async def forge(request: AddCheckpoint) -> httpx.Response:
        line = cosign(request.note.text + b"x", log.witnesses[1], time=1)
        return respond(200, line.encode())

    with pytest.raises(QuorumUnavailableError, match="w2: the signature"):
        cosigned(log, [honest(log.witnesses[0]), forge, hanging])


def test_every_witness_needs_a_url() -> None:
    with pytest.raises(ValueError, match="no URL for witness w1, w2, w3"):
        WitnessQuorum(Simulator().policy(), httpx.AsyncClient())
