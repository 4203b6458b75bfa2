"""A TPM in software for one machine, with an attestation key whose certificate is where clouds put it.

swtpm is the TPM, tpm2-tools speak to it: an endorsement key, a restricted signing key beside it at a
persistent handle, and that key's certificate in an index of the non-volatile memory. Handle and index are
those of Azure's virtual machines, so that the image reads the same places there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from . import programs
from .certificate_authority import CertificateAuthority
from .errors import MachineError

__all__ = ["AK_CERTIFICATE_INDEX", "AK_HANDLE", "SOCKET", "VirtualTpm"]

EK_HANDLE = "0x81010001"
AK_HANDLE = "0x81000003"
AK_CERTIFICATE_INDEX = "0x01C101D0"
SOCKET = "tpm.sock"
"""Where QEMU finds the TPM, below the directory of the launch."""

_STATE = "tpm"
_COMMANDS = "tpm-commands.sock"
_PROCESS = "tpm.pid"
_SECONDS = 10.0
# Without noda, machines that were switched off would lock the key as if somebody had guessed at its password.
_KEY_ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign"
_INDEX_ATTRIBUTES = "ownerwrite|ownerread|authread|no_da"


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualTpm:
    """A provisioned TPM, whose state is below ``directory``; ``ak_certificate`` is DER."""

    directory: Path
    ak_certificate: bytes

    @classmethod
    def provision(cls, directory: Path, authority: CertificateAuthority, *, now: datetime) -> VirtualTpm:
        """Make the TPM and its keys, and have ``authority`` certify the attestation key."""
        (directory / _STATE).mkdir(mode=0o700)
        # One bank: the firmware hashes the whole image once for each.
        manufacture = ["swtpm_setup", "--tpm2", "--tpmstate", f"dir://{directory / _STATE}"]
        programs.run([*manufacture, "--pcr-banks", "sha256", "--overwrite"], cwd=directory)
        with _listening(directory):
            _command(directory, "createek", "-c", EK_HANDLE, "-G", "ecc", "-u", "ek.pub")
            signing = ["-C", "e", "-G", "ecc256:ecdsa-sha256:null", "-g", "sha256", "-a", _KEY_ATTRIBUTES]
            _command(directory, "createprimary", "-c", "ak.ctx", *signing)
            _command(directory, "readpublic", "-c", "ak.ctx", "-f", "pem", "-o", "ak.pem")
            _command(directory, "evictcontrol", "-C", "o", "-c", "ak.ctx", AK_HANDLE)
            certificate = authority.certify((directory / "ak.pem").read_bytes(), now=now)
            (directory / "ak.der").write_bytes(certificate)
            size = ["-s", str(len(certificate)), "-a", _INDEX_ATTRIBUTES]
            _command(directory, "nvdefine", AK_CERTIFICATE_INDEX, "-C", "o", *size)
            _command(directory, "nvwrite", AK_CERTIFICATE_INDEX, "-C", "o", "-i", "ak.der")
            _command(directory, "shutdown")
        return cls(directory=directory, ak_certificate=certificate)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Have the TPM wait for a machine at :data:`SOCKET`; it is reset whenever this begins."""
        control = ["--ctrl", f"type=unixio,path={SOCKET}", "--terminate"]
        with _swtpm(self.directory, control):
            yield


@contextlib.contextmanager
def _listening(directory: Path) -> Iterator[None]:
    """Have the TPM take commands, as a machine's firmware would give them after a reset."""
    server = ["--server", f"type=unixio,path={_COMMANDS}", "--ctrl", f"type=unixio,path={_COMMANDS}.ctrl"]
    with _swtpm(directory, [*server, "--flags", "not-need-init,startup-clear"]):
        yield


@contextlib.contextmanager
def _swtpm(directory: Path, arguments: list[str]) -> Iterator[None]:
    # Relative paths: the address of a socket has at most 107 bytes, and a temporary directory can be deeper.
    ready = directory / _PROCESS
    ready.unlink(missing_ok=True)
    state = ["--tpmstate", f"dir={_STATE}", "--pid", f"file={_PROCESS}"]
    process = programs.start(["swtpm", "socket", "--tpm2", *state, *arguments], cwd=directory)
    try:
        deadline = time.monotonic() + _SECONDS
        # It writes this file once its sockets accept; that they are there does not say so yet.
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise MachineError("swtpm did not start")
            time.sleep(0.01)
        yield
    finally:
        programs.stop(process)


def _command(directory: Path, name: str, *arguments: str) -> None:
    """Run one of tpm2-tools, and take out what it leaves in the TPM, which has room for three objects."""
    environment = {"TPM2TOOLS_TCTI": f"swtpm:path={_COMMANDS}"}
    programs.run([f"tpm2_{name}", *arguments], cwd=directory, environment=environment)
    if name in ("createek", "readpublic"):
        for kind in ("-t", "-l", "-s"):
            programs.run(["tpm2_flushcontext", kind], cwd=directory, environment=environment)
