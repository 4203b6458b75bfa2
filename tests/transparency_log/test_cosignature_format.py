"""Witness cosignatures: the message that is signed, and the structure that carries it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_log.cosignature import Cosignature, cosign, verify_cosignature
from glasshouse_log.errors import MalformedCosignatureError, NoteSignatureError
from glasshouse_log.note import KeyType, NoteSignature, NoteSigner

TEXT = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def witness() -> NoteSigner:
    return NoteSigner.generate("witness.example/w1", KeyType.COSIGNATURE_V1)


def test_a_witness_signs_the_message_of_the_specification() -> None:
    signer = witness()
    line = cosign(TEXT, signer, time=1679315147)
    assert line.signature[:8].hex() == "00000000641850cb"
    signer.verifier_key.verify(line.signature[8:], b"cosignature/v1\ntime 1679315147\n" + TEXT)
    assert verify_cosignature(TEXT, signer.verifier_key, line) == 1679315147


def test_every_changed_bit_of_a_cosignature_is_refused() -> None:
    signer = witness()
    line = cosign(TEXT, signer, time=1679315147)
    for position in range(8 * len(line.signature)):
        data = bytearray(line.signature)
        data[position // 8] ^= 1 << position % 8
        changed = NoteSignature(name=line.name, key_id=line.key_id, signature=bytes(data))
        with pytest.raises((NoteSignatureError, MalformedCosignatureError)):
            verify_cosignature(TEXT, signer.verifier_key, changed)


@pytest.mark.parametrize(
    "data", [b"", bytes(64), bytes(71), bytes(73), bytes(72), b"\x80" + bytes(71), b"\xff" * 72]
)
def test_what_is_no_cosignature_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedCosignatureError):
        Cosignature.parse(data)


@given(st.integers(1, 2**63 - 1), st.binary(min_size=64, max_size=64))
def test_cosignatures_come_back_as_they_were(time: int, signature: bytes) -> None:
    cosignature = Cosignature(time=time, signature=signature)
    assert Cosignature.parse(cosignature.encode()) == cosignature


def test_keys_of_one_type_do_not_do_the_work_of_the_other() -> None:
    log = NoteSigner.generate("log.example", KeyType.ED25519)
    with pytest.raises(ValueError, match="does not cosign"):
        cosign(TEXT, log, time=1)
    with pytest.raises(ValueError, match="does not cosign"):
        verify_cosignature(TEXT, log.verifier_key, cosign(TEXT, witness(), time=1))
    with pytest.raises(ValueError, match="does not sign texts"):
        witness().sign_text(TEXT)
