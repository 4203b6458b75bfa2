"""What a verifier accepts as a log's checkpoint, and every way in which it refuses one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from glasshouse_attestations.errors import GlasshouseError
from glasshouse_log import check_continues, verify_checkpoint, verify_entry
from glasshouse_log.checkpoint import sign_checkpoint
from glasshouse_log.cosignature import Cosignature, cosign
from glasshouse_log.errors import (
    ConsistencyError,
    DuplicateSignatureError,
    FutureCosignatureError,
    InclusionError,
    LogSignatureError,
    MalformedCosignatureError,
    NoteSignatureError,
    QuorumError,
    RollbackError,
    SplitViewError,
    UnknownLogError,
)
from glasshouse_log.merkle import leaf_hash, prove_consistency
from glasshouse_log.note import KeyType, Note, NoteSignature, NoteSigner
from glasshouse_log.proof import Proof
from support.log_trees import NOW, MemoryTree, Simulator, mth, mutations

SECONDS = int(NOW.timestamp())


def with_lines(note: Note, *lines: NoteSignature) -> bytes:
    return Note(text=note.text, signatures=(*note.signatures, *lines)).encode()


def test_a_checkpoint_with_a_quorum_is_verified_and_says_who_cosigned_when() -> None:
    log = Simulator()
    note = log.note(by=(1, 3), times=(SECONDS - 60, SECONDS - 30)).encode()
    checkpoint = verify_checkpoint(note, log.policy("2"), now=NOW)
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (log.log.name, 5, mth(log.leaves))
    assert checkpoint.cosigned == (
        ("w3", NOW - timedelta(seconds=30)),
        ("w1", NOW - timedelta(seconds=60)),
    )
    assert checkpoint.witnessed_at == NOW - timedelta(seconds=60)
    assert checkpoint.is_witnessed
    assert checkpoint.raw == note


@pytest.mark.parametrize(("quorum", "age"), [("any", 10), ("2", 20), ("all", 30)])
def test_the_quorum_rests_on_the_kth_newest_cosignature(quorum: str, age: int) -> None:
    log = Simulator()
    note = log.note(times=(SECONDS - 30, SECONDS - 10, SECONDS - 20)).encode()
    assert verify_checkpoint(note, log.policy(quorum), now=NOW).witnessed_at == NOW - timedelta(seconds=age)


def test_an_explicit_empty_quorum_is_visible_in_the_outcome() -> None:
    log = Simulator()
    checkpoint = verify_checkpoint(log.note(by=()).encode(), log.policy("none"), now=NOW)
    assert not checkpoint.is_witnessed
    assert checkpoint.witnessed_at is None
    assert checkpoint.quorum == "none"
    assert verify_checkpoint(log.note().encode(), log.policy("none"), now=NOW).witnessed_at is None


@pytest.mark.parametrize(("by", "quorum"), [((), "any"), ((1,), "2"), ((1, 2), "all")])
def test_too_few_witnesses_are_refused(by: tuple[int, ...], quorum: str) -> None:
    log = Simulator()
    with pytest.raises(QuorumError):
        verify_checkpoint(log.note(by=by).encode(), log.policy(quorum), now=NOW)


def test_one_witness_is_not_counted_twice() -> None:
    log = Simulator()
    note = log.note(by=(1,))
    again = cosign(note.text, log.witnesses[0], time=SECONDS - 1)
    with pytest.raises(DuplicateSignatureError):
        verify_checkpoint(with_lines(note, again), log.policy("2"), now=NOW)


def test_an_unknown_witness_does_not_count() -> None:
    log = Simulator()
    note = log.note(by=(1,))
    stranger = NoteSigner.generate("witness.example/w2", KeyType.COSIGNATURE_V1)
    line = cosign(note.text, stranger, time=SECONDS)
    with pytest.raises(QuorumError):
        verify_checkpoint(with_lines(note, line), log.policy("2"), now=NOW)
    assert verify_checkpoint(with_lines(note, line), log.policy("any"), now=NOW).cosigned == (("w1", NOW),)


def test_a_plain_signature_by_a_witness_key_is_no_cosignature() -> None:
    log = Simulator()
    witness = log.witnesses[0]
    plain = NoteSigner(name=witness.name, type=KeyType.ED25519, private_key=witness.private_key)
    note = log.note(by=())
    with pytest.raises(QuorumError):
        verify_checkpoint(with_lines(note, plain.sign_text(note.text)), log.policy("any"), now=NOW)
    # Under the witness's own key id it is not even in the format.
    line = NoteSignature(
        name=witness.name, key_id=witness.verifier_key.key_id, signature=plain.sign(note.text)
    )
    with pytest.raises(MalformedCosignatureError):
        verify_checkpoint(with_lines(note, line), log.policy("any"), now=NOW)


def test_a_cosignature_made_with_the_logs_key_does_not_count_as_the_logs_signature() -> None:
    log = Simulator()
    text = log.checkpoint().encode()
    cosigner = NoteSigner(name=log.log.name, type=KeyType.COSIGNATURE_V1, private_key=log.log.private_key)
    note = Note(text=text, signatures=(cosign(text, cosigner, time=SECONDS),))
    with pytest.raises(LogSignatureError):
        verify_checkpoint(note.encode(), log.policy("none"), now=NOW)


def test_a_cosignature_of_another_checkpoint_is_refused() -> None:
    log = Simulator()
    line = cosign(log.checkpoint(size=6).encode(), log.witnesses[0], time=SECONDS)
    with pytest.raises(NoteSignatureError):
        verify_checkpoint(with_lines(log.note(by=(2, 3)), line), log.policy("2"), now=NOW)


def test_the_time_of_a_cosignature_is_signed() -> None:
    log = Simulator()
    note = log.note(by=())
    line = cosign(note.text, log.witnesses[0], time=SECONDS - 1000)
    moved = Cosignature(time=SECONDS, signature=Cosignature.parse(line.signature).signature)
    forged = NoteSignature(name=line.name, key_id=line.key_id, signature=moved.encode())
    with pytest.raises(NoteSignatureError):
        verify_checkpoint(with_lines(note, forged), log.policy("any"), now=NOW)


@pytest.mark.parametrize("ahead", [301, 10**6, 2**63 - 1 - SECONDS])
def test_a_cosignature_from_the_future_is_refused(ahead: int) -> None:
    log = Simulator()
    with pytest.raises(FutureCosignatureError):
        verify_checkpoint(log.note(by=(1,), times=(SECONDS + ahead,)).encode(), log.policy("any"), now=NOW)


def test_a_witness_clock_a_little_ahead_is_accepted() -> None:
    log = Simulator()
    note = log.note(by=(1,), times=(SECONDS + 300,)).encode()
    assert verify_checkpoint(note, log.policy("any"), now=NOW).size == 5


def test_another_origin_is_refused() -> None:
    log, other = Simulator(), Simulator(log=NoteSigner.generate("other.example", KeyType.ED25519))
    with pytest.raises(UnknownLogError):
        verify_checkpoint(other.note().encode(), log.policy("none"), now=NOW)


def test_a_trusted_key_does_not_sign_for_another_origin() -> None:
    log = Simulator()
    text = log.checkpoint(origin="log.example/other").encode()
    note = Note(text=text, signatures=(log.log.sign_text(text),))
    with pytest.raises(UnknownLogError):
        verify_checkpoint(note.encode(), log.policy("none"), now=NOW)


def test_an_unknown_key_of_the_logs_name_is_refused() -> None:
    log = Simulator()
    with pytest.raises(LogSignatureError):
        verify_checkpoint(Simulator().note(by=()).encode(), log.policy("none"), now=NOW)


def test_two_log_signatures_under_one_name_are_refused() -> None:
    log = Simulator()
    note = log.note()
    for signer in (log.log, NoteSigner.generate(log.log.name, KeyType.ED25519)):
        with pytest.raises(LogSignatureError):
            verify_checkpoint(with_lines(note, signer.sign_text(note.text)), log.policy("2"), now=NOW)


def test_a_checkpoint_without_the_logs_signature_is_refused() -> None:
    log = Simulator()
    note = log.note()
    unsigned = Note(text=note.text, signatures=note.signatures[1:])
    with pytest.raises(LogSignatureError):
        verify_checkpoint(unsigned.encode(), log.policy("2"), now=NOW)


def test_an_empty_tree_has_the_empty_root() -> None:
    log = Simulator(size=0)
    assert verify_checkpoint(log.note().encode(), log.policy("all"), now=NOW).size == 0
    with pytest.raises(ConsistencyError):
        verify_checkpoint(log.note(root=bytes(32)).encode(), log.policy("all"), now=NOW)


def test_the_time_of_verification_needs_a_zone() -> None:
    log = Simulator()
    with pytest.raises(ValueError, match="time zone"):
        verify_checkpoint(log.note().encode(), log.policy(), now=NOW.replace(tzinfo=None))


def test_every_entry_of_a_log_is_verified() -> None:
    log = Simulator(size=9)
    for index, entry in enumerate(log.entries):
        assert verify_entry(entry, log.proof(index), log.policy(), now=NOW).index == index


def test_a_proof_for_another_entry_is_refused() -> None:
    log = Simulator()
    with pytest.raises(InclusionError):
        verify_entry(log.entries[1], log.proof(2), log.policy(), now=NOW)


def test_an_entrys_hash_offered_as_the_entry_is_refused() -> None:
    log = Simulator()
    with pytest.raises(InclusionError):
        verify_entry(leaf_hash(log.entries[2]), log.proof(2), log.policy(), now=NOW)


def test_an_index_outside_the_tree_is_refused() -> None:
    log = Simulator()
    proof = Proof.parse(log.proof(2))
    outside = Proof(index=5, hashes=proof.hashes, checkpoint=proof.checkpoint)
    with pytest.raises(InclusionError):
        verify_entry(log.entries[2], outside.encode(), log.policy(), now=NOW)


def test_a_checkpoint_alone_is_no_proof() -> None:
    log = Simulator()
    with pytest.raises(GlasshouseError):
        verify_entry(log.entries[0], log.note().encode(), log.policy(), now=NOW)


def test_every_changed_byte_of_a_checkpoint_is_refused() -> None:
    log = Simulator()
    policy = log.policy("all")
    for data in mutations(log.note().encode()):
        with pytest.raises(GlasshouseError):
            verify_checkpoint(data, policy, now=NOW)


def test_every_changed_byte_of_a_proof_is_refused() -> None:
    log = Simulator()
    policy = log.policy("all")
    for data in mutations(log.proof(3)):
        with pytest.raises(GlasshouseError):
            verify_entry(log.entries[3], data, policy, now=NOW)


def test_a_checkpoint_continues_what_is_remembered() -> None:
    old, new = Simulator(size=3), Simulator(size=7)
    new.log, new.witnesses = old.log, old.witnesses
    checkpoint = verify_checkpoint(new.note().encode(), new.policy(), now=NOW)
    proof = prove_consistency(3, 7, MemoryTree(new.leaves))
    check_continues(old.note().encode(), checkpoint, proof)
    check_continues(new.note().encode(), checkpoint, ())
    with pytest.raises(ConsistencyError):
        check_continues(old.note().encode(), checkpoint, ())
    with pytest.raises(ConsistencyError):
        check_continues(old.note(root=bytes(32)).encode(), checkpoint, proof)
    with pytest.raises(UnknownLogError):
        check_continues(sign_other(), checkpoint, proof)


def sign_other() -> bytes:
    other = Simulator(log=NoteSigner.generate("other.example", KeyType.ED25519))
    return sign_checkpoint(other.checkpoint(), other.log).encode()


def test_a_smaller_tree_than_remembered_is_a_rollback() -> None:
    log = Simulator()
    checkpoint = verify_checkpoint(log.note().encode(), log.policy(), now=NOW)
    with pytest.raises(RollbackError):
        check_continues(log.note(size=6, root=bytes(32)).encode(), checkpoint, ())


def test_another_root_for_the_remembered_size_is_a_split_view_with_both_as_evidence() -> None:
    log = Simulator()
    remembered = log.note(root=bytes(32)).encode()
    checkpoint = verify_checkpoint(log.note().encode(), log.policy(), now=NOW)
    with pytest.raises(SplitViewError) as caught:
        check_continues(remembered, checkpoint, ())
    assert (caught.value.remembered, caught.value.offered) == (remembered, checkpoint.raw)
