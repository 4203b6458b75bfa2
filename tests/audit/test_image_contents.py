"""What is in the real image, what is not, and that its userland runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from glasshouse_attestations.cpio import Kind, Member
from glasshouse_attestations.image import read_initrd, read_sections, unpack
from glasshouse_audit.measure import measure
from support.image import EnclaveImage

_SHELLS = {
    "sh",
    "bash",
    "dash",
    "busybox",
    "env",
    "apt",
    "apt-get",
    "dpkg",
    "pip",
    "ssh",
    "sshd",
    "mount",
    "su",
}

_PROGRAM = """
import os, sys
import cryptography.x509, google.protobuf, grpc.aio, numpy, onnxruntime
import importlib, pkgutil
import glasshouse_attestations, glasshouse_enclave
for package in (glasshouse_attestations, glasshouse_enclave):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
ed25519.Ed25519PrivateKey.generate().sign(b"x")
ec.generate_private_key(ec.SECP256R1())
assert numpy.dot(numpy.ones((3, 3)), numpy.ones((3, 3)))[0, 0] == 3
assert onnxruntime.get_available_providers()
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
print("ran", *sys.version_info[:2])
"""

_IN_NAMESPACES = """
mount -t proc proc "$1/proc" && mount --rbind /sys "$1/sys" && exec chroot "$1" /usr/bin/python3.13 -I -c "$2"
"""


@pytest.fixture(scope="module")
def members(enclave_image: EnclaveImage) -> dict[str, Member]:
    sections = read_sections(enclave_image.path.read_bytes())
    return {member.path: member for member in read_initrd(sections[".initrd"])}


def test_the_image_stays_below_its_size(enclave_image: EnclaveImage) -> None:
    assert enclave_image.path.stat().st_size < 100 * 10**6


def test_the_measurements_are_those_of_the_file(enclave_image: EnclaveImage) -> None:
    assert measure(enclave_image.path.read_bytes()) == enclave_image.measurements


def test_the_only_programs_are_the_interpreter_and_init(members: dict[str, Member]) -> None:
    programs = {path for path in members if path.startswith(("usr/bin/", "usr/sbin/"))}
    assert programs == {"usr/bin/python3.13"}
    executables = {Path(path).name for path, member in members.items() if member.kind is Kind.EXECUTABLE}
    assert not executables & _SHELLS


def test_init_is_an_executable_script_of_the_interpreter(members: dict[str, Member]) -> None:
    assert members["init"].kind is Kind.EXECUTABLE
    script = b"#!/usr/bin/python3.13 -IB\nfrom glasshouse_enclave.init import main\n\nmain()\n"
    assert members["init"].data == script


def test_nothing_compiled_tested_or_built_against_is_inside(members: dict[str, Member]) -> None:
    assert not [path for path in members if path.endswith((".pyc", ".a", ".h", ".pyi", ".whl"))]
    assert not [path for path in members if "/tests/" in path or "/__pycache__" in path]


def test_the_packages_of_others_on_our_side_are_not_inside(members: dict[str, Member]) -> None:
    packages = "usr/lib/python3/dist-packages"
    ours = {path.split("/")[4] for path in members if path.startswith(f"{packages}/glasshouse")}
    assert ours == {"glasshouse_attestations", "glasshouse_enclave"}


def test_every_library_that_a_program_needs_is_inside(members: dict[str, Member]) -> None:
    libraries = {Path(path).name for path in members}
    needed = {"libc.so.6", "libm.so.6", "libssl.so.3", "libcrypto.so.3", "libffi.so.8", "libstdc++.so.6"}
    assert needed <= libraries


@pytest.fixture(scope="module")
def root(members: dict[str, Member], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("image") / "root"
    unpack(members.values(), root)
    return root


def test_the_userland_runs_in_namespaces_and_leaves_no_trace(root: Path, members: dict[str, Member]) -> None:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow user namespaces")
    command = [*unshare, "sh", "-c", _IN_NAMESPACES, "sh", str(root), _PROGRAM]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ran 3 13\n"
    # No device identifier and no cache: only byte code of what Python imports before it can be told not to.
    left = {path.relative_to(root).as_posix() for path in root.rglob("*") if "__pycache__" not in path.parts}
    assert left == members.keys()
