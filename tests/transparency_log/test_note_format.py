"""Signed notes and verifier keys, among them the examples of the specification and of Go's sumdb/note."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_log.errors import (
    DuplicateSignatureError,
    MalformedKeyError,
    MalformedNoteError,
    NoteSignatureError,
)
from glasshouse_log.note import (
    MAX_NOTE_SIZE,
    MAX_SIGNATURES,
    KeyType,
    Note,
    NoteSignature,
    NoteSigner,
    VerifierKey,
)

SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER_TEXT = (
    b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
PETER_LINE = (
    "— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
ENOCH_KEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
ENOCH_LINE = (
    "— EnochRoot "
    "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
).encode()
LINE = NoteSignature(name="a", key_id=b"1234", signature=b"5").encode()


def verify(data: bytes, *vkeys: str) -> list[str]:
    note = Note.parse(data)
    found = note.lines_by([VerifierKey.parse(vkey) for vkey in vkeys])
    for key, line in found:
        key.verify(line.signature, note.text)
    return [key.name for key, _ in found]


def test_the_note_of_the_specification_verifies() -> None:
    assert verify(SPEC_NOTE, SPEC_KEY) == ["example.com/foo"]


def test_signing_gives_the_bytes_that_go_gives() -> None:
    private = Ed25519PrivateKey.from_private_bytes(PETER_SEED)
    signer = NoteSigner(name="PeterNeumann", type=KeyType.ED25519, private_key=private)
    assert signer.verifier_key.encode() == PETER_KEY
    note = Note(text=PETER_TEXT, signatures=(signer.sign_text(PETER_TEXT),))
    assert note.encode() == PETER_TEXT + b"\n" + PETER_LINE


def test_signatures_by_unknown_keys_are_ignored() -> None:
    data = PETER_TEXT + b"\n" + PETER_LINE + ENOCH_LINE
    assert verify(data, PETER_KEY) == ["PeterNeumann"]
    assert verify(data, ENOCH_KEY) == ["EnochRoot"]
    assert verify(data, PETER_KEY, ENOCH_KEY) == ["PeterNeumann", "EnochRoot"]
    assert verify(data, SPEC_KEY) == []


def test_a_line_with_a_known_name_and_another_id_is_unknown() -> None:
    other = NoteSignature(name="PeterNeumann", key_id=b"\0\0\0\0", signature=bytes(64)).encode()
    assert verify(PETER_TEXT + b"\n" + PETER_LINE + other, PETER_KEY) == ["PeterNeumann"]


def test_a_broken_signature_of_a_known_key_is_refused() -> None:
    broken = PETER_LINE[:60] + b"ABCD" + PETER_LINE[60:]
    with pytest.raises(NoteSignatureError):
        verify(PETER_TEXT + b"\n" + broken, PETER_KEY)
    with pytest.raises(NoteSignatureError):
        verify(b"x" + PETER_TEXT + b"\n" + PETER_LINE, PETER_KEY)


def test_one_known_key_signs_once() -> None:
    with pytest.raises(DuplicateSignatureError):
        verify(PETER_TEXT + b"\n" + PETER_LINE * 2, PETER_KEY)
    assert verify(PETER_TEXT + b"\n" + PETER_LINE + ENOCH_LINE * 2, PETER_KEY) == ["PeterNeumann"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        PETER_TEXT,
        PETER_TEXT + b"\n",
        PETER_TEXT + b"\n" + PETER_LINE[:-1],
        PETER_TEXT + PETER_LINE,
        b"\x01" + PETER_TEXT + b"\n" + PETER_LINE,
        b"a\tb\n\n" + LINE,
        b"a\r\n\n" + LINE,
        b"\xff" + PETER_TEXT + b"\n" + PETER_LINE,
        PETER_TEXT + b"\n" + PETER_LINE.replace(b"PeterNeumann", b"Bad Name"),
        PETER_TEXT + b"\n" + PETER_LINE.replace(b"PeterNeumann", b"Bad+Name"),
        PETER_TEXT + b"\n" + PETER_LINE.replace(b"PeterNeumann", "Bad\u00a0Name".encode()),
        PETER_TEXT + b"\n" + PETER_LINE.replace(b"PeterNeumann", b""),
        PETER_TEXT + b"\n" + PETER_LINE.replace("— ".encode(), b"- "),
        PETER_TEXT + b"\n" + PETER_LINE.replace(b" x08", b"  x08"),
        PETER_TEXT + b"\n" + PETER_LINE.replace(b"AM=\n", b"AN=\n"),
        PETER_TEXT + b"\n" + PETER_LINE.replace(b"AM=\n", b"AM\n"),
        PETER_TEXT + b"\n" + PETER_LINE.replace(b"AM=\n", b"AM= \n"),
        PETER_TEXT + b"\n" + PETER_LINE + b"Unexpected line.\n",
        PETER_TEXT + b"\n" + "— PeterNeumann x08gow==\n".encode(),
        b"text\n\n" + LINE * (MAX_SIGNATURES + 1),
        b"x" * MAX_NOTE_SIZE + b"\n\n" + LINE,
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedNoteError):
        Note.parse(data)


def test_a_note_may_have_empty_lines_and_at_least_sixteen_signatures() -> None:
    assert MAX_SIGNATURES >= 16
    note = Note.parse(b"one\n\ntwo\n\n\n" + LINE * 16)
    assert note.text == b"one\n\ntwo\n\n"
    assert len(note.signatures) == 16


def test_every_slice_and_every_changed_byte_of_a_verifier_key_is_refused() -> None:
    for start in range(len(PETER_KEY)):
        for end in range(start, len(PETER_KEY) + 1):
            if (start, end) != (0, len(PETER_KEY)):
                with pytest.raises(MalformedKeyError):
                    VerifierKey.parse(PETER_KEY[start:end])
    for i, character in enumerate(PETER_KEY):
        with pytest.raises(MalformedKeyError):
            VerifierKey.parse(PETER_KEY[:i] + chr(ord(character) + 1) + PETER_KEY[i + 1 :])


def vkey(name: str, material: bytes, key_id: str | None = None) -> str:
    computed = hashlib.sha256(name.encode() + b"\n" + material).hexdigest()[:8]
    return f"{name}+{key_id or computed}+{base64.b64encode(material).decode()}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "++",
        "a+b",
        vkey("a", b"\x02" + bytes(32)),
        vkey("a", b"\x06" + bytes(1312)),
        vkey("a", b"\x65" + bytes(32)),
        vkey("a", b"\x01" + bytes(31)),
        vkey("a", b"\x01" + bytes(33)),
        vkey("a", b""),
        vkey("", b"\x01" + bytes(32)),
        vkey("a b", b"\x01" + bytes(32)),
        vkey("a\u2028b", b"\x01" + bytes(32)),
        vkey("a", b"\x01" + bytes(32), key_id="00000000"),
        vkey("a", b"\x01" + bytes(32)).upper(),
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        SPEC_KEY + "\n",
        "é" * 300,
        "\udcff+00000000+AA==",
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(MalformedKeyError):
        VerifierKey.parse(text)


def test_one_key_has_another_id_for_each_type_and_name() -> None:
    keys = {
        VerifierKey(name=name, type=key_type, public_key=bytes(32)).key_id
        for name in ("a", "b")
        for key_type in KeyType
    }
    assert len(keys) == 4


names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters="+"),
    min_size=1,
    max_size=20,
)
texts = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32), max_size=40)
signatures = st.builds(
    NoteSignature,
    name=names,
    key_id=st.binary(min_size=4, max_size=4),
    signature=st.binary(min_size=1, max_size=90),
)


@given(st.lists(texts, max_size=4), st.lists(signatures, min_size=1, max_size=5))
def test_notes_come_back_as_they_were(lines: list[str], signed: list[NoteSignature]) -> None:
    note = Note(text="".join(f"{line}\n" for line in lines).encode() or b"\n", signatures=tuple(signed))
    assert Note.parse(note.encode()) == note


@given(names, st.sampled_from(KeyType), st.binary(min_size=32, max_size=32))
def test_verifier_keys_come_back_as_they_were(name: str, key_type: KeyType, public_key: bytes) -> None:
    key = VerifierKey(name=name, type=key_type, public_key=public_key)
    assert VerifierKey.parse(key.encode()) == key
