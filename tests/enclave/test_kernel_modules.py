"""The kernel's modules: those of the image are those that init loads, after all that they depend on."""

from __future__ import annotations

import errno
import lzma
import re
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the enclave runs on linux only", allow_module_level=True)

from glasshouse_attestations.cpio import Member
from glasshouse_attestations.image import read_initrd, read_sections
from glasshouse_enclave import kernel_modules
from glasshouse_enclave.kernel_modules import ATTESTATION, DEVICES
from support.image import EnclaveImage, enclave_image

__all__ = ["enclave_image"]

ALL = (*DEVICES, *ATTESTATION)
_SIGNED = b"~Module signature appended~\n"


@pytest.fixture(scope="module")
def modules(enclave_image: EnclaveImage) -> dict[str, Member]:
    """The modules of the real image, by name."""
    members = read_initrd(read_sections(enclave_image.path.read_bytes())[".initrd"])
    found = [member for member in members if member.path.endswith(".ko.xz")]
    return {Path(member.path).name.removesuffix(".ko.xz"): member for member in found}


def test_the_image_has_exactly_the_modules_that_init_loads(modules: dict[str, Member]) -> None:
    assert sorted(modules) == sorted(ALL)
    assert all(member.path.startswith("usr/lib/modules/6.") for member in modules.values())


def test_each_is_loaded_after_those_that_it_depends_on(modules: dict[str, Member]) -> None:
    for position, name in enumerate(ALL):
        match = re.search(rb"\0depends=([^\0]*)\0", lzma.decompress(modules[name].data))
        assert match is not None
        needed = [depended for depended in match[1].decode().split(",") if depended]
        assert set(needed) <= {before.replace("-", "_") for before in ALL[:position]}, name


def test_each_is_signed_by_the_kernels_own_build(modules: dict[str, Member]) -> None:
    for name, member in modules.items():
        assert lzma.decompress(member.data).endswith(_SIGNED), name


def test_the_command_line_demands_signatures(enclave_image: EnclaveImage) -> None:
    words = read_sections(enclave_image.path.read_bytes())[".cmdline"].decode().split()
    assert {"lockdown=confidentiality", "module.sig_enforce=1", "panic=-1", "oops=panic"} <= set(words)
    assert not any(word.startswith(("init=", "rdinit=", "systemd.", "debug", "ip=")) for word in words)


def test_a_module_that_is_not_in_the_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kernel_modules.load(["virtio_net"], folder=tmp_path)


def test_what_the_kernel_refuses_is_an_error(tmp_path: Path) -> None:
    # Without the right to load modules as with it: these bytes are none.
    (tmp_path / "virtio_net.ko.xz").write_bytes(b"no module")
    with pytest.raises(OSError, match=r"virtio_net\.ko\.xz") as caught:
        kernel_modules.load(["virtio_net"], folder=tmp_path)
    assert caught.value.errno not in (errno.ENODEV, errno.EEXIST)
