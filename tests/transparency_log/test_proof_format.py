from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_log.errors import MalformedProofError
from glasshouse_log.proof import MAX_PROOF_SIZE, Proof

HASH = base64.b64encode(bytes(32))
HEAD = b"c2sp.org/tlog-proof@v1\n"
TAIL = b"\n\ncheckpoint\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD + b"index 0\n",
        HEAD + b"\nindex 0" + TAIL,
        b"c2sp.org/tlog-proof@v2\nindex 0" + TAIL,
        b"\xef\xbb\xbf" + HEAD + b"index 0" + TAIL,
        HEAD.replace(b"\n", b"\r\n") + b"index 0" + TAIL,
        HEAD + b"index" + TAIL,
        HEAD + b"index " + TAIL,
        HEAD + b"index 00" + TAIL,
        HEAD + b"index -1" + TAIL,
        HEAD + b"index 1 " + TAIL,
        HEAD + b"index  1" + TAIL,
        HEAD + b"index 9223372036854775807" + TAIL,
        HEAD + b"index 99999999999999999999" + TAIL,
        HEAD + b"Index 0" + TAIL,
        HEAD + b"extra AA==" + TAIL,
        HEAD + b"extra !!\nindex 0" + TAIL,
        HEAD + b"extra AB==\nindex 0" + TAIL,
        HEAD + b"index 0\nextra AA==" + TAIL,
        HEAD + b"extra AA==\nextra AA==\nindex 0" + TAIL,
        HEAD + b"index 0\nindex 0" + TAIL,
        HEAD + b"index 0\n" + HASH[:-1] + TAIL,
        HEAD + b"index 0\n" + HASH + b" " + TAIL,
        HEAD + b"index 0\n" + base64.b64encode(bytes(31)) + TAIL,
        HEAD + b"index 0\n" + bytes(32).hex().encode() + TAIL,
        HEAD + b"index 0\n" + b"\n".join([HASH] * 64) + TAIL,
        HEAD + b"index 0" + TAIL + b"x" * MAX_PROOF_SIZE,
    ],
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedProofError):
        Proof.parse(data)


def test_the_example_of_the_specification_parses() -> None:
    hashes = b"gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\nB95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA="
    data = HEAD + b"extra YWdl\nindex 73894\n" + hashes + TAIL
    proof = Proof.parse(data)
    assert (proof.index, len(proof.hashes), proof.extra, proof.checkpoint) == (
        73894,
        2,
        b"age",
        b"checkpoint\n",
    )
    assert proof.encode() == data


@given(
    st.integers(0, 2**63 - 2),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.binary(max_size=200),
    st.none() | st.binary(max_size=50),
)
def test_proofs_come_back_as_they_were(
    index: int, hashes: list[bytes], checkpoint: bytes, extra: bytes | None
) -> None:
    proof = Proof(index=index, hashes=tuple(hashes), checkpoint=checkpoint, extra=extra)
    assert Proof.parse(proof.encode()) == proof


@given(st.binary(max_size=300))
def test_no_bytes_make_the_parser_fail_otherwise(data: bytes) -> None:
    for candidate in (data, HEAD + b"index 1\n" + data):
        with contextlib.suppress(MalformedProofError):
            assert Proof.parse(candidate).encode() == candidate
