"""Where quotes come from: one protocol, and an implementation for each platform."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

from glasshouse_attestations.errors import MalformedError, PlatformNotSupportedError
from glasshouse_attestations.evidence import MAX_EVIDENCE_SIZE, Evidence

from .attester_tpm import TpmAttester
from .attester_tsm import PROVIDERS, REPORT_DIRECTORY, TsmAttester
from .errors import AttestationUnavailableError
from .run_directory import RunDirectory
from .tpm import Device, Tpm

__all__ = ["PLATFORMS", "Attester", "SimulatedAttester", "attester_for"]

PLATFORMS = ("simulated", "tpm", "snp", "tdx")
_TPM_DEVICE = Path("/dev/tpmrm0")
_TIMEOUT = 10.0


class Attester(Protocol):
    """What can have the platform vouch for this enclave."""

    async def quote(self, report_data: bytes) -> Evidence:
        """Return evidence over the 64 bytes; raises :class:`AttestationUnavailableError`."""


class SimulatedAttester:
    """Asks the launcher, over the Unix socket that it supplies in the run directory.

    The enclave writes the 64 bytes, the launcher answers with a length (4 bytes, big-endian) and that many
    bytes of encoded evidence. The launcher is not trusted to be brief, quick or well-formed.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def quote(self, report_data: bytes) -> Evidence:
        """Return the launcher's evidence over ``report_data``."""
        try:
            return Evidence.parse(await asyncio.wait_for(self._ask(report_data), _TIMEOUT))
        except (OSError, EOFError, asyncio.TimeoutError, MalformedError) as err:
            raise AttestationUnavailableError("the launcher gave no evidence") from err

    async def _ask(self, report_data: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            writer.write(report_data)
            size = int.from_bytes(await reader.readexactly(4), "big")
            if size > MAX_EVIDENCE_SIZE:
                raise MalformedError(f"evidence has {size} bytes, at most {MAX_EVIDENCE_SIZE} are allowed")
            return await reader.readexactly(size)
        finally:
            writer.close()


def attester_for(platform: str, *, run_directory: RunDirectory) -> Attester:
    """Return what gives quotes on ``platform``, one of :data:`PLATFORMS`.

    Raises :class:`PlatformNotSupportedError` if the kernel shows no such device: a server that could not be
    attested to is not started.
    """
    if platform == "tpm":
        _check_shown(_TPM_DEVICE)
        return TpmAttester(Tpm(Device(_TPM_DEVICE)), run_directory.endorsements)
    if platform in PROVIDERS:
        _check_shown(REPORT_DIRECTORY)
        return TsmAttester(platform, REPORT_DIRECTORY, run_directory.endorsements)
    return SimulatedAttester(run_directory.path / "attester.sock")


def _check_shown(device: Path) -> None:
    if not device.exists():
        raise PlatformNotSupportedError(f"this machine has no {device}")
