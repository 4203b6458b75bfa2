"""GetEvidence: what the quote binds, what comes beside it, and launchers and operators that misbehave."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from glasshouse_attestations import rpc, simulated
from glasshouse_attestations.bundle import MAX_BUNDLE_SIZE
from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.evidence import MAX_EVIDENCE_SIZE, Evidence
from glasshouse_attestations.report_data import report_data
from glasshouse_attestations.rpc import Refusal
from glasshouse_attestations.wire import attestation_pb2
from support.enclave_calls import refused
from support.enclave_process import EnclaveProcess
from support.enclave_server import Started

_NONCE = bytes(range(100, 132))


def _evidence(enclave: EnclaveProcess, nonce: bytes = _NONCE) -> Any:
    return enclave.call(rpc.GET_EVIDENCE, attestation_pb2.GetEvidenceRequest(nonce=nonce))


def test_the_quote_binds_nonce_channel_receipt_key_and_configuration(shared: Started) -> None:
    response = _evidence(shared.enclave)
    key = x509.load_pem_x509_certificate(shared.enclave.certificate).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    claims = simulated.verify(
        Evidence.parse(response.evidence), launcher_keys=[shared.launcher.key.public_key]
    )
    assert claims.registers["image.sha256"] == shared.launcher.image_sha256
    assert claims.report_data == report_data(
        nonce=_NONCE,
        tls_spki_sha256=hashlib.sha256(spki).digest(),
        receipt_public_key=response.receipt_public_key,
        configuration_sha256=hashlib.sha256(response.configuration).digest(),
    )
    assert RuntimeConfiguration.parse(response.configuration) == shared.configuration
    assert response.configuration == (shared.directory / "config.json").read_bytes()


def test_each_nonce_gets_its_own_quote(enclave: EnclaveProcess) -> None:
    assert _evidence(enclave, bytes(32)).evidence != _evidence(enclave, b"\1" * 32).evidence


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_a_nonce_of_another_size_is_refused(enclave: EnclaveProcess, size: int) -> None:
    assert refused(lambda: _evidence(enclave, bytes(size))) is Refusal.NONCE_SIZE


def test_the_certificate_is_one_that_tls_libraries_accept_as_their_only_root(enclave: EnclaveProcess) -> None:
    certificate = x509.load_pem_x509_certificate(enclave.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [rpc.SERVER_NAME]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    context = ssl.create_default_context(cadata=enclave.certificate.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    host, _, port = enclave.address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=rpc.SERVER_NAME) as connection,
    ):
        assert connection.version() == "TLSv1.3"


def test_every_start_makes_other_keys(start: Callable[..., Started], enclave: EnclaveProcess) -> None:
    other = start().enclave
    assert other.certificate != enclave.certificate
    assert _evidence(other).receipt_public_key != _evidence(enclave).receipt_public_key


def test_no_key_is_written_to_the_run_directory(shared: Started) -> None:
    written = {path.name for path in shared.directory.iterdir()}
    assert written == {"config.json", "models", "attester.sock"}


def _replace(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


def test_the_bundle_is_read_again_when_it_changes(start: Callable[..., Started]) -> None:
    started = start(bundle=b"first")
    path = started.directory / "bundle.json"
    assert _evidence(started.enclave).bundle == b"first"
    _replace(path, b"other")
    assert _evidence(started.enclave).bundle == b"other"
    path.write_bytes(b"third, in place")
    assert _evidence(started.enclave).bundle == b"third, in place"
    path.unlink()
    assert _evidence(started.enclave).bundle == b""
    _replace(path, b"x" * MAX_BUNDLE_SIZE)
    assert len(_evidence(started.enclave).bundle) == MAX_BUNDLE_SIZE
    _replace(path, b"x" * (MAX_BUNDLE_SIZE + 1))
    assert len(_evidence(started.enclave).bundle) == MAX_BUNDLE_SIZE
    path.unlink()
    path.symlink_to(started.directory / "config.json")
    assert len(_evidence(started.enclave).bundle) == MAX_BUNDLE_SIZE
    path.unlink()
    os.mkfifo(path)
    assert len(_evidence(started.enclave).bundle) == MAX_BUNDLE_SIZE
    assert "bundle-unreadable" in started.enclave.log


def _answered(evidence: bytes) -> bytes:
    return len(evidence).to_bytes(4, "big") + evidence


_NO_EVIDENCE = [
    b"",
    b"\0\0",
    _answered(b""),
    _answered(b"{}"),
    (100).to_bytes(4, "big") + b"short",
    (MAX_EVIDENCE_SIZE + 1).to_bytes(4, "big"),
    b"\xff\xff\xff\xff" + bytes(1000),
]


def test_a_launcher_that_gives_no_evidence_makes_attestation_unavailable(
    start: Callable[..., Started],
) -> None:
    started = start()
    for answer in _NO_EVIDENCE:
        started.launcher.answer = lambda _, answer=answer: answer  # type: ignore[misc]
        assert refused(lambda: _evidence(started.enclave)) is Refusal.ATTESTATION_UNAVAILABLE
    (started.directory / "attester.sock").unlink()
    begun = time.monotonic()
    assert refused(lambda: _evidence(started.enclave)) is Refusal.ATTESTATION_UNAVAILABLE
    assert time.monotonic() - begun < 5
