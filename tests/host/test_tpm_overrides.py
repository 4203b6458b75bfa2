"""What an operator can hand to the machine beside the image: each way changes a register, or nothing.

The image here has the stub, the kernel and the command line of the real one, and an initrd with one empty
file, since it is the stub that decides; so a boot takes seconds. The registers are read from the TPM itself.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from rich.progress import Progress

from glasshouse_attestations.cpio import Archive, Kind, Member
from glasshouse_attestations.errors import MeasurementMismatchError
from glasshouse_attestations.reference_values import ReferenceValues
from glasshouse_audit.build import Plan
from glasshouse_audit.deb import read_deb
from glasshouse_audit.errors import MissingInputError
from glasshouse_audit.initrd import compress
from glasshouse_audit.inputs import Inputs
from glasshouse_audit.measure import measure
from glasshouse_audit.uki import assemble
from support import booted_machine
from support.machines import need_machines
from support.repository import ROOT

CHECKED = tuple(f"pcr{number}.sha256" for number in (4, 8, 11, 12, 13))
_SECONDS = 30


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    need_machines()
    # Not pytest's directory, whose path is too long for a socket.
    with tempfile.TemporaryDirectory(prefix="gh-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def image(folder: Path) -> Path:
    plan = Plan.load(ROOT)
    inputs = Inputs(tree=ROOT, python=plan.recipe.python)
    debs = [deb for deb in plan.debs if deb.name.startswith(("linux-image-", "systemd-boot-efi"))]
    try:
        with Progress(disable=True) as progress:
            inputs.fetch(debs, progress)
    except MissingInputError as err:
        pytest.skip(f"an input of the image is missing: {err}")
    files = [member for deb in debs for member in read_deb(inputs.read(deb), deb, architecture="amd64")]
    kernel = next(file for file in files if fnmatchcase(file.path, plan.recipe.kernel))
    stub = next(file for file in files if fnmatchcase(file.path, plan.recipe.stub))
    empty = Archive(mtime=0, members=(Member(path="empty", kind=Kind.FILE),))
    sections = {
        ".osrel": b"ID=small\n",
        ".cmdline": plan.recipe.command_line.encode(),
        ".uname": kernel.path.rpartition("/")[2].partition("-")[2].encode(),
        ".initrd": compress(empty, plan.recipe),
        ".linux": kernel.data,
    }
    path = folder / "enclave.efi"
    path.write_bytes(assemble(stub.data, sections))
    return path


@pytest.fixture(scope="module")
def predicted(image: Path) -> ReferenceValues:
    return measure(image.read_bytes()).reference_values


def boot(image: Path, folder: Path, name: str, *more: str) -> Mapping[str, bytes]:
    """The checked registers after a boot with further arguments of QEMU's."""
    (folder / name).mkdir()
    # The kernel finds nothing to start and ends the machine: QEMU then stands still, or it would end the TPM.
    registers = booted_machine.boot(image, folder / name, ("-no-shutdown", *more))
    return {register: registers[register] for register in CHECKED}


def test_a_command_line_from_outside_shows_in_pcr_12(
    image: Path, folder: Path, predicted: ReferenceValues
) -> None:
    registers = boot(image, folder, "append", "-append", "init=/bin/sh glasshouse.platform=tpm")
    assert registers["pcr12.sha256"] != bytes(32)
    with pytest.raises(MeasurementMismatchError):
        predicted.check("tpm", registers)


def test_an_addition_to_the_command_line_by_the_firmwares_tables_shows_in_pcr_12(
    image: Path, folder: Path, predicted: ReferenceValues
) -> None:
    addition = "type=11,value=io.systemd.stub.kernel-cmdline-extra=init=/bin/sh"
    registers = boot(image, folder, "smbios", "-smbios", addition)
    assert registers["pcr12.sha256"] != bytes(32)
    with pytest.raises(MeasurementMismatchError):
        predicted.check("tpm", registers)


def test_what_is_meant_for_others_has_no_effect(
    image: Path, folder: Path, predicted: ReferenceValues
) -> None:
    # For systemd's boot menu and for systemd, of which the image has neither, and for nobody.
    for_others = (
        *("-smbios", "type=11,value=io.systemd.boot.kernel-cmdline-extra=init=/bin/sh"),
        *("-smbios", "type=11,value=io.systemd.credential:passwd.plaintext-password.root=x"),
        *("-fw_cfg", "name=opt/io.systemd.credentials/login.motd,string=x"),
        *("-fw_cfg", "name=opt/org.example.initrd,string=x"),
    )
    registers = boot(image, folder, "others", *for_others)
    predicted.check("tpm", registers)


def test_an_added_initrd_is_refused_by_qemu_itself(image: Path, folder: Path) -> None:
    initrd = folder / "initrd"
    initrd.write_bytes(Archive(mtime=0, members=(Member(path="init", kind=Kind.EXECUTABLE),)).encode())
    machine = ["-nodefaults", "-machine", "q35,accel=tcg", "-m", "1024", "-display", "none", "-S"]
    words = ["qemu-system-x86_64", *machine, "-kernel", str(image), "-initrd", str(initrd)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode != 0
    assert "ram disk" in done.stderr
