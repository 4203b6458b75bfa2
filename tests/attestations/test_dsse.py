"""Signed envelopes: who signed exactly these bytes as exactly this type, or a named refusal."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_attestations import canonical_json, dsse
from glasshouse_attestations.dsse import MAX_ENVELOPE_SIZE, Envelope, Signature
from glasshouse_attestations.errors import (
    MalformedError,
    SignatureError,
    ThresholdError,
    UntrustedKeyError,
    VerificationError,
)
from glasshouse_attestations.keys import PublicKey
from support.attestation_samples import AUDITOR, MAINTAINER, STRANGER, key

TYPE = "application/vnd.example+json"
PAYLOAD = b'{"a":1}'
TRUSTED = [MAINTAINER.public_key, AUDITOR.public_key]


def with_signatures(*signatures: Signature) -> Envelope:
    return Envelope(payload=PAYLOAD, payload_type=TYPE, signatures=signatures)


def fields_of(envelope: Envelope) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(envelope.encode())
    return fields


def parse_and_verify(data: bytes, threshold: int = 1) -> frozenset[PublicKey]:
    return dsse.verify(Envelope.parse(data), payload_type=TYPE, trusted=TRUSTED, threshold=threshold)


def test_the_keys_that_signed_come_back() -> None:
    envelope = dsse.sign(PAYLOAD, TYPE, MAINTAINER, AUDITOR, STRANGER)
    assert parse_and_verify(envelope.encode(), threshold=2) == frozenset(TRUSTED)
    assert parse_and_verify(dsse.sign(PAYLOAD, TYPE, AUDITOR).encode()) == {AUDITOR.public_key}


# The test vector of the DSSE protocol document, version 1.0.0: its ECDSA key, and its signature as r ‖ s.
PUBLISHED_X = 46950820868899156662930047687818585632848591499744589407958293238635476079160
PUBLISHED_Y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
PUBLISHED_D = 97358161215184420915383655311931858321456579547487070936769975997791359926199
PUBLISHED_TYPE = "http://example.com/HelloWorld"
PUBLISHED_PAYLOAD = "aGVsbG8gd29ybGQ="
PUBLISHED_SIGNATURE = (
    "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
)


def published_signature() -> bytes:
    """The published signature as DER, the form in which X.509 and this library write ECDSA signatures."""
    raw = base64.b64decode(PUBLISHED_SIGNATURE)
    return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


def test_the_pre_authentication_encoding_is_the_published_one() -> None:
    encoding = dsse.pre_authentication_encoding(base64.b64decode(PUBLISHED_PAYLOAD), PUBLISHED_TYPE)
    assert encoding == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_the_published_signature_verifies() -> None:
    numbers = ec.EllipticCurvePublicNumbers(PUBLISHED_X, PUBLISHED_Y, ec.SECP256R1())
    spki = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    trusted = PublicKey(spki=spki)
    envelope = Envelope(
        payload=base64.b64decode(PUBLISHED_PAYLOAD),
        payload_type=PUBLISHED_TYPE,
        signatures=(Signature(key_id=trusted.key_id, signature=published_signature()),),
    )
    assert Envelope.parse(envelope.encode()) == envelope
    assert dsse.verify(envelope, payload_type=PUBLISHED_TYPE, trusted=[trusted]) == {trusted}


def test_the_published_private_key_signs_our_encoding_to_the_published_signature() -> None:
    private = ec.derive_private_key(PUBLISHED_D, ec.SECP256R1())
    message = dsse.pre_authentication_encoding(b"hello world", PUBLISHED_TYPE)
    assert private.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True)) == published_signature()


@given(st.binary(max_size=30), st.text(max_size=10), st.binary(max_size=30), st.text(max_size=10))
def test_two_messages_are_signed_alike_only_if_they_are_the_same(
    payload: bytes, kind: str, other_payload: bytes, other_kind: str
) -> None:
    same = (payload, kind) == (other_payload, other_kind)
    encode = dsse.pre_authentication_encoding
    assert (encode(payload, kind) == encode(other_payload, other_kind)) == same


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    envelope = dsse.sign(PAYLOAD, TYPE, MAINTAINER)
    signature = envelope.signatures[0]
    for bit in range(8 * len(signature.signature)):
        changed = bytearray(signature.signature)
        changed[bit // 8] ^= 1 << bit % 8
        broken = with_signatures(Signature(key_id=signature.key_id, signature=bytes(changed)))
        with pytest.raises(SignatureError):
            parse_and_verify(broken.encode())


def test_every_changed_byte_of_the_payload_is_refused() -> None:
    envelope = dsse.sign(PAYLOAD, TYPE, MAINTAINER)
    for position in range(len(PAYLOAD)):
        changed = bytearray(PAYLOAD)
        changed[position] ^= 1
        broken = Envelope(payload=bytes(changed), payload_type=TYPE, signatures=envelope.signatures)
        with pytest.raises(SignatureError):
            parse_and_verify(broken.encode())


def test_every_changed_byte_of_an_encoded_envelope_is_refused_with_a_named_error() -> None:
    document = dsse.sign(PAYLOAD, TYPE, MAINTAINER).encode()
    expected = (MalformedError, SignatureError, UntrustedKeyError)
    for position in range(len(document)):
        for mask in (0x01, 0x20, 0x80):
            changed = bytearray(document)
            changed[position] ^= mask
            with pytest.raises(expected):
                parse_and_verify(bytes(changed))


def test_a_broken_signature_of_a_trusted_key_refuses_the_envelope_whoever_else_signed() -> None:
    good = dsse.sign(PAYLOAD, TYPE, MAINTAINER, AUDITOR)
    broken = Signature(key_id=AUDITOR.public_key.key_id, signature=bytes(64))
    with pytest.raises(SignatureError):
        parse_and_verify(with_signatures(good.signatures[0], broken).encode())


@pytest.mark.parametrize("kind", [TYPE + "x", TYPE.upper(), TYPE[:-1], "application/json"])
def test_another_payload_type_is_malformed_although_it_is_signed(kind: str) -> None:
    with pytest.raises(MalformedError, match="payload type"):
        parse_and_verify(dsse.sign(PAYLOAD, kind, MAINTAINER).encode())


def test_a_payload_type_that_was_changed_after_signing_is_refused() -> None:
    signed = dsse.sign(PAYLOAD, "application/json", MAINTAINER)
    relabelled = Envelope(payload=PAYLOAD, payload_type=TYPE, signatures=signed.signatures)
    with pytest.raises(SignatureError):
        parse_and_verify(relabelled.encode())


def test_a_key_outside_the_policy_counts_for_nothing() -> None:
    with pytest.raises(UntrustedKeyError):
        parse_and_verify(dsse.sign(PAYLOAD, TYPE, STRANGER).encode())
    with pytest.raises(ThresholdError):
        parse_and_verify(dsse.sign(PAYLOAD, TYPE, MAINTAINER, STRANGER).encode(), threshold=2)
    with pytest.raises(UntrustedKeyError):
        dsse.verify(dsse.sign(PAYLOAD, TYPE, MAINTAINER), payload_type=TYPE, trusted=[])


def test_a_changed_key_id_is_refused() -> None:
    signature = dsse.sign(PAYLOAD, TYPE, MAINTAINER).signatures[0].signature
    for key_id, error in (
        (STRANGER.public_key.key_id, UntrustedKeyError),
        (AUDITOR.public_key.key_id, SignatureError),
    ):
        with pytest.raises(error):
            parse_and_verify(with_signatures(Signature(key_id=key_id, signature=signature)).encode())


def test_one_key_that_the_policy_names_twice_counts_once() -> None:
    envelope = dsse.sign(PAYLOAD, TYPE, MAINTAINER)
    twice = [MAINTAINER.public_key, PublicKey.parse(MAINTAINER.public_key.encode())]
    with pytest.raises(ThresholdError, match="1 trusted keys have signed the envelope, 2 are needed"):
        dsse.verify(envelope, payload_type=TYPE, trusted=twice, threshold=2)


def test_one_signature_given_twice_is_malformed() -> None:
    signature = dsse.sign(PAYLOAD, TYPE, MAINTAINER).signatures[0]
    other = Signature(key_id=signature.key_id, signature=bytes(64))
    for second in (signature, other):
        with pytest.raises(MalformedError, match="each key once"):
            Envelope.parse(with_signatures(signature, second).encode())


def test_signatures_in_another_order_are_malformed() -> None:
    signed = dsse.sign(PAYLOAD, TYPE, MAINTAINER, AUDITOR)
    assert signed == dsse.sign(PAYLOAD, TYPE, AUDITOR, MAINTAINER)
    with pytest.raises(MalformedError, match="not sorted by key id"):
        Envelope.parse(with_signatures(*reversed(signed.signatures)).encode())


def test_no_signature_is_malformed() -> None:
    with pytest.raises(MalformedError, match="signatures is empty"):
        Envelope.parse(with_signatures().encode())


@pytest.mark.parametrize("threshold", [0, -1])
def test_a_threshold_below_one_is_the_callers_mistake(threshold: int) -> None:
    with pytest.raises(ValueError, match="threshold"):
        dsse.verify(
            dsse.sign(PAYLOAD, TYPE, MAINTAINER), payload_type=TYPE, trusted=TRUSTED, threshold=threshold
        )


def test_signing_with_nobody_or_with_one_key_twice_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="at least one signer"):
        dsse.sign(PAYLOAD, TYPE)
    with pytest.raises(ValueError, match="one signature by each signer"):
        dsse.sign(PAYLOAD, TYPE, MAINTAINER, key(1))


def test_sixteen_signatures_are_allowed_and_no_more() -> None:
    signers = [key(number) for number in range(1, 18)]
    allowed = dsse.sign(PAYLOAD, TYPE, *signers[:16])
    assert Envelope.parse(allowed.encode()) == allowed
    with pytest.raises(MalformedError, match="at most 16"):
        Envelope.parse(dsse.sign(PAYLOAD, TYPE, *signers).encode())


def test_an_envelope_of_exactly_the_largest_size_is_allowed_and_no_larger() -> None:
    empty = len(dsse.sign(b"", TYPE, MAINTAINER).encode())
    room = MAX_ENVELOPE_SIZE - empty
    payload = bytes(room // 4 * 3)
    kind = TYPE + "x" * (room % 4)
    largest = dsse.sign(payload, kind, MAINTAINER)
    assert len(largest.encode()) == MAX_ENVELOPE_SIZE
    assert Envelope.parse(largest.encode()) == largest
    with pytest.raises(ValueError, match="at most 65535"):
        dsse.sign(payload, kind + "x", MAINTAINER).encode()
    with pytest.raises(MalformedError, match="at most 65535"):
        Envelope.parse(largest.encode() + b" ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unknown", 1),
        ("payload", "e30"),
        ("payload", "e30=="),
        ("payload", "e31="),
        ("payload", "e3 0="),
        ("payload", "e30=\n"),
        ("payload", "e30=e30="),
        ("payload", "-_-_"),
        ("payload", "é30="),
        ("payload", 1),
        ("payload", None),
        ("payloadType", ""),
        ("payloadType", "a\nb"),
        ("payloadType", "x" * 257),
        ("payloadType", ["a"]),
        ("signatures", {}),
        ("signatures", "a"),
        ("signatures", [[]]),
        ("signatures", [{}]),
        ("signatures", [None]),
        ("signatures", [{"keyid": "", "sig": "AAAA"}]),
        ("signatures", [{"keyid": "a" * 63, "sig": "AAAA"}]),
        ("signatures", [{"keyid": "A" * 64, "sig": "AAAA"}]),
        ("signatures", [{"keyid": "a" * 63 + "g", "sig": "AAAA"}]),
        ("signatures", [{"keyid": "a" * 62 + " a", "sig": "AAAA"}]),
        ("signatures", [{"keyid": "a" * 64}]),
        ("signatures", [{"sig": "AAAA"}]),
        ("signatures", [{"keyid": "a" * 64, "sig": "AAA"}]),
        ("signatures", [{"keyid": "a" * 64, "sig": "AB=="}]),
        ("signatures", [{"keyid": "a" * 64, "sig": "A" * 343 + "="}]),
        ("signatures", [{"keyid": "a" * 64, "sig": "AAAA", "cert": "x"}]),
    ],
)
def test_a_malformed_envelope_is_refused(name: str, value: object) -> None:
    fields = fields_of(dsse.sign(PAYLOAD, TYPE, MAINTAINER))
    fields[name] = value
    with pytest.raises(MalformedError):
        Envelope.parse(canonical_json.encode(fields))


def test_the_longest_signature_is_allowed() -> None:
    envelope = with_signatures(Signature(key_id="a" * 64, signature=bytes(256)))
    assert Envelope.parse(envelope.encode()) == envelope


def test_each_refusal_is_a_verification_error() -> None:
    for error in (SignatureError, UntrustedKeyError, ThresholdError):
        assert issubclass(error, VerificationError)
