"""Quotes of SEV-SNP and TDX guests through the kernel's interface, which a directory stands in for.

The directory has the attributes of the kernel's ABI document, and a subclass of the attester plays the
kernel's part: it looks at what was written to ``inblob`` and counts the generation. What they cannot play:
that the kernel refuses writes and reads with ``EBUSY`` and ``EINVAL``, and that a write to ``inblob``
advances the generation at once; here it advances when the report is read.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the enclave runs on linux only", allow_module_level=True)

from glasshouse_attestations.evidence import Evidence
from glasshouse_enclave.attester_tsm import TsmAttester
from glasshouse_enclave.errors import AttestationUnavailableError

REPORT_DATA = bytes(range(64))
SNP_REPORT = b"\5" + bytes(0x4F) + REPORT_DATA + bytes(1184 - 0x50 - 64)


class Kernel(TsmAttester):
    """An attester whose kernel acts when the report is read, right after the write."""

    def __init__(
        self, platform: str, directory: Path, endorsements: Callable[[], Mapping[str, bytes]] = dict
    ) -> None:
        super().__init__(platform, directory, endorsements)
        self.advances = [1]
        self.written: list[bytes] = []

    def _blob(self, name: str, *, max_size: int = 128 << 10) -> bytes:
        if name == "outblob":
            self.written.append((self._directory / "inblob").read_bytes())
            step = self.advances.pop(0) if self.advances else 1
            generation = int((self._directory / "generation").read_text()) + step
            (self._directory / "generation").write_text(f"{generation}\n")
        return super()._blob(name, max_size=max_size)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "provider").write_text("sev_guest\n")
    (tmp_path / "generation").write_text("7\n")
    (tmp_path / "inblob").touch()
    (tmp_path / "outblob").write_bytes(SNP_REPORT)
    (tmp_path / "auxblob").write_bytes(b"certificates")
    (tmp_path / "privlevel_floor").write_text("0\n")
    (tmp_path / "privlevel").touch()
    return tmp_path


def quote(attester: TsmAttester) -> Evidence:
    return asyncio.run(attester.quote(REPORT_DATA))


def test_a_report_is_over_all_64_bytes_and_comes_with_the_hosts_certificates(directory: Path) -> None:
    kernel = Kernel("snp", directory)
    evidence = quote(kernel)
    assert kernel.written == [REPORT_DATA]
    assert (evidence.platform, evidence.quote) == ("snp", SNP_REPORT)
    assert evidence.endorsements == {"certificate-table": b"certificates"}
    assert Evidence.parse(evidence.encode()) == evidence


def test_the_report_is_asked_for_at_the_guests_own_privilege_level(directory: Path) -> None:
    (directory / "privlevel_floor").write_text("2\n")
    quote(Kernel("snp", directory))
    assert (directory / "privlevel").read_text() == "2"


def test_a_tdx_guest_has_no_levels_and_no_certificates(directory: Path) -> None:
    for name in ("privlevel", "privlevel_floor", "auxblob"):
        (directory / name).unlink()
    (directory / "provider").write_text("tdx_guest\n")
    (directory / "outblob").write_bytes(b"quote" * 1000)
    evidence = quote(Kernel("tdx", directory, lambda: {"collateral": b"{}"}))
    assert (evidence.platform, evidence.endorsements) == ("tdx", {"collateral": b"{}"})


def test_a_host_that_supplies_no_certificates_is_no_failure(directory: Path) -> None:
    (directory / "auxblob").write_bytes(b"")
    assert quote(Kernel("snp", directory)).endorsements == {}


def test_another_writer_in_between_has_the_report_asked_for_again(directory: Path) -> None:
    kernel = Kernel("snp", directory)
    kernel.advances = [2, 1]
    assert quote(kernel).quote == SNP_REPORT
    assert kernel.written == [REPORT_DATA, REPORT_DATA]


def test_a_writer_who_never_stops_leaves_no_report(directory: Path) -> None:
    kernel = Kernel("snp", directory)
    kernel.advances = [2, 2, 0]
    with pytest.raises(AttestationUnavailableError, match="somebody else"):
        quote(kernel)


@pytest.mark.parametrize("provider", ["tdx_guest\n", "sev_guest2\n", ""])
def test_another_platforms_reports_are_refused(directory: Path, provider: str) -> None:
    (directory / "provider").write_text(provider)
    with pytest.raises(AttestationUnavailableError, match="another platform"):
        quote(Kernel("snp", directory))


@pytest.mark.parametrize("report", [b"", SNP_REPORT[:-1], SNP_REPORT + b"\0"])
def test_a_report_of_another_size_is_refused(directory: Path, report: bytes) -> None:
    (directory / "outblob").write_bytes(report)
    with pytest.raises(AttestationUnavailableError, match="bytes"):
        quote(Kernel("snp", directory))


@pytest.mark.parametrize("name", ["outblob", "auxblob"])
def test_what_is_too_large_is_not_read(directory: Path, name: str) -> None:
    (directory / name).write_bytes(bytes((128 << 10) + 1))
    with pytest.raises(AttestationUnavailableError, match="more than"):
        quote(Kernel("snp", directory))


def test_a_generation_that_is_no_number_is_refused(directory: Path) -> None:
    (directory / "generation").write_text("many")
    with pytest.raises(AttestationUnavailableError, match="no number"):
        quote(Kernel("snp", directory))


@pytest.mark.parametrize("name", ["provider", "generation", "outblob"])
def test_an_attribute_that_is_missing_is_named_by_its_error_only(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(AttestationUnavailableError, match="gives no report"):
        quote(TsmAttester("snp", directory, dict))
