"""Public keys in one encoding each, and signatures by other implementations' conventions."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_attestations.errors import MalformedError, SignatureError
from glasshouse_attestations.keys import PublicKey, SigningKey
from glasshouse_attestations.receipt import receipt_public_key
from support.attestation_samples import MAINTAINER
from support.hypothesis_strategies import mutated

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CURVES = [(ec.SECP256R1(), hashes.SHA256()), (ec.SECP384R1(), hashes.SHA384())]


def spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def ecdsa_key(curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(0x1234567, curve)


def test_a_public_key_is_written_as_the_body_of_its_pem_file() -> None:
    key = MAINTAINER.public_key
    pem = MAINTAINER.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert key.encode() == pem.decode().splitlines()[1]
    assert PublicKey.parse(key.encode()) == key
    assert key.key_id == hashlib.sha256(key.spki).hexdigest()


@pytest.mark.parametrize(("curve", "digest"), CURVES, ids=["P-256", "P-384"])
def test_ecdsa_signatures_are_accepted_with_the_hash_of_their_curve(
    curve: ec.EllipticCurve, digest: hashes.HashAlgorithm
) -> None:
    private = ecdsa_key(curve)
    key = PublicKey(spki=spki(private.public_key()))
    assert PublicKey.parse(key.encode()) == key
    key.verify(private.sign(b"message", ec.ECDSA(digest)), b"message")
    for other in (hashes.SHA1(), hashes.SHA512()):  # noqa: S303
        with pytest.raises(SignatureError):
            key.verify(private.sign(b"message", ec.ECDSA(other)), b"message")


@pytest.mark.parametrize(("curve", "digest"), CURVES, ids=["P-256", "P-384"])
def test_every_changed_byte_of_an_ecdsa_signature_is_refused(
    curve: ec.EllipticCurve, digest: hashes.HashAlgorithm
) -> None:
    private = ecdsa_key(curve)
    key = PublicKey(spki=spki(private.public_key()))
    signature = private.sign(b"message", ec.ECDSA(digest))
    for position in range(len(signature)):
        changed = bytearray(signature)
        changed[position] ^= 1
        with pytest.raises(SignatureError):
            key.verify(bytes(changed), b"message")
    for odd in (signature[:-1], signature + b"\0", b"\0" + signature, b"", b"\0" * len(signature)):
        with pytest.raises(SignatureError):
            key.verify(odd, b"message")


def test_an_ecdsa_signature_has_a_twin_so_that_none_may_identify_anything() -> None:
    private = ecdsa_key(ec.SECP256R1())
    signature = private.sign(b"message", ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(signature)
    twin = encode_dss_signature(r, P256_ORDER - s)
    assert twin != signature
    PublicKey(spki=spki(private.public_key())).verify(twin, b"message")


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 128])
def test_an_ed25519_signature_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(SignatureError):
        MAINTAINER.public_key.verify(bytes(size), b"message")


def test_every_flipped_bit_of_an_ed25519_signature_is_refused() -> None:
    signature = MAINTAINER.sign(b"message")
    MAINTAINER.public_key.verify(signature, b"message")
    for bit in range(8 * len(signature)):
        changed = bytearray(signature)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SignatureError):
            MAINTAINER.public_key.verify(bytes(changed), b"message")


def test_an_ed25519_signature_with_a_scalar_past_the_order_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signature = MAINTAINER.sign(b"message")
    scalar = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(SignatureError):
        MAINTAINER.public_key.verify(signature[:32] + scalar.to_bytes(32, "little"), b"message")


@pytest.mark.parametrize(
    "key",
    [
        ec.derive_private_key(7, ec.SECP521R1()).public_key(),
        ec.derive_private_key(7, ec.SECP256K1()).public_key(),
        ec.derive_private_key(7, ec.BrainpoolP256R1()).public_key(),
        ed448.Ed448PrivateKey.from_private_bytes(bytes(57)).public_key(),
        rsa.generate_private_key(65537, 2048).public_key(),
        dsa.generate_private_key(1024).public_key(),  # noqa: S505
    ],
    ids=["P-521", "secp256k1", "brainpool", "Ed448", "RSA", "DSA"],
)
def test_a_key_of_another_kind_is_malformed(key: PublicKeyTypes) -> None:
    with pytest.raises(MalformedError):
        PublicKey(spki=spki(key))


def test_a_key_has_one_encoding() -> None:
    point = ecdsa_key(ec.SECP256R1()).public_key()
    canonical = spki(point)
    compressed = point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    prefix = canonical[2 : -len(point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)) - 3]
    bit_string = b"\x03" + bytes([len(compressed) + 1]) + b"\0" + compressed
    body = prefix + bit_string
    other = b"\x30" + bytes([len(body)]) + body
    assert serialization.load_der_public_key(other) == point
    with pytest.raises(MalformedError, match="canonical"):
        PublicKey(spki=other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "AAAA",
        MAINTAINER.public_key.encode() + "\n",
        " " + MAINTAINER.public_key.encode(),
        MAINTAINER.public_key.encode().rstrip("="),
        MAINTAINER.public_key.encode()[:-2] + "é=",
        "-----BEGIN PUBLIC KEY-----",
        base64_of(MAINTAINER.public_key.spki + b"\0"),
        base64_of(MAINTAINER.public_key.spki[:-1]),
        base64_of(MAINTAINER.public_key.spki[12:]),
        "A" * 10_000,
        "\ud800",
    ],
)
def test_a_text_that_is_no_key_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        PublicKey.parse(text)


@pytest.mark.parametrize(
    "original",
    [MAINTAINER.public_key.spki, *(spki(ecdsa_key(curve).public_key()) for curve, _ in CURVES)],
    ids=["Ed25519", "P-256", "P-384"],
)
@given(data=st.data())
def test_a_changed_key_is_malformed_or_another_key(original: bytes, data: st.DataObject) -> None:
    changed = data.draw(mutated(original))
    try:
        key = PublicKey(spki=changed)
    except MalformedError:
        return
    assert (key.spki == original) == (changed == original)


# The arithmetic of RFC 8032, 5.1, on affine points: slow, and enough to find the points of small order.
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
L = 2**252 + 27742317777372353535851937790883648493
Point = tuple[int, int]


def add(left: Point, right: Point) -> Point:
    (x1, y1), (x2, y2) = left, right
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return x % P, y % P


def multiply(point: Point, factor: int) -> Point:
    result = (0, 1)
    while factor:
        if factor & 1:
            result = add(result, point)
        point, factor = add(point, point), factor >> 1
    return result


def point_with(y: int) -> Point | None:
    """A point with this y, if the curve has one."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    for x in (root, root * pow(2, (P - 1) // 4, P) % P):
        if x * x % P == square:
            return x, y
    return None


def points_of_small_order() -> set[Point]:
    """The eight of them: multiples of the first point found that has order eight."""
    for y in range(2, 100):
        point = point_with(y)
        generator = point and multiply(point, L)
        if generator and multiply(generator, 4) != (0, 1):
            return {multiply(generator, factor) for factor in range(8)}
    raise AssertionError("no point of order eight")


def test_the_ed25519_keys_of_small_order_are_malformed_in_each_encoding() -> None:
    points = points_of_small_order()
    assert len(points) == 8
    encodings = set()
    for _, y in points:
        for value in (y, y + P):
            for sign in (0, 1):
                if value < 2**255:
                    encodings.add((value | sign << 255).to_bytes(32, "little"))
    assert len(encodings) == 14
    for encoding in encodings:
        with pytest.raises(MalformedError, match="small order"):
            receipt_public_key(encoding)


def test_an_ed25519_key_with_a_coordinate_past_the_field_is_malformed() -> None:
    for y in range(P, 2**255):
        with pytest.raises(MalformedError, match="not canonical"):
            receipt_public_key(y.to_bytes(32, "little"))


def test_the_danger_of_a_key_of_small_order_is_real() -> None:
    # The neutral element as a key accepts one signature for every message: R = B, s = 1.
    identity = ed25519.Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    base = (4 * pow(5, -1, P) % P).to_bytes(32, "little")
    signature = base + (1).to_bytes(32, "little")
    identity.verify(signature, b"one message")
    identity.verify(signature, b"another message")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_receipt_key_of_another_size_is_malformed(size: int) -> None:
    with pytest.raises(MalformedError):
        receipt_public_key(b"\x09" * size)


def test_a_receipt_key_is_the_raw_ed25519_key() -> None:
    raw = MAINTAINER.private.public_key().public_bytes_raw()
    assert receipt_public_key(raw) == MAINTAINER.public_key


@pytest.mark.parametrize("password", [None, b"correct horse"])
def test_a_signing_key_comes_back_from_its_pem_file(password: bytes | None) -> None:
    key = SigningKey.generate()
    pem = key.to_pem(password)
    assert (b"ENCRYPTED" in pem) == (password is not None)
    assert SigningKey.load_pem(pem, password).public_key == key.public_key


def test_an_empty_password_does_not_write_a_key_in_the_clear() -> None:
    with pytest.raises(ValueError, match=r"[Pp]assword"):
        MAINTAINER.to_pem(b"")


PLAIN = MAINTAINER.to_pem()
ENCRYPTED = MAINTAINER.to_pem(b"right")


@pytest.mark.parametrize(
    ("pem", "password", "message"),
    [
        (ENCRYPTED, None, "a password is needed"),
        (ENCRYPTED, b"wrong", "not its password"),
        (PLAIN, b"right", "is not encrypted"),
        (b"", None, "not a private key"),
        (PLAIN[:-40], None, "not a private key"),
        (b"x" * 5000, None, "at most"),
        (
            ecdsa_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            None,
            "signing keys are Ed25519",
        ),
    ],
)
def test_a_file_that_gives_no_signing_key_is_malformed(
    pem: bytes, password: bytes | None, message: str
) -> None:
    with pytest.raises(MalformedError, match=message):
        SigningKey.load_pem(pem, password)


def test_a_signing_key_shows_nothing_of_itself() -> None:
    secret = MAINTAINER.private.private_bytes_raw()
    for text in (repr(MAINTAINER), str(MAINTAINER), f"{MAINTAINER}"):
        assert secret.hex() not in text
        assert base64_of(secret) not in text
        assert "private" not in text
