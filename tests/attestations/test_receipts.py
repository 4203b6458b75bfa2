"""Receipts: an enclave's word that a model gave these outputs for these inputs."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from typing import Any

import pytest

from glasshouse_attestations import canonical_json, dsse
from glasshouse_attestations.dsse import Envelope
from glasshouse_attestations.errors import MalformedError, SignatureError, UntrustedKeyError
from glasshouse_attestations.receipt import PAYLOAD_TYPE, Receipt, Tensor, tensors_digest
from support.attestation_samples import INPUTS, RECEIPT, RECEIPT_KEY, STRANGER

SIGNED = RECEIPT.sign(RECEIPT_KEY)


def verify(data: bytes) -> Receipt:
    return Receipt.verify(data, receipt_key=RECEIPT_KEY.public_key)


def payload_fields() -> dict[str, Any]:
    fields = canonical_json.parse(Envelope.parse(SIGNED).payload, max_size=4096)
    assert isinstance(fields, dict)
    return dict(fields)


def test_a_receipt_comes_back_as_it_was_signed() -> None:
    assert verify(SIGNED) == RECEIPT


def test_every_changed_byte_is_refused_with_a_named_error() -> None:
    for position in range(len(SIGNED)):
        for mask in (0x01, 0x20):
            changed = bytearray(SIGNED)
            changed[position] ^= mask
            with pytest.raises((MalformedError, SignatureError, UntrustedKeyError)):
                verify(bytes(changed))


def test_every_changed_byte_of_the_payload_is_refused_as_not_signed() -> None:
    envelope = Envelope.parse(SIGNED)
    for position in range(len(envelope.payload)):
        changed = bytearray(envelope.payload)
        changed[position] ^= 1
        with pytest.raises(SignatureError):
            verify(dataclasses.replace(envelope, payload=bytes(changed)).encode())


def test_another_enclaves_receipt_is_refused() -> None:
    with pytest.raises(UntrustedKeyError):
        verify(RECEIPT.sign(STRANGER))


def test_another_document_of_the_receipt_key_is_malformed() -> None:
    envelope = dsse.sign(Envelope.parse(SIGNED).payload, "application/vnd.in-toto+json", RECEIPT_KEY)
    with pytest.raises(MalformedError, match="payload type"):
        verify(envelope.encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 2),
        ("version", True),
        ("model", {"id": "alice/resnet18"}),
        ("model", {"id": "resnet18", "sha256": "00" * 32}),
        ("model", {"id": "alice/resnet18", "sha256": "00" * 31}),
        ("model", {"id": "alice/../bob", "sha256": "00" * 32}),
        ("model", {"id": "alice/resnet18", "sha256": "00" * 32, "size": 1}),
        ("inputs", "00" * 33),
        ("outputs", None),
        ("nonce", ""),
        ("nonce", "00" * 16),
        ("time", "2030-02-30T00:00:00Z"),
        ("unknown", 1),
    ],
)
def test_a_malformed_receipt_is_refused_although_it_is_signed(name: str, value: object) -> None:
    fields = payload_fields()
    fields[name] = value
    with pytest.raises(MalformedError):
        verify(dsse.sign(canonical_json.encode(fields), PAYLOAD_TYPE, RECEIPT_KEY).encode())


@pytest.mark.parametrize("field", ["model_sha256", "inputs_sha256", "outputs_sha256", "nonce"])
def test_a_receipt_with_a_digest_of_another_size_is_not_signed(field: str) -> None:
    odd = dataclasses.replace(RECEIPT, **{field: bytes(31)})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="32 bytes"):
        odd.sign(RECEIPT_KEY)


def tensor(
    name: str = "x", datatype: str = "FP32", shape: tuple[int, ...] = (1, 2), contents: bytes = b""
) -> Tensor:
    return Tensor(name=name, datatype=datatype, shape=shape, contents=contents)


def length_prefixed(*values: bytes) -> bytes:
    return b"".join(len(value).to_bytes(8, "big") + value for value in values)


def test_the_digest_of_tensors_is_the_one_of_the_written_formula() -> None:
    inner = b"glasshouse tensor v1\0" + length_prefixed(
        b"x",
        b"FP32",
        (1).to_bytes(8, "big") + (2).to_bytes(8, "big"),
        hashlib.sha256(bytes(8)).digest(),
    )
    expected = hashlib.sha256(b"glasshouse tensors v1\0" + length_prefixed(inner)).digest()
    assert tensors_digest(INPUTS) == expected


def test_tensors_that_differ_in_anything_have_different_digests() -> None:
    a, b = tensor(name="a"), tensor(name="b")
    lists: list[tuple[Tensor, ...]] = [
        (),
        (tensor(),),
        (tensor(name=""),),
        (tensor(name="xF", datatype="P32"),),
        (tensor(name="x\0"),),
        (tensor(datatype="FP16"),),
        (tensor(shape=(2, 1)),),
        (tensor(shape=(2,)),),
        (tensor(shape=()),),
        (tensor(shape=(-1, 2)),),
        (tensor(shape=(1, 2, 0)),),
        (tensor(contents=b"\0"),),
        (tensor(contents=bytes(2)),),
        (a, b),
        (a,),
        (b,),
        (dataclasses.replace(a, contents=b"1"), b),
        (a, dataclasses.replace(b, contents=b"1")),
    ]
    assert len({tensors_digest(tensors) for tensors in lists}) == len(lists)


def test_the_order_in_which_tensors_are_given_makes_no_difference() -> None:
    tensors = [tensor(name=name, contents=name.encode()) for name in ("b", "a", "é", "B")]
    digests = {tensors_digest(order) for order in itertools.permutations(tensors)}
    assert len(digests) == 1


def test_two_tensors_of_one_name_are_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="one name"):
        tensors_digest([tensor(contents=b"1"), tensor(contents=b"2")])
