"""SEV-SNP launch digests: as recorded of a real guest, and as another implementation computes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from glasshouse_audit.measure import measure
from glasshouse_audit.predictions.firmware import OVMF_AMDSEV
from glasshouse_audit.predictions.ovmf import SevMetadata, SevSection, SevSectionType
from glasshouse_audit.predictions.snp import (
    PROCESSOR_COUNTS,
    PROCESSORS,
    KernelHashes,
    SnpFirmware,
    launch_digests,
)
from support.firmware import firmware_file
from support.synthetic_pe import make_pe
from support.vectors import needs_vectors, vector

_SECTIONS = {
    ".linux": make_pe({".text": b"kernel"}),
    ".osrel": b"ID=x\n",
    ".cmdline": b"quiet",
    ".initrd": b"initrd",
    ".uname": b"6.12",
    ".sbat": b"sbat,1\n",
}
_IMAGE = make_pe(_SECTIONS)
_HASHES = KernelHashes.of_kernel_alone(hashlib.sha256(_IMAGE).digest())
_MILAN = PROCESSORS["EPYC-Milan"]
_GROUND_TRUTH = "normalized/measure/snp_milan_kernel_hashes_groundtruth.json"


def _digest(
    firmware: SnpFirmware = OVMF_AMDSEV,
    hashes: KernelHashes = _HASHES,
    *,
    signature: int = _MILAN,
    count: int = 1,
) -> bytes:
    (digest,) = launch_digests(firmware, hashes, signature=signature, counts=[count])
    return digest


@needs_vectors
def test_the_digest_is_the_one_recorded_of_a_milan_guest() -> None:
    captured: dict[str, Any] = json.loads(vector(_GROUND_TRUTH))
    inputs = captured["inputs"]
    sections = tuple(
        SevSection(address=section["gpa"], size=section["size"], type=SevSectionType(section["type"]))
        for section in inputs["ovmf_sections"]
    )
    metadata = SevMetadata(
        sections=sections, hashes_table=inputs["hashes_table_gpa"], reset_vector=inputs["reset_eip"]
    )
    firmware = SnpFirmware(sha256=bytes(32), digest=bytes.fromhex(inputs["ovmf_hash"]), metadata=metadata)
    hashes = KernelHashes(
        kernel=bytes.fromhex(inputs["kernel_hash"]),
        initrd=bytes.fromhex(inputs["initrd_hash"]),
        command_line=hashlib.sha256(inputs["cmdline"].encode() + b"\0").digest(),
    )
    digest = _digest(firmware, hashes, signature=PROCESSORS[captured["vcpu_type"]], count=captured["vcpus"])
    assert digest.hex() == captured["expected_measurement"]


@pytest.mark.skipif(
    importlib.util.find_spec("sevsnpmeasure") is None, reason="the package sev-snp-measure is not installed"
)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_sev_snp_measure_computes_the_same_digests(processor: str, tmp_path: Path) -> None:
    from sevsnpmeasure.guest import calc_launch_digest  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from sevsnpmeasure.sev_mode import SevMode  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from sevsnpmeasure.vcpu_types import CPU_SIGS  # type: ignore[import-not-found,import-untyped,unused-ignore]

    assert CPU_SIGS[processor] == PROCESSORS[processor]
    firmware, image = tmp_path / "firmware.fd", tmp_path / "enclave.efi"
    firmware.write_bytes(firmware_file("ovmf-amdsev"))
    image.write_bytes(_IMAGE)
    for count in (1, 2, 64):
        arguments = [SevMode.SEV_SNP, count, PROCESSORS[processor], str(firmware), str(image), "", "", 1]
        assert calc_launch_digest(*arguments) == _digest(signature=PROCESSORS[processor], count=count)


def test_the_alternatives_are_each_processor_with_each_count_in_order() -> None:
    alternatives = measure(_IMAGE).reference_values.platforms["snp"]
    expected = [
        {"launch.sha384": _digest(signature=signature, count=count)}
        for signature in PROCESSORS.values()
        for count in PROCESSOR_COUNTS
    ]
    assert list(map(dict, alternatives)) == expected
    assert len({registers["launch.sha384"] for registers in alternatives}) == len(expected)


def test_a_changed_image_changes_every_digest() -> None:
    changed = make_pe({**_SECTIONS, ".osrel": b"ID=y\n"})
    before, after = (
        {registers["launch.sha384"] for registers in measure(image).reference_values.platforms["snp"]}
        for image in (_IMAGE, changed)
    )
    assert not before & after


@pytest.mark.parametrize("field", ["kernel", "initrd", "command_line"])
def test_an_initrd_or_command_line_from_outside_changes_the_digest(field: str) -> None:
    hashes = {name: getattr(_HASHES, name) for name in ("kernel", "initrd", "command_line")}
    hashes[field] = hashlib.sha256(b"something else").digest()
    assert _digest(hashes=KernelHashes(**hashes)) != _digest()


def test_an_empty_command_line_is_hashed_with_its_closing_nul() -> None:
    assert _HASHES.command_line == hashlib.sha256(b"\0").digest()
    assert _HASHES.initrd == hashlib.sha256().digest()


def test_the_table_of_hashes_is_laid_out_as_qemu_does() -> None:
    page = _HASHES.page(0xC00)
    assert (len(page), page[:0xC00], page[0xC00 + 168 :]) == (4096, bytes(0xC00), bytes(4096 - 0xC00 - 168))
    table = page[0xC00 : 0xC00 + 168]
    assert int.from_bytes(table[16:18], "little") == 168
    assert [table[18 + 50 * index + 18 :][:32] for index in range(3)] == [
        _HASHES.command_line,
        _HASHES.initrd,
        _HASHES.kernel,
    ]
