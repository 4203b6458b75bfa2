"""Whatever single thing is changed in what a server shows, some step notices, with an error of its own."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from glasshouse import Attestation, GlasshouseError, Remembered, Verdict, VerifiedServer, verify_attestation
from glasshouse._verdict import Status
from glasshouse_attestations import canonical_json
from support.chain import CHANNEL, Chain, sign


def make_chain() -> Chain:
    """A chain in which every signature is needed: two witnesses and two auditors, and a memory."""
    chain = Chain()
    chain.witnesses = chain.witnesses[:2]
    chain.auditors.pop("auditor-3")
    return chain


CHAIN = make_chain()
POLICY = CHAIN.policy()
FIRST = CHAIN.bundle(CHAIN.fixed)
REMEMBERED = Remembered(checkpoints={CHAIN.log.signer.verifier_key.encode(): CHAIN.note()})
CHAIN.log.append(b"another entry")
WHOLE = CHAIN.bundle(CHAIN.fixed)
# Of the consistency proofs, the one that leads from what is remembered.
BUNDLE = replace(WHOLE, consistency=tuple(each for each in WHOLE.consistency if each.size == 3)).encode()
HONEST = CHAIN.attestation(bundle=BUNDLE)


def verify(attestation: Attestation) -> VerifiedServer:
    return verify_attestation(
        attestation, POLICY, channel=CHANNEL, remembered=REMEMBERED, now=CHAIN.now + timedelta(minutes=1)
    )


def check_refused(attestation: Attestation) -> None:
    with pytest.raises(GlasshouseError) as caught:
        verify(attestation)
    verdict = caught.value.verdict
    assert isinstance(verdict, Verdict)
    assert any(type(caught.value).__name__ in each.detail for each in verdict.steps)
    assert all(each.status is not Status.PASS for each in verdict.steps[-1:])


def mutations(value: Any) -> Iterator[Any]:
    """The JSON value with one thing changed, in every place."""
    if isinstance(value, dict):
        for name in value:
            yield {key: item for key, item in value.items() if key != name}
            yield {**{key: item for key, item in value.items() if key != name}, name + "x": value[name]}
            for changed in mutations(value[name]):
                yield {**value, name: changed}
        yield {**value, "unknown": 1}
    elif isinstance(value, list):
        yield [*value, *value[:1]] if value else [1]
        for index in range(len(value)):
            yield value[:index] + value[index + 1 :]
            for changed in mutations(value[index]):
                yield [*value[:index], changed, *value[index + 1 :]]
    elif isinstance(value, int):
        yield from (value + 1, -1, str(value))
    else:
        yield from ("", value + "A", value[:-1], value.swapcase(), None)


def test_the_unchanged_attestation_is_verified() -> None:
    assert verify(HONEST).trusted.auditors == ("auditor-1", "auditor-2")


@pytest.mark.parametrize("part", ["evidence", "bundle", "configuration"])
def test_every_changed_field_of_the_outer_documents_is_refused(part: str) -> None:
    original = json.loads(getattr(HONEST, part))
    count = 0
    for changed in mutations(original):
        if changed != original:
            count += 1
            check_refused(replace(HONEST, **{part: canonical_json.encode(changed)}))
    assert count > 10


@pytest.mark.parametrize("position", range(3))
def test_every_changed_field_of_a_statement_is_refused(position: int) -> None:
    bundle = json.loads(BUNDLE)
    envelope = json.loads(bundle["entries"][position]["envelope"])
    payload = json.loads(base64.b64decode(envelope["payload"]))
    changes = [changed for changed in mutations(payload) if changed != payload]
    assert len(changes) > 50
    for changed in changes:
        forged = copy.deepcopy(bundle)
        text = base64.b64encode(canonical_json.encode(changed)).decode()
        forged["entries"][position]["envelope"] = canonical_json.encode(
            {**envelope, "payload": text}
        ).decode()
        check_refused(replace(HONEST, bundle=canonical_json.encode(forged)))


@pytest.mark.parametrize(
    ("part", "stride"), [("evidence", 3), ("receipt_public_key", 1), ("configuration", 1), ("bundle", 7)]
)
def test_every_flipped_bit_is_refused(part: str, stride: int) -> None:
    data = getattr(HONEST, part)
    for place in range(0, len(data), stride):
        flipped = bytearray(data)
        flipped[place] ^= 1 << (place % 7)
        check_refused(replace(HONEST, **{part: bytes(flipped)}))


@pytest.mark.parametrize("part", ["evidence", "bundle", "receipt_public_key", "configuration"])
def test_every_truncation_and_a_trailing_byte_are_refused(part: str) -> None:
    data = getattr(HONEST, part)
    for length in range(0, len(data), max(1, len(data) // 100)):
        check_refused(replace(HONEST, **{part: data[:length]}))
    check_refused(replace(HONEST, **{part: data + b"\n"}))


def test_parts_of_another_chain_do_not_fit() -> None:
    other = make_chain().attestation()
    for part in ("evidence", "bundle", "receipt_public_key"):
        check_refused(replace(HONEST, **{part: getattr(other, part)}))


def test_a_statement_under_another_payload_type_is_refused() -> None:
    from glasshouse_attestations import dsse

    release = CHAIN.release().to_statement()
    other = dsse.sign(release.encode(), "application/json", *CHAIN.maintainers).encode()
    chain = make_chain()
    bundle = chain.bundle([other, *chain.fixed[1:]])
    check_refused(replace(HONEST, bundle=bundle.encode()))


def test_two_subjects_are_refused() -> None:
    from glasshouse_attestations import dsse
    from glasshouse_attestations.statement import PAYLOAD_TYPE

    statement = json.loads(CHAIN.release().to_statement().encode())
    statement["subject"] *= 2
    both = dsse.sign(canonical_json.encode(statement), PAYLOAD_TYPE, *CHAIN.maintainers).encode()
    chain = make_chain()
    check_refused(replace(HONEST, bundle=chain.bundle([both, *chain.fixed[1:]]).encode()))
    assert sign(CHAIN.release().to_statement(), *CHAIN.maintainers) == CHAIN.fixed[0]
