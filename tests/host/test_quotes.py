"""What stands in a quote, and that the enclave decides nothing of it but the report data."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from glasshouse_attestations import simulated
from glasshouse_attestations.claims import Claims
from glasshouse_attestations.errors import EvidenceSignatureError
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.keys import SigningKey
from support.launched import Launched, launched

REPORT_DATA = bytes(range(64))


@pytest.fixture(scope="module")
def running(probe_image_path: Path) -> Iterator[Launched]:
    with launched(probe_image_path) as enclave:
        yield enclave


def evidence_of(running: Launched, report_data: bytes = REPORT_DATA) -> Evidence:
    answer = bytes.fromhex(running.call("ask", data=report_data.hex()))
    assert int.from_bytes(answer[:4], "big") == len(answer) - 4
    return Evidence.parse(answer[4:])


def claims_of(running: Launched, report_data: bytes = REPORT_DATA) -> Claims:
    return simulated.verify(evidence_of(running, report_data), launcher_keys=[running.launcher_key])


def test_a_quote_names_the_files_own_digests(running: Launched, probe_image_path: Path) -> None:
    image = probe_image_path.read_bytes()
    assert claims_of(running).registers == {
        "image.sha256": hashlib.sha256(image).digest(),
        "image.sha384": hashlib.sha384(image).digest(),
    }


def test_a_quote_binds_the_report_data(running: Launched) -> None:
    for report_data in (REPORT_DATA, bytes(64), os.urandom(64)):
        assert claims_of(running, report_data).report_data == report_data


def test_a_quote_names_the_isolation_that_was_used(running: Launched) -> None:
    assert ("isolation", running.ready["isolation"]) in claims_of(running).attributes


def test_no_other_key_has_signed(running: Launched) -> None:
    with pytest.raises(EvidenceSignatureError):
        simulated.verify(evidence_of(running), launcher_keys=[SigningKey.generate().public_key])


@pytest.mark.parametrize("size", [0, 1, 63, 65, 128, 100_000])
def test_a_request_of_another_length_gets_no_quote(running: Launched, size: int) -> None:
    assert running.call("ask", data="ab" * size, half_close=True) == ""


def test_an_enclave_that_asks_for_a_measurement_gets_its_own(running: Launched) -> None:
    wanted = b'{"image":{"sha256":"' + b"0" * 44
    assert len(wanted) == 64
    assert claims_of(running, wanted).registers == claims_of(running).registers


def test_stalled_connections_hold_up_nobody(running: Launched) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(running.run_directory / "attester.sock"))
            connection.sendall(b"half")
        assert claims_of(running).report_data == REPORT_DATA


def test_too_many_connections_are_turned_away(running: Launched) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(12)]
        for connection in connections:
            connection.settimeout(2)
            connection.connect(str(running.run_directory / "attester.sock"))
        assert [connection.recv(1) for connection in connections[8:]] == [b""] * 4


def test_a_changed_byte_in_the_image_changes_the_quote(probe_image_path: Path, tmp_path: Path) -> None:
    image = bytearray(probe_image_path.read_bytes())
    # The DOS header's reserved words: nothing reads them, and all of the file is measured.
    image[0x20] ^= 1
    changed = tmp_path / "changed.efi"
    changed.write_bytes(image)
    with launched(changed) as running:
        measured = claims_of(running).registers["image.sha256"]
    assert measured == hashlib.sha256(image).digest()
    assert measured != hashlib.sha256(probe_image_path.read_bytes()).digest()


def test_a_file_that_changes_after_the_start_changes_no_quote(probe_image_path: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.efi"
    image.write_bytes(probe_image_path.read_bytes())
    with launched(image) as running:
        image.write_bytes(b"another")
        measured = claims_of(running).registers["image.sha256"]
    assert measured == hashlib.sha256(probe_image_path.read_bytes()).digest()


def test_the_named_key_signs(probe_image_path: Path, tmp_path: Path) -> None:
    key = SigningKey.generate()
    path = tmp_path / "launcher.pem"
    path.touch(mode=0o600)
    path.write_bytes(key.to_pem())
    with launched(probe_image_path, "--key", path) as running:
        assert running.launcher_key == key.public_key
        claims_of(running)
