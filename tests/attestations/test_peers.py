"""Other implementations read what we write, and we read what they sign."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf import json_format

from glasshouse_attestations import canonical_json, dsse
from glasshouse_attestations.audit import Audit
from glasshouse_attestations.dsse import Envelope
from glasshouse_attestations.errors import SignatureError
from glasshouse_attestations.keys import PublicKey
from glasshouse_attestations.release import Release
from glasshouse_attestations.revocation import Revocation
from glasshouse_attestations.statement import PAYLOAD_TYPE, Statement
from support.attestation_samples import AUDIT, AUDITOR, FAILED_AUDIT, MAINTAINER, RELEASE, REVOCATION

STATEMENTS = [
    pytest.param(Release.parse, RELEASE, id="release"),
    pytest.param(Audit.parse, AUDIT, id="audit"),
    pytest.param(Audit.parse, FAILED_AUDIT, id="failed audit"),
    pytest.param(Revocation.parse, REVOCATION, id="revocation"),
]


@pytest.fixture(scope="module")
def securesystemslib() -> Any:
    """Another implementation of DSSE, the one of python-tuf and in-toto."""
    return pytest.importorskip("securesystemslib.dsse", reason="securesystemslib is not installed")


@pytest.fixture(scope="module")
def signer() -> Any:
    """The keys and signers of the same implementation."""
    return pytest.importorskip("securesystemslib.signer", reason="securesystemslib is not installed")


def our_key(key: PublicKeyTypes) -> PublicKey:
    return PublicKey(spki=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def their_key(signer: Any, key: PublicKeyTypes) -> Any:
    """The peer's form of the key, under the key id that we give it."""
    return signer.SSlibKey.from_crypto(key, keyid=our_key(key).key_id)


def their_keys(signer: Any) -> list[Any]:
    return [their_key(signer, key.private.public_key()) for key in (MAINTAINER, AUDITOR)]


def signed_by_them(peer: Any, signer: Any, payload: bytes, private: PrivateKeyTypes) -> bytes:
    """The peer's envelope around ``payload``, encoded canonically."""
    envelope = peer.Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(signer.CryptoSigner(private, their_key(signer, private.public_key())))
    return canonical_json.encode(envelope.to_dict())


def test_securesystemslib_verifies_what_we_sign(securesystemslib: Any, signer: Any) -> None:
    ours = RELEASE.to_statement().sign(MAINTAINER, AUDITOR)
    theirs = securesystemslib.Envelope.from_dict(json.loads(ours.encode()))
    assert theirs.payload == ours.payload
    assert theirs.pae() == dsse.pre_authentication_encoding(ours.payload, ours.payload_type)
    accepted = theirs.verify(their_keys(signer), 2)
    assert set(accepted) == {MAINTAINER.public_key.key_id, AUDITOR.public_key.key_id}


def test_securesystemslib_refuses_what_we_refuse(securesystemslib: Any, signer: Any) -> None:
    ours = RELEASE.to_statement().sign(MAINTAINER)
    changed = Envelope(
        payload=ours.payload + b" ", payload_type=ours.payload_type, signatures=ours.signatures
    )
    with pytest.raises(SignatureError):
        dsse.verify(changed, payload_type=PAYLOAD_TYPE, trusted=[MAINTAINER.public_key])
    theirs = securesystemslib.Envelope.from_dict(json.loads(changed.encode()))
    with pytest.raises(securesystemslib.exceptions.VerificationError):
        theirs.verify(their_keys(signer), 1)


@pytest.mark.parametrize(
    "private",
    [
        MAINTAINER.private,
        ec.derive_private_key(0xABCDEF, ec.SECP256R1()),
        ec.derive_private_key(0xABCDEF, ec.SECP384R1()),
    ],
    ids=["Ed25519", "P-256", "P-384"],
)
def test_we_verify_what_securesystemslib_signs(
    securesystemslib: Any, signer: Any, private: PrivateKeyTypes
) -> None:
    key = our_key(private.public_key())
    data = signed_by_them(securesystemslib, signer, RELEASE.to_statement().encode(), private)
    envelope = Envelope.parse(data)
    assert envelope.encode() == data
    assert dsse.verify(envelope, payload_type=PAYLOAD_TYPE, trusted=[key]) == {key}
    assert Release.parse(Statement.parse(envelope.payload)) == RELEASE


@pytest.fixture(scope="module")
def in_toto() -> Any:
    """The in-toto Attestation Framework's own messages and their validation."""
    return pytest.importorskip(
        "in_toto_attestation.v1.statement", reason="in-toto-attestation is not installed"
    )


@pytest.mark.parametrize(("parse", "claim"), STATEMENTS)
def test_in_toto_reads_our_statements(in_toto: Any, parse: Any, claim: Any) -> None:
    ours = claim.to_statement()
    message = json_format.Parse(ours.encode(), in_toto.spb.Statement())
    in_toto.Statement.copy_from_pb(message).validate()
    assert message.type == "https://in-toto.io/Statement/v1"
    assert message.predicate_type == ours.predicate_type
    assert [subject.name for subject in message.subject] == ["enclave.efi"]
    assert dict(message.subject[0].digest) == {"sha256": ours.image_sha256.hex()}
    assert json_format.MessageToDict(message.predicate) == ours.predicate


@pytest.mark.parametrize(("parse", "claim"), STATEMENTS)
def test_we_read_the_statements_that_in_toto_builds(in_toto: Any, parse: Any, claim: Any) -> None:
    ours = claim.to_statement()
    subject = in_toto.ResourceDescriptor(name="enclave.efi", digest={"sha256": ours.image_sha256.hex()})
    theirs = in_toto.Statement([subject.pb], ours.predicate_type, ours.predicate)
    theirs.validate()
    payload = canonical_json.encode(json_format.MessageToDict(theirs.pb))
    assert payload == ours.encode()
    assert parse(Statement.parse(payload)) == claim
