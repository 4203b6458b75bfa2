"""One valid value of each format, the same in every run: with keys from fixed seeds, and fixed times."""

from __future__ import annotations

from datetime import datetime, timezone

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from glasshouse_attestations import simulated
from glasshouse_attestations.audit import Audit, Environment, Verdict
from glasshouse_attestations.bundle import Bundle, ConsistencyProof, LoggedStatement
from glasshouse_attestations.configuration import ApiKey, PreloadedModel, RuntimeConfiguration
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.measurements import Measurements
from glasshouse_attestations.model_id import ModelId
from glasshouse_attestations.receipt import Receipt, Tensor, tensors_digest
from glasshouse_attestations.reference_values import ReferenceValues
from glasshouse_attestations.release import Release, Source
from glasshouse_attestations.revocation import Revocation


def key(number: int) -> SigningKey:
    """A test key: its seed is ``number`` as 32 bytes. Everybody knows it."""
    return SigningKey(private=Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big")))


MAINTAINER, AUDITOR, LAUNCHER, RECEIPT_KEY, STRANGER = map(key, range(1, 6))

IMAGE_SHA256 = bytes(range(32))
IMAGE_SHA384 = bytes(range(48))
REPORT_DATA = bytes(range(64))
API_KEY = "gh_" + "A" * 43
MOMENT = datetime(2030, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
LATER = datetime(2031, 1, 31, 12, 0, 0, tzinfo=timezone.utc)

SOURCE = Source(repository="https://example.com/glasshouse", commit=bytes(range(20)))

REFERENCE_VALUES = ReferenceValues(
    platforms={
        "simulated": ({"image.sha256": IMAGE_SHA256, "image.sha384": IMAGE_SHA384},),
        "tpm": (
            {
                "pcr4.sha256": b"\x04" * 32,
                "pcr8.sha256": bytes(32),
                "pcr11.sha256": b"\x11" * 32,
                "pcr12.sha256": bytes(32),
                "pcr13.sha256": bytes(32),
            },
        ),
    }
)

MEASUREMENTS = Measurements(
    sha256=IMAGE_SHA256, sha384=IMAGE_SHA384, size=86_000_000, reference_values=REFERENCE_VALUES
)

RELEASE = Release(
    image_sha256=IMAGE_SHA256,
    version="1.0.0",
    source=SOURCE,
    locks={
        "reference_server/image/debs.lock": b"\xd0" * 32,
        "reference_server/image/wheels.lock": b"\xd1" * 32,
    },
    builder="glasshouse-audit 1.0.0",
    reference_values=REFERENCE_VALUES,
    sbom_sha256=b"\x5b" * 32,
    not_before=MOMENT,
    not_after=LATER,
)

AUDIT = Audit(
    image_sha256=IMAGE_SHA256,
    verdict=Verdict.REPRODUCED,
    source=SOURCE,
    rebuilt_sha256=IMAGE_SHA256,
    reference_values=REFERENCE_VALUES,
    environment=Environment(os="Debian GNU/Linux 13", architecture="x86_64", python="3.13.5"),
    time=MOMENT,
    expires=LATER,
)

FAILED_AUDIT = Audit(
    image_sha256=IMAGE_SHA256,
    verdict=Verdict.FAILED,
    source=SOURCE,
    rebuilt_sha256=None,
    reference_values=None,
    environment=AUDIT.environment,
    time=MOMENT,
    expires=LATER,
)

REVOCATION = Revocation(
    image_sha256=IMAGE_SHA256, reason="the server answers with another caller's outputs", time=MOMENT
)

EVIDENCE = simulated.sign_quote(
    LAUNCHER,
    image_sha256=IMAGE_SHA256,
    image_sha384=IMAGE_SHA384,
    isolation=simulated.Isolation.NAMESPACES,
    report_data=REPORT_DATA,
    time=MOMENT,
)

CONFIGURATION = RuntimeConfiguration(
    api_keys=(ApiKey.of(API_KEY, namespace="alice"),),
    models=(
        PreloadedModel(model_id=ModelId(namespace="public", name="digits"), sha256=b"\x0d" * 32),
        PreloadedModel(model_id=ModelId(namespace="public", name="resnet18"), sha256=b"\x18" * 32),
    ),
)

INPUTS = (Tensor(name="x", datatype="FP32", shape=(1, 2), contents=bytes(8)),)
OUTPUTS = (Tensor(name="y", datatype="INT64", shape=(1,), contents=bytes(8)),)

RECEIPT = Receipt(
    model_id=ModelId(namespace="alice", name="resnet18"),
    model_sha256=b"\x18" * 32,
    inputs_sha256=tensors_digest(INPUTS),
    outputs_sha256=tensors_digest(OUTPUTS),
    nonce=bytes(range(32)),
    time=MOMENT,
)

# Whether a proof is one is the log's business; a bundle carries it as text.
BUNDLE = Bundle(
    entries=(
        LoggedStatement(
            envelope=RELEASE.to_statement().sign(MAINTAINER).encode(),
            proof=b"c2sp.org/tlog-proof@v1\nindex 0\n",
        ),
        LoggedStatement(
            envelope=AUDIT.to_statement().sign(AUDITOR).encode(),
            proof=b"c2sp.org/tlog-proof@v1\nindex 1\n",
        ),
    ),
    consistency=(ConsistencyProof(size=1, hashes=(b"\x01" * 32,)), ConsistencyProof(size=2, hashes=())),
)
