"""The attester of AMD SEV-SNP and Intel TDX guests: the kernel's one interface for reports of either kind.

The interface is a directory of attributes (Documentation/ABI/testing/configfs-tsm of the kernel): who writes
report data to ``inblob`` reads the report from ``outblob`` and, on SEV-SNP, the certificates that the host
supplies from ``auxblob``. ``generation`` counts the writes of the directory's settings, so that somebody
else's write between ours and the reading shows.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from glasshouse_attestations.evidence import Evidence

from .errors import AttestationUnavailableError

__all__ = ["PROVIDERS", "REPORT_DIRECTORY", "TsmAttester"]

REPORT_DIRECTORY = Path("/sys/kernel/config/tsm/report/glasshouse")
"""The one report of this machine; init makes it and gives its attributes to the server's user."""

PROVIDERS = {"snp": "sev_guest", "tdx": "tdx_guest"}

_REPORT_SIZES = {"snp": range(1184, 1185), "tdx": range(1, 16 << 10)}
_MAX_BLOB = 128 << 10
_TRIES = 3
_TIMEOUT = 30.0


class TsmAttester:
    """Asks the kernel for reports on ``platform``, ``snp`` or ``tdx``, at the guest's own privilege level.

    ``endorsements`` are what the operator supplies beside a report, such as Intel's collateral.
    """

    def __init__(
        self, platform: str, directory: Path, endorsements: Callable[[], Mapping[str, bytes]]
    ) -> None:
        self._platform = platform
        self._directory = directory
        self._endorsements = endorsements
        self._lock = threading.Lock()

    async def quote(self, report_data: bytes) -> Evidence:
        """Return a fresh report over ``report_data``, which it has in full."""
        try:
            return await asyncio.wait_for(asyncio.to_thread(self._quote, report_data), _TIMEOUT)
        except asyncio.TimeoutError as err:
            raise AttestationUnavailableError("the kernel takes too long for a report") from err

    def _quote(self, report_data: bytes) -> Evidence:
        with self._lock:
            try:
                self._check_provider()
                report, certificates = self._report(report_data)
            except OSError as err:
                raise AttestationUnavailableError(f"the kernel gives no report: {err.strerror}") from err
        if len(report) not in _REPORT_SIZES[self._platform]:
            raise AttestationUnavailableError(f"the kernel gives a report of {len(report)} bytes")
        own = {"certificate-table": certificates} if certificates else {}
        return Evidence(platform=self._platform, quote=report, endorsements={**self._endorsements(), **own})

    def _check_provider(self) -> None:
        provider = self._text("provider")
        if provider != PROVIDERS[self._platform]:
            raise AttestationUnavailableError("the kernel's reports are another platform's")

    def _report(self, report_data: bytes) -> tuple[bytes, bytes]:
        """Return report and certificates of one generation, which began with our writing."""
        self._ask_for_own_level()
        for _ in range(_TRIES):
            before = self._generation()
            (self._directory / "inblob").write_bytes(report_data)
            report, certificates = self._blob("outblob"), self._auxiliary()
            if self._generation() == before + 1:
                return report, certificates
        raise AttestationUnavailableError("somebody else asks for reports at the same time")

    def _ask_for_own_level(self) -> None:
        """Ask at the highest privilege that this guest has: 0, or what an SVSM leaves (SNP only)."""
        floor = self._directory / "privlevel_floor"
        if floor.exists():
            (self._directory / "privlevel").write_text(self._text("privlevel_floor"), encoding="ascii")

    def _generation(self) -> int:
        try:
            return int(self._text("generation"))
        except ValueError as err:
            raise AttestationUnavailableError("the kernel's generation is no number") from err

    def _auxiliary(self) -> bytes:
        try:
            return self._blob("auxblob")
        except FileNotFoundError:
            return b""
        except OSError as err:
            # Where the host supplies no certificates.
            if err.errno in (errno.ENXIO, errno.ENODATA, errno.EOPNOTSUPP):
                return b""
            raise

    def _text(self, name: str) -> str:
        return self._blob(name, max_size=64).decode("ascii", "replace").strip()

    def _blob(self, name: str, *, max_size: int = _MAX_BLOB) -> bytes:
        with (self._directory / name).open("rb") as file:
            content = file.read(max_size + 1)
        if len(content) > max_size:
            raise AttestationUnavailableError(f"the kernel's {name} has more than {max_size} bytes")
        return content
