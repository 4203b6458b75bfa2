"""The built image's own server, started by the launcher in each way that this machine offers."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from glasshouse_attestations import rpc, simulated
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.report_data import report_data
from glasshouse_attestations.rpc import Method
from glasshouse_attestations.wire import attestation_pb2, inference_pb2
from support.image import EnclaveImage
from support.launched import Launched, launched
from support.models import affine

NONCE = bytes(range(32))


@pytest.fixture(scope="module", params=["namespaces", "chroot", "loader"])
def running(
    request: pytest.FixtureRequest, enclave_image: EnclaveImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launched]:
    if request.param == "chroot" and os.geteuid() != 0:
        pytest.skip("only root can change its root directory")
    model = tmp_path_factory.mktemp("models") / "affine.onnx"
    model.write_bytes(affine(2.0, 1.0))
    arguments = ("--isolation", request.param, "--model", f"public/affine={model}")
    with launched(enclave_image.path, *arguments) as enclave:
        yield enclave


def certificate_of(running: Launched) -> bytes:
    host, _, port = running.address.rpartition(":")
    return ssl.get_server_certificate((host, int(port)), timeout=10).encode()


def call(running: Launched, certificate: bytes, method: Method, request: Any) -> Any:
    credentials = grpc.ssl_channel_credentials(certificate)
    options = [("grpc.ssl_target_name_override", "glasshouse-enclave")]
    with grpc.secure_channel(running.address, credentials, options=options) as channel:
        stub = channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return stub(request, timeout=30)


def test_its_evidence_names_the_image_that_was_built(running: Launched, enclave_image: EnclaveImage) -> None:
    certificate = certificate_of(running)
    response = call(running, certificate, rpc.GET_EVIDENCE, attestation_pb2.GetEvidenceRequest(nonce=NONCE))
    evidence = Evidence.parse(response.evidence)
    claims = simulated.verify(evidence, launcher_keys=[running.launcher_key])
    enclave_image.measurements.reference_values.check("simulated", claims.registers)
    key = x509.load_pem_x509_certificate(certificate).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert claims.report_data == report_data(
        nonce=NONCE,
        tls_spki_sha256=hashlib.sha256(spki).digest(),
        receipt_public_key=response.receipt_public_key,
        configuration_sha256=bytes.fromhex(running.ready["configuration"]["sha256"]),
    )


def test_it_predicts_with_a_model_it_was_started_with(running: Launched) -> None:
    batch = np.arange(6, dtype=np.float32).reshape(2, 3)
    request = inference_pb2.ModelInferRequest(model_name="public/affine")
    request.inputs.add(name="x", datatype="FP32", shape=batch.shape)
    request.raw_input_contents.append(batch.tobytes())
    response = call(running, certificate_of(running), rpc.MODEL_INFER, request)
    assert response.raw_output_contents[0] == (2 * batch + 1).tobytes()


def test_it_drains_when_the_launcher_is_asked_to_end(enclave_image: EnclaveImage, tmp_path: Path) -> None:
    with launched(enclave_image.path) as running:
        assert running.stop() == 0
        log = running.stderr.read_text()
        assert '"event": "draining"' in log
        assert '"event": "stopped"' in log
        assert list(running.temporary.iterdir()) == []
