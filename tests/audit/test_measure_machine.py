"""Predictions against a machine that booted the image: every register of the boot, in both banks."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from glasshouse_attestations.image import read_sections
from glasshouse_audit.predictions.boot import boot_events, extend_all, pcr
from support.booted_machine import MISSING, boot
from support.image import EnclaveImage

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"a measured boot needs {', '.join(MISSING)}")
_BANKS = ("sha256", "sha384")


@pytest.fixture(scope="module")
def booted(enclave_image: EnclaveImage) -> Iterator[dict[str, bytes]]:
    """The registers of one boot. The sockets in the folder need a short path."""
    with tempfile.TemporaryDirectory(prefix="gh-") as folder:
        yield boot(enclave_image.path, Path(folder))


@pytest.mark.parametrize("bank", _BANKS)
def test_the_build_predicted_what_a_booted_machine_measured(
    bank: str, booted: dict[str, bytes], enclave_image: EnclaveImage
) -> None:
    alternatives = enclave_image.measurements.reference_values.platforms["tpm"]
    (expected,) = (registers for registers in alternatives if f"pcr4.{bank}" in registers)
    assert {name: booted[name] for name in expected} == expected


@pytest.mark.parametrize("bank", _BANKS)
def test_the_events_that_a_tdx_guest_would_put_into_its_registers_are_those_of_the_boot(
    bank: str, booted: dict[str, bytes], enclave_image: EnclaveImage
) -> None:
    image = enclave_image.path.read_bytes()
    events = boot_events(image, read_sections(image), algorithm=bank)
    assert booted[f"pcr9.{bank}"] == pcr(events, 9, algorithm=bank)
    # A TPM has a separator in each register, a TDX guest in RTMR 1 only the one that we list under PCR 4.
    separator = hashlib.new(bank, bytes(4)).digest()
    leaving = [event.digest for event in events if event.pcr == 5]
    assert booted[f"pcr5.{bank}"] == extend_all([separator, *leaving], algorithm=bank)
    # What else RTMR 1 and 2 would take up: drivers of devices, and whatever goes to the other registers.
    for number in (2, 3, 6):
        assert booted[f"pcr{number}.{bank}"] == extend_all([separator], algorithm=bank)
    for number in (8, 12, 13, 14, 15):
        assert booted[f"pcr{number}.{bank}"] == bytes(hashlib.new(bank).digest_size)
