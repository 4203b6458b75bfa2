"""What a witness cosigns, what it refuses, and what it remembers (tlog-witness), without HTTP."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_log.checkpoint import sign_checkpoint
from glasshouse_log.cosignature import verify_cosignature
from glasshouse_log.errors import MalformedRequestError, StoreCorruptError, StoreLockedError
from glasshouse_log.merkle import EMPTY_ROOT, leaf_hash, prove_consistency
from glasshouse_log.note import KeyType, Note, NoteSignature, NoteSigner, VerifierKey, parse_signature_lines
from glasshouse_log.request import AddCheckpoint
from glasshouse_log.witness import Answer, Witness, origin_hash
from support.log_trees import MemoryTree, Simulator

TIME = 1_900_000_000
SIGNER = NoteSigner.generate("witness.example/w1", KeyType.COSIGNATURE_V1)


@pytest.fixture
def log() -> Simulator:
    return Simulator()


@pytest.fixture
def witness(tmp_path: Path, log: Simulator) -> Witness:
    return Witness(SIGNER, [log.log.verifier_key], tmp_path)


def request(
    log: Simulator, old: int, new: int, *, proof: tuple[bytes, ...] | None = None, **changes: object
) -> bytes:
    grown = Simulator(size=new, log=log.log)
    if proof is None:
        proof = prove_consistency(old, new, MemoryTree(grown.leaves)) if 0 < old <= new else ()
    note = sign_checkpoint(grown.checkpoint(**changes), log.log)
    return AddCheckpoint(old_size=old, proof=proof, note=note).encode()


def ask(witness: Witness, body: bytes) -> Answer:
    answer = witness.add_checkpoint(body, now=TIME)
    assert answer.status == 200 or "—".encode() not in answer.body
    return answer


def evidence(directory: Path, log: Simulator) -> list[bytes]:
    folder = directory / origin_hash(log.log.name) / "evidence"
    return [path.read_bytes() for path in folder.iterdir()] if folder.exists() else []


def test_a_growing_log_is_cosigned(witness: Witness, log: Simulator) -> None:
    for old, new in [(0, 0), (0, 1), (1, 1), (1, 5), (5, 5), (5, 8), (8, 300)]:
        body = request(log, old, new)
        answer = ask(witness, body)
        assert answer.status == 200
        (line,) = parse_signature_lines(answer.body)
        assert verify_cosignature(AddCheckpoint.parse(body).note.text, SIGNER.verifier_key, line) == TIME


def test_what_was_cosigned_is_remembered_across_a_restart(tmp_path: Path, log: Simulator) -> None:
    first = Witness(SIGNER, [log.log.verifier_key], tmp_path)
    assert ask(first, request(log, 0, 5)).status == 200
    with pytest.raises(StoreLockedError):
        Witness(SIGNER, [log.log.verifier_key], tmp_path)
    first.close()
    second = Witness(SIGNER, [log.log.verifier_key], tmp_path)
    assert ask(second, request(log, 0, 6)).status == 409
    assert ask(second, request(log, 5, 6)).status == 200


def test_the_last_cosigned_checkpoint_can_be_read_with_both_signatures(
    witness: Witness, log: Simulator
) -> None:
    name = origin_hash(log.log.name)
    assert witness.latest(name) is None
    body = request(log, 0, 5)
    line = ask(witness, body).body
    assert witness.latest(name) == AddCheckpoint.parse(body).note.encode() + line
    assert witness.latest("../lock") is None


def test_an_old_size_that_is_not_the_last_is_answered_with_the_last(witness: Witness, log: Simulator) -> None:
    ask(witness, request(log, 0, 5))
    for body in (request(log, 0, 5), request(log, 4, 8), request(log, 3, 3), request(log, 6, 6)):
        answer = ask(witness, body)
        assert (answer.status, answer.body, answer.content_type) == (409, b"5\n", "text/x.tlog.size")


def test_an_unknown_log_is_not_found(witness: Witness) -> None:
    other = Simulator(log=NoteSigner.generate("other.example", KeyType.ED25519))
    assert ask(witness, request(other, 0, 5)).status == 404


def test_an_unsigned_or_falsely_signed_checkpoint_is_forbidden(witness: Witness, log: Simulator) -> None:
    stranger = Simulator(log=NoteSigner.generate(log.log.name, KeyType.ED25519))
    assert ask(witness, request(stranger, 0, 5)).status == 403
    note = AddCheckpoint.parse(request(log, 0, 5)).note
    (line,) = note.signatures
    broken = NoteSignature(name=line.name, key_id=line.key_id, signature=bytes(64))
    for lines in [(broken,), (line, broken)]:
        body = AddCheckpoint(old_size=0, proof=(), note=Note(text=note.text, signatures=lines)).encode()
        assert ask(witness, body).status == 403


def test_signatures_by_unknown_keys_beside_the_logs_are_ignored(witness: Witness, log: Simulator) -> None:
    note = AddCheckpoint.parse(request(log, 0, 5)).note
    other = NoteSigner.generate(log.log.name, KeyType.ED25519).sign_text(note.text)
    both = Note(text=note.text, signatures=(other, *note.signatures))
    assert ask(witness, AddCheckpoint(old_size=0, proof=(), note=both).encode()).status == 200
    kept = witness.latest(origin_hash(log.log.name)) or b""
    assert other.encode() not in kept


def test_an_old_size_beyond_the_checkpoint_is_a_bad_request(witness: Witness, log: Simulator) -> None:
    ask(witness, request(log, 0, 5))
    assert ask(witness, request(log, 5, 4)).status == 400


@pytest.mark.parametrize(
    ("old", "new", "proof"),
    [(0, 3, (bytes(32),)), (0, 0, (bytes(32),)), (5, 8, ()), (5, 8, (bytes(32),) * 3)],
)
def test_a_proof_that_does_not_hold_is_unprocessable(
    witness: Witness, log: Simulator, old: int, new: int, proof: tuple[bytes, ...]
) -> None:
    if old:
        ask(witness, request(log, 0, old))
    assert ask(witness, request(log, old, new, proof=proof)).status == 422
    assert ask(witness, request(log, old, new)).status == 200


def test_an_empty_tree_with_another_root_is_unprocessable(witness: Witness, log: Simulator) -> None:
    assert ask(witness, request(log, 0, 0, root=bytes(32))).status == 422
    assert ask(witness, request(log, 0, 0, root=EMPTY_ROOT)).status == 200


def test_a_split_view_is_refused_and_both_checkpoints_are_kept(
    tmp_path: Path, witness: Witness, log: Simulator
) -> None:
    ask(witness, request(log, 0, 5))
    first = witness.latest(origin_hash(log.log.name)) or b""
    forked = request(log, 5, 5, root=bytes(32))
    assert ask(witness, forked).status == 422
    assert ask(witness, forked).status == 422
    assert evidence(tmp_path, log) == [first + b"\n" + AddCheckpoint.parse(forked).note.encode()]
    assert witness.latest(origin_hash(log.log.name)) == first


def test_a_split_view_is_kept_even_if_the_old_size_is_wrong_too(
    tmp_path: Path, witness: Witness, log: Simulator
) -> None:
    ask(witness, request(log, 0, 5))
    assert ask(witness, request(log, 0, 5, root=bytes(32))).status == 409
    assert len(evidence(tmp_path, log)) == 1


def test_a_fork_with_a_larger_tree_is_refused(tmp_path: Path, witness: Witness, log: Simulator) -> None:
    ask(witness, request(log, 0, 5))
    leaves = [leaf_hash(b"fork %d" % number) for number in range(8)]
    root = MemoryTree(leaves)
    body = request(log, 5, 8, proof=prove_consistency(5, 8, root), root=bytes(32))
    assert ask(witness, body).status == 422
    assert len(evidence(tmp_path, log)) == 1


def test_evidence_does_not_fill_the_disk(tmp_path: Path, witness: Witness, log: Simulator) -> None:
    ask(witness, request(log, 0, 5))
    for number in range(80):
        ask(witness, request(log, 5, 5, root=number.to_bytes(32, "big")))
    assert len(evidence(tmp_path, log)) == 64


def test_checkpoints_that_lack_a_proof_cannot_keep_out_those_that_convict_the_log(
    tmp_path: Path, witness: Witness, log: Simulator
) -> None:
    ask(witness, request(log, 0, 5))
    for size in range(6, 86):
        assert ask(witness, request(log, 5, size, proof=())).status == 422
    assert len(evidence(tmp_path, log)) == 64
    forked = request(log, 5, 5, root=bytes(32))
    assert ask(witness, forked).status == 422
    offered = AddCheckpoint.parse(forked).note.encode()
    assert len([kept for kept in evidence(tmp_path, log) if kept.endswith(offered)]) == 1


HASH = base64.b64encode(bytes(32)) + b"\n"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"old 0",
        b"old\n",
        b"old -1\n",
        b"old 00\n",
        b"old  0\n",
        b"new 0\n",
        b"old 0 \n",
        b"old 0\nAAAA\n",
        b"old 0\n" + HASH * 64,
        b"old 0\n" + HASH[:-1] + b" \n",
        b"\nold 0\n",
    ],
)
def test_a_malformed_request_is_a_bad_request(witness: Witness, log: Simulator, head: bytes) -> None:
    note = AddCheckpoint.parse(request(log, 0, 5)).note.encode()
    assert ask(witness, head + b"\n" + note).status == 400


def test_a_malformed_checkpoint_is_a_bad_request(witness: Witness, log: Simulator) -> None:
    text = log.checkpoint().encode() + b"extension\n"
    note = Note(text=text, signatures=(log.log.sign_text(text),)).encode()
    for body in (b"old 0\n\n", b"old 0\n\n" + note, b"old 0\n\n" + note[:-1], b"old 0\n\n" + b"x" * 200_000):
        assert ask(witness, body).status == 400


def test_a_corrupt_memory_is_loud(tmp_path: Path, witness: Witness, log: Simulator) -> None:
    ask(witness, request(log, 0, 5))
    (tmp_path / origin_hash(log.log.name) / "checkpoint").write_bytes(b"")
    with pytest.raises(StoreCorruptError):
        ask(witness, request(log, 0, 5))


def test_of_two_racing_requests_one_is_cosigned(witness: Witness, log: Simulator) -> None:
    ask(witness, request(log, 0, 1))
    answers: list[int] = []
    bodies = [request(log, 1, size) for size in range(2, 18)]
    threads = [threading.Thread(target=lambda b=b: answers.append(ask(witness, b).status)) for b in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [409] * 15


def test_a_witness_has_keys_of_the_right_types(tmp_path: Path, log: Simulator) -> None:
    for signer, key in [(log.log, log.log.verifier_key), (SIGNER, SIGNER.verifier_key)]:
        with pytest.raises(ValueError, match="a witness has"):
            Witness(signer, [key], tmp_path)


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.binary(min_size=1, max_size=80),
)
def test_requests_come_back_as_they_were(old: int, proof: list[bytes], signature: bytes) -> None:
    line = NoteSignature(name="log", key_id=b"1234", signature=signature)
    item = AddCheckpoint(old_size=old, proof=tuple(proof), note=Note(text=b"text\n", signatures=(line,)))
    assert AddCheckpoint.parse(item.encode()) == item


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_fail_otherwise(data: bytes) -> None:
    for body in (data, b"old 1\n\n" + data):
        with pytest.raises(MalformedRequestError):
            AddCheckpoint.parse(body + b"\x00")


def test_the_logs_and_proofs_of_other_witnesses_tests_are_cosigned(tmp_path: Path) -> None:
    """Requests with facts from the tests of transparency-dev's witness and of torchwood's litewitness."""
    monkeys = VerifierKey.parse("monkeys+db4d9f7e+AULaJMvTtDLHPUcUrjdDad9vDlh/PTfC2VV60JUtCfWT")
    sigsum_origin = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
    sigsum_key = bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f")
    sigsum = VerifierKey(name=sigsum_origin, type=KeyType.ED25519, public_key=sigsum_key)
    witness = Witness(SIGNER, [monkeys, sigsum], tmp_path)
    bodies = [
        _body("monkeys", 0, [], 5, "41smjBUiAU70EtKlT6lIOIYtRTYxYXsDB+XHfcvu/BE=", MONKEYS_5),
        _body("monkeys", 5, MONKEYS_PROOF, 8, "V8K9aklZ4EPB+RMOk1/8VsJUdFZR77GDtZUQq84vSbo=", MONKEYS_8),
        _body(sigsum_origin, 0, [], 1, "KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", SIGSUM_1),
        _body(sigsum_origin, 1, SIGSUM_PROOF, 5, "QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=", SIGSUM_5),
    ]
    assert [ask(witness, body).status for body in bodies] == [200, 200, 200, 200]
    assert [ask(witness, body).status for body in bodies] == [409, 409, 409, 409]


def _body(origin: str, old: int, proof: list[str], size: int, root: str, signature: str) -> bytes:
    lines = "".join(f"{item}\n" for item in proof)
    return f"old {old}\n{lines}\n{origin}\n{size}\n{root}\n\n— {origin} {signature}\n".encode()


MONKEYS_5 = "202fftzGl3LVoqjXfwCFZZXs8I+5G22+Ek2K0AOyBuSJ/8/CZawNF+6fNlTKOCd622pbzJNkkJFWuw9DbicZCkEx9AY="
MONKEYS_8 = "202ffoUEboiQYpHzICeaFmoy3RNviHTpAxYrq/eO4QQVQMvu9UebKBMX2MJC76NLthZaKsnKbCA8GxrjePZhvDCH7Ag="
MONKEYS_PROOF = [
    base64.b64encode(bytes.fromhex(item)).decode()
    for item in (
        "b9e1d62618f7fee8034e4c5010f727ab24d8e4705cb296c374bf2025a87a10d2",
        "aac66cd7a79ce4012d80762fe8eec3a77f22d1ca4145c3f4cee022e7efcd599d",
        "89d0f753f66a290c483b39cd5e9eafb12021293395fad3d4a2ad053cfbcfdc9e",
        "29e40bb79c966f4c6fe96aff6f30acfce5f3e8d84c02215175d6e018a5dee833",
    )
]
SIGSUM_1 = "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY="
SIGSUM_5 = "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww="
SIGSUM_PROOF = [
    "KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=",
    "KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
]
