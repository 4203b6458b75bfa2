"""A TPM emulator in a process of its own, and the quotes that its keys sign (swtpm and tpm2-tools)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("swtpm", "tpm2_createprimary", "tpm2_quote")
missing = [program for program in PROGRAMS if shutil.which(program) is None]
needs_tpm_emulator = pytest.mark.skipif(
    bool(missing), reason=f"the packages swtpm and tpm2-tools are absent: no {', '.join(missing)}"
)

AK_ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign"
_START_TIMEOUT = 10.0


@dataclass(frozen=True)
class LiveQuote:
    message: bytes
    signature: bytes
    public: bytes
    values: dict[int, bytes]


@dataclass(frozen=True)
class LiveTpm:
    """A running TPM; its socket lies in a folder of its own."""

    folder: Path

    def run(self, *command: str) -> None:
        tcti = f"swtpm:path={self.folder / 'tpm'}"
        environment = {**os.environ, "TPM2TOOLS_TCTI": tcti}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, check=False, capture_output=True, timeout=60
        )
        assert done.returncode == 0, (command, done.stderr)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def forget(self) -> None:
        """Unload the loaded keys: a TPM has room for three, and their contexts are in files."""
        self.run("tpm2_flushcontext", "-t")

    def extend(self, register: int, digest: bytes) -> None:
        self.run("tpm2_pcrextend", f"{register}:sha256={digest.hex()}")

    def primary_key(self, algorithm: str, attributes: str = AK_ATTRIBUTES) -> str:
        """Make a primary key in the endorsement hierarchy and return the name of its context."""
        options = ("-C", "e", "-g", "sha256", "-G", algorithm, "-a", attributes)
        self.run("tpm2_createprimary", "-Q", *options, "-c", "primary.ctx")
        self.forget()
        return "primary.ctx"

    def key_below_endorsement_key(self) -> str:
        """Make an attestation key as tpm2-tools do, below the endorsement key."""
        self.run("tpm2_createek", "-Q", "-c", "ek.ctx", "-G", "rsa")
        self.forget()
        self.run("tpm2_createak", "-Q", "-C", "ek.ctx", "-c", "ak.ctx", "-G", "rsa", "-s", "rsassa")
        self.forget()
        return "ak.ctx"

    def public_area(self, context: str) -> bytes:
        self.run("tpm2_readpublic", "-Q", "-c", context, "-f", "tss", "-o", "public")
        self.forget()
        return self.read("public")

    def quote(self, context: str, *, selection: str, data: bytes, options: tuple[str, ...] = ()) -> LiveQuote:
        """Quote the registers, such as ``sha256:4,8``, and read their values."""
        public = self.public_area(context)
        self.run(
            *("tpm2_quote", "-Q", "-c", context, "-l", selection, "-q", data.hex()),
            *("-m", "message", "-s", "signature", *options),
        )
        self.forget()
        self.run("tpm2_pcrread", "-Q", selection, "-o", "values")
        bank, indices = selection.split(":")
        size = {"sha1": 20, "sha256": 32}[bank]
        read = self.read("values")
        values = {
            int(index): read[position * size : (position + 1) * size]
            for position, index in enumerate(indices.split(","))
        }
        return LiveQuote(
            message=self.read("message"), signature=self.read("signature"), public=public, values=values
        )

    def certification(self, context: str) -> tuple[bytes, bytes, bytes]:
        """Return what the key signs of itself with TPM2_Certify: an attestation that is no quote."""
        public = self.public_area(context)
        self.run(
            *("tpm2_certify", "-Q", "-c", context, "-C", context, "-g", "sha256"),
            *("-o", "attestation", "-s", "certified"),
        )
        self.forget()
        return self.read("attestation"), self.read("certified"), public


@contextmanager
def running_tpm() -> Iterator[LiveTpm]:
    """A fresh TPM, ended with the context. Sockets need short paths, so they are not in pytest's folder."""
    with tempfile.TemporaryDirectory(prefix="tpm") as name:
        folder = Path(name)
        command = (
            *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}"),
            *("--server", f"type=unixio,path={folder / 'tpm'}"),
            *("--ctrl", f"type=unixio,path={folder / 'tpm.ctrl'}"),
            *("--flags", "startup-clear,not-need-init"),
        )
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _wait_for(folder / "tpm.ctrl", process)
                yield LiveTpm(folder)
            finally:
                process.terminate()


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while not path.exists():
        assert process.poll() is None, "the TPM emulator ended at once"
        assert time.monotonic() < deadline, "the TPM emulator does not start"
        time.sleep(0.01)
