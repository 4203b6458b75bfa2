"""Reference values: computed from the file alone, and the same as other implementations compute.

What hardware measures besides is tested in ``test_measure_boot``, ``test_measure_snp`` and
``test_measure_tdx``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.image import read_sections
from glasshouse_attestations.measurements import Measurements
from glasshouse_audit.cli import main
from glasshouse_audit.measure import measure
from glasshouse_audit.predictions.authenticode import authenticode
from glasshouse_audit.predictions.boot import MEASURED_SECTIONS, boot_events, pcr
from support.image import EnclaveImage
from support.synthetic_pe import CHECKSUM, SECURITY_DIRECTORY, make_pe

_KERNEL = make_pe({".text": b"kernel"}, certificate=b"signature" * 8)
_SECTIONS = {
    ".text": b"stub",
    ".sbat": b"sbat,1\n",
    ".osrel": b"ID=x\n",
    ".cmdline": b"quiet",
    ".uname": b"6.12",
    ".initrd": b"initrd" * 100,
    ".linux": _KERNEL,
}
_IMAGE = make_pe(_SECTIONS)
_SYSTEMD_MEASURE = Path("/usr/lib/systemd/systemd-measure")


_BANKS = ("sha256", "sha384")


def _tpm(image: bytes, bank: str = "sha256") -> dict[str, bytes]:
    """Return the register set of one bank: the alternatives are one for each."""
    alternatives = measure(image).reference_values.platforms["tpm"]
    (registers,) = (set_ for set_ in alternatives if f"pcr4.{bank}" in set_)
    assert len(alternatives) == len(_BANKS)
    return dict(registers)


def _pcr11(sections: dict[str, bytes], bank: str = "sha256") -> bytes:
    return pcr(boot_events(_IMAGE, sections, algorithm=bank), 11, algorithm=bank)


def _changed(offset: int, *, image: bytes = _IMAGE) -> bytes:
    return image[:offset] + bytes([image[offset] ^ 1]) + image[offset + 1 :]


def test_simulated_reference_values_are_the_digests_of_the_file() -> None:
    (registers,) = measure(_IMAGE).reference_values.platforms["simulated"]
    assert registers == {
        "image.sha256": hashlib.sha256(_IMAGE).digest(),
        "image.sha384": hashlib.sha384(_IMAGE).digest(),
    }


@pytest.mark.parametrize("bank", _BANKS)
def test_the_registers_of_overrides_are_expected_to_be_zero(bank: str) -> None:
    registers = _tpm(_IMAGE, bank)
    assert registers.keys() == {f"pcr{number}.{bank}" for number in (4, 8, 11, 12, 13)}
    zero = bytes(hashlib.new(bank).digest_size)
    assert {registers[f"pcr{number}.{bank}"] for number in (8, 12, 13)} == {zero}


@pytest.mark.parametrize("bank", _BANKS)
@pytest.mark.parametrize("name", [".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sbat"])
def test_a_change_in_a_measured_section_changes_both_registers(name: str, bank: str) -> None:
    changed = make_pe({**_SECTIONS, name: _changed(0x420, image=_KERNEL) if name == ".linux" else b"changed"})
    before, after = _tpm(_IMAGE, bank), _tpm(changed, bank)
    assert after[f"pcr11.{bank}"] != before[f"pcr11.{bank}"]
    assert after[f"pcr4.{bank}"] != before[f"pcr4.{bank}"]


def test_a_change_in_the_stub_changes_only_the_register_of_programs() -> None:
    before, after = _tpm(_IMAGE), _tpm(make_pe({**_SECTIONS, ".text": b"stab"}))
    assert after["pcr11.sha256"] == before["pcr11.sha256"]
    assert after["pcr4.sha256"] != before["pcr4.sha256"]


def test_moving_bytes_between_neighbouring_sections_is_noticed() -> None:
    moved = {**_SECTIONS, ".osrel": b"ID=x\nq", ".cmdline": b"uiet"}
    assert _pcr11(moved) != _pcr11(_SECTIONS)


@pytest.mark.parametrize("command_line", [b"quiet\n", b" quiet", b"a\tb", b"quiet\0", "stra\u00dfe".encode()])
def test_a_command_line_that_the_stub_would_not_hand_on_as_it_is_is_refused(command_line: bytes) -> None:
    with pytest.raises(MalformedError, match="command line"):
        measure(make_pe({**_SECTIONS, ".cmdline": command_line}))


@pytest.mark.parametrize("name", [".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sbat"])
def test_an_image_without_a_measured_section_is_refused(name: str) -> None:
    with pytest.raises(MalformedError, match=name):
        measure(make_pe({other: content for other, content in _SECTIONS.items() if other != name}))


def test_the_authenticode_digest_covers_every_byte_but_checksum_and_signature() -> None:
    exempt = {*range(CHECKSUM, CHECKSUM + 4), *range(SECURITY_DIRECTORY, SECURITY_DIRECTORY + 8)}
    signature = len(_KERNEL) - 9 * 8
    expected = authenticode(_KERNEL, algorithm="sha256")
    same = set()
    for offset in range(len(_KERNEL)):
        try:
            if authenticode(_changed(offset, image=_KERNEL), algorithm="sha256") == expected:
                same.add(offset)
        except MalformedError:
            continue
    # A flipped size of the signature shifts what counts as the file's end, or contradicts it.
    size_field = set(range(SECURITY_DIRECTORY + 4, SECURITY_DIRECTORY + 8))
    assert same - size_field == (exempt - size_field) | set(range(signature, len(_KERNEL)))


def test_headers_that_contradict_the_file_are_refused() -> None:
    with pytest.raises(MalformedError):
        authenticode(_KERNEL[:-200], algorithm="sha256")
    with pytest.raises(MalformedError):
        authenticode(b"MZ" + bytes(100), algorithm="sha256")


def test_the_command_prints_registers_or_measurements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "enclave.efi"
    path.write_bytes(_IMAGE)
    assert main(["measure", str(path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert f"simulated image.sha256 {hashlib.sha256(_IMAGE).hexdigest()}" in printed
    # Alternatives are numbered as docs/measurements.md lists them.
    for number, bank in enumerate(_BANKS, start=1):
        value = _tpm(_IMAGE, bank)[f"pcr11.{bank}"]
        assert f"tpm[{number}] pcr11.{bank} {value.hex()}" in printed
    assert sum(line.startswith("snp[") for line in printed) == 28
    assert main(["measure", str(path), "--json"]) == 0
    assert Measurements.parse(capsys.readouterr().out.encode()) == measure(_IMAGE)


def test_measuring_what_is_no_image_or_not_there_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "enclave.efi"
    assert main(["measure", str(path)]) == 2
    path.write_bytes(b"not a pe file")
    assert main(["measure", str(path)]) == 2
    assert capsys.readouterr().out == ""


def test_debians_signature_of_the_kernel_names_our_digest(enclave_image: EnclaveImage) -> None:
    """Who signed the kernel computed its Authenticode digest, and wrote it into the signature."""
    kernel = read_sections(enclave_image.path.read_bytes())[".linux"]
    signature = kernel[-16384:]
    assert authenticode(kernel, algorithm="sha256") in signature


@pytest.mark.skipif(importlib.util.find_spec("lief") is None, reason="the package lief is not installed")
def test_lief_computes_the_same_authenticode_digests(enclave_image: EnclaveImage, tmp_path: Path) -> None:
    import lief

    image = enclave_image.path.read_bytes()
    for data in (image, read_sections(image)[".linux"]):
        parsed = lief.PE.parse(_written(tmp_path, data))
        assert parsed is not None
        for algorithm, other in (
            ("sha256", lief.PE.ALGORITHMS.SHA_256),
            ("sha384", lief.PE.ALGORITHMS.SHA_384),
        ):
            assert parsed.authentihash(other) == authenticode(data, algorithm=algorithm)


@pytest.mark.skipif(not _SYSTEMD_MEASURE.exists(), reason="systemd-measure is not installed")
@pytest.mark.parametrize("bank", _BANKS)
def test_systemd_measure_computes_the_same_register(
    bank: str, enclave_image: EnclaveImage, tmp_path: Path
) -> None:
    sections = read_sections(enclave_image.path.read_bytes())
    options = subprocess.run([_SYSTEMD_MEASURE, "--help"], capture_output=True, text=True, check=True).stdout
    # Releases of systemd before 254 know fewer sections; those that they know they measure alike.
    known = [name for name in MEASURED_SECTIONS if f"--{name[1:]}=PATH" in options]
    assert {".linux", ".osrel", ".cmdline", ".initrd"} <= set(known)
    command = [str(_SYSTEMD_MEASURE), "calculate", f"--bank={bank}", "--phase=", "--json=short"]
    for name in known:
        (tmp_path / name).write_bytes(sections[name])
        command.append(f"--{name[1:]}={tmp_path / name}")
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    events = [event for event in boot_events(_IMAGE, sections, algorithm=bank) if event.pcr == 11]
    # Two events for each section, so the known ones are the first.
    expected = pcr(events[: 2 * len(known)], 11, algorithm=bank)
    assert known == list(MEASURED_SECTIONS[: len(known)])
    assert bytes.fromhex(answer[bank][0]["hash"]) == expected


def _written(folder: Path, data: bytes) -> str:
    path = folder / "file.efi"
    path.write_bytes(data)
    return str(path)
