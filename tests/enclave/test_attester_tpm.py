"""Quotes of a TPM: the enclave's commands against a real TPM emulator, and against one that lies."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import struct
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the enclave runs on linux only", allow_module_level=True)

from glasshouse_attestations import tpm
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.report_data import qualifying_data
from glasshouse_enclave.attester_tpm import AK_CERTIFICATE_INDEX, AK_HANDLE, PCRS, TpmAttester
from glasshouse_enclave.errors import AttestationUnavailableError
from glasshouse_enclave.tpm import Device, Tpm
from glasshouse_host import virtual_tpm
from glasshouse_host.certificate_authority import CertificateAuthority
from support.machines import need_machines

REPORT_DATA = bytes(range(64))
NOW = datetime.now(timezone.utc)


class Emulator:
    """A transport to swtpm's socket for commands."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(30)
        self._socket.connect(str(path))

    def transmit(self, command: bytes) -> bytes:
        self._socket.sendall(command)
        response = b""
        while len(response) < 10 or len(response) < int.from_bytes(response[2:6], "big"):
            part = self._socket.recv(4096)
            assert part
            response += part
        return response

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.generate(now=NOW)


@pytest.fixture(scope="module")
def provisioned(authority: CertificateAuthority) -> Iterator[virtual_tpm.VirtualTpm]:
    need_machines()
    # Not pytest's directory, whose path is too long for a socket.
    with tempfile.TemporaryDirectory(prefix="gh-") as folder:
        yield virtual_tpm.VirtualTpm.provision(Path(folder), authority, now=NOW)


@pytest.fixture
def emulator(provisioned: virtual_tpm.VirtualTpm) -> Iterator[Emulator]:
    with virtual_tpm._listening(provisioned.directory):
        connected = Emulator(provisioned.directory / "tpm-commands.sock")
        yield connected
        connected.close()


@pytest.fixture
def attester(emulator: Emulator, authority: CertificateAuthority) -> TpmAttester:
    return TpmAttester(Tpm(emulator), lambda: {"ak-chain": authority.pem})


def quote(attester: TpmAttester) -> Evidence:
    return asyncio.run(attester.quote(REPORT_DATA))


def test_evidence_is_what_the_verifier_asks_for(
    attester: TpmAttester, authority: CertificateAuthority
) -> None:
    evidence = quote(attester)
    assert Evidence.parse(evidence.encode()) == evidence
    policy = tpm.Policy(root_sha256=frozenset({authority.root_sha256}), require_ak_public=True)
    claims = tpm.verify(evidence, policy=policy, now=NOW)
    assert claims.report_data == qualifying_data(REPORT_DATA) == hashlib.sha256(REPORT_DATA).digest()
    assert dict(claims.registers) == {f"pcr{number}.sha256": bytes(32) for number in PCRS}
    assert {check.name: check.outcome.value for check in claims.checks}["qualified signer"] == "passed"


def test_each_quote_is_fresh(attester: TpmAttester) -> None:
    first, second = quote(attester), quote(attester)
    assert first.quote != second.quote
    assert first.endorsements["signature"] != second.endorsements["signature"]
    assert first.endorsements["ak-certificate"] == second.endorsements["ak-certificate"]


def test_registers_are_read_as_the_tpm_has_them(emulator: Emulator, attester: TpmAttester) -> None:
    digest = hashlib.sha256(b"an event").digest()
    body = struct.pack("!II", 11, 9) + struct.pack("!IHBH", 0x40000009, 0, 0, 0)
    body += struct.pack("!IH", 1, 0x000B) + digest
    extended = emulator.transmit(struct.pack("!HII", 0x8002, 10 + len(body), 0x182) + body)  # TPM2_PCR_Extend
    assert extended[6:10] == bytes(4)
    pcrs = json.loads(quote(attester).endorsements["pcrs"])
    assert pcrs["sha256"]["11"] == hashlib.sha256(bytes(32) + digest).hexdigest()
    assert pcrs["sha256"]["12"] == "00" * 32


def test_the_certificate_is_read_whole_and_without_padding(
    emulator: Emulator, provisioned: virtual_tpm.VirtualTpm
) -> None:
    assert Tpm(emulator).read_index(AK_CERTIFICATE_INDEX) == provisioned.ak_certificate


def test_a_key_that_is_not_there_is_told_by_its_code(emulator: Emulator) -> None:
    with pytest.raises(AttestationUnavailableError, match="command 0x173 with 0x"):
        Tpm(emulator).read_public(AK_HANDLE + 1)


def test_an_index_that_is_not_there_is_told_by_its_code(emulator: Emulator) -> None:
    with pytest.raises(AttestationUnavailableError, match="command 0x169 with 0x"):
        Tpm(emulator).read_index(AK_CERTIFICATE_INDEX + 1)


def test_a_device_that_is_not_there_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(AttestationUnavailableError, match="does not answer"):
        Tpm(Device(tmp_path / "tpmrm0")).read_public(AK_HANDLE)


class Liar:
    """A TPM that gives one response, whatever it is asked."""

    def __init__(self, response: bytes) -> None:
        self._response = response

    def transmit(self, command: bytes) -> bytes:
        del command
        return self._response


def response(body: bytes, *, tag: int = 0x8001, size: int | None = None, code: int = 0) -> bytes:
    return struct.pack("!HII", tag, 10 + len(body) if size is None else size, code) + body


def sized(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


GOOD_PUBLIC = sized(b"public") + sized(b"name") + sized(b"qualified name")


def test_a_response_that_is_well_formed_is_taken() -> None:
    assert Tpm(Liar(response(GOOD_PUBLIC))).read_public(AK_HANDLE) == sized(b"public")


@pytest.mark.parametrize(
    "told",
    [
        b"",
        response(GOOD_PUBLIC)[:9],
        response(GOOD_PUBLIC, tag=0x8002),
        response(GOOD_PUBLIC, size=9),
        response(GOOD_PUBLIC)[:-1],
        response(GOOD_PUBLIC + b"\0"),
        response(GOOD_PUBLIC, code=0x922),
        response(struct.pack("!H", 0xFFFF)),
    ],
)
def test_a_response_that_contradicts_itself_is_refused(told: bytes) -> None:
    with pytest.raises(AttestationUnavailableError):
        Tpm(Liar(told)).read_public(AK_HANDLE)


def test_every_shortened_response_of_a_real_tpm_is_refused(emulator: Emulator) -> None:
    recorded: list[bytes] = []

    class Recorder:
        def transmit(self, command: bytes) -> bytes:
            recorded.append(emulator.transmit(command))
            return recorded[-1]

    Tpm(Recorder()).quote(AK_HANDLE, qualifying_data=bytes(32), numbers=PCRS)
    Tpm(Recorder()).read_pcrs(PCRS)
    quoted, read = recorded
    for length in range(len(read)):
        with pytest.raises(AttestationUnavailableError):
            Tpm(Liar(read[:length])).read_pcrs(PCRS)
    for length in range(len(quoted)):
        with pytest.raises(AttestationUnavailableError):
            Tpm(Liar(quoted[:length])).quote(AK_HANDLE, qualifying_data=bytes(32), numbers=PCRS)


def test_registers_of_another_selection_are_refused(emulator: Emulator) -> None:
    selection = struct.pack("!IHB", 1, 0x000B, 3) + b"\1\0\0"
    other = emulator.transmit(struct.pack("!HII", 0x8001, 20, 0x17E) + selection)
    with pytest.raises(AttestationUnavailableError):
        Tpm(Liar(other)).read_pcrs(PCRS)


def test_an_index_may_be_larger_than_its_certificate_but_hold_nothing_else(
    emulator: Emulator, provisioned: virtual_tpm.VirtualTpm, authority: CertificateAuthority
) -> None:
    class Padded(Tpm):
        padding = b""

        def read_index(self, index: int) -> bytes:
            return super().read_index(index) + self.padding

    padded = Padded(emulator)
    padded.padding = bytes(100)
    evidence = quote(TpmAttester(padded, dict))
    assert evidence.endorsements["ak-certificate"] == provisioned.ak_certificate
    padded.padding = bytes(99) + b"\1"
    with pytest.raises(AttestationUnavailableError, match="something else"):
        quote(TpmAttester(padded, dict))


@pytest.mark.parametrize("content", [b"\0" * 100, b"\x30\x82\x01\x00" + bytes(255), b"\x30"])
def test_an_index_without_a_certificate_is_refused(emulator: Emulator, content: bytes) -> None:
    class Empty(Tpm):
        def read_index(self, index: int) -> bytes:
            del index
            return content

    with pytest.raises(AttestationUnavailableError, match="holds"):
        quote(TpmAttester(Empty(emulator), dict))
