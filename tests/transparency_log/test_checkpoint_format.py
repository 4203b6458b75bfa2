from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_log.checkpoint import Checkpoint, sign_checkpoint
from glasshouse_log.errors import MalformedCheckpointError
from glasshouse_log.note import KeyType, NoteSigner

ROOT = base64.b64encode(bytes(32))
SPEC_TEXT = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_the_checkpoint_of_the_specification_parses() -> None:
    checkpoint = Checkpoint.parse(SPEC_TEXT)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.encode() == SPEC_TEXT


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"log\n",
        b"log\n1\n",
        b"log\n1\n" + ROOT,
        b"log\n1\n" + ROOT + b"\n\n",
        b"log\n1\n" + ROOT + b"\nextension\n",
        b"log\n1\n" + ROOT + b"\r\n",
        b"\n1\n" + ROOT + b"\n",
        b"lo g\n1\n" + ROOT + b"\n",
        b"lo+g\n1\n" + ROOT + b"\n",
        b"\xff\n1\n" + ROOT + b"\n",
        b"log\n01\n" + ROOT + b"\n",
        b"log\n-1\n" + ROOT + b"\n",
        b"log\n+1\n" + ROOT + b"\n",
        b"log\n1_0\n" + ROOT + b"\n",
        b"log\n1 \n" + ROOT + b"\n",
        "log\n\u0661\n".encode() + ROOT + b"\n",
        b"log\n9223372036854775808\n" + ROOT + b"\n",
        b"log\n" + b"1" * 5000 + b"\n" + ROOT + b"\n",
        b"log\n1\n" + ROOT[:-1] + b"\n",
        b"log\n1\n" + base64.b64encode(bytes(31)) + b"\n",
        b"log\n1\n" + base64.b64encode(bytes(33)) + b"\n",
        b"log\n1\n" + ROOT[:-2] + b"B=\n",
        b"log\n1\n" + bytes(32).hex().encode() + b"\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedCheckpointError):
        Checkpoint.parse(text)


def test_only_a_key_with_the_logs_name_signs_its_checkpoints() -> None:
    signer = NoteSigner.generate("another.example", KeyType.ED25519)
    with pytest.raises(ValueError, match="does not sign checkpoints of"):
        sign_checkpoint(Checkpoint.parse(SPEC_TEXT), signer)


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoints_come_back_as_they_were(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin="example.com/log", size=size, root=root)
    assert Checkpoint.parse(checkpoint.encode()) == checkpoint
