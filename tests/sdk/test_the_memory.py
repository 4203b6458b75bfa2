"""What a client remembers: written only for what was verified, and never silently lost."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from glasshouse import GlasshouseError, Remembered, errors
from glasshouse._memory import Memory
from glasshouse_attestations.keys import SigningKey
from support.chain import Chain, cosigned_note, sign
from support.served import Served


def memory_file(served: Served) -> Path:
    return served.state / "memory.json"


def test_first_contact_is_said_and_the_next_one_continues(start: Callable[..., Served]) -> None:
    served = start()
    with served.connect() as first:
        assert any("first contact" in item for item in first.verdict.unproven)
    with served.connect() as second:
        assert not any("first contact" in item for item in second.verdict.unproven)
    assert stat.S_IMODE(memory_file(served).stat().st_mode) == 0o600
    assert {path.name for path in served.state.iterdir()} == {"lock", "memory.json"}


def test_a_server_that_goes_back_is_refused_and_nothing_is_forgotten(start: Callable[..., Served]) -> None:
    served = start()
    chain = served.chain
    old = chain.bundle(chain.fixed).encode()
    chain.log.append(b"another entry")
    served.staple(chain.bundle(chain.fixed).encode())
    served.connect().close()
    remembered = memory_file(served).read_bytes()
    served.staple(old)
    with pytest.raises(errors.RollbackError):
        served.connect()
    assert memory_file(served).read_bytes() == remembered


def test_a_split_view_is_kept_as_evidence(start: Callable[..., Served]) -> None:
    served = start()
    chain = served.chain
    served.connect().close()
    remembered = memory_file(served).read_bytes()
    fork = Chain(
        sha256=chain.sha256,
        sha384=chain.sha384,
        now=chain.now,
        maintainers=chain.maintainers,
        auditors=chain.auditors,
        witnesses=chain.witnesses,
    )
    fork.log.signer = chain.log.signer
    served.staple(fork.bundle([fork.signed_release(version="6.6.6"), *fork.statements()[1:]]).encode())
    with pytest.raises(errors.SplitViewError) as caught:
        served.connect()
    folders = [path for path in served.state.iterdir() if path.is_dir()]
    assert len(folders) == 1
    kept = {path.name: path.read_bytes() for path in folders[0].iterdir()}
    assert kept == {"remembered.txt": caught.value.remembered, "offered.txt": caught.value.offered}
    assert caught.value.hint is not None
    assert str(folders[0]) in caught.value.hint
    assert memory_file(served).read_bytes() == remembered


def test_nothing_is_remembered_of_a_server_that_is_refused(start: Callable[..., Served]) -> None:
    served = start()
    served.chain.auditors = Chain().auditors
    with pytest.raises(errors.AuditError):
        served.connect(policy=served.chain.policy())
    assert not memory_file(served).exists()


def test_a_revocation_is_remembered_even_though_the_server_was_refused(start: Callable[..., Served]) -> None:
    served = start()
    chain = served.chain
    honest = chain.bundle(chain.fixed).encode()
    revoked = sign(chain.revocation().to_statement(), *chain.maintainers)
    served.staple(chain.bundle([*chain.fixed, revoked]).encode())
    with pytest.raises(errors.RevokedError):
        served.connect()
    served.staple(honest)
    with pytest.raises(errors.RevokedError):
        served.connect()


def test_a_revocation_of_another_image_is_remembered(start: Callable[..., Served]) -> None:
    served = start()
    chain = served.chain
    other = sign(chain.revocation(bytes(32)).to_statement(), *chain.maintainers)
    served.staple(chain.bundle([*chain.fixed, other]).encode())
    served.connect().close()
    assert Memory(served.state).recall().revocations == (other,)


def test_what_a_stranger_says_is_not_remembered_beside_a_revocation(start: Callable[..., Served]) -> None:
    served = start()
    chain = served.chain
    revoked = sign(chain.revocation().to_statement(), *chain.maintainers)
    noise = sign(chain.revocation().to_statement(), SigningKey.generate())
    served.staple(chain.bundle([*chain.fixed, noise, revoked]).encode())
    with pytest.raises(errors.RevokedError):
        served.connect()
    assert Memory(served.state).recall().revocations == (revoked,)


def test_a_memory_that_is_full_is_loud_and_stays_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, first, second = Memory(tmp_path), Chain(), Chain()
    monkeypatch.setattr("glasshouse._memory._MAX_LOGS", 1)
    for chain in (first, second):
        chain.bundle()
    keys = [chain.log.signer.verifier_key.encode() for chain in (first, second)]
    with memory.locked():
        memory.remember(Remembered(), log_key=keys[0], checkpoint=first.note(), revocations=())
        kept = memory.recall()
        assert set(kept.checkpoints) == {keys[0]}
        with pytest.raises(errors.MemoryUnusableError, match="no room"):
            memory.remember(kept, log_key=keys[1], checkpoint=second.note(), revocations=())
        assert memory.recall() == kept


CORRUPT: list[Callable[[bytes], bytes]] = [
    lambda data: data[:0],
    lambda data: data[:-1],
    lambda data: data + b"\n",
    lambda data: data.replace(b"/v1", b"/v2"),
    lambda data: data.replace(b'"checkpoints"', b'"checkpointz"'),
    lambda data: data.replace("— ".encode(), b"- "),
    lambda data: json.dumps(
        {**json.loads(data), "revocations": ["{}"]}, separators=(",", ":"), sort_keys=True, ensure_ascii=False
    ).encode(),
    lambda data: json.dumps(
        {**json.loads(data), "revocations": [1]}, separators=(",", ":"), sort_keys=True, ensure_ascii=False
    ).encode(),
]


@pytest.mark.parametrize("corrupt", CORRUPT)
def test_a_corrupt_memory_is_loud_and_stays_as_it_is(
    served: Served, tmp_path: Path, corrupt: Callable[[bytes], bytes]
) -> None:
    served.connect(state=tmp_path).close()
    file = tmp_path / "memory.json"
    broken = corrupt(file.read_bytes())
    assert broken != file.read_bytes()
    file.write_bytes(broken)
    with pytest.raises(errors.MemoryUnusableError, match="corrupt") as caught:
        served.connect(state=tmp_path)
    assert str(file) in str(caught.value.hint)
    assert file.read_bytes() == broken


def test_a_state_directory_that_cannot_be_used_is_loud(served: Served, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"a file")
    with pytest.raises(errors.MemoryUnusableError) as caught:
        served.connect(state=tmp_path / "state")
    assert "GLASSHOUSE_STATE" in str(caught.value.hint)


def test_connections_at_the_same_time_keep_one_memory(served: Served, tmp_path: Path) -> None:
    failures: list[GlasshouseError] = []

    def connect() -> None:
        try:
            served.connect(state=tmp_path).close()
        except GlasshouseError as err:
            failures.append(err)

    threads = [threading.Thread(target=connect) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(Memory(tmp_path).recall().checkpoints) == 1


def test_each_log_is_remembered_by_its_key(tmp_path: Path) -> None:
    memory, first, second = Memory(tmp_path), Chain(), Chain()
    notes = {}
    for chain in (first, second):
        chain.bundle()
        key, notes[chain.log.signer.verifier_key.encode()] = (
            chain.log.signer.verifier_key.encode(),
            chain.note(),
        )
        with memory.locked():
            memory.remember(memory.recall(), log_key=key, checkpoint=notes[key], revocations=())
    assert memory.recall() == Remembered(checkpoints=notes)


def test_a_failed_write_leaves_the_former_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, chain = Memory(tmp_path), Chain()
    chain.bundle()
    key = chain.log.signer.verifier_key.encode()
    with memory.locked():
        memory.remember(Remembered(), log_key=key, checkpoint=chain.note(), revocations=())
        before = memory.recall()

        def fail(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(errors.MemoryUnusableError):
            memory.remember(before, log_key=key, checkpoint=chain.note(), revocations=())
    assert memory.recall() == before
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "memory.json"}


def test_a_memory_that_cannot_be_written_does_not_hide_what_was_found(
    start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = start()
    chain = served.chain
    revoked = sign(chain.revocation().to_statement(), *chain.maintainers)
    served.staple(chain.bundle([*chain.fixed, revoked]).encode())

    def fail(*_: object, **__: object) -> None:
        raise errors.MemoryUnusableError("the disk is full", hint="")

    monkeypatch.setattr(Memory, "remember_revocations", fail)
    with pytest.raises(errors.RevokedError) as caught:
        served.connect()
    assert "the disk is full" in str(caught.value.hint)
    monkeypatch.setattr(Memory, "keep_evidence", fail)
    forked = replace(chain.log.checkpoint(), root=bytes(32))
    remembered = Remembered(
        checkpoints={chain.log.signer.verifier_key.encode(): cosigned_note(forked, chain.log.signer, [])}
    )
    monkeypatch.setattr(Memory, "recall", lambda _: remembered)
    with pytest.raises(errors.SplitViewError) as split:
        served.connect()
    assert "could not be saved" in str(split.value.hint)
