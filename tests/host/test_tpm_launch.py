"""Launching a machine: what is missing is said, what is started ends, and the authority is kept safe."""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography import x509

from glasshouse_attestations.volume import HEADER_SIZE, MAX_STAPLE_SIZE, VolumeHeader, parse_files
from glasshouse_host import cli, programs
from glasshouse_host.certificate_authority import CertificateAuthority
from glasshouse_host.console import Console
from glasshouse_host.errors import InputFileError, MissingProgramError
from glasshouse_host.machine import Accelerator, Machine
from glasshouse_host.volumes import StapleVolume, write_configuration_volume
from support.image import EnclaveImage, enclave_image
from support.machines import need_machines

__all__ = ["enclave_image"]

NOW = datetime.now(timezone.utc)
_RUN = "import sys; from glasshouse_host.cli import main; sys.exit(main())"
_SECONDS = 60


def test_missing_programs_are_named_by_their_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(
        programs, "find_firmware", lambda: programs.Firmware(code=tmp_path, variables=tmp_path)
    )
    assert cli.main(["run", "--platform", "tpm", "--image", str(tmp_path / "enclave.efi")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        "glasshouse-host: a machine needs the system packages qemu-system-x86 swtpm swtpm-tools tpm2-tools",
        "hint: on debian: apt-get install qemu-system-x86 ovmf swtpm swtpm-tools tpm2-tools",
    ]


def test_missing_firmware_is_named_by_its_package(tmp_path: Path) -> None:
    with pytest.raises(MissingProgramError, match="ovmf"):
        programs.find_firmware(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--listen", "example.com:1"], "numeric IPv4 address"),
        (["--listen", "127.0.0.1:65536"], "numeric IPv4 address"),
        (["--listen", "127.0.0.1:1,hostfwd=x"], "HOST:PORT"),
        (["--memory", "64"], "--memory"),
        (["--processors", "0"], "--processors"),
        (["--ca", "nowhere"], "cannot read"),
    ],
)
def test_an_option_that_makes_no_machine_is_refused(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "--platform", "tpm", "--image", str(tmp_path / "image"), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_killed_launcher_leaves_no_machine_and_no_tpm(enclave_image: EnclaveImage, tmp_path: Path) -> None:
    need_machines()
    process, log = start_launcher(enclave_image, tmp_path)
    wait_for(lambda: len(children_of(process.pid)) == 2, "qemu and swtpm")
    children = children_of(process.pid)
    process.kill()
    process.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "their end")
    assert "booting with tcg" in log.read_text()


def test_a_launcher_that_is_told_to_stop_leaves_nothing_behind(
    enclave_image: EnclaveImage, tmp_path: Path
) -> None:
    need_machines()
    process, log = start_launcher(enclave_image, tmp_path)
    wait_for(lambda: len(children_of(process.pid)) == 2, "qemu and swtpm")
    children = children_of(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(_SECONDS) == 0, log.read_text()
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert [path for path in tmp_path.iterdir() if path.name.startswith("glasshouse-host-")] == []


def start_launcher(image: EnclaveImage, folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """A launcher whose private directory is below ``folder``, as soon as it has begun to boot."""
    log = folder / "log"
    arguments = ["run", "--platform", "tpm", "--image", str(image.path), "--listen", "127.0.0.1:0"]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, *arguments, "--accelerator", "tcg"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "TMPDIR": str(folder)},
        )
    wait_for(lambda: "booting with tcg" in log.read_text() or process.poll() is not None, "the boot")
    return process, log


def children_of(pid: int) -> list[int]:
    """The processes that ``pid`` has started and that have become QEMU or swtpm."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if int(rest.split()[1]) == pid and name in ("qemu-system-x86", "swtpm"):
            found.append(int(path.parent.name))
    return found


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)


def test_an_authority_is_written_for_its_owner_alone_and_once(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    written = CertificateAuthority.generate(now=NOW)
    written.write(folder)
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600
    assert CertificateAuthority.load(folder).root_sha256 == written.root_sha256
    with pytest.raises(InputFileError, match="already"):
        written.write(folder)


def test_an_authority_whose_key_others_may_read_is_refused(tmp_path: Path) -> None:
    CertificateAuthority.generate(now=NOW).write(tmp_path)
    (tmp_path / "ca.key").chmod(0o640)
    with pytest.raises(InputFileError, match="0600"):
        CertificateAuthority.load(tmp_path)


def test_a_certificate_of_another_key_makes_no_authority(tmp_path: Path) -> None:
    CertificateAuthority.generate(now=NOW).write(tmp_path)
    (tmp_path / "ca.pem").write_bytes(CertificateAuthority.generate(now=NOW).pem)
    with pytest.raises(InputFileError, match="not that of the certificate"):
        CertificateAuthority.load(tmp_path)
    (tmp_path / "ca.pem").write_bytes(b"no certificate")
    with pytest.raises(InputFileError, match="does not hold an authority"):
        CertificateAuthority.load(tmp_path)


def test_the_command_prints_what_a_policy_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ca", str(tmp_path / "ca")]) == 0
    root = x509.load_pem_x509_certificate((tmp_path / "ca" / "ca.pem").read_bytes())
    printed = capsys.readouterr().out.strip()
    assert printed == CertificateAuthority.load(tmp_path / "ca").root_sha256.hex()
    assert root.issuer == root.subject


def test_the_staple_is_rewritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "staple.disk"
    volume = StapleVolume(path, {"ak-chain": b"pem"})
    before = path.stat()
    assert files_on(path) == {"endorsements/ak-chain": b"pem"}
    for bundle in (b"x" * 5000, b"short"):
        volume.write(bundle)
        assert files_on(path) == {"endorsements/ak-chain": b"pem", "bundle.json": bundle}
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, MAX_STAPLE_SIZE)


def test_a_bundle_that_the_disk_has_no_room_for_is_refused(tmp_path: Path) -> None:
    volume = StapleVolume(tmp_path / "staple.disk", {"ak-chain": b"pem"})
    with pytest.raises(InputFileError, match="more than"):
        volume.write(bytes(MAX_STAPLE_SIZE))


def test_configuration_and_models_are_on_one_disk(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"{'ab' * 32}.onnx").write_bytes(b"model")
    (tmp_path / "config.json").write_bytes(b"{}")
    write_configuration_volume(tmp_path / "disk", tmp_path)
    assert files_on(tmp_path / "disk") == {"config.json": b"{}", f"models/{'ab' * 32}.onnx": b"model"}
    assert (tmp_path / "disk").stat().st_size % HEADER_SIZE == 0


def files_on(path: Path) -> dict[str, bytes]:
    content = path.read_bytes()
    header = VolumeHeader.parse(content[:HEADER_SIZE], max_size=MAX_STAPLE_SIZE)
    return parse_files(header, content[HEADER_SIZE : HEADER_SIZE + header.size])


def test_a_console_remembers_events_and_passes_on_printable_text_only() -> None:
    lines = [
        b"\x1b[2J\x1b[01;01Hfirmware \x07says\xff\r\n",
        b'{"event": "booted", "pcrs": {}}\r\n',
        b'{"event": "booted", "pcrs": {"4": "later"}}\n',
        b"[1, 2]\n",
        b"[" * 3000 + b"\n",
        b'{"event": 7}\n',
    ]
    said: list[str] = []
    copy = io.BytesIO()
    console = Console(io.BytesIO(b"".join(lines)), said.append, copy=copy)
    assert console.wait_for("booted", 10) == {"event": "booted", "pcrs": {}}
    console.join(10)
    assert console.wait_for("ready", 10) is None
    assert said[0] == "firmware ?says?"
    assert copy.getvalue() == b"".join(lines)


def test_the_machine_is_shut_off_from_the_network_and_its_disks_are_read_only(tmp_path: Path) -> None:
    need_machines()
    machine = Machine(
        image=tmp_path / "enclave.efi",
        directory=tmp_path,
        host="127.0.0.1",
        port=5,
        memory_mib=2048,
        processors=1,
    )
    command = machine.command(Accelerator.TCG)
    assert command[command.index("-netdev") + 1].split(",")[1:] == [
        "id=net",
        "ipv6=off",
        "restrict=on",
        "hostfwd=tcp:127.0.0.1:5-:50051",
    ]
    disks = [word for word in command if word.startswith("if=none")]
    assert len(disks) == 2
    assert all("readonly=on" in disk for disk in disks)
    assert not {"-append", "-initrd", "-smbios", "-fw_cfg"} & set(command)
